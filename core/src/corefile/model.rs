//! The one data model behind both forms of a configuration.

use super::{Diagnostic, Diagnostics, Inputs, Sources, Span, Words, shown};

/// A whole configuration: environment, snippets and imports are already resolved.
#[derive(Debug)]
pub struct Corefile {
    /// The server blocks in file order.
    pub blocks: Vec<ServerBlock>,
    /// The texts the spans point into, for rendering diagnostics.
    pub sources: Sources,
    /// What is accepted but most likely not meant.
    pub warnings: Diagnostics,
    /// The files read and the glob patterns looked up.
    pub inputs: Inputs,
}

/// Keys and what is configured for them.
#[derive(Clone, Debug)]
pub struct ServerBlock {
    /// The keys as written; never empty. [`parse_key`](super::parse_key) gives them their meaning.
    pub keys: Vec<Word>,
    /// The directives in file order, one entry per occurrence.
    pub directives: Vec<Directive>,
}

impl ServerBlock {
    /// The occurrences of one directive, in file order.
    pub fn occurrences<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Directive> {
        self.directives.iter().filter(move |directive| directive.name.text == name)
    }
}

/// One occurrence of a directive in a server block: a line and the block it may open.
pub type Directive = Line;

/// A name, its arguments and, when the line opens one, the block below it.
#[derive(Clone, Debug)]
pub struct Line {
    /// The first word.
    pub name: Word,
    /// The words after it on the same line.
    pub arguments: Vec<Word>,
    /// The lines between the braces; `Some` and empty for an empty pair of braces.
    pub body: Option<Vec<Line>>,
    /// The opening brace, when there is a body.
    pub brace: Option<Span>,
    /// The last word, or the closing brace.
    pub end: Span,
}

impl Line {
    /// A cursor over the arguments.
    pub fn words(&self) -> Words<'_> {
        Words::new(self)
    }

    /// The lines of the body; none when there is no body.
    pub fn lines(&self) -> &[Line] {
        self.body.as_deref().unwrap_or_default()
    }

    /// Refuses a body.
    pub fn no_body(&self) -> Result<(), Diagnostic> {
        let Some(brace) = self.brace else { return Ok(()) };
        let name = shown(&self.name.text);
        Err(Diagnostic::error(brace, format!("Unexpected token '{{' after '{name}'"))
            .with_help(format!("'{name}' takes no block")))
    }

    /// Refuses arguments.
    pub fn no_arguments(&self) -> Result<(), Diagnostic> {
        self.words().end()
    }
}

/// One word: what the lexer calls a token, after environment variables were put in.
#[derive(Clone, Debug)]
pub struct Word {
    /// The text without quotes.
    pub text: String,
    /// Where it was written.
    pub span: Span,
}
