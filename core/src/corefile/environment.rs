//! Environment variables in words: `{$NAME}` and `{%NAME%}`.

use std::fmt;

/// More references than any word needs; only a value that contains its own reference gets there.
const MOST_ROUNDS: usize = 1_000;
/// The longest a word may become.
const LONGEST: usize = 1024 * 1024;

/// Where the values come from.
type Lookup = dyn Fn(&str) -> Option<String> + Send + Sync;

/// The values, and where they are put in.
pub(super) struct Environment {
    lookup: Box<Lookup>,
    keep_references: bool,
}

impl Environment {
    pub(super) fn new(lookup: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self { lookup: Box::new(lookup), keep_references: false }
    }

    /// Leaves references in words as they are written.
    pub(super) fn keeping_references(self) -> Self {
        Self { keep_references: true, ..self }
    }

    /// A word with the values put in, unless references are kept.
    pub(super) fn expand_word(&self, text: &str) -> Result<String, EnvironmentError> {
        if self.keep_references { Ok(text.to_owned()) } else { self.expand(text) }
    }

    /// A text with the values put in.
    pub(super) fn expand(&self, text: &str) -> Result<String, EnvironmentError> {
        expand(text, &*self.lookup)
    }
}

/// Puts the values in, first those of `{%NAME%}`, then those of `{$NAME}`, in the order and with
/// the oddities of CoreDNS: there are no default values, a value is searched for references
/// again, an empty reference ends the search, and an unset variable is empty.
pub(super) fn expand(text: &str, lookup: &Lookup) -> Result<String, EnvironmentError> {
    let text = expand_form(text.to_owned(), "{%", "%}", lookup)?;
    expand_form(text, "{$", "}", lookup)
}

fn expand_form(
    mut text: String,
    open: &str,
    close: &str,
    lookup: &Lookup,
) -> Result<String, EnvironmentError> {
    for _ in 0..MOST_ROUNDS {
        let Some(start) = text.find(open) else { return Ok(text) };
        let Some(length) = text[start..].find(close) else { return Ok(text) };
        let end = start + length;
        // `{$}`, `{%%}` or `{%}`: no name.
        if end <= start + open.len() {
            return Ok(text);
        }
        let name = text[start + open.len()..end].to_owned();
        let value = lookup(&name).unwrap_or_default();
        let reference = text[start..end + close.len()].to_owned();
        let references = text.matches(&reference).count();
        if text.len() + references * value.len() > LONGEST {
            return Err(EnvironmentError { name });
        }
        text = text.replace(&reference, &value);
    }
    let start = text.find(open).map_or(0, |start| start + open.len());
    let name = text[start..].split(close).next().unwrap_or_default().to_owned();
    Err(EnvironmentError { name })
}

/// A variable whose value leads back to itself, or grows a word beyond all bounds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EnvironmentError {
    name: String,
}

impl fmt::Display for EnvironmentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = super::shown(&self.name);
        write!(f, "the value of environment variable '{name}' contains itself or is too long")
    }
}
