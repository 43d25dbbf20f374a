//! `answer ...`: what a name rule changes in the response.

use periplus_core::corefile::{Diagnostic, Words, shown};

use super::super::pattern::Case;
use super::super::rule::{AnswerRule, Part, Renamer};
use super::words::{normalize, refuse, regex, template};

/// The answer part of a name rule.
pub(super) struct Answers {
    /// `auto` was given.
    pub(super) auto: bool,
    /// `name` and `value`, in the order written.
    pub(super) rules: Vec<AnswerRule>,
}

/// `answer auto` and `answer (name|value) FROM TO`, as often as wanted; `answer` may be left out after the first.
pub(super) fn read_answers(words: &mut Words<'_>, matching: &str) -> Result<Answers, Diagnostic> {
    let mut answers = Answers { auto: false, rules: Vec::new() };
    let mut auto = None;
    let mut named = None;
    let mut first = true;
    while let Some(word) = words.next() {
        let item = match word.text.as_str() {
            "answer" => words.required("auto, name or value")?,
            _ if first => {
                let message = format!(
                    "exceeded the number of arguments for a non-answer rule argument for {} rule",
                    shown(matching)
                );
                return Err(refuse(word, message, &["answer"]));
            }
            _ => word,
        };
        first = false;
        let part = match item.text.as_str() {
            "auto" => {
                answers.auto = true;
                auto = Some(item);
                continue;
            }
            "name" => {
                named = Some(item);
                Part::Owner
            }
            "value" => Part::Value,
            other => {
                let message = format!(
                    "invalid type \"{}\" for answer rule for {} rule",
                    shown(other),
                    shown(matching)
                );
                return Err(refuse(item, message, &["auto", "name", "value"]));
            }
        };
        let from = words.required("a regular expression")?;
        let to = words.required("a replacement")?;
        let regex = regex(from, Case::Respected)?;
        let template = template(to, &normalize(&to.text), &regex, from)?;
        answers
            .rules
            .push(AnswerRule { part, renamer: Renamer::Regex { from: regex, to: template } });
    }
    match (auto, named) {
        (Some(auto), Some(named)) => Err(named
            .error("auto name answer rule cannot be combined with explicit name answer rules")
            .with_label(auto.span, "names are turned back by this")),
        _ => Ok(answers),
    }
}
