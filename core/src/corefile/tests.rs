//! Tables of texts and what they mean.

mod environment;
mod errors;
mod fingerprints;
mod imports;
mod keys;
mod language;
mod properties;
mod reading;
mod toml_form;

use std::path::Path;

use super::{Corefile, Failed, Line, Loader};

/// Variables every test sees, and no others.
fn loader() -> Loader {
    Loader::with_environment(|name| {
        Some(match name {
            "ZONE" => "example.org".to_owned(),
            "SPACES" => "a b  c".to_owned(),
            "BRACE" => "{".to_owned(),
            "EMPTY" => String::new(),
            "INNER" => "<{$ZONE}>".to_owned(),
            "PERCENT" => "{%ZONE%}".to_owned(),
            "SELF" => "x{$SELF}".to_owned(),
            "LOOP" => "{$LOOP}".to_owned(),
            "GROWS" => "{$GROWS}{$GROWS}".repeat(100),
            "A:b" => "colon".to_owned(),
            "LIST" => "one,".to_owned(),
            _ => return None,
        })
    })
}

fn parse(text: &str) -> Result<Corefile, Failed> {
    loader().parse("Corefile", text, Path::new("/nowhere"))
}

fn parse_toml(text: &str) -> Result<Corefile, Failed> {
    loader().parse_toml("Corefile.toml", text)
}

/// The model of a text that must be good.
fn model(text: &str) -> String {
    match parse(text) {
        Ok(corefile) => dump(&corefile),
        Err(failed) => panic!("{text:?} is refused:\n{failed}"),
    }
}

/// The one-line errors and warnings of a text that must be bad.
fn errors(text: &str) -> String {
    match parse(text) {
        Ok(corefile) => panic!("{text:?} is accepted as {}", dump(&corefile)),
        Err(failed) => failed.diagnostics.render_lines(&failed.sources),
    }
}

/// The one-line warnings of a text that must be good.
fn warnings(text: &str) -> String {
    let corefile = parse(text).expect("the text is good");
    corefile.warnings.render_lines(&corefile.sources)
}

/// The model without places: `[key] { [directive][argument] { [line] } }`.
fn dump(corefile: &Corefile) -> String {
    let blocks = corefile.blocks.iter().map(|block| {
        let keys: String = block.keys.iter().map(|key| format!("[{}]", key.text)).collect();
        format!("{keys} {}", dump_lines(&block.directives))
    });
    blocks.collect::<Vec<_>>().join("; ")
}

fn dump_lines(lines: &[Line]) -> String {
    let lines = lines.iter().map(|line| {
        let words = std::iter::once(&line.name).chain(&line.arguments);
        let words: String = words.map(|word| format!("[{}]", word.text)).collect();
        match &line.body {
            Some(body) => format!("{words} {}", dump_lines(body)),
            None => words,
        }
    });
    format!("{{{}}}", lines.collect::<Vec<_>>().join(" "))
}
