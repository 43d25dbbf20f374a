//! Reading the words of a line, with errors that say what would have been right.

use std::fmt::Display;
use std::ops::{Bound, RangeBounds, RangeInclusive};
use std::time::Duration;

use super::suggest::suggest;
use super::{Diagnostic, Line, Word, format_go_duration, parse_go_duration, shown};

/// A cursor over the arguments of a [`Line`].
#[derive(Clone, Debug)]
pub struct Words<'a> {
    /// The word read last: errors about a missing word point there.
    previous: &'a Word,
    remaining: &'a [Word],
}

impl<'a> Words<'a> {
    pub(super) fn new(line: &'a Line) -> Self {
        Self { previous: &line.name, remaining: &line.arguments }
    }

    /// The next word, if there is one.
    #[expect(clippy::should_implement_trait, reason = "a cursor that is also asked other things")]
    pub fn next(&mut self) -> Option<&'a Word> {
        let (next, remaining) = self.remaining.split_first()?;
        self.previous = next;
        self.remaining = remaining;
        Some(next)
    }

    /// The next word without taking it.
    pub fn peek(&self) -> Option<&'a Word> {
        self.remaining.first()
    }

    /// All words that are left.
    pub fn rest(&mut self) -> &'a [Word] {
        let rest = std::mem::take(&mut self.remaining);
        self.previous = rest.last().unwrap_or(self.previous);
        rest
    }

    /// The next word, which must be there; `what` names it for the error, as in "a duration".
    pub fn required(&mut self, what: &str) -> Result<&'a Word, Diagnostic> {
        let previous = self.previous;
        self.next().ok_or_else(|| {
            wrong_count(previous)
                .with_remark(format!("expected {what} after this"))
                .with_help(format!("add {what}"))
        })
    }

    /// At least one word, all that are left.
    pub fn required_rest(&mut self, what: &str) -> Result<&'a [Word], Diagnostic> {
        self.clone().required(what)?;
        Ok(self.rest())
    }

    /// Refuses further words.
    pub fn end(&self) -> Result<(), Diagnostic> {
        let Some(surplus) = self.remaining.first() else { return Ok(()) };
        let after = shown(&self.previous.text);
        let help = match surplus.text.as_str() {
            "{}" => "write '{' and '}' as two words, or leave them out".to_owned(),
            _ => format!("nothing may follow '{after}' here"),
        };
        Err(wrong_count(surplus).with_remark("not expected here").with_help(help))
    }

    /// A required duration in Go's notation, within bounds; `what` names it for errors, as in "a duration".
    pub fn duration(
        &mut self,
        what: &str,
        range: impl RangeBounds<Duration>,
    ) -> Result<Duration, Diagnostic> {
        self.required(what)?.as_duration(range)
    }

    /// A required whole number within bounds; `what` names it for errors, as in "a port".
    pub fn integer<T>(&mut self, what: &str, range: RangeInclusive<T>) -> Result<T, Diagnostic>
    where
        T: Copy + PartialOrd + Display + TryFrom<i128>,
    {
        self.required(what)?.parse_integer(what, range)
    }

    /// A required number within bounds.
    pub fn float(&mut self, what: &str, range: RangeInclusive<f64>) -> Result<f64, Diagnostic> {
        let word = self.required(what)?;
        match word.text.parse::<f64>() {
            Ok(number) if range.contains(&number) => Ok(number),
            _ => Err(word
                .error(format!("'{}' is not {what}", shown(&word.text)))
                .with_note(format!("allowed here: {} to {}", range.start(), range.end()))),
        }
    }

    /// A required word of a fixed list, as the value that belongs to it; `what` names it for errors, as in "a policy".
    pub fn one_of<T: Clone>(&mut self, what: &str, allowed: &[(&str, T)]) -> Result<T, Diagnostic> {
        let names: Vec<&str> = allowed.iter().map(|(name, _)| *name).collect();
        let word = self.required(&format!("{what} ({})", names.join(", ")))?;
        let found = allowed.iter().find(|(name, _)| *name == word.text);
        found.map(|(_, value)| value.clone()).ok_or_else(|| {
            suggest(word.error(format!("unexpected '{}'", shown(&word.text))), &word.text, &names)
        })
    }
}

impl Word {
    /// An error about this word.
    pub fn error(&self, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.span, message)
    }

    /// The word as a duration in Go's notation, which may not be negative.
    pub fn duration(&self) -> Result<Duration, Diagnostic> {
        parse_go_duration(&self.text).map_err(|error| {
            self.error(error.to_string()).with_optional_help(error.help(&self.text))
        })
    }

    /// The word as a duration in Go's notation, within bounds.
    pub fn as_duration(&self, range: impl RangeBounds<Duration>) -> Result<Duration, Diagnostic> {
        let duration = self.duration()?;
        if range.contains(&duration) {
            return Ok(duration);
        }
        let message = format!("duration '{}' is out of range", shown(&self.text));
        Err(self.error(message).with_note(format!("allowed here: {}", durations(&range))))
    }

    /// The word as a whole number within bounds; `what` names it for errors, as in "a port".
    pub fn parse_integer<T>(&self, what: &str, range: RangeInclusive<T>) -> Result<T, Diagnostic>
    where
        T: Copy + PartialOrd + Display + TryFrom<i128>,
    {
        let number = self.text.parse::<i128>();
        let in_range = number.as_ref().ok().and_then(|&number| T::try_from(number).ok());
        if let Some(number) = in_range.filter(|number| range.contains(number)) {
            return Ok(number);
        }
        let text = shown(&self.text);
        let message = match number {
            Ok(_) => format!("{text} is out of range for {what}"),
            Err(_) => format!("'{text}' is not {what}"),
        };
        Err(self.error(message).with_note(format!(
            "allowed here: {} to {}",
            range.start(),
            range.end()
        )))
    }
}

/// CoreDNS's text for a word too few or too many.
fn wrong_count(word: &Word) -> Diagnostic {
    let text = shown(&word.text);
    word.error(format!("Wrong argument count or unexpected line ending after '{text}'"))
}

fn durations(range: &impl RangeBounds<Duration>) -> String {
    let low = match range.start_bound() {
        Bound::Included(low) => format_go_duration(*low),
        Bound::Excluded(low) => format!("more than {}", format_go_duration(*low)),
        Bound::Unbounded => "0s".to_owned(),
    };
    match range.end_bound() {
        Bound::Included(high) => format!("{low} to {}", format_go_duration(*high)),
        Bound::Excluded(high) => format!("{low} to less than {}", format_go_duration(*high)),
        Bound::Unbounded => {
            format!("{low} or more").replace("more than 0s or more", "more than 0s")
        }
    }
}
