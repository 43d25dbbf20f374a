//! The rules, and what each does to a question.

use periplus_core::codes::{Class, Rcode, RecordType};
use periplus_core::name::{Name, NameBuf, NameRef, NameText};
use regex::bytes::Regex;

use super::edns::OptionRule;
use super::pass::{Pass, Undo};
use super::pattern::{Matcher, NotAName, Rewriter, Suffix, Target, Template, exchange_zone};

/// One `rewrite` directive.
#[derive(Debug)]
pub(super) struct Rule {
    pub(super) mode: Mode,
    pub(super) action: Action,
}

/// Whether further rules are tried after this one applied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Continue,
    Stop,
}

/// What a rule does.
#[derive(Debug)]
pub(super) enum Action {
    /// Asks for another name.
    Name(NameRule),
    /// Asks for another type.
    Type { from: RecordType, to: RecordType },
    /// Asks in another class.
    Class { from: Class, to: Class },
    /// Changes an option of the request.
    Option(OptionRule),
    /// Brings the TTLs of the response into a range, in seconds.
    Ttl { names: Matcher, least: u32, most: u32 },
    /// Changes the response code.
    Rcode { names: Matcher, from: Rcode, to: Rcode },
    /// Points a CNAME of the response elsewhere.
    Cname(Rewriter),
}

impl Rule {
    /// Tries the rule on the question as it stands. `Ok(false)`: the rule is not meant.
    pub(super) fn apply(&self, number: usize, pass: &mut Pass<'_>) -> Result<bool, NotAName> {
        match &self.action {
            Action::Name(rule) => return rule.apply(number, pass),
            Action::Type { from, to } if pass.query().qtype == *from => {
                pass.query_mut().qtype = *to
            }
            Action::Class { from, to } if pass.query().class == *from => {
                pass.query_mut().class = *to
            }
            Action::Option(rule) => return Ok(rule.apply(number, pass)),
            Action::Ttl { names, .. } | Action::Rcode { names, .. } if pass.matches(names) => {
                pass.mend_later(number, Undo::Nothing);
            }
            Action::Cname(_) => pass.mend_later(number, Undo::Nothing),
            _ => return Ok(false),
        }
        Ok(true)
    }
}

/// `name`: asks for another name and says which names of the response are turned back.
#[derive(Debug)]
pub(super) struct NameRule {
    pub(super) rewriter: Rewriter,
    /// Whether the name that was asked for becomes the one the rule saw wherever it stands in the response.
    pub(super) restore: bool,
    /// What else is renamed in the response, in the order written.
    pub(super) answers: Vec<AnswerRule>,
}

impl NameRule {
    fn apply(&self, number: usize, pass: &mut Pass<'_>) -> Result<bool, NotAName> {
        let Some(renamed) = pass.rewritten(&self.rewriter) else { return Ok(false) };
        let renamed = renamed?;
        if self.restore {
            // An exact rule knows both names beforehand.
            let names = match (&self.rewriter.from, &self.rewriter.to) {
                (Matcher::Exact(from), Target::Name(to)) => (to.clone(), from.clone()),
                _ => (renamed.to_name(), pass.query().name().to_name()),
            };
            pass.mend_later(number, Undo::Name { rewritten: names.0, original: names.1 });
        } else if !self.answers.is_empty() {
            pass.mend_later(number, Undo::Nothing);
        }
        pass.rename(renamed.as_ref());
        Ok(true)
    }
}

/// One renaming in the response.
#[derive(Debug)]
pub(super) struct AnswerRule {
    pub(super) part: Part,
    pub(super) renamer: Renamer,
}

/// Where a name stands in a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// In front: whose record it is.
    Owner,
    /// In the RDATA: what the record points to.
    Value,
}

/// How a name of the response is changed.
#[derive(Debug)]
pub(super) enum Renamer {
    /// Names that end in `from` end in `to`.
    Suffix { from: Suffix, to: Suffix },
    /// Names in which the expression finds something become the filled template.
    Regex { from: Regex, to: Template },
}

impl Renamer {
    /// The new name; `None` when the name is not meant, or when no domain name would come of it.
    pub(super) fn renamed(&self, name: NameRef<'_>) -> Option<NameBuf> {
        match self {
            Renamer::Suffix { from, to } => from.renamed(to, name),
            Renamer::Regex { from, to } => to.fill(from, NameText::of(name).as_str())?.ok(),
        }
    }
}

/// `name` moved from at or below `rewritten` to `original`.
pub(super) fn restored(name: NameRef<'_>, rewritten: &Name, original: &Name) -> Option<NameBuf> {
    if !name.is_at_or_below(rewritten.as_ref()) {
        return None;
    }
    exchange_zone(name, rewritten.as_ref(), original.as_ref()).ok()
}
