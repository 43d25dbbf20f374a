//! What is asked further in, and whose records come back.

use super::{Case, Inner, check, question};
use crate::testing::{answer_lines, ask};
use periplus_core::codes::{Class, Rcode, RecordType};

/// An answer owned by the question's name, one by its parent, and one by another name.
const ANSWER: &[&str] = &["answer: @ 60 A 192.0.2.1"];

#[test]
fn names_are_matched_and_replaced_as_text() {
    // (rules, asked name, name seen further in; the answer's owner)
    let cases: &[(&str, &str, &str, &str)] = &[
        // Two words mean the whole name, in any case; the records go by the client's name in lower case.
        ("rewrite name a.example b.example", "a.example.", "b.example.", "a.example."),
        ("rewrite name A.Example. B.EXAMPLE", "A.eXample.", "b.example.", "a.example."),
        ("rewrite name exact a.example b.example", "x.a.example.", "x.a.example.", "x.a.example."),
        ("rewrite name exact . b.example", ".", "b.example.", "."),
        ("rewrite name exact a.example .", "a.example.", ".", "a.example."),
        (
            "rewrite NAME Exact a\\.b.example c\\032d.example",
            "a\\.B.example.",
            "c\\ d.example.",
            "a\\.b.example.",
        ),
        // A prefix has a final dot, so it is whole labels from the left.
        ("rewrite name prefix www web", "www.example.org.", "web.example.org.", "web.example.org."),
        (
            "rewrite name prefix www web",
            "www2.example.org.",
            "www2.example.org.",
            "www2.example.org.",
        ),
        (
            "rewrite name prefix www web answer auto",
            "WWW.example.org.",
            "web.example.org.",
            "www.example.org.",
        ),
        // A suffix is whole labels only if it begins with a dot.
        (
            "rewrite name suffix .a.example .b.example",
            "x.y.a.example.",
            "x.y.b.example.",
            "x.y.b.example.",
        ),
        ("rewrite name suffix .a.example .b.example", "a.example.", "a.example.", "a.example."),
        ("rewrite name suffix .a.example .b.example", "xa.example.", "xa.example.", "xa.example."),
        (
            "rewrite name suffix .a.example .b.example answer auto",
            "X.A.example.",
            "x.b.example.",
            "x.a.example.",
        ),
        ("rewrite name suffix a.example b.example", "xa.example.", "xb.example.", "xb.example."),
        (
            "rewrite name suffix a.example b.example answer auto",
            "xA.example.",
            "xb.example.",
            "xa.example.",
        ),
        ("rewrite name suffix .a.example b.example", "x.a.example.", "xb.example.", "xb.example."),
        ("rewrite name suffix . .b.example answer auto", "x.", "x.b.example.", "x."),
        ("rewrite name suffix .a.example .", "x.a.example.", "x.", "x."),
        // All occurrences of a substring are replaced.
        ("rewrite name substring ab c", "ab.ab.xab.d.", "c.c.xc.d.", "c.c.xc.d."),
        ("rewrite name substring ab c answer auto", "ab.d.", "c.d.", "ab.d."),
        ("rewrite name substring ab c", "ab1.d.", "ab1.d.", "ab1.d."),
        // A regular expression need not match the whole name, but its replacement is the whole name.
        (
            r"rewrite name regex (.*)-(us)\.example\.org {1}.service.{2}.consul",
            "FTP-us.example.org.",
            "ftp.service.us.consul.",
            "ftp.service.us.consul.",
        ),
        (
            r"rewrite name regex ^((a|b)\.) {2}{2}.{1}test answer auto",
            "b.example.",
            "bb.b.test.",
            "b.example.",
        ),
        (r"rewrite name regex ^(a)?(b)()\. x{1}y{2}.{4}", "b.example.", "xyb.{4}.", r"xyb.\{4\}."),
        (r"rewrite name regex EXAMPLE other", "a.example.", "a.example.", "a.example."),
        (r"rewrite name regex ^a\\\.b\.(\pL+)\. {1}", "a\\.b.c.", "c.", "c."),
    ];
    for (rules, asked, seen, owner) in cases {
        let inner = Inner::new(ANSWER, false);
        let told = answer_lines(&inner.server(rules), &question(&format!("{asked} A")));
        assert_eq!(inner.seen(), [format!("{seen} A")], "{rules} <- {asked}");
        assert_eq!(
            told,
            ["NOERROR qr rd", &format!("answer: {owner} 60 IN A 192.0.2.1")],
            "{rules} <- {asked}"
        );
    }
}

