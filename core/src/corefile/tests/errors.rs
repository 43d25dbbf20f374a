//! Text and what is wrong with it.

use super::{errors, parse};
use crate::corefile::{Diagnostic, did_you_mean, unknown_directive, unknown_property};

#[test]
fn errors_name_the_place_and_the_way_out() {
    let cases = [
        // Braces.
        ("}", "Corefile:1:1: Unexpected '}' because no matching opening brace"),
        (". {\n}\n}\na. {\n}", "Corefile:3:1: Unexpected '}' because no matching opening brace"),
        (
            ". {\n}\n} }",
            "Corefile:3:1: Unexpected '}' because no matching opening brace\n\
             Corefile:3:3: this '}' has no opening brace and is ignored",
        ),
        (
            ". {\n whoami }",
            "Corefile:2:9: Unexpected '}' because no matching opening brace \
             (put the '}' on a line of its own)",
        ),
        (
            ". {\n x {\n y\n } }",
            "Corefile:4:4: Unexpected '}' because no matching opening brace \
             (put the '}' on a line of its own)",
        ),
        (". {\n x\n", "Corefile:2:2: Syntax error: Unexpected token 'x', expecting '}'"),
        (". {", "Corefile:1:3: Syntax error: Unexpected token '{', expecting '}'"),
        (". {\n x {\n y", "Corefile:3:2: Unexpected EOF"),
        (". {\n x {\n y {\n", "Corefile:3:4: Unexpected EOF"),
        (
            ". {\n x a\n {\n y\n }\n}",
            "Corefile:3:2: Unexpected token '{' at the start of a line \
             (a block opens on the line it belongs to: put the '{' there)",
        ),
        (
            ". {\n x {\n y\n } z {\n a\n }\n}",
            "Corefile:4:4: Unexpected token 'z' after '}' (start a new line after '}')",
        ),
        (
            ". {\n {\n y\n }\n}",
            "Corefile:2:2: Unknown directive '{' \
             (a block belongs to the line above: put '{' there)",
        ),
        (". {\n x {\n {\n y\n }\n }\n}", "Corefile:3:2: Unexpected token '{' (remove this block)"),
        // Keys.
        (
            "a.org, {\n}",
            "Corefile:1:8: Expected another address but had '{' - check for extra comma",
        ),
        ("a.org,", "Corefile:1:1: Unexpected EOF"),
        ("a.org }\n", "Corefile:1:7: Unexpected '}' because no matching opening brace"),
        // Snippets and imports.
        ("(a)", "Corefile:1:1: Syntax error: Unexpected token '(a)', expecting '{'"),
        ("(a)\nx y\n", "Corefile:2:1: Syntax error: Unexpected token 'x', expecting '{'"),
        ("(a) {\n x {\n", "Corefile:2:4: Syntax error: Unexpected token '{', expecting '}'"),
        (
            "(a) {\n x\n}\n(a) {\n y\n}",
            "Corefile:4:1: redeclaration of previously declared snippet a",
        ),
        (
            "(a) {\n x\n import a\n}\n. {\n import a\n}",
            "Corefile:3:9: maximum snippet import depth (10000) exceeded",
        ),
        (
            "(a) {\n import b\n}\n(b) {\n import a\n}\n. {\n import a\n}",
            "Corefile:5:9: maximum snippet import depth (10000) exceeded",
        ),
        (
            ". {\n import\n}",
            "Corefile:2:2: Wrong argument count or unexpected line ending after 'import' \
             (add the name of a snippet or file)",
        ),
        (". {\n import \"\"\n}", "Corefile:2:9: Import requires a non-empty filepath"),
        (". {\n import {$UNSET}\n}", "Corefile:2:9: Import requires a non-empty filepath"),
        (
            "(a) {\n x\n}\n. {\n import a b\n}",
            "Corefile:5:11: Import takes only one argument (glob pattern or file) \
             (snippets take no arguments in a Corefile)",
        ),
        (
            "(a) {\n x\n}\n. {\n import a }",
            "Corefile:5:11: Import takes only one argument (glob pattern or file) \
             (put the '}' on a line of its own)",
        ),
        (
            "(common) {\n x\n}\n. {\n import comon\n}",
            "Corefile:5:9: File to import not found: comon (did you mean 'common'?)",
        ),
        (
            ". {\n import comon\n}\n(common) {\n x\n}",
            "Corefile:2:9: File to import not found: comon (did you mean 'common'?)",
        ),
        (
            ". {\n import late\n}\n(late) {\n x\n}",
            "Corefile:2:9: File to import not found: late \
             (define the snippet before it is imported)",
        ),
        (
            ". {\n import /a*b*c\n}",
            "Corefile:2:9: Glob pattern may only contain one wildcard (*), but has others: /a*b*c",
        ),
        (
            ". {\n import x[a]\n}",
            "Corefile:2:9: Glob pattern may only contain one wildcard (*), but has others: \
             /nowhere/x[a]",
        ),
        (
            ". {\n import x[a\n}",
            "Corefile:2:9: Failed to use import pattern x[a: syntax error in pattern",
        ),
    ];
    for (text, expected) in cases {
        assert_eq!(errors(text), expected, "{text:?}");
    }
}

