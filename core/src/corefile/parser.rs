//! From tokens to server blocks.
//!
//! The grammar is CoreDNS's; what follows an error is found by these rules: a line that cannot be
//! read is skipped with the block it opens, and a brace that is missing or too much is reported
//! once.

use std::path::{Path, PathBuf};

use super::environment::Environment;
use super::file::too_large;
use super::glob::clean;
use super::imports::Imports;
use super::lexer::Token;
use super::limits::{MAX_DEPTH, MOST_DIAGNOSTICS, MOST_WORD_BYTES, MOST_WORDS};
use super::stream::{Origin, Stream};
use super::{
    Corefile, Diagnostic, Diagnostics, Failed, Inputs, Line, ServerBlock, Sources, Span, Word,
    shown,
};

/// The state of parsing one configuration.
pub(super) struct Parser<'e> {
    pub(super) environment: &'e Environment,
    pub(super) sources: Sources,
    pub(super) stream: Stream,
    pub(super) imports: Imports,
    pub(super) errors: Diagnostics,
    pub(super) warnings: Diagnostics,
    pub(super) inputs: Inputs,
    words: usize,
    word_bytes: usize,
    /// Set when parsing cannot go on; the end of the text is then no error of its own.
    stopped: bool,
}

impl<'e> Parser<'e> {
    pub(super) fn new(environment: &'e Environment) -> Self {
        Self {
            environment,
            sources: Sources::default(),
            stream: Stream::default(),
            imports: Imports::default(),
            errors: Diagnostics::new(),
            warnings: Diagnostics::new(),
            inputs: Inputs::default(),
            words: 0,
            word_bytes: 0,
            stopped: false,
        }
    }

    pub(super) fn parse(
        mut self,
        name: &str,
        text: &str,
        base_dir: PathBuf,
    ) -> Result<Corefile, Failed> {
        if let Some(failed) = too_large(name, text) {
            return Err(failed);
        }
        // Known by its path, so that a file cannot import the main file it belongs to. Its
        // directory is `base_dir`, wherever the name points.
        let file = Path::new(name).file_name().unwrap_or("Corefile".as_ref());
        let path = clean(&base_dir, Path::new(file));
        if let Some((source, tokens)) = self.add_file(name.to_owned(), path, base_dir, text) {
            self.stream.push(Origin::File(source), tokens);
        }
        let mut blocks = Vec::new();
        while self.stream.peek().is_some() {
            blocks.extend(self.server_block());
        }
        self.explain_imports_not_found();
        let Self { sources, errors, warnings, inputs, .. } = self;
        Failed::unless_usable(errors, Corefile { blocks, sources, warnings, inputs })
    }

    /// A server block, or a snippet, or a stray brace.
    fn server_block(&mut self) -> Option<ServerBlock> {
        let first = self.stream.peek()?.span;
        let keys = self.keys()?;
        if let [key] = keys.as_slice()
            && let Some(name) = key.snippet_name()
        {
            self.snippet(name.to_owned(), key.word.span);
            return None;
        }
        let brace = self.stream.is_at("{");
        let open = if brace { self.stream.next().map(|token| token.span) } else { None };
        let directives = self.directives(open);
        if keys.is_empty() {
            let warning = "this server block has no key and is ignored";
            self.warn(Diagnostic::warning(first, warning));
            return None;
        }
        for key in keys.iter().filter(|key| open.is_none() && key.word.text.ends_with('{')) {
            let text = shown(&key.word.text);
            let message = format!("'{text}' is read as the name of a zone");
            let warning = Diagnostic::warning(key.word.span, message);
            self.warn(warning.with_help("write a space before the '{'"));
        }
        Some(ServerBlock { keys: keys.into_iter().map(|key| key.word).collect(), directives })
    }

