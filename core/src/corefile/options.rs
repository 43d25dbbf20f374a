//! What many plugins read in the same way.

use super::{Diagnostic, Directive, Line, Word, normalize_zone};
use crate::name::Name;
use crate::zone::{Fallthrough, Zones};

/// The one occurrence of a directive that may stand in a server block only once.
pub fn only_once<'a>(directives: &[&'a Directive]) -> Result<&'a Directive, Diagnostic> {
    let (first, others) =
        directives.split_first().expect("setup is called for a directive that is there");
    match others.first() {
        None => Ok(first),
        Some(second) => Err(second
            .name
            .error("this plugin can only be used once per Server Block")
            .with_label(first.name.span, "first used here")),
    }
}

/// `[ZONES...]`: scheme and port are stripped, networks expanded, and what is no zone is passed over, as in CoreDNS.
pub fn zones(words: &[Word]) -> Vec<Name> {
    let texts = words.iter().filter_map(|word| normalize_zone(&word.text).ok()).flatten();
    texts.filter_map(|text| Name::parse(&text).ok()).collect()
}

/// `fallthrough [ZONES...]`: all names if no zone is given.
pub fn fallthrough(line: &Line) -> Fallthrough {
    let zones = if line.arguments.is_empty() { vec![Name::root()] } else { zones(&line.arguments) };
    Fallthrough::Zones(Zones::new(zones))
}
