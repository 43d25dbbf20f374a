//! From directives to rules.

mod answers;
mod options;
mod words;

use std::sync::Arc;

use periplus_core::codes::{Class, Rcode, RecordType};
use periplus_core::corefile::{Diagnostic, Diagnostics, Directive, Line, Word, Words, shown};
use periplus_core::plugin::Plugin;
use periplus_core::setup::Setup;

use self::answers::read_answers;
use self::options::read_option;
use self::words::{choose, lower, name, normalize, refuse, regex, template};
use super::Rewrite;
use super::edns::Content;
use super::pattern::{Case, Matcher, Rewriter, Suffix, Target};
use super::rule::{Action, AnswerRule, Mode, NameRule, Part, Renamer, Rule};

/// What a rule can be about.
const KINDS: [&str; 7] = ["name", "type", "class", "edns0", "ttl", "rcode", "cname"];
/// The ways to match a name.
const MATCHES: [(&str, Match); 5] = [
    ("exact", Match::Exact),
    ("prefix", Match::Prefix),
    ("suffix", Match::Suffix),
    ("substring", Match::Substring),
    ("regex", Match::Regex),
];
/// The TTL that no bound stands for: the largest there is (RFC 2181 section 8).
const MAX_TTL: u32 = i32::MAX as u32;
/// The largest response code that may be given as a number, as in CoreDNS.
const MAX_RCODE: u16 = 23;

/// Reads all `rewrite` directives of a server block: one rule each.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let mut errors = Diagnostics::new();
    let rules: Vec<Rule> =
        setup.directives.iter().filter_map(|directive| errors.take(read_rule(directive))).collect();
    let local_codes = rules.iter().filter_map(local_code).collect();
    errors.into_result(Some(Arc::new(Rewrite::new(rules, local_codes))))
}

/// The local option that a rule is about: such options come back in responses.
fn local_code(rule: &Rule) -> Option<u16> {
    match &rule.action {
        Action::Option(option) => match option.content {
            Content::Fixed { code, .. } | Content::Variable { code, .. } => Some(code),
            Content::Nsid | Content::Subnet { .. } => None,
        },
        _ => None,
    }
}

pub(super) fn read_rule(directive: &Directive) -> Result<Rule, Diagnostic> {
    let line = one_line(directive)?;
    let mut words = line.words();
    let mut kind = words.required("continue, stop or a rule type")?;
    let mode = match lower(kind).as_str() {
        "continue" => Some(Mode::Continue),
        "stop" => Some(Mode::Stop),
        _ => None,
    };
    if mode.is_some() {
        kind = words.required("a rule type")?;
    }
    let action = match lower(kind).as_str() {
        "name" => Action::Name(read_name(&mut words)?),
        "type" => read_type(&mut words)?,
        "class" => read_class(&mut words)?,
        "edns0" => Action::Option(read_option(&mut words)?),
        "ttl" => read_ttl(&mut words)?,
        "rcode" => read_rcode(&mut words)?,
        "cname" => read_cname(&mut words)?,
        "answer" => {
            return Err(kind
                .error("response rewrites must begin with a name rule")
                .with_help("write 'answer' after the name rule whose response it changes"));
        }
        _ => {
            let modes: &[&str] = if mode.is_none() { &["continue", "stop"] } else { &[] };
            let allowed: Vec<&str> = modes.iter().copied().chain(KINDS).collect();
            return Err(refuse(
                kind,
                format!("invalid rule type \"{}\"", shown(&kind.text)),
                &allowed,
            ));
        }
    };
    words.end()?;
    Ok(Rule { mode: mode.unwrap_or(Mode::Stop), action })
}

/// The words of a rule in one line. A block holds one rule too, on as many lines as its writer likes; it may follow at most
/// one word.
fn one_line(directive: &Directive) -> Result<Line, Diagnostic> {
    if directive.arguments.len() > 1 {
        let help = "a block may follow 'rewrite' itself or one word after it";
        directive.no_body().map_err(|error| error.with_help(help))?;
    }
    let mut line = directive.clone();
    for inner in line.body.take().unwrap_or_default() {
        inner.no_body()?;
        line.arguments.push(inner.name);
        line.arguments.extend(inner.arguments);
    }
    Ok(line)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    Exact,
    Prefix,
    Suffix,
    Substring,
    Regex,
}