    /// The words before a `{` or the end of the line. A comma at the end of a key carries on to
    /// the next line. Nothing when there is a brace too much, or no key before the end.
    fn keys(&mut self) -> Option<Vec<KeyWord>> {
        let mut keys = Vec::new();
        let mut comma: Option<Span> = None;
        let mut started = false;
        loop {
            let at_line_start = self.stream.at_line_start();
            let Some(token) = self.stream.peek() else {
                if let Some(comma) = comma.filter(|_| !self.stopped) {
                    let error = Diagnostic::error(comma, "Unexpected EOF");
                    self.report(error.with_remark("another key has to follow the comma"));
                }
                return (!keys.is_empty()).then_some(keys);
            };
            if started && comma.is_none() && at_line_start {
                return Some(keys);
            }
            if token.is("{") {
                let span = token.span;
                if let Some(comma) = comma {
                    let message = "Expected another address but had '{' - check for extra comma";
                    let error = Diagnostic::error(span, message);
                    self.report(error.with_label(comma, "the comma of this key is too much"));
                }
                return Some(keys);
            }
            let after_block = self.stream.last().is_some_and(|last| last.is("}"));
            let Some(token) = self.stream.next() else { return Some(keys) };
            if token.is("import") && (at_line_start || !started) {
                self.import(&token);
                continue;
            }
            started = true;
            if token.is("}") {
                if keys.is_empty() && after_block && self.stream.peek().is_none() {
                    // A zone `}.` in CoreDNS, for which nobody asks.
                    let message = "this '}' has no opening brace and is ignored";
                    self.warn(Diagnostic::warning(token.span, message));
                    return None;
                }
                self.report(stray_brace(token.span));
                if keys.is_empty() {
                    return None;
                }
                continue;
            }
            let quoted = token.quoted;
            let Some(mut word) = self.word(token) else { continue };
            if word.text.is_empty() {
                continue;
            }
            comma = None;
            if !quoted && let Some(key) = word.text.strip_suffix(',') {
                comma = Some(word.span);
                word.text.truncate(key.len());
            }
            if !word.text.is_empty() {
                keys.push(KeyWord { word, quoted });
            }
        }
    }

    /// The lines of a server block up to its closing brace, or to the end of the text when there
    /// was no opening one.
    fn directives(&mut self, open: Option<Span>) -> Vec<Line> {
        let mut directives = Vec::new();
        loop {
            if self.stream.peek().is_none() {
                if let Some(open) = open {
                    self.end_of_server_block(open);
                }
                return directives;
            }
            let Some(token) = self.stream.next() else { return directives };
            if token.is("}") {
                if open.is_none() {
                    let message = "this '}' has no opening brace and ends the server block";
                    self.warn(Diagnostic::warning(token.span, message));
                }
                return directives;
            }
            if token.is("import") {
                self.import(&token);
            } else if token.is("{") {
                let error = Diagnostic::error(token.span, "Unknown directive '{'");
                self.report(error.with_help("a block belongs to the line above: put '{' there"));
                self.body(token.span, 1);
            } else {
                directives.extend(self.line(token, 0));
            }
        }
    }

    /// One line from its first word to its end or the end of the block it opens. `depth` counts
    /// the directive's blocks around it.
    fn line(&mut self, first: Token, depth: usize) -> Option<Line> {
        let mut last = first.span;
        let mut arguments = Vec::new();
        let name = self.word(first);
        loop {
            let new_line = self.stream.at_line_start();
            let Some(token) = self.stream.peek() else { break };
            let span = token.span;
            if token.is("{") {
                self.stream.next();
                if new_line {
                    let message = "Unexpected token '{' at the start of a line";
                    let error = Diagnostic::error(span, message);
                    let help = "a block opens on the line it belongs to: put the '{' there";
                    self.report(error.with_label(last, "after this").with_help(help));
                }
                let (body, end) = self.body(span, depth + 1);
                self.after_body(depth);
                let (body, brace) = (Some(body), Some(span));
                return name.map(|name| Line { name, arguments, body, brace, end });
            }
            if new_line {
                break;
            }
            if token.is("}") {
                if depth == 0 {
                    self.report(stray_brace(span).with_help("put the '}' on a line of its own"));
                }
                break;
            }
            last = span;
            let Some(token) = self.stream.next() else { break };
            arguments.extend(self.word(token));
        }
        name.map(|name| Line { name, arguments, body: None, brace: None, end: last })
    }

    /// The lines of a directive's block and its closing brace.
    fn body(&mut self, open: Span, depth: usize) -> (Vec<Line>, Span) {
        let mut lines = Vec::new();
        let mut end = open;
        if depth > MAX_DEPTH {
            self.report(Diagnostic::error(open, "blocks are nested too deeply"));
            self.skip_block();
            return (lines, end);
        }
        loop {
            if self.stream.peek().is_none() {
                self.end_of_text(open, |_| "Unexpected EOF".to_owned());
                return (lines, end);
            }
            let Some(token) = self.stream.next() else { return (lines, end) };
            end = token.span;
            if token.is("}") {
                return (lines, end);
            }
            if token.is("import") {
                self.import(&token);
            } else if token.is("{") {
                let error = Diagnostic::error(token.span, "Unexpected token '{'");
                self.report(error.with_remark("expected a word").with_help("remove this block"));
                self.body(token.span, depth + 1);
            } else {
                lines.extend(self.line(token, depth));
            }
        }
    }

