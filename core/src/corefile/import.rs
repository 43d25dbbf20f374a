//! `import`: a snippet, a file, or all files that match a pattern.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::glob::{clean, glob, is_pattern};
use super::lexer::{Token, lex};
use super::loader::{read, reason};
use super::parser::{MOST_WORDS, Parser};
use super::stream::Origin;
use super::{Diagnostic, SourceId, Span, did_you_mean, shown};

/// CoreDNS's limit for snippets in one configuration.
const MOST_SNIPPET_EXPANSIONS: u32 = 10_000;
/// CoreDNS's limit for imported files in one configuration.
const MOST_FILE_EXPANSIONS: u32 = 100_000;
/// The most bytes all files of a configuration may have.
const MOST_SOURCE_BYTES: usize = 64 * 1024 * 1024;

/// What `import` can refer to, and how often it did.
#[derive(Default)]
pub(super) struct Imports {
    pub(super) snippets: HashMap<String, Snippet>,
    /// Files that were read already.
    files: HashMap<PathBuf, (SourceId, Arc<[Token]>)>,
    snippet_expansions: u32,
    file_expansions: u32,
    source_bytes: usize,
    /// Imports of a name without a file, with the place of their error: a snippet of that name
    /// may still follow, which explains the error.
    pub(super) not_found: Vec<(usize, String)>,
}

pub(super) struct Snippet {
    pub(super) name: Span,
    pub(super) tokens: Arc<[Token]>,
}