#[test]
fn all_errors_of_a_file_come_in_one_go() {
    let text = "\
}
a.org, {
    import
    x {
        y
    } z
    import nothing
}
(s)
(s) {
}
(s) {
}
b.org {
    x {$SELF}
    whoami }
c.org {
    x {
        y
";
    let expected = "\
Corefile:1:1: Unexpected '}' because no matching opening brace
Corefile:2:8: Expected another address but had '{' - check for extra comma
Corefile:3:5: Wrong argument count or unexpected line ending after 'import' (add the name of a \
snippet or file)
Corefile:6:7: Unexpected token 'z' after '}' (start a new line after '}')
Corefile:7:12: File to import not found: nothing
Corefile:10:1: Syntax error: Unexpected token '(s)', expecting '{'
Corefile:12:1: redeclaration of previously declared snippet s
Corefile:15:7: the value of environment variable 'SELF' contains itself or is too long
Corefile:16:12: Unexpected '}' because no matching opening brace (put the '}' on a line of its own)
Corefile:19:9: Unexpected EOF";
    assert_eq!(errors(text), expected);
}

#[test]
fn what_could_be_read_is_there_to_look_for_more_errors() {
    let failed = parse(". {\n erors\n import nothing\n log\n}").expect_err("it is bad");
    let names: Vec<&str> = failed.blocks[0].directives.iter().map(|d| &*d.name.text).collect();
    assert_eq!(names, ["erors", "log"]);
}

#[test]
fn an_error_is_shown_with_its_line() {
    let failed = parse(". {\n\tcache 30 {\n\t\tttl 5\n").expect_err("there is no closing brace");
    let expected = "\
error: Unexpected EOF
 --> Corefile:3:7
  |
2 |     cache 30 {
  |              - this '{' is never closed
3 |         ttl 5
  |             ^";
    assert_eq!(failed.to_string(), expected);
}

#[test]
fn too_many_errors_are_cut() {
    let failed = parse(&"}\n".repeat(100_000)).expect_err("there are only stray braces");
    assert_eq!(failed.diagnostics.len(), 101);
    let last = failed.diagnostics.iter().last().expect("there are 101");
    assert_eq!(last.message, "too many errors; the rest is left out");
}

#[test]
fn blocks_nest_only_so_deep() {
    let text = format!(". {{\nx {}", "y {\n".repeat(10_000));
    let text = text + &"}\n".repeat(10_000) + "}";
    assert_eq!(errors(&text), "Corefile:66:3: blocks are nested too deeply");
}

#[test]
fn near_misses_are_found() {
    let allowed = ["errors", "log", "kubernetes", "forward", "ttl", "any", "dns64"];
    let cases = [
        ("erors", Some("errors")),
        ("error", Some("errors")),
        ("KUBERNETES", Some("kubernetes")),
        ("kubernets", Some("kubernetes")),
        ("foward", Some("forward")),
        ("tll", Some("ttl")),
        ("lgo", Some("log")),
        ("x", None),
        ("", None),
        ("whoami", None),
        ("log", None),
        ("prometheus", None),
    ];
    for (word, expected) in cases {
        assert_eq!(did_you_mean(word, allowed), expected, "{word}");
    }
    assert_eq!(did_you_mean(&"a".repeat(1_000_000), allowed), None);
}

#[test]
fn unknown_words_come_with_what_is_allowed() {
    let corefile = parse(". {\n erors {\n tll 5\n }\n etcd\n}").expect("the language allows it");
    let [erors, etcd] = &corefile.blocks[0].directives[..] else { panic!("two directives") };
    let shown = |error: Diagnostic| {
        assert!(error.span.is_some());
        (error.message, error.help, error.notes.join("|"))
    };
    let known = ["errors", "log"];
    assert_eq!(
        shown(unknown_directive(&erors.name, &known, &["etcd"])),
        (
            "Unknown directive 'erors'".to_owned(),
            Some("did you mean 'errors'?".to_owned()),
            "allowed here: errors, log".to_owned()
        )
    );
    assert_eq!(
        shown(unknown_directive(&etcd.name, &known, &["etcd"])).0,
        "'etcd' is a CoreDNS plugin that Periplus does not have yet; available: errors, log"
    );
    assert_eq!(
        shown(unknown_property(&erors.lines()[0].name, &["ttl", "zone"]).for_plugin("errors")),
        (
            "plugin/errors: unknown property 'tll'".to_owned(),
            Some("did you mean 'ttl'?".to_owned()),
            "allowed here: ttl, zone".to_owned()
        )
    );
}