    /// Nothing but the end of the block around it may follow a block on its last line.
    fn after_body(&mut self, depth: usize) {
        if self.stream.at_line_start() {
            return;
        }
        let Some(token) = self.stream.peek() else { return };
        let span = token.span;
        if !token.is("}") {
            let message = format!("Unexpected token '{}' after '}}'", shown(&token.text));
            self.report(Diagnostic::error(span, message).with_help("start a new line after '}'"));
            self.skip_line();
        } else if depth == 0 {
            self.report(stray_brace(span).with_help("put the '}' on a line of its own"));
        }
    }

    /// The word of a token. Nothing when it cannot be read, which is then reported.
    fn word(&mut self, token: Token) -> Option<Word> {
        let Token { text, span, .. } = token;
        let expanded = match self.environment.expand_word(&text) {
            Ok(expanded) => expanded,
            Err(error) => {
                self.report(Diagnostic::error(span, error.to_string()));
                return None;
            }
        };
        self.words += 1;
        self.word_bytes += expanded.len();
        if self.words > MOST_WORDS || self.word_bytes > MOST_WORD_BYTES {
            let message = "the configuration is too large when its imports are in place";
            self.stop(Diagnostic::error(span, message).with_note(format!(
                "at most {MOST_WORDS} words of together {MOST_WORD_BYTES} bytes are read"
            )));
            return None;
        }
        Some(Word { text: expanded, span })
    }

    /// Skips what is left of the line, with the block it opens.
    pub(super) fn skip_line(&mut self) {
        while !self.stream.at_line_start() {
            if self.stream.is_at("}") {
                return;
            }
            let Some(token) = self.stream.next() else { return };
            if token.is("{") {
                self.skip_block();
            }
        }
    }

    /// Skips to the brace that closes a block.
    fn skip_block(&mut self) {
        let mut depth = 1;
        while depth > 0 {
            let Some(token) = self.stream.next() else { return };
            if token.is("{") {
                depth += 1;
            } else if token.is("}") {
                depth -= 1;
            }
        }
    }

    /// Reports the end of the text inside a server block. CoreDNS is content when the last token
    /// is a closing brace, even when that brace closes the last directive's block.
    fn end_of_server_block(&mut self, open: Span) {
        if let Some(last) = self.stream.last().filter(|last| last.is("}") && !self.stopped) {
            let message = "the closing brace of the last server block is missing";
            let warning = Diagnostic::warning(last.span, message);
            self.warn(warning.with_label(open, "this '{' is never closed"));
        } else {
            self.end_of_text(open, |last| {
                format!("Syntax error: Unexpected token '{last}', expecting '}}'")
            });
        }
    }

    /// Reports the end of the text inside a block, once for the innermost one.
    pub(super) fn end_of_text(&mut self, open: Span, message: impl FnOnce(String) -> String) {
        if std::mem::replace(&mut self.stopped, true) {
            return;
        }
        let Some(last) = self.stream.last() else { return };
        let error = Diagnostic::error(last.span, message(shown(&last.text).to_string()));
        self.report(error.with_label(open, "this '{' is never closed"));
    }

    pub(super) fn report(&mut self, error: Diagnostic) {
        if self.errors.len() < MOST_DIAGNOSTICS {
            self.errors.push(error);
        }
        if self.errors.len() == MOST_DIAGNOSTICS {
            self.errors.push(Diagnostic::general("too many errors; the rest is left out"));
            self.stopped = true;
            self.stream.clear();
        }
    }

    pub(super) fn warn(&mut self, warning: Diagnostic) {
        if self.warnings.len() < MOST_DIAGNOSTICS {
            self.warnings.push(warning);
        }
    }

    /// Reports an error after which there is nothing to go on with.
    pub(super) fn stop(&mut self, error: Diagnostic) {
        if !self.stopped {
            self.report(error);
        }
        self.stopped = true;
        self.stream.clear();
    }
}

/// A key and whether it was quoted: `"(name)"` is a key, `(name)` declares a snippet.
struct KeyWord {
    word: Word,
    quoted: bool,
}

impl KeyWord {
    fn snippet_name(&self) -> Option<&str> {
        let text = self.word.text.as_str();
        if self.quoted { None } else { text.strip_prefix('(')?.strip_suffix(')') }
    }
}

fn stray_brace(span: Span) -> Diagnostic {
    Diagnostic::error(span, "Unexpected '}' because no matching opening brace")
}