fn read_match(word: &Word, rule: &str) -> Result<Match, Diagnostic> {
    let message = format!(
        "{rule} rule supports only exact, prefix, suffix, substring, and regex name matching, received: {}",
        shown(&word.text)
    );
    choose(word, &MATCHES, message)
}

/// `[MATCH] FROM TO [answer ...]`; a match is required where answers follow.
fn read_name(words: &mut Words<'_>) -> Result<NameRule, Diagnostic> {
    let first = words.required("a match or a name")?;
    let second = words.required("a name")?;
    let Some(third) = words.next() else {
        return Ok(NameRule {
            rewriter: exact(first, second)?,
            restore: true,
            answers: Vec::new(),
        });
    };
    let matching = read_match(first, "name").map_err(|error| match words.peek() {
        Some(_) => {
            error.with_help("the match must be given when more than two words follow 'name'")
        }
        None => error,
    })?;
    let (from, to) = (normalize(&second.text), normalize(&third.text));
    let rewriter = read_rewriter(matching, [second, third], [&from, &to], Case::Respected)?;
    let found = read_answers(words, &first.text)?;
    let mut answers = found.rules;
    if matching == Match::Suffix && found.auto {
        answers.splice(0..0, turned_back(&rewriter));
    }
    let restore = match matching {
        Match::Exact => true,
        Match::Suffix => false,
        _ => found.auto,
    };
    Ok(NameRule { rewriter, restore, answers })
}

/// What `answer auto` means for a suffix: all names that end in the new one end in the old one again.
fn turned_back(rewriter: &Rewriter) -> Vec<AnswerRule> {
    let (Matcher::Suffix(from), Target::Suffix(to)) = (&rewriter.from, &rewriter.to) else {
        return Vec::new();
    };
    let renamer =
        |part| AnswerRule { part, renamer: Renamer::Suffix { from: to.clone(), to: from.clone() } };
    vec![renamer(Part::Owner), renamer(Part::Value)]
}

fn exact(from: &Word, to: &Word) -> Result<Rewriter, Diagnostic> {
    Ok(Rewriter { from: Matcher::Exact(name(from)?), to: Target::Name(name(to)?) })
}

fn suffix(from: &str, to: &str) -> Rewriter {
    Rewriter { from: Matcher::Suffix(Suffix::new(from)), to: Target::Suffix(Suffix::new(to)) }
}

/// The names that a `ttl` or `rcode` rule means.
fn matcher(matching: Match, word: &Word) -> Result<Matcher, Diagnostic> {
    let text = normalize(&word.text);
    Ok(match matching {
        Match::Exact => Matcher::Exact(name(word)?),
        Match::Prefix => Matcher::Prefix(text.into()),
        Match::Suffix => Matcher::Suffix(Suffix::new(&text)),
        Match::Substring => Matcher::Substring(text.into()),
        Match::Regex => Matcher::Regex(regex(word, Case::Respected)?),
    })
}

/// `FROM TO`, both record types.
fn read_type(words: &mut Words<'_>) -> Result<Action, Diagnostic> {
    const COMMON: [&str; 12] =
        ["A", "AAAA", "ANY", "CNAME", "HINFO", "HTTPS", "MX", "NS", "PTR", "SOA", "SRV", "TXT"];
    let mut read = || {
        let word = words.required("a record type")?;
        RecordType::from_mnemonic(&word.text).filter(|rtype| rtype.0 > 0).ok_or_else(|| {
            refuse(word, format!("invalid type \"{}\"", shown(&word.text)), &COMMON)
                .with_note("all other types are known by mnemonic or as TYPE and a number, too")
        })
    };
    Ok(Action::Type { from: read()?, to: read()? })
}

/// `FROM TO`, both classes.
fn read_class(words: &mut Words<'_>) -> Result<Action, Diagnostic> {
    let mut read = || {
        let word = words.required("a class")?;
        Class::from_mnemonic(&word.text).filter(|class| class.0 > 0).ok_or_else(|| {
            refuse(
                word,
                format!("invalid class \"{}\"", shown(&word.text)),
                &["IN", "CH", "HS", "CS", "NONE", "ANY"],
            )
        })
    };
    Ok(Action::Class { from: read()?, to: read()? })
}

