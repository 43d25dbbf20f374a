//! The Corefile language and the setup of all plugins: what `periplus check` does. The first byte chooses between Corefile and TOML.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use periplus::configuration;
use periplus::source::Source;
use periplus_core::corefile::{
    Corefile, Diagnostics, Failed, Line, Loader, Span, to_corefile, to_toml, unprintable_words,
};
use periplus_fuzz::surroundings;

fuzz_target!(|input: &[u8]| {
    let [kind, text @ ..] = input else { return };
    let text = String::from_utf8_lossy(text);
    // Files that are imported or named in options are those of the machine: inputs would mean something else elsewhere.
    if text.contains(['/', '~'])
        || text.contains("..")
        || text.contains("import") && text.contains(['*', '?', '['])
    {
        return;
    }
    let is_toml = kind & 1 == 1;
    match parse(&text, is_toml) {
        Err(failed) => {
            assert!(failed.diagnostics.has_errors());
            inside(&failed.diagnostics, &text);
            let _ = failed.to_string();
        }
        Ok(corefile) => {
            inside(&corefile.warnings, &text);
            let _ = corefile.warnings.render(&corefile.sources);
            printed_is_the_same(&corefile);
            if !is_toml {
                set_up(&text);
            }
        }
    }
});

fn parse(text: &str, is_toml: bool) -> Result<Corefile, Failed> {
    // As `convert` reads it: references to variables stay as they are written.
    let loader = Loader::with_environment(|_| None).keeping_references();
    match is_toml {
        true => loader.parse_toml("Corefile.toml", text),
        false => loader.parse("Corefile", text, Path::new("/nonexistent")),
    }
}

/// All places are in the text.
fn inside(diagnostics: &Diagnostics, text: &str) {
    let check = |span: Span| {
        let range = span.start as usize..span.end as usize;
        assert!(text.get(range.clone()).is_some(), "{range:?} of {} bytes", text.len());
        let before = &text[..range.start];
        assert_eq!(span.line as usize, before.matches('\n').count() + 1);
        let line = before.rsplit('\n').next().unwrap_or_default();
        assert_eq!(span.column as usize, line.chars().count() + 1);
    };
    for diagnostic in diagnostics {
        diagnostic.span.iter().for_each(|span| check(*span));
        diagnostic.labels.iter().for_each(|label| check(label.span));
    }
}

/// Written out in either form and read again, it means the same.
fn printed_is_the_same(corefile: &Corefile) {
    let meaning = meaning(corefile);
    let toml = to_toml(corefile);
    match parse(&toml, true) {
        Ok(again) => assert_eq!(self::meaning(&again), meaning, "as TOML:\n{toml}"),
        Err(failed) => panic!("not read again as TOML:\n{toml}\n{failed}"),
    }
    if unprintable_words(corefile).is_empty() {
        let text = to_corefile(corefile);
        match parse(&text, false) {
            Ok(again) => assert_eq!(self::meaning(&again), meaning, "as a Corefile:\n{text}"),
            Err(failed) => panic!("not read again as a Corefile:\n{text}\n{failed}"),
        }
    }
}

/// Keys and words without their places.
type Meaning = Vec<(Vec<String>, Vec<Words>)>;

#[derive(Debug, PartialEq)]
struct Words(Vec<String>, Option<Vec<Words>>);

fn meaning(corefile: &Corefile) -> Meaning {
    fn words(line: &Line) -> Words {
        let text = std::iter::once(&line.name).chain(&line.arguments).map(|word| word.text.clone());
        let body = line.body.as_ref().map(|lines| lines.iter().map(words).collect());
        Words(text.collect(), body)
    }
    let block = |block: &periplus_core::corefile::ServerBlock| {
        let keys = block.keys.iter().map(|key| key.text.clone()).collect();
        (keys, block.directives.iter().map(words).collect())
    };
    corefile.blocks.iter().map(block).collect()
}

/// What the plugins make of it, short of starting anything.
fn set_up(text: &str) {
    let source = Source::Text { name: "Corefile".into(), text: text.to_owned() };
    if let Err(failed) = configuration::load(&source, &surroundings(periplus_plugins::ORDER)) {
        assert!(failed.diagnostics.has_errors());
        let _ = failed.to_string();
    }
}
