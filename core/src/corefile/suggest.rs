//! "Did you mean": the near miss of a word, and the errors built on it.

use super::{Diagnostic, Word, shown};

/// Longer words are no slips of a known one, and comparing them costs.
const LONGEST_WORD: usize = 64;

/// The allowed word nearest to the one found, if it is near enough to be what was meant.
pub fn did_you_mean<'a>(word: &str, allowed: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let length = word.chars().count();
    if length > LONGEST_WORD {
        return None;
    }
    let lower = word.to_lowercase();
    let near = allowed.into_iter().filter_map(|candidate| {
        let distance = strsim::osa_distance(&lower, &candidate.to_lowercase());
        // One slip per three letters: 'erors' is near 'errors', 'log' is not near 'dns'.
        let most = length.max(candidate.chars().count()).div_ceil(3).min(length.saturating_sub(1));
        (distance <= most && candidate != word).then_some((distance, candidate))
    });
    near.min_by_key(|(distance, _)| *distance).map(|(_, candidate)| candidate)
}

/// The error for the name of a line that a directive's block does not know.
pub fn unknown_property(name: &Word, allowed: &[&str]) -> Diagnostic {
    let error = name.error(format!("unknown property '{}'", shown(&name.text)));
    suggest(error, &name.text, allowed)
}

/// The error for a directive that is not in `known`; `not_yet` are plugins of CoreDNS that are
/// missing here, which is a different thing from a slip of the pen.
pub fn unknown_directive(name: &Word, known: &[&str], not_yet: &[&str]) -> Diagnostic {
    let text = shown(&name.text);
    if not_yet.contains(&name.text.as_str()) {
        return name.error(format!(
            "'{text}' is a CoreDNS plugin that Periplus does not have yet; available: {}",
            known.join(", ")
        ));
    }
    suggest(name.error(format!("Unknown directive '{text}'")), &name.text, known)
}

/// Adds the near miss and the list of what is allowed.
pub(super) fn suggest(error: Diagnostic, word: &str, allowed: &[&str]) -> Diagnostic {
    let near = did_you_mean(word, allowed.iter().copied());
    let error = error.with_optional_help(near.map(|near| format!("did you mean '{near}'?")));
    if allowed.is_empty() {
        return error.with_note("nothing is allowed here");
    }
    error.with_note(format!("allowed here: {}", allowed.join(", ")))
}
