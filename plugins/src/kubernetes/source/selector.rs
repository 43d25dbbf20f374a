//! Label selectors, for sources that have no API server to apply them, and to find mistakes in them early.

use std::collections::BTreeMap;
use std::fmt;

/// Labels of an object.
pub(super) type Labels = BTreeMap<String, String>;

/// A label selector: all of its requirements must be met.
///
/// The language is that of CoreDNS's options `labels` and `namespace_labels` (apimachinery's `ParseToLabelSelector`): `key`, `!key`,
/// `key=value`, `key==value`, `key!=value`, `key in (a, b)`, `key notin (a, b)`, separated by commas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    wants: Wants,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wants {
    Present,
    Absent,
    OneOf(Vec<String>),
    /// Also met without the label.
    NoneOf(Vec<String>),
}

/// What is wrong with a selector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SelectorError {
    found: String,
    wanted: &'static str,
}

impl fmt::Display for SelectorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let found = if self.found.is_empty() { "the end" } else { &self.found };
        write!(f, "found {found:?} in the label selector, want {}", self.wanted)
    }
}

const OPERATORS: &str = "one of =, ==, !=, in, notin";
const KEY: &str =
    "a label key: letters, digits, '-', '_', '.', with an optional 'domain/' before it";
const VALUE: &str = "a label value: at most 63 letters, digits, '-', '_', '.'";

impl Selector {
    /// Reads a selector.
    pub(super) fn parse(text: &str) -> Result<Selector, SelectorError> {
        let mut words = Words { rest: text };
        let mut requirements = Vec::new();
        while !words.peek().is_empty() {
            requirements.push(words.requirement()?);
            match words.next() {
                "" => break,
                "," if !words.peek().is_empty() => {}
                other => return Err(wrong(other, "',' and one more requirement, or the end")),
            }
        }
        Ok(Selector(requirements))
    }

    /// Whether an object with these labels is selected.
    pub(super) fn matches(&self, labels: &Labels) -> bool {
        self.0.iter().all(|requirement| {
            let value = labels.get(&requirement.key);
            match &requirement.wants {
                Wants::Present => value.is_some(),
                Wants::Absent => value.is_none(),
                Wants::OneOf(values) => value.is_some_and(|value| values.contains(value)),
                Wants::NoneOf(values) => value.is_none_or(|value| !values.contains(value)),
            }
        })
    }
}

/// The words of a selector, one by one; the empty word is the end.
struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    fn peek(&self) -> &'a str {
        let rest = self.rest.trim_start();
        let symbols = ["==", "!=", "=", "!", "<", ">", "(", ")", ","];
        if let Some(symbol) = symbols.iter().find(|symbol| rest.starts_with(**symbol)) {
            return &rest[..symbol.len()];
        }
        let ends = |character: char| character.is_whitespace() || "=!<>(),".contains(character);
        &rest[..rest.find(ends).unwrap_or(rest.len())]
    }

    fn next(&mut self) -> &'a str {
        let word = self.peek();
        self.rest = &self.rest.trim_start()[word.len()..];
        word
    }

    fn requirement(&mut self) -> Result<Requirement, SelectorError> {
        if self.peek() == "!" {
            self.next();
            return Ok(Requirement { key: self.key()?, wants: Wants::Absent });
        }
        let key = self.key()?;
        let wants = match self.peek() {
            "" | "," => Wants::Present,
            operator => {
                self.next();
                match operator {
                    "=" | "==" => Wants::OneOf(vec![self.value()?]),
                    "!=" => Wants::NoneOf(vec![self.value()?]),
                    "in" => Wants::OneOf(self.values()?),
                    "notin" => Wants::NoneOf(self.values()?),
                    other => return Err(wrong(other, OPERATORS)),
                }
            }
        };
        Ok(Requirement { key, wants })
    }

    fn key(&mut self) -> Result<String, SelectorError> {
        let key = self.next();
        let (domain, name) = key.rsplit_once('/').unwrap_or(("", key));
        let valid = !name.is_empty()
            && is_value(name)
            && domain.len() <= 253
            && domain.chars().all(is_label_character);
        if valid { Ok(key.to_owned()) } else { Err(wrong(key, KEY)) }
    }

    /// A value, which may be empty: `key=`.
    fn value(&mut self) -> Result<String, SelectorError> {
        match self.peek() {
            "" | "," | ")" => Ok(String::new()),
            value if is_value(value) => {
                self.next();
                Ok(value.to_owned())
            }
            other => Err(wrong(other, VALUE)),
        }
    }

    fn values(&mut self) -> Result<Vec<String>, SelectorError> {
        match self.next() {
            "(" => {}
            other => return Err(wrong(other, "'('")),
        }
        let mut values = Vec::new();
        loop {
            values.push(self.value()?);
            match self.next() {
                "," => {}
                ")" => return Ok(values),
                other => return Err(wrong(other, "',' or ')'")),
            }
        }
    }
}

fn is_value(text: &str) -> bool {
    let ends = |edge: Option<char>| edge.is_none_or(|character| character.is_ascii_alphanumeric());
    text.len() <= 63
        && text.chars().all(is_label_character)
        && ends(text.chars().next())
        && ends(text.chars().last())
}

fn is_label_character(character: char) -> bool {
    character.is_ascii_alphanumeric() || "-_.".contains(character)
}

fn wrong(found: &str, wanted: &'static str) -> SelectorError {
    SelectorError { found: found.to_owned(), wanted }
}