#[test]
fn the_spelling_of_the_question_survives_and_owners_are_in_lower_case() {
    let inner = Inner::new(&["answer: @ 60 A 192.0.2.1", "authority: @2 60 NS ns.test."], false);
    let server = inner.server("rewrite name a.example b.example");
    let asked = question("A.Example. A");
    let mut message = Vec::new();
    let answer = ask(&server, &asked);
    periplus_core::encode::encode(
        &asked,
        &answer,
        &mut periplus_core::encode::Compressor::new(),
        &mut message,
    );
    assert_eq!(&message[12..23], b"\x01A\x07Example\x00");
    assert_eq!(&message[27..38], b"\x01a\x07example\x00");
}

#[test]
fn rules_go_on_after_continue_and_are_turned_back_in_reverse() {
    check(&[
        Case {
            rules: "rewrite continue name exact a.test b.test\nrewrite name exact b.test c.test",
            asked: "A.test. A",
            seen: "c.test. A",
            inner: &[
                "answer: @ 60 CNAME b.test.",
                "answer: b.test. 60 CNAME c.test.",
                "answer: x.c.test. 60 A 192.0.2.1",
            ],
            told: &[
                "NOERROR qr rd",
                "answer: a.test. 60 IN CNAME a.test.",
                "answer: a.test. 60 IN CNAME a.test.",
                "answer: x.a.test. 60 IN A 192.0.2.1",
            ],
        },
        Case {
            rules: "rewrite name exact a.test b.test\nrewrite name exact b.test c.test",
            asked: "a.test. A",
            seen: "b.test. A",
            inner: &["answer: @ 60 A 192.0.2.1"],
            told: &["NOERROR qr rd", "answer: a.test. 60 IN A 192.0.2.1"],
        },
        Case {
            rules: "rewrite continue type A TXT\nrewrite continue { name suffix .a .b }\nrewrite ttl x.b. 7",
            asked: "x.a. A",
            seen: "x.b. TXT",
            inner: &["answer: @ 60 TXT hello"],
            told: &["NOERROR qr rd", "answer: x.b. 7 IN TXT hello"],
        },
        // A later rule that is not meant does not stop anything.
        Case {
            rules: "rewrite stop name exact no.test b.test\nrewrite stop ttl a.test 9\nrewrite ttl a.test 10",
            asked: "a.test. A",
            seen: "a.test. A",
            inner: &["answer: @ 60 A 192.0.2.1"],
            told: &["NOERROR qr rd", "answer: a.test. 9 IN A 192.0.2.1"],
        },
    ]);
}

#[test]
fn type_and_class_are_changed_in_the_question_only() {
    check(&[
        Case {
            rules: "rewrite type any Hinfo",
            asked: "a.test. ANY",
            seen: "a.test. HINFO",
            inner: &["answer: @ 60 TXT any"],
            told: &["NOERROR qr rd", "answer: a.test. 60 IN TXT any"],
        },
        Case {
            rules: "rewrite class in CH",
            asked: "a.test. TXT",
            seen: "a.test. TXT CH",
            inner: &["answer: @ 60 TXT hello"],
            told: &["NOERROR qr rd", "answer: a.test. 60 IN TXT hello"],
        },
    ]);
    let inner = Inner::new(ANSWER, false);
    let mut asked = question("a.test. A");
    asked.class = Class::IN;
    let answer = ask(&inner.server("rewrite type TYPE1 TYPE65280"), &asked);
    assert_eq!(inner.queries()[0].qtype, RecordType(65280));
    assert_eq!(answer.rcode(), Some(Rcode::NOERROR));
}

#[test]
fn what_is_no_name_after_a_rule_is_a_server_failure() {
    let long = "a".repeat(60);
    let cases = [
        ("rewrite name suffix . .b.example", ".".to_owned(), ".b.example."),
        // The group has the final dot already.
        ("rewrite name regex ^x(.*) {1}", "x.test.".to_owned(), ".test.."),
        ("rewrite name prefix a a..b", "a.test.".to_owned(), "a..b.test."),
        (
            "rewrite name regex (.*) {1}{1}{1}{1}{1}x",
            format!("{long}."),
            &format!("{}.x.", [long.as_str(); 5].join(".")),
        ),
    ];
    for (rules, asked, invalid) in cases {
        let inner = Inner::new(ANSWER, false);
        let answer = ask(&inner.server(rules), &question(&format!("{asked} A")));
        assert_eq!(answer.rcode(), Some(Rcode::SERVFAIL), "{rules}");
        let cause = answer.cause().map(ToString::to_string);
        assert_eq!(cause, Some(format!("invalid name after rewrite: {invalid}")), "{rules}");
        assert!(inner.queries().is_empty());
    }
}