impl Parser<'_> {
    /// Handles an `import` line whose first word was just taken.
    pub(super) fn import(&mut self, keyword: &Token) {
        let Some(target) = self.stream.next_on_line() else {
            self.report(
                Diagnostic::error(
                    keyword.span,
                    "Wrong argument count or unexpected line ending after 'import'",
                )
                .with_help("add the name of a snippet or file"),
            );
            return;
        };
        if let Some(surplus) = self.stream.next_on_line() {
            let message = "Import takes only one argument (glob pattern or file)";
            let error = Diagnostic::error(surplus.span, message).with_remark("not expected here");
            self.report(if surplus.is("}") {
                error.with_help("put the '}' on a line of its own")
            } else {
                error.with_help("snippets take no arguments in a Corefile")
            });
            self.skip_line_after(&surplus);
            return;
        }
        let name = match self.loader.expand(&target.text) {
            Ok(name) => name,
            Err(error) => return self.report(Diagnostic::error(target.span, error.to_string())),
        };
        if name.is_empty() {
            let message = "Import requires a non-empty filepath";
            return self.report(Diagnostic::error(target.span, message));
        }
        if let Some(snippet) = self.imports.snippets.get(&name) {
            let tokens = Arc::clone(&snippet.tokens);
            self.import_snippet(name, target.span, tokens);
        } else {
            self.import_files(&name, target.span);
        }
    }

    fn import_snippet(&mut self, name: String, span: Span, tokens: Arc<[Token]>) {
        let origin = Origin::Snippet(name);
        self.imports.snippet_expansions += 1;
        let is_inside = self.stream.is_inside(&origin);
        if is_inside || self.imports.snippet_expansions > MOST_SNIPPET_EXPANSIONS {
            return self.report(snippet_depth(span, is_inside));
        }
        self.stream.push(origin, tokens);
    }

    fn import_files(&mut self, name: &str, span: Span) {
        let directory = self.sources.get(span.source).map(|source| source.directory.clone());
        let path = clean(&directory.unwrap_or_default(), Path::new(name));
        let text = path.to_string_lossy();
        let many = |wildcard| text.matches(wildcard).count() > 1;
        if many('*') || many('?') || (text.contains('[') && text.contains(']')) {
            let message = format!(
                "Glob pattern may only contain one wildcard (*), but has others: {}",
                shown(&text)
            );
            return self.report(Diagnostic::error(span, message));
        }
        let Ok(found) = glob(&path) else {
            let name = shown(name);
            let message = format!("Failed to use import pattern {name}: syntax error in pattern");
            return self.report(Diagnostic::error(span, message));
        };
        if is_pattern(&text) {
            self.inputs.globs.push(path.clone());
            if found.is_empty() {
                let message = format!("No files matching import glob pattern: {}", shown(name));
                self.warn(Diagnostic::warning(span, message));
            }
        } else if found.is_empty() {
            return self.file_not_found(name, span);
        }
        // The last file goes in first, so that the first one ends up on top.
        let tokens: Vec<_> = found.into_iter().filter_map(|file| self.open(file, span)).collect();
        for (source, tokens) in tokens.into_iter().rev() {
            self.stream.push(Origin::File(source), tokens);
        }
    }

    fn file_not_found(&mut self, name: &str, span: Span) {
        let snippets = self.imports.snippets.keys().map(String::as_str);
        let near = did_you_mean(name, snippets).map(|near| format!("did you mean '{near}'?"));
        self.imports.not_found.push((self.errors.len(), name.to_owned()));
        self.report(
            Diagnostic::error(span, format!("File to import not found: {}", shown(name)))
                .with_optional_help(near),
        );
    }

    /// The tokens of a file, unless it cannot be read or is being imported already.
    fn open(&mut self, path: PathBuf, span: Span) -> Option<(SourceId, Arc<[Token]>)> {
        self.imports.file_expansions += 1;
        if self.imports.file_expansions > MOST_FILE_EXPANSIONS {
            let message = format!("maximum file import depth ({MOST_FILE_EXPANSIONS}) exceeded");
            self.stop(Diagnostic::error(span, message));
            return None;
        }
        if let Some((source, tokens)) = self.imports.files.get(&path) {
            if !self.stream.is_inside(&Origin::File(*source)) {
                return Some((*source, Arc::clone(tokens)));
            }
            let path = path.display();
            let message = format!("file {path} imports itself, directly or through other files");
            self.report(Diagnostic::error(span, message));
            return None;
        }
        let text = match read(&path) {
            Ok(text) => text,
            Err(error) => {
                let reason = reason(&error);
                let message = format!("Could not import {}: {reason}", path.display());
                self.report(Diagnostic::error(span, message));
                return None;
            }
        };
        self.inputs.files.push(path.clone());
        let directory = path.parent().unwrap_or(&path).to_owned();
        self.add_file(path.to_string_lossy().into_owned(), path, directory, &text)
    }

    /// Registers a text under its absolute path; `directory` is what its imports start from.
    pub(super) fn add_file(
        &mut self,
        name: String,
        path: PathBuf,
        directory: PathBuf,
        text: &str,
    ) -> Option<(SourceId, Arc<[Token]>)> {
        let source = self.sources.add(name, directory, text);
        let tokens: Arc<[Token]> = lex(source, text, &mut self.warnings).into();
        self.imports.source_bytes += text.len();
        if tokens.len() > MOST_WORDS || self.imports.source_bytes > MOST_SOURCE_BYTES {
            let name = self.sources.name(source);
            self.stop(Diagnostic::general(format!("{name}: the configuration is too large")));
            return None;
        }
        self.imports.files.insert(path, (source, Arc::clone(&tokens)));
        Some((source, tokens))
    }

    /// Explains imports that failed because their snippet is defined further down.
    pub(super) fn explain_imports_not_found(&mut self) {
        for (index, name) in std::mem::take(&mut self.imports.not_found) {
            let Some(snippet) = self.imports.snippets.get(&name) else { continue };
            let Some(error) = self.errors.get_mut(index) else { continue };
            error.help = Some("define the snippet before it is imported".to_owned());
            let text = format!("snippet '{}' is defined here", shown(&name));
            error.labels.push(super::Label { span: snippet.name, text });
        }
    }
}

/// CoreDNS's error for snippets that import each other without end.
pub(super) fn snippet_depth(span: Span, imports_itself: bool) -> Diagnostic {
    let message = format!("maximum snippet import depth ({MOST_SNIPPET_EXPANSIONS}) exceeded");
    let error = Diagnostic::error(span, message);
    if imports_itself { error.with_remark("this snippet imports itself") } else { error }
}
