//! Environment variables in words.

use std::path::Path;

use super::{dump, errors, loader, model};

#[test]
fn references_are_replaced_as_coredns_replaces_them() {
    let cases = [
        ("{$ZONE}", "example.org"),
        ("{%ZONE%}", "example.org"),
        ("a{$ZONE}b{$ZONE}c{%ZONE%}", "aexample.orgbexample.orgcexample.org"),
        ("\"x {$ZONE}\"", "x example.org"),
        // A value stays one word and never becomes structure.
        ("{$SPACES}", "a b  c"),
        ("{$BRACE}", "{"),
        // Unset is empty, and there are no default values.
        ("{$UNSET}", ""),
        ("{$UNSET:x}", ""),
        ("{$A:b}", "colon"),
        // Values are searched again, but a `{$}` value comes after all `{%%}` are done.
        ("{$INNER}", "<example.org>"),
        ("{%INNER%}", "<example.org>"),
        ("{%PERCENT%}", "example.org"),
        ("{$PERCENT}", "{%ZONE%}"),
        // An empty reference stops the search, an open one is no reference.
        ("{$}{$ZONE}", "{$}{$ZONE}"),
        ("{%%}{$ZONE}", "{%%}example.org"),
        ("{%}{%ZONE%}", "{%}{%ZONE%}"),
        ("{$ZONE", "{$ZONE"),
        ("{%ZONE}", "{%ZONE}"),
        ("$ZONE {ZONE}", "$ZONE][{ZONE}"),
    ];
    for (word, expected) in cases {
        let text = format!(". {{\n x {word}\n}}");
        assert_eq!(model(&text), format!("[.] {{[x][{expected}]}}"), "{word}");
    }
}

#[test]
fn references_work_wherever_words_stand() {
    let cases = [
        ("{$ZONE} a.{$ZONE}:53 {\n}", "[example.org][a.example.org:53] {}"),
        ("{$EMPTY} {$ZONE} {\n}", "[example.org] {}"),
        ("{$LIST}\ntwo {\n}", "[one][two] {}"),
        (". {\n {$ZONE} {\n {$ZONE} {$EMPTY}\n }\n}", "[.] {[example.org] {[example.org][]}}"),
        // Structure is recognised before replacement.
        (". {\n x {$BRACE}\n}", "[.] {[x][{]}"),
    ];
    for (text, expected) in cases {
        assert_eq!(model(text), expected, "{text:?}");
    }
}

#[test]
fn values_that_never_end_are_refused() {
    for name in ["SELF", "LOOP", "GROWS"] {
        let text = format!(". {{\n x {{${name}}}\n}}");
        let message = format!(
            "Corefile:2:4: the value of environment variable '{name}' contains itself or is too \
             long"
        );
        assert_eq!(errors(&text), message);
    }
}

#[test]
fn references_can_be_kept() {
    let text = "(s) {\n y {$ZONE}\n}\n{$ZONE} {\n import {$EMPTY}s\n x {%SELF%}\n}";
    let loader = loader().keeping_references();
    let corefile = loader.parse("Corefile", text, Path::new("/nowhere")).expect("it is good");
    assert_eq!(dump(&corefile), "[{$ZONE}] {[y][{$ZONE}] [x][{%SELF%}]}");
}
