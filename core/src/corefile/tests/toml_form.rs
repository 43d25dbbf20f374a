//! The configuration as TOML, and one form turned into the other.

use super::{dump, parse, parse_toml};
use crate::corefile::{to_corefile, to_toml, unprintable_words};

const COREFILE: &str = r#".:53 example.org {
    errors
    kubernetes cluster.local in-addr.arpa {
        pods insecure
        ttl 30
    }
    view v {
        expr "name() == 'a b'"
    }
    x {
    }
    y "" "{" {
        z {
            "import" 1
        }
        z
    }
}

other.org {
}
"#;

const TOML: &str = r#"[[server]]
keys = [".:53", "example.org"]

[[server.plugin]]
name = "errors"

[[server.plugin]]
name = "kubernetes"
arguments = ["cluster.local", "in-addr.arpa"]
options = [
    ["pods", "insecure"],
    ["ttl", "30"],
]

[[server.plugin]]
name = "view"
arguments = ["v"]
options = [
    ["expr", "name() == 'a b'"],
]

[[server.plugin]]
name = "x"
options = []

[[server.plugin]]
name = "y"
arguments = ["", "{"]
options = [
    ["z", [
        ["import", "1"],
    ]],
    ["z"],
]

[[server]]
keys = ["other.org"]
"#;

#[test]
fn either_form_turns_into_the_other() {
    let corefile = parse(COREFILE).expect("it is good");
    let toml = parse_toml(TOML).expect("it is good");
    assert_eq!(dump(&corefile), dump(&toml));
    assert_eq!(to_corefile(&toml), COREFILE);
    assert_eq!(to_toml(&corefile), TOML);
    assert_eq!(to_corefile(&corefile), COREFILE);
    assert_eq!(to_toml(&toml), TOML);
}

#[test]
fn words_no_corefile_can_hold_are_named() {
    let toml = r#"
        [[server]]
        keys = ["a"]
        plugin = [{ name = 'x', arguments = ['a b\', 'a \" b', 'a\', 'a \\', '\"', 'a b'] }]
    "#;
    let corefile = parse_toml(toml).expect("it is good");
    let warnings = unprintable_words(&corefile).render_lines(&corefile.sources);
    let expected = "Corefile.toml:4:46: a Corefile cannot hold the word 'a b\\'\n\
                    Corefile.toml:4:54: a Corefile cannot hold the word 'a \\\" b'";
    assert_eq!(warnings, expected);
}

#[test]
fn numbers_booleans_and_variables_are_words() {
    let toml = r#"
        [[server]]
        keys = ["{$ZONE}", "{$EMPTY}"]
        [[server.plugin]]
        name = "x"
        arguments = [30, 1.5, true, 0x1F, "{$SPACES}", """a
b"""]
        options = [["ttl", 30, [["y", -1]]]]
    "#;
    let corefile = parse_toml(toml).expect("it is good");
    assert_eq!(
        dump(&corefile),
        "[example.org] {[x][30][1.5][true][0x1F][a b  c][a\nb] {[ttl][30] {[y][-1]}}}"
    );
}

#[test]
fn all_errors_of_a_document_come_in_one_go() {
    let cases = [
        (
            "[[server]]\nkeys = ['.']\nplugins = []\n[serve]\n",
            "Corefile.toml:4:2: unknown key 'serve' (did you mean 'server'?)\n\
             Corefile.toml:3:1: unknown key 'plugins' (did you mean 'plugin'?)",
        ),
        (
            "server = 1",
            "Corefile.toml:1:10: found an integer, expected an array of tables, [[server]]",
        ),
        (
            "[[server]]\n[[server.plugin]]\narguments = ['a']\n",
            "Corefile.toml:1:1: 'keys' is missing (add keys = [\".:53\"])\n\
             Corefile.toml:2:1: 'name' is missing (add name = \"forward\")",
        ),
        (
            "[[server]]\nkeys = '.'\n[[server.plugin]]\nname = 1\narguments = [[], 1979-05-27]\n\
             options = ['a', [], [[]], ['a', [1]], ['a', [], 'b']]\n",
            "Corefile.toml:2:8: found a string, expected an array of strings\n\
             Corefile.toml:4:8: found an integer, expected a string\n\
             Corefile.toml:5:14: found an array, expected a string\n\
             Corefile.toml:5:18: found a date or time, expected a string\n\
             Corefile.toml:6:12: found a string, expected an option, which is an array of words \
             (write [\"ttl\", \"30\"] or [\"stacktrace\"])\n\
             Corefile.toml:6:17: an option needs a name \
             (write [\"ttl\", \"30\"] or [\"stacktrace\"])\n\
             Corefile.toml:6:21: an option needs a name \
             (write [\"ttl\", \"30\"] or [\"stacktrace\"])\n\
             Corefile.toml:6:34: found an integer, expected an option, which is an array of words \
             (write [\"ttl\", \"30\"] or [\"stacktrace\"])\n\
             Corefile.toml:6:45: found an array, expected a string",
        ),
    ];
    for (text, expected) in cases {
        let failed = parse_toml(text).expect_err(text);
        assert_eq!(failed.diagnostics.render_lines(&failed.sources), expected, "{text}");
    }
}

#[test]
fn all_syntax_errors_of_a_document_come_in_one_go() {
    let failed =
        parse_toml("[[server]]\nkeys = [\n= 1\n\nx = \nkeys = 'a'\n").expect_err("it is bad");
    assert!(failed.diagnostics.len() > 1, "{failed}");
    assert!(failed.to_string().contains("--> Corefile.toml:"), "{failed}");
}

#[test]
fn a_server_without_keys_is_ignored_as_in_a_corefile() {
    let corefile = parse_toml("[[server]]\nkeys = ['']\n").expect("it is good");
    assert_eq!(dump(&corefile), "");
    assert_eq!(corefile.warnings.len(), 1);
}

#[test]
fn the_file_name_tells_the_form() {
    let directory = tempfile::TempDir::new().expect("a temporary directory");
    let path = directory.path().join("periplus.toml");
    std::fs::write(&path, TOML).expect("a file");
    let corefile = super::loader().load(&path).expect("it is good");
    assert_eq!(to_toml(&corefile), TOML);
}
