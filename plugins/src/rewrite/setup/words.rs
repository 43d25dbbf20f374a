//! Words that are names, expressions or choices.

use periplus_core::corefile::{Diagnostic, Word, did_you_mean, shown};
use periplus_core::name::Name;
use regex::bytes::Regex;

use super::super::pattern::{Case, MAX_PATTERN, PatternError, Template, compile, groups_used};

/// The word in lower case: CoreDNS reads rule types and matches in any case.
pub(super) fn lower(word: &Word) -> String {
    word.text.to_ascii_lowercase()
}

/// The text in lower case with the final dot that makes it fully qualified.
pub(super) fn normalize(text: &str) -> String {
    let mut text = text.to_ascii_lowercase();
    let escapes = text
        .strip_suffix('.')
        .map(|head| head.bytes().rev().take_while(|byte| *byte == b'\\').count());
    if escapes.is_none_or(|count| count % 2 == 1) {
        text.push('.');
    }
    text
}

/// The word as a domain name in lower case.
pub(super) fn name(word: &Word) -> Result<Name, Diagnostic> {
    Name::parse(&normalize(&word.text)).map_err(|error| {
        let help = word
            .text
            .starts_with('.')
            .then(|| "use the match 'suffix' for the end of a name".to_owned());
        word.error(format!("'{}' is not a domain name: {error}", shown(&word.text)))
            .with_optional_help(help)
    })
}

/// The word as a regular expression.
pub(super) fn regex(word: &Word, case: Case) -> Result<Regex, Diagnostic> {
    compile(&word.text, case).map_err(|error| match error {
        PatternError::TooLong(length) => word
            .error(format!("regex pattern too long: {length} > {MAX_PATTERN}"))
            .with_note(format!("allowed here: {MAX_PATTERN} bytes")),
        PatternError::TooBig => {
            word.error(format!("regex pattern needs too much memory: {}", shown(&word.text)))
        }
        PatternError::Syntax(reason) => {
            let reason =
                reason.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            word.error(format!("invalid regex matching pattern: {}", shown(&word.text)))
                .with_remark(reason)
        }
    })
}

/// The word, as `text`, as a replacement for what `regex`, written as `pattern`, matches.
pub(super) fn template(
    word: &Word,
    text: &str,
    regex: &Regex,
    pattern: &Word,
) -> Result<Template, Diagnostic> {
    let groups = regex.captures_len() - 1;
    if groups_used(&word.text) > groups {
        return Err(word
            .error(format!(
                "the rewrite regex pattern ({}) uses more subexpressions than its corresponding matching regex pattern ({})",
                shown(&word.text),
                shown(&pattern.text)
            ))
            .with_label(pattern.span, format!("this has {groups}")));
    }
    Ok(Template::new(text, groups))
}

/// One of a few words, in any case.
pub(super) fn choose<T: Copy>(
    word: &Word,
    allowed: &[(&str, T)],
    message: String,
) -> Result<T, Diagnostic> {
    let found = allowed.iter().find(|(name, _)| name.eq_ignore_ascii_case(&word.text));
    found.map(|(_, value)| *value).ok_or_else(|| {
        let names: Vec<&str> = allowed.iter().map(|(name, _)| *name).collect();
        refuse(word, message, &names)
    })
}

/// An error about a word that is none of those allowed: with the list, and the one that may have been meant.
pub(super) fn refuse(word: &Word, message: String, allowed: &[&str]) -> Diagnostic {
    let near = did_you_mean(&word.text, allowed.iter().copied());
    word.error(message)
        .with_optional_help(near.map(|near| format!("did you mean '{near}'?")))
        .with_note(format!("allowed here: {}", allowed.join(", ")))
}
