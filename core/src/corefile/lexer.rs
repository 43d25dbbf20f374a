//! From text to tokens, by the rules of CoreDNS's lexer.

use super::limits::MOST_WORDS;
use super::source::{SourceId, Span};
use super::{Diagnostic, Diagnostics};

/// A token as it stands in the text, before environment variables are put in.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) text: String,
    pub(super) span: Span,
    /// Quoted tokens are never braces, imports or snippets.
    pub(super) quoted: bool,
    /// Whether the token before it, if any, ended on an earlier line.
    pub(super) starts_line: bool,
}

impl Token {
    /// Whether it is this piece of the language and not a word that looks like it.
    pub(super) fn is(&self, structure: &str) -> bool {
        !self.quoted && self.text == structure
    }
}

/// Splits a text into tokens. What CoreDNS accepts without a word, such as a quote that is never
/// closed, is accepted and warned about. One token more than allowed is the most that is read.
pub(super) fn lex(source: SourceId, text: &str, warnings: &mut Diagnostics) -> Vec<Token> {
    let mut lexer = Lexer { source, text, at: 0, line: 1, column: 1 };
    // One byte order mark at the start means nothing.
    if text.starts_with('\u{feff}') {
        lexer.at = '\u{feff}'.len_utf8();
        lexer.column = 2;
    }
    let mut tokens: Vec<Token> = Vec::new();
    let mut last_line = 0;
    while tokens.len() <= MOST_WORDS
        && let Some(mut token) = lexer.token(warnings)
    {
        token.starts_line = token.span.line > last_line;
        last_line = lexer.line_of_token_end(&token);
        tokens.push(token);
    }
    tokens
}

struct Lexer<'t> {
    source: SourceId,
    text: &'t str,
    at: usize,
    line: u32,
    column: u32,
}

impl Lexer<'_> {
    fn token(&mut self, warnings: &mut Diagnostics) -> Option<Token> {
        self.skip_blank();
        let start = self.here();
        match self.peek()? {
            '"' => self.quoted(start, warnings),
            _ => Some(self.unquoted(start)),
        }
    }

    /// Passes over white space and comments.
    fn skip_blank(&mut self) {
        while let Some(next) = self.peek() {
            if next == '#' {
                while self.peek().is_some_and(|next| next != '\n') {
                    self.advance();
                }
            } else if next.is_whitespace() {
                self.advance();
            } else {
                return;
            }
        }
    }

    /// Up to white space. A `#` inside starts a comment that only lasts to the next white space,
    /// and a carriage return vanishes, even from the middle: CoreDNS reads `a#b c` as `a c`.
    fn unquoted(&mut self, start: Span) -> Token {
        let mut text = String::new();
        let mut end = self.at;
        let mut comment = false;
        while let Some(next) = self.peek() {
            if next != '\r' && next.is_whitespace() {
                break;
            }
            self.advance();
            comment |= next == '#';
            if !comment && next != '\r' {
                text.push(next);
                end = self.at;
            }
        }
        let span = Span { end: end as u32, ..start };
        Token { text, span, quoted: false, starts_line: false }
    }

    /// Up to the closing quote. Only `\"` is an escape; every other backslash stays, together
    /// with the character after it.
    fn quoted(&mut self, start: Span, warnings: &mut Diagnostics) -> Option<Token> {
        self.advance();
        let mut text = String::new();
        let mut closed = false;
        let mut escaped = false;
        while let Some(next) = self.peek() {
            self.advance();
            match next {
                '"' if !escaped => {
                    closed = true;
                    break;
                }
                '\\' if !escaped => {
                    escaped = true;
                    continue;
                }
                '"' => {}
                _ if escaped => text.push('\\'),
                _ => {}
            }
            text.push(next);
            escaped = false;
        }
        if !closed {
            let quote = Span { end: start.start + 1, ..start };
            warnings.push(
                Diagnostic::warning(quote, "this quote is never closed")
                    .with_remark("everything from here to the end of the file is one word")
                    .with_help("close it with '\"'; inside quotes, write '\\\"' for a quote"),
            );
            if text.is_empty() {
                return None;
            }
        }
        let span = Span { end: self.at as u32, ..start };
        Some(Token { text, span, quoted: true, starts_line: false })
    }

    /// Unquoted tokens hold no newline; quoted ones may.
    fn line_of_token_end(&self, token: &Token) -> u32 {
        if token.quoted { self.line } else { token.span.line }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn advance(&mut self) {
        let Some(next) = self.peek() else { return };
        self.at += next.len_utf8();
        if next == '\n' {
            self.line += 1;
            self.column = 1;
        } else {
            self.column += 1;
        }
    }

    /// An empty span at the current place.
    fn here(&self) -> Span {
        let at = self.at as u32;
        Span { source: self.source, line: self.line, column: self.column, start: at, end: at }
    }
}