/// `[MATCH] NAME TTL`
fn read_ttl(words: &mut Words<'_>) -> Result<Action, Diagnostic> {
    let first = words.required("a match or a name")?;
    let second = words.required("a TTL")?;
    let (matching, named, ttl) = match words.next() {
        None => (Match::Exact, first, second),
        Some(third) => (read_match(first, "ttl")?, second, third),
    };
    let (least, most) = ttl_range(&ttl.text).ok_or_else(|| {
        ttl.error(format!("invalid TTL '{}' for a ttl rule", shown(&ttl.text)))
            .with_note("allowed here: seconds as N, MIN-MAX, MIN- or -MAX, with MIN not above MAX")
    })?;
    Ok(Action::Ttl { names: matcher(matching, named)?, least, most })
}

fn ttl_range(text: &str) -> Option<(u32, u32)> {
    let number = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok()).flatten()
    };
    let (least, most) = match text.split_once('-') {
        None => {
            let ttl = number(text)?;
            (ttl, ttl)
        }
        Some(("", "")) => return None,
        Some(("", most)) => (0, number(most)?),
        Some((least, "")) => (number(least)?, MAX_TTL),
        Some((least, most)) => (number(least)?, number(most)?),
    };
    (least <= most).then_some((least, most))
}

/// `[MATCH] NAME FROM TO`, the latter two response codes.
fn read_rcode(words: &mut Words<'_>) -> Result<Action, Diagnostic> {
    let first = words.required("a match or a name")?;
    let second = words.required("a response code")?;
    let third = words.required("a response code")?;
    let (matching, named, from, to) = match words.next() {
        None => (Match::Exact, first, second, third),
        Some(fourth) => (read_match(first, "rcode")?, second, third, fourth),
    };
    let (from, to) = (rcode(from, "matching")?, rcode(to, "replacement")?);
    Ok(Action::Rcode { names: matcher(matching, named)?, from, to })
}

fn rcode(word: &Word, which: &str) -> Result<Rcode, Diagnostic> {
    let by_number =
        word.text.parse().ok().filter(|number| *number <= MAX_RCODE && !word.text.starts_with('+'));
    let by_name = || match word.text.to_ascii_uppercase().as_str() {
        // Other names for codes 4 and 16 (RFC 1035, RFC 8945) that CoreDNS's library knows.
        "NOTIMPL" => Some(Rcode::NOTIMP),
        "BADSIG" => Some(Rcode::BADVERS),
        upper => Rcode::from_mnemonic(upper).filter(|_| !upper.starts_with("RCODE")),
    };
    by_number.map(Rcode).or_else(by_name).ok_or_else(|| {
        let names: Vec<&str> =
            (0..=MAX_RCODE).filter_map(|number| Rcode(number).mnemonic()).collect();
        refuse(
            word,
            format!("invalid {which} RCODE '{}' for a rcode rule", shown(&word.text)),
            &names,
        )
        .with_note("or a number from 0 to 23")
    })
}

/// `[MATCH] FROM TO`
fn read_cname(words: &mut Words<'_>) -> Result<Action, Diagnostic> {
    let first = words.required("a match or a name")?;
    let second = words.required("a name")?;
    let Some(third) = words.next() else { return Ok(Action::Cname(exact(first, second)?)) };
    let message = format!("unknown cname rewrite type: {}", shown(&first.text));
    // Unlike names of questions, these get no final dot of their own in CoreDNS.
    let (from, to) = (second.text.to_ascii_lowercase(), third.text.to_ascii_lowercase());
    let matching = choose(first, &MATCHES, message)?;
    read_rewriter(matching, [second, third], [&from, &to], Case::Ignored).map(Action::Cname)
}

/// FROM and TO of a match, as words for errors and for regular expressions, and as the texts that they stand for.
fn read_rewriter(
    matching: Match,
    [from_word, to_word]: [&Word; 2],
    [from, to]: [&str; 2],
    case: Case,
) -> Result<Rewriter, Diagnostic> {
    Ok(match matching {
        Match::Exact => exact(from_word, to_word)?,
        Match::Prefix => {
            Rewriter { from: Matcher::Prefix(from.into()), to: Target::Text(to.into()) }
        }
        Match::Suffix => suffix(from, to),
        Match::Substring => {
            Rewriter { from: Matcher::Substring(from.into()), to: Target::Text(to.into()) }
        }
        Match::Regex => {
            let regex = regex(from_word, case)?;
            let template = template(to_word, to, &regex, from_word)?;
            Rewriter { from: Matcher::Regex(regex), to: Target::Template(template) }
        }
    })
}
