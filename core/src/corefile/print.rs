//! A configuration written out in either form.

use std::borrow::Cow;
use std::fmt::Write;

use super::{Corefile, Diagnostic, Diagnostics, Line, ServerBlock, Word, shown};

const INDENT: &str = "    ";

/// The configuration as a Corefile, with imports and snippets in their places. Parsing it gives
/// the same model again, except for the words [`unprintable_words`] names.
pub fn to_corefile(corefile: &Corefile) -> String {
    let mut text = String::new();
    for block in &corefile.blocks {
        if !text.is_empty() {
            text.push('\n');
        }
        corefile_block(&mut text, block);
    }
    text
}

/// The configuration as TOML, with imports and snippets in their places.
pub fn to_toml(corefile: &Corefile) -> String {
    let mut text = String::new();
    for block in &corefile.blocks {
        if !text.is_empty() {
            text.push('\n');
        }
        let _ = writeln!(text, "[[server]]\nkeys = {}", toml_array(&block.keys));
        for directive in &block.directives {
            let name = toml_string(&directive.name.text);
            let _ = writeln!(text, "\n[[server.plugin]]\nname = {name}");
            if !directive.arguments.is_empty() {
                let _ = writeln!(text, "arguments = {}", toml_array(&directive.arguments));
            }
            if let Some(body) = &directive.body {
                text.push_str("options = ");
                toml_options(&mut text, body, 1);
                text.push('\n');
            }
        }
    }
    text
}

/// Warnings about words that no Corefile can hold: in quotes, a backslash before a quote or at
/// the end always takes the quote with it. TOML can hold all words.
pub fn unprintable_words(corefile: &Corefile) -> Diagnostics {
    let mut warnings = Diagnostics::new();
    for block in &corefile.blocks {
        block.keys.iter().for_each(|key| unprintable(&mut warnings, key, Place::Key));
        unprintable_lines(&mut warnings, &block.directives);
    }
    warnings
}

fn unprintable_lines(warnings: &mut Diagnostics, lines: &[Line]) {
    for line in lines {
        unprintable(warnings, &line.name, Place::Line);
        line.arguments.iter().for_each(|word| unprintable(warnings, word, Place::Argument));
        unprintable_lines(warnings, line.lines());
    }
}

fn unprintable(warnings: &mut Diagnostics, word: &Word, place: Place) {
    if !must_quote(&word.text, place) {
        return;
    }
    let mut backslashes = 0;
    // The closing quote counts as a quote, too.
    for char in word.text.chars().chain(['"']) {
        if char == '"' && backslashes % 2 == 1 {
            let text = shown(&word.text);
            let message = format!("a Corefile cannot hold the word '{text}'");
            let note =
                "a word with white space cannot have a backslash before a quote or at the end";
            warnings.push(Diagnostic::warning(word.span, message).with_note(note));
            return;
        }
        backslashes = if char == '\\' { backslashes + 1 } else { 0 };
    }
}

fn corefile_block(text: &mut String, block: &ServerBlock) {
    for key in &block.keys {
        text.push_str(&corefile_word(&key.text, Place::Key));
        text.push(' ');
    }
    text.push_str("{\n");
    corefile_lines(text, &block.directives, 1);
    text.push_str("}\n");
}

fn corefile_lines(text: &mut String, lines: &[Line], depth: usize) {
    for line in lines {
        text.push_str(&INDENT.repeat(depth));
        text.push_str(&corefile_word(&line.name.text, Place::Line));
        for argument in &line.arguments {
            text.push(' ');
            text.push_str(&corefile_word(&argument.text, Place::Argument));
        }
        if let Some(body) = &line.body {
            text.push_str(" {\n");
            corefile_lines(text, body, depth + 1);
            text.push_str(&INDENT.repeat(depth));
            text.push('}');
        }
        text.push('\n');
    }
}

/// Where a word stands decides which words would be read as something else.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Key,
    Line,
    Argument,
}

fn corefile_word(text: &str, place: Place) -> Cow<'_, str> {
    if must_quote(text, place) {
        format!("\"{}\"", text.replace('"', "\\\"")).into()
    } else {
        text.into()
    }
}

fn must_quote(text: &str, place: Place) -> bool {
    let is_structure = match place {
        Place::Key => text == "import" || text.ends_with(',') || text.starts_with('('),
        Place::Line => text == "import",
        Place::Argument => false,
    };
    is_structure
        || matches!(text, "" | "{" | "}")
        || text.starts_with(['"', '\u{feff}'])
        || text.contains(|char: char| char == '#' || char.is_whitespace())
}

fn toml_array(words: &[Word]) -> String {
    let words: Vec<String> = words.iter().map(|word| toml_string(&word.text)).collect();
    format!("[{}]", words.join(", "))
}

/// One option per line, nested ones further in.
fn toml_options(text: &mut String, lines: &[Line], depth: usize) {
    if lines.is_empty() {
        text.push_str("[]");
        return;
    }
    text.push_str("[\n");
    for line in lines {
        text.push_str(&INDENT.repeat(depth));
        text.push('[');
        text.push_str(&toml_string(&line.name.text));
        for argument in &line.arguments {
            text.push_str(", ");
            text.push_str(&toml_string(&argument.text));
        }
        if let Some(body) = &line.body {
            text.push_str(", ");
            toml_options(text, body, depth + 1);
        }
        text.push_str("],\n");
    }
    text.push_str(&INDENT.repeat(depth - 1));
    text.push(']');
}

fn toml_string(text: &str) -> String {
    toml::Value::String(text.to_owned()).to_string()
}
