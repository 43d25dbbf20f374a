//! What the directives of several plugins share: `[ZONES...]`, `fallthrough [ZONES...]`, and being there only once.

use super::{Diagnostic, Directive, Line, Word, normalize_zone};
use crate::name::Name;
use crate::zone::{Fallthrough, Zones};

/// The one stanza of a directive that may occur once in a block.
pub fn only_once<'a>(directives: &[&'a Directive]) -> Result<&'a Directive, Diagnostic> {
    match directives {
        [only] => Ok(only),
        [first, second, ..] => Err(second
            .name
            .error("this plugin can only be used once per Server Block")
            .with_label(first.name.span, "first used here")),
        [] => unreachable!("setup is called for directives that are there"),
    }
}

/// `[ZONES...]` arguments: scheme and port are stripped, CIDR is expanded, and words that are no zone are skipped, as in CoreDNS.
pub fn zones(words: &[Word]) -> Vec<Name> {
    let normalized = words.iter().filter_map(|word| normalize_zone(&word.text).ok()).flatten();
    normalized.filter_map(|zone| Name::parse(&zone).ok()).collect()
}

/// `fallthrough [ZONES...]`: without zones, every name.
pub fn fallthrough(line: &Line) -> Fallthrough {
    if line.arguments.is_empty() {
        return Fallthrough::Zones(Zones::new([Name::root()]));
    }
    Fallthrough::Zones(Zones::new(zones(&line.arguments)))
}
