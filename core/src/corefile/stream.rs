//! The tokens of a file with those of its imports in the place of the `import` lines.

use std::sync::Arc;

use super::SourceId;
use super::lexer::Token;

/// A stack of token lists, the innermost import on top.
#[derive(Debug, Default)]
pub(super) struct Stream {
    frames: Vec<Frame>,
    /// The last token taken, for errors at the end of the text.
    last: Option<Token>,
}

/// What a list of tokens came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Origin {
    /// A file, by its place among the sources.
    File(SourceId),
    /// A snippet, by its name.
    Snippet(String),
}

#[derive(Debug)]
struct Frame {
    origin: Origin,
    tokens: Arc<[Token]>,
    next: usize,
}

impl Stream {
    /// Puts tokens before everything that is left.
    pub(super) fn push(&mut self, origin: Origin, tokens: Arc<[Token]>) {
        self.frames.push(Frame { origin, tokens, next: 0 });
    }

    /// The next token, across the ends of imports.
    pub(super) fn peek(&mut self) -> Option<&Token> {
        while self.frames.last().is_some_and(Frame::is_exhausted) {
            self.frames.pop();
        }
        let frame = self.frames.last()?;
        frame.tokens.get(frame.next)
    }

    /// Whether the next token begins a line. The first token of an import always does.
    pub(super) fn at_line_start(&mut self) -> bool {
        let starts_line = self.peek().is_some_and(|token| token.starts_line);
        starts_line || self.frames.last().is_some_and(|frame| frame.next == 0)
    }

    /// Whether the next token is this piece of the language.
    pub(super) fn is_at(&mut self, structure: &str) -> bool {
        self.peek().is_some_and(|token| token.is(structure))
    }

    /// Takes the next token, across the ends of imports.
    pub(super) fn next(&mut self) -> Option<Token> {
        self.peek()?;
        self.take()
    }

    /// The next token if it is on the line of the one before. This does not leave the current
    /// import, so that the frames of all imports being expanded stay on the stack.
    pub(super) fn peek_on_line(&self) -> Option<&Token> {
        let frame = self.frames.last()?;
        frame.tokens.get(frame.next).filter(|token| !token.starts_line)
    }

    /// Takes the next token if it is on the line of the one before.
    pub(super) fn next_on_line(&mut self) -> Option<Token> {
        self.peek_on_line()?;
        self.take()
    }

    fn take(&mut self) -> Option<Token> {
        let frame = self.frames.last_mut()?;
        let token = frame.tokens.get(frame.next)?.clone();
        frame.next += 1;
        self.last = Some(token.clone());
        Some(token)
    }

    /// The last token taken.
    pub(super) fn last(&self) -> Option<&Token> {
        self.last.as_ref()
    }

    /// Whether an import of this is being expanded right now.
    pub(super) fn is_inside(&self, origin: &Origin) -> bool {
        self.frames.iter().any(|frame| frame.origin == *origin)
    }

    /// Drops everything that is left.
    pub(super) fn clear(&mut self) {
        self.frames.clear();
    }
}

impl Frame {
    fn is_exhausted(&self) -> bool {
        self.next >= self.tokens.len()
    }
}
