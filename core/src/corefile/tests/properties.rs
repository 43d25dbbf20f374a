//! What holds for every input.

use proptest::collection::vec;
use proptest::prelude::*;

use super::{dump, parse, parse_toml};
use crate::corefile::{
    Corefile, Diagnostics, Failed, Inputs, Line, ServerBlock, Sources, Span, Word, normalize_zone,
    parse_go_duration, parse_key, to_corefile, to_toml, unprintable_words,
};

/// Pieces that mean something, so that random texts get beyond their first word.
fn text() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        4 => Just("\n".to_owned()),
        3 => Just("{\n".to_owned()),
        3 => Just("}\n".to_owned()),
        2 => Just(" ".to_owned()),
        1 => Just("{".to_owned()),
        1 => Just("}".to_owned()),
        1 => Just(",".to_owned()),
        1 => Just("\"".to_owned()),
        1 => Just("\\".to_owned()),
        1 => Just("#".to_owned()),
        1 => Just("\r".to_owned()),
        1 => Just("\t".to_owned()),
        1 => Just("import ".to_owned()),
        1 => Just("import s\n".to_owned()),
        1 => Just("(s) {\n".to_owned()),
        1 => Just("(t) {\n".to_owned()),
        1 => Just("import t\n".to_owned()),
        1 => Just("{$ZONE}".to_owned()),
        1 => Just("{$SELF}".to_owned()),
        1 => Just("{%".to_owned()),
        1 => Just("a.org".to_owned()),
        1 => Just("x ".to_owned()),
        1 => any::<char>().prop_map(String::from),
        1 => "[a-z]{1,5}",
    ];
    vec(piece, 0..60).prop_map(|pieces| pieces.concat())
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "[a-z0-9._:/-]{1,8}",
        2 => "[a-c \t\r\n\"#\\\\{}(),]{0,6}",
        1 => "\\PC{0,6}",
        1 => prop::sample::select(vec!["{", "}", "import", "", "(s)", "a,", "\"", "\u{feff}a"])
            .prop_map(str::to_owned),
    ]
    .prop_filter("references would be replaced", |text| {
        !text.contains("{$") && !text.contains("{%")
    })
}

fn line() -> impl Strategy<Value = Line> {
    let leaf =
        (word(), vec(word(), 0..3)).prop_map(|(name, arguments)| new_line(name, arguments, None));
    leaf.prop_recursive(3, 12, 4, |inner| {
        (word(), vec(word(), 0..3), vec(inner, 0..4))
            .prop_map(|(name, arguments, body)| new_line(name, arguments, Some(body)))
    })
}

fn corefile() -> impl Strategy<Value = Corefile> {
    let key = word().prop_filter("empty keys are skipped", |key| !key.is_empty());
    vec((vec(key, 1..4), vec(line(), 0..4)), 0..4).prop_map(|blocks| {
        let blocks = blocks.into_iter().map(|(keys, directives)| ServerBlock {
            keys: keys.into_iter().map(new_word).collect(),
            directives,
        });
        Corefile {
            blocks: blocks.collect(),
            sources: Sources::default(),
            warnings: Diagnostics::new(),
            inputs: Inputs::default(),
        }
    })
}

fn new_line(name: String, arguments: Vec<String>, body: Option<Vec<Line>>) -> Line {
    let arguments = arguments.into_iter().map(new_word).collect();
    Line { name: new_word(name), arguments, body, brace: None, end: no_place() }
}

fn new_word(text: String) -> Word {
    Word { text, span: no_place() }
}

fn no_place() -> Span {
    Sources::default().span(Sources::default().add(String::new(), "".into(), ""), 0..0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_text_is_read_and_any_error_shown(text in text()) {
        match parse(&text) {
            Ok(corefile) => {
                corefile.warnings.render(&corefile.sources);
                corefile.fingerprint();
                for block in &corefile.blocks {
                    for key in &block.keys {
                        let _ = parse_key(key, 53);
                    }
                }
            }
            Err(Failed { diagnostics, sources, .. }) => {
                let rendered = diagnostics.render(&sources);
                for diagnostic in &diagnostics {
                    let span = diagnostic.span.expect("errors of a text have a place");
                    prop_assert!(rendered.contains(&sources.place(span)), "{rendered}");
                }
            }
        }
    }

    #[test]
    fn a_printed_corefile_reads_the_same(corefile in corefile()) {
        let text = to_corefile(&corefile);
        if !unprintable_words(&corefile).is_empty() {
            return Ok(());
        }
        let again = parse(&text).map_err(|failed| TestCaseError::fail(failed.to_string()))?;
        prop_assert_eq!(dump(&again), dump(&corefile), "{}", text);
        prop_assert_eq!(again.fingerprint(), corefile.fingerprint());
        prop_assert_eq!(to_corefile(&again), text);
        prop_assert!(again.warnings.is_empty());
    }

    #[test]
    fn printed_toml_reads_the_same(corefile in corefile()) {
        let text = to_toml(&corefile);
        let again = parse_toml(&text).map_err(|failed| TestCaseError::fail(failed.to_string()))?;
        prop_assert_eq!(dump(&again), dump(&corefile), "{}", text);
        prop_assert_eq!(again.fingerprint(), corefile.fingerprint());
    }

    #[test]
    fn any_document_is_read_and_any_error_shown(
        text in "([a-z=\\[\\]{}'\", \n.#]|server|plugin|keys|name|options|\\PC){0,40}",
    ) {
        if let Err(failed) = parse_toml(&text) {
            failed.to_string();
        }
    }

    #[test]
    fn any_word_is_read_as_key_zone_and_duration(text in "[0-9a-fhmnsu./:\\\\+-]{0,40}") {
        let _ = parse_key(&new_word(text.clone()), 53);
        let _ = parse_go_duration(&text);
        let zones = normalize_zone(&text).unwrap_or_default();
        for zone in zones {
            prop_assert!(zone.ends_with('.'), "{zone}");
            prop_assert_eq!(normalize_zone(&zone), Ok(vec![zone.clone()]));
        }
    }
}
