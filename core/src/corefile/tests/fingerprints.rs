//! What a reload sees as a change.

use std::path::Path;

use super::{parse, parse_toml};
use crate::corefile::Loader;

fn fingerprint(text: &str) -> String {
    parse(text).expect("the text is good").fingerprint().to_string()
}

#[test]
fn only_what_the_configuration_says_counts() {
    let first = fingerprint(". {\n x a {\n y\n }\n}");
    assert_eq!(first.len(), 128);
    for same in [
        "# c\n. {\n\n x   a { # c\n y\n }\n}\n",
        "(s) {\n x a {\n y\n }\n}\n.\nimport s",
        ".\n\"x\" \"a\" {\n y }",
    ] {
        assert_eq!(fingerprint(same), first, "{same:?}");
    }
    let toml = "[[server]]\nkeys=['.']\nplugin=[{name='x', arguments=['a'], options=[['y']]}]";
    let toml = parse_toml(toml).expect("the text is good");
    assert_eq!(toml.fingerprint().to_string(), first);
    for other in [
        ". {\n x a {\n y y\n }\n}",
        ". {\n x a y\n}",
        ". {\n x a\n}",
        ". {\n x a {\n }\n y\n}",
        ". {\n xa {\n y\n }\n}",
        ". . {\n x a {\n y\n }\n}",
        ". {\n x \"a \" {\n y\n }\n}",
    ] {
        assert_ne!(fingerprint(other), first, "{other:?}");
    }
}

#[test]
fn a_changed_variable_is_a_change() {
    let fingerprint = |value: &'static str| {
        let loader = Loader::with_environment(move |_| Some(value.to_owned()));
        let corefile = loader.parse("Corefile", ".\nx {$V}", Path::new("/"));
        corefile.expect("the text is good").fingerprint()
    };
    assert_eq!(fingerprint("a"), fingerprint("a"));
    assert_ne!(fingerprint("a"), fingerprint("b"));
}
