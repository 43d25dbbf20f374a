//! What is wrong with a configuration, and where.

use std::fmt;

use super::Span;

/// Whether a configuration can be used in spite of a diagnostic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// The configuration is used.
    Warning,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Error or warning.
    pub severity: Severity,
    /// What is wrong; where CoreDNS has a text for it, that text.
    pub message: String,
    /// The words it is about; none when it concerns no text, as with a file that cannot be read.
    pub span: Option<Span>,
    /// Short remarks, at the span itself and at other places that explain it.
    pub labels: Vec<Label>,
    /// What to do about it: the near miss, or the way to write it.
    pub help: Option<String>,
    /// What is allowed, and other facts.
    pub notes: Vec<String>,
    /// The same text may be right at another time, as when it names a file that is missing.
    pub may_pass: bool,
}

/// A short remark at a place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Label {
    /// The place.
    pub span: Span,
    /// The remark.
    pub text: String,
}

impl Diagnostic {
    /// An error about a stretch of text.
    pub fn error(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Error, Some(span), message.into())
    }

    /// A warning about a stretch of text.
    pub fn warning(span: Span, message: impl Into<String>) -> Self {
        Self::new(Severity::Warning, Some(span), message.into())
    }

    /// An error about no text in particular.
    pub fn general(message: impl Into<String>) -> Self {
        Self::new(Severity::Error, None, message.into())
    }

    fn new(severity: Severity, span: Option<Span>, message: String) -> Self {
        let (labels, help, notes) = Default::default();
        Self { severity, message, span, labels, help, notes, may_pass: false }
    }

    /// Says that the same text may be right at another time.
    pub fn that_may_pass(mut self) -> Self {
        self.may_pass = true;
        self
    }

    /// Says what to do about it.
    pub fn with_help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// Says what to do about it, if there is something to say.
    pub fn with_optional_help(mut self, help: Option<String>) -> Self {
        self.help = help.or(self.help);
        self
    }

    /// Adds a fact, such as what is allowed.
    pub fn with_note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// Puts a short remark at the span.
    pub fn with_remark(mut self, text: impl Into<String>) -> Self {
        if let Some(span) = self.span {
            self.labels.push(Label { span, text: text.into() });
        }
        self
    }

    /// Points at another place.
    pub fn with_label(mut self, span: Span, text: impl Into<String>) -> Self {
        self.labels.push(Label { span, text: text.into() });
        self
    }

    /// Says which plugin complains, with the prefix CoreDNS gives the errors of a plugin's setup.
    pub fn for_plugin(mut self, plugin: &str) -> Self {
        let prefix = format!("plugin/{plugin}: ");
        if !self.message.starts_with(&prefix) {
            self.message.insert_str(0, &prefix);
        }
        self
    }
}

/// Several diagnostics, in the order they were found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diagnostics(Vec<Diagnostic>);

impl Diagnostics {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds one.
    pub fn push(&mut self, diagnostic: Diagnostic) {
        self.0.push(diagnostic);
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether the configuration has to be refused.
    pub fn has_errors(&self) -> bool {
        self.0.iter().any(|diagnostic| diagnostic.severity == Severity::Error)
    }

    /// The diagnostics in order.
    pub fn iter(&self) -> std::slice::Iter<'_, Diagnostic> {
        self.0.iter()
    }

    pub(super) fn get_mut(&mut self, index: usize) -> Option<&mut Diagnostic> {
        self.0.get_mut(index)
    }

    /// Adds the error of a result and gives back its value, to go on and find more errors.
    pub fn take<T>(&mut self, result: Result<T, impl Into<Diagnostics>>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(errors) => {
                self.extend(errors.into());
                None
            }
        }
    }

    /// The value, unless there are errors.
    pub fn into_result<T>(self, value: T) -> Result<T, Self> {
        if self.has_errors() { Err(self) } else { Ok(value) }
    }
}

impl From<Diagnostic> for Diagnostics {
    fn from(diagnostic: Diagnostic) -> Self {
        Self(vec![diagnostic])
    }
}

impl Extend<Diagnostic> for Diagnostics {
    fn extend<I: IntoIterator<Item = Diagnostic>>(&mut self, more: I) {
        self.0.extend(more);
    }
}

impl FromIterator<Diagnostic> for Diagnostics {
    fn from_iter<I: IntoIterator<Item = Diagnostic>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

impl IntoIterator for Diagnostics {
    type Item = Diagnostic;
    type IntoIter = std::vec::IntoIter<Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> IntoIterator for &'a Diagnostics {
    type Item = &'a Diagnostic;
    type IntoIter = std::slice::Iter<'a, Diagnostic>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

/// A word as it goes into a message: on one line and of bounded length.
pub fn shown(text: &str) -> impl fmt::Display + '_ {
    Shown(text)
}

/// A word in double quotes with escapes, of bounded length: what `%q` writes in CoreDNS.
pub(super) fn quoted(text: &str) -> String {
    let cut: String = text.chars().take(MOST_SHOWN).collect();
    format!("{cut:?}")
}

/// Longer than any domain name, so that names are always shown whole.
const MOST_SHOWN: usize = 260;

struct Shown<'a>(&'a str);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        use fmt::Write;
        for (count, char) in self.0.chars().enumerate() {
            match char {
                _ if count == MOST_SHOWN => return f.write_str("..."),
                char if char.is_control() => write!(f, "{}", char.escape_default())?,
                char => f.write_char(char)?,
            }
        }
        Ok(())
    }
}
