//! `edns0`: rules for options of the request.

use periplus_core::corefile::{Diagnostic, Word, Words, shown};

use super::super::edns::{Change, Content, OptionRule, Variable};
use super::words::{choose, lower, refuse};

/// The most bytes of fixed data: more would leave no room for what the client sends.
const MAX_DATA: usize = 4096;

const CHANGES: [(&str, Change); 4] = [
    ("append", Change::Append),
    ("replace", Change::Replace),
    ("set", Change::Set),
    ("unset", Change::Unset),
];

const VARIABLES: [(&str, Variable); 7] = [
    ("{qname}", Variable::Qname),
    ("{qtype}", Variable::Qtype),
    ("{client_ip}", Variable::ClientIp),
    ("{client_port}", Variable::ClientPort),
    ("{protocol}", Variable::Protocol),
    ("{server_ip}", Variable::ServerIp),
    ("{server_port}", Variable::ServerPort),
];

/// `(local|nsid|subnet) (append|replace|set|unset) [ARGUMENTS...] [revert]`
pub(super) fn read_option(words: &mut Words<'_>) -> Result<OptionRule, Diagnostic> {
    let kind = words.required("local, nsid or subnet")?;
    let change = words.required("append, replace, set or unset")?;
    let change = choose(change, &CHANGES, format!("invalid action: \"{}\"", shown(&change.text)))?;
    let unset = change == Change::Unset;
    let content = match lower(kind).as_str() {
        "local" => {
            let code = number(words.required("an option code")?, "an option code", u16::MAX)?;
            if unset { Content::Fixed { code, data: Box::default() } } else { local(code, words)? }
        }
        "nsid" => Content::Nsid,
        "subnet" if unset => Content::Subnet { v4_bits: 0, v6_bits: 0 },
        "subnet" => {
            let v4 = number(words.required("a number of IPv4 bits")?, "a number of IPv4 bits", 32)?;
            let v6 =
                number(words.required("a number of IPv6 bits")?, "a number of IPv6 bits", 128)?;
            Content::Subnet { v4_bits: v4 as u8, v6_bits: v6 as u8 }
        }
        _ => {
            let message = format!("invalid rule type \"{}\"", shown(&kind.text));
            return Err(refuse(kind, message, &["local", "nsid", "subnet"]));
        }
    };
    let revert = match words.peek() {
        Some(word) if word.text == "revert" && !unset => {
            words.next();
            true
        }
        Some(word) if !unset && words.clone().rest().len() == 1 => {
            let message = format!("unexpected '{}'", shown(&word.text));
            return Err(refuse(word, message, &["revert"]));
        }
        _ => false,
    };
    Ok(OptionRule { change, content, revert })
}

/// The data of a local option: hexadecimal after `0x`, a variable in braces, or the text itself.
fn local(code: u16, words: &mut Words<'_>) -> Result<Content, Diagnostic> {
    let word = words.required("the option's data")?;
    let text = word.text.as_str();
    if text.starts_with('{') && text.ends_with('}') {
        return Ok(Content::Variable { code, variable: variable(word)? });
    }
    let data = match text.strip_prefix("0x") {
        Some(digits) => hexadecimal(digits).ok_or_else(|| {
            word.error(format!("'{}' is not hexadecimal data", shown(text)))
                .with_note("allowed here: 0x and an even number of hexadecimal digits")
        })?,
        None => text.as_bytes().to_vec(),
    };
    if data.len() > MAX_DATA {
        let message = format!("{} bytes are too much data for an option", data.len());
        return Err(word.error(message).with_note(format!("allowed here: {MAX_DATA} bytes")));
    }
    Ok(Content::Fixed { code, data: data.into() })
}

fn variable(word: &Word) -> Result<Variable, Diagnostic> {
    let label = word.text.trim_start_matches('{').trim_end_matches('}');
    match VARIABLES.iter().find(|(name, _)| *name == word.text) {
        Some((_, variable)) => Ok(*variable),
        None if label
            .split_once('/')
            .is_some_and(|(plugin, label)| !plugin.is_empty() && !label.is_empty()) =>
        {
            Ok(Variable::Metadata)
        }
        None => {
            let names: Vec<&str> = VARIABLES.iter().map(|(name, _)| *name).collect();
            Err(refuse(
                word,
                format!("unsupported variable name \"{}\"", shown(&word.text)),
                &names,
            ))
        }
    }
}

fn hexadecimal(digits: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = digits
        .chars()
        .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    let pairs = digits.chunks_exact(2);
    pairs.remainder().is_empty().then(|| pairs.map(|pair| pair[0] << 4 | pair[1]).collect())
}

/// A number as Go reads it: decimal, or hexadecimal, octal or binary by its prefix.
fn number(word: &Word, what: &str, most: u16) -> Result<u16, Diagnostic> {
    let text = word.text.to_ascii_lowercase();
    let (digits, radix) = match text.get(..2) {
        Some("0x") => (&text[2..], 16),
        Some("0o") => (&text[2..], 8),
        Some("0b") => (&text[2..], 2),
        Some(_) if text.starts_with('0') => (&text[1..], 8),
        _ => (&text[..], 10),
    };
    let number =
        if digits.starts_with(['+', '-']) { None } else { u16::from_str_radix(digits, radix).ok() };
    number.filter(|number| *number <= most).ok_or_else(|| {
        word.error(format!("'{}' is not {what}", shown(&word.text)))
            .with_note(format!("allowed here: 0 to {most}, decimal or after 0x, 0o or 0b"))
    })
}
