//! Snippets, and `import` of a snippet, a file, or all files that match a pattern.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::file::{read, reason};
use super::glob::{clean, glob, is_pattern};
use super::imports::Snippet;
use super::lexer::{Token, lex};
use super::limits::{MOST_FILE_EXPANSIONS, MOST_SNIPPET_EXPANSIONS, MOST_SOURCE_BYTES, MOST_WORDS};
use super::parser::Parser;
use super::stream::Origin;
use super::{Diagnostic, SourceId, Span, did_you_mean, shown};

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
        if let Some(surplus) = self.stream.peek_on_line() {
            let message = "Import takes only one argument (glob pattern or file)";
            let error = Diagnostic::error(surplus.span, message).with_remark("not expected here");
            let error = match surplus.is("}") {
                true => error.with_help("put the '}' on a line of its own"),
                false => error.with_help("snippets take no arguments in a Corefile"),
            };
            self.report(error);
            self.skip_line();
            return;
        }
        let name = match self.environment.expand(&target.text) {
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
            self.inputs.files.push(path);
            return self.file_not_found(name, span);
        }
        // The last file goes in first, so that the first one ends up on top.
        let tokens: Vec<_> = found.into_iter().filter_map(|file| self.open(file, span)).collect();
        for (source, tokens) in tokens.into_iter().rev() {
            self.stream.push(Origin::File(source), tokens);
        }
    }

    fn file_not_found(&mut self, name: &str, span: Span) {
        self.imports.not_found.push((self.errors.len(), name.to_owned()));
        let message = format!("File to import not found: {}", shown(name));
        self.report(Diagnostic::error(span, message));
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

    /// `(NAME) { ... }`: kept as tokens, parsed wherever it is imported.
    pub(super) fn snippet(&mut self, name: String, span: Span) {
        if !self.stream.is_at("{") {
            let found = self.stream.peek().map(|token| (token.text.clone(), token.span));
            let (found, at) = found.unwrap_or((format!("({name})"), span));
            let found = shown(&found);
            let message = format!("Syntax error: Unexpected token '{found}', expecting '{{'");
            self.report(Diagnostic::error(at, message).with_label(span, "for this snippet"));
            self.skip_line();
            return;
        }
        let Some(open) = self.stream.next() else { return };
        let Some(tokens) = self.snippet_tokens(open.span) else { return };
        if let Some(earlier) = self.imports.snippets.get(&name) {
            let earlier = earlier.name;
            let text = shown(&name);
            let message = format!("redeclaration of previously declared snippet {text}");
            let error = Diagnostic::error(span, message);
            return self.report(error.with_label(earlier, "first declared here"));
        }
        let imports_itself = (1..tokens.len()).find(|&target| {
            let keyword = &tokens[target - 1];
            let starts_line = target == 1 || keyword.starts_line;
            let target = || self.environment.expand(&tokens[target].text);
            starts_line && keyword.is("import") && target().is_ok_and(|target| target == name)
        });
        let tokens = match imports_itself {
            Some(target) => {
                self.report(snippet_depth(tokens[target].span, true));
                // Declared, but empty: importing it is no further error.
                Vec::new()
            }
            None => tokens,
        };
        self.imports.snippets.insert(name, Snippet { name: span, tokens: tokens.into() });
    }

    fn snippet_tokens(&mut self, open: Span) -> Option<Vec<Token>> {
        let mut tokens = Vec::new();
        let mut depth = 0;
        loop {
            let Some(token) = self.stream.next() else {
                self.end_of_text(open, |last| {
                    format!("Syntax error: Unexpected token '{last}', expecting '}}'")
                });
                return None;
            };
            if token.is("{") {
                depth += 1;
            } else if token.is("}") {
                if depth == 0 {
                    return Some(tokens);
                }
                depth -= 1;
            }
            tokens.push(token);
        }
    }

    /// Explains imports that failed because their snippet is defined further down or under a
    /// similar name; only now all snippets are known.
    pub(super) fn explain_imports_not_found(&mut self) {
        for (index, name) in std::mem::take(&mut self.imports.not_found) {
            let Some(error) = self.errors.get_mut(index) else { continue };
            let Some(snippet) = self.imports.snippets.get(&name) else {
                let snippets = self.imports.snippets.keys().map(String::as_str);
                error.help =
                    did_you_mean(&name, snippets).map(|near| format!("did you mean '{near}'?"));
                continue;
            };
            error.help = Some("define the snippet before it is imported".to_owned());
            let text = format!("snippet '{}' is defined here", shown(&name));
            error.labels.push(super::Label { span: snippet.name, text });
        }
    }
}

/// CoreDNS's error for snippets that import each other without end.
fn snippet_depth(span: Span, imports_itself: bool) -> Diagnostic {
    let message = format!("maximum snippet import depth ({MOST_SNIPPET_EXPANSIONS}) exceeded");
    let error = Diagnostic::error(span, message);
    if imports_itself { error.with_remark("this snippet imports itself") } else { error }
}
