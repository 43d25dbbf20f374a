//! What is turned back or changed in responses.

use periplus_core::codes::Rcode;

use super::{Case, Inner, check, question};
use crate::testing::{answer_lines, ask};

/// One record of each type whose RDATA holds a name that CoreDNS takes for its value.
const VALUES: &[&str] = &[
    "answer: @ 60 SRV 1 2 3 b.test. + 1 2 4 www.b.test. + 1 2 5 other.test.",
    "answer: @ 60 MX 10 b.test.",
    "answer: @ 60 NAPTR b.test.",
    "answer: @ 60 DNAME b.test.",
    "answer: @ 60 PTR b.test.",
    "answer: @ 60 TXT b.test.",
    "authority: @2 60 NS b.test.",
    "authority: test. 60 SOA b.test. b.test.",
    "additional: ns.b.test. 60 A 192.0.2.1",
];

#[test]
fn an_exact_rule_turns_back_owners_and_values() {
    check(&[Case {
        rules: "rewrite name a.example b.test",
        asked: "a.example. ANY",
        seen: "b.test. ANY",
        inner: VALUES,
        told: &[
            "NOERROR qr rd",
            "answer: a.example. 60 IN SRV 1 2 3 a.example.",
            "answer: a.example. 60 IN SRV 1 2 4 www.a.example.",
            "answer: a.example. 60 IN SRV 1 2 5 other.test.",
            "answer: a.example. 60 IN MX 10 a.example.",
            "answer: a.example. 60 IN NAPTR 1 2 \"S\" \"\" \"\" a.example.",
            "answer: a.example. 60 IN DNAME AWEHZXhhbXBsZQA=", // a.example.
            "answer: a.example. 60 IN PTR a.example.",
            "answer: a.example. 60 IN TXT b.test.",
            "authority: test. 60 IN NS a.example.",
            // Only the first name of an SOA record is its value.
            "authority: test. 60 IN SOA a.example. b.test. 1 2 3 4 5",
            "additional: ns.a.example. 60 IN A 192.0.2.1",
        ],
    }]);
}

#[test]
fn only_what_is_asked_for_is_turned_back() {
    check(&[
        Case {
            rules: "rewrite name suffix .a.example .b.test answer auto",
            asked: "Web.a.example. A",
            seen: "web.b.test. A",
            inner: &[
                "answer: @ 60 CNAME CDN.B.Test.",
                "answer: cdn.b.test. 60 A 192.0.2.1",
                "authority: b.test. 60 NS ns.b.test.",
                "additional: xb.test. 60 A 192.0.2.2",
            ],
            told: &[
                "NOERROR qr rd",
                "answer: web.a.example. 60 IN CNAME CDN.a.example.",
                "answer: cdn.a.example. 60 IN A 192.0.2.1",
                "authority: b.test. 60 IN NS ns.a.example.",
                "additional: xb.test. 60 IN A 192.0.2.2",
            ],
        },
        Case {
            rules: "rewrite name suffix .a.example .b.test",
            asked: "web.a.example. A",
            seen: "web.b.test. A",
            inner: &[
                "answer: @ 60 CNAME cdn.b.test.",
                "answer: @4 60 A 192.0.2.1",
                "answer: c.test. 60 A 192.0.2.2",
            ],
            told: &[
                "NOERROR qr rd",
                "answer: web.b.test. 60 IN CNAME cdn.b.test.",
                "answer: b.test. 60 IN A 192.0.2.1",
                "answer: c.test. 60 IN A 192.0.2.2",
            ],
        },
        Case {
            rules: r"rewrite name regex ^(.*)\.a\.example\.$ {1}.b.test answer name ^(.*)\.b\.test\.$ {1}.c.example",
            asked: "web.a.example. A",
            seen: "web.b.test. A",
            inner: &[
                "answer: @ 60 CNAME cdn.b.test.",
                "answer: cdn.b.test. 60 A 192.0.2.1",
                "answer: CDN.B.test. 60 A 192.0.2.1",
            ],
            told: &[
                "NOERROR qr rd",
                "answer: web.c.example. 60 IN CNAME cdn.b.test.",
                "answer: cdn.c.example. 60 IN A 192.0.2.1",
                // Expressions see names in their own spelling.
                "answer: CDN.B.test. 60 IN A 192.0.2.1",
            ],
        },
        Case {
            rules: r"rewrite name suffix .a .b answer value (.*)\.one\. {1}.two. value (.*)\.three\. {1}.one answer name x\.b\. y",
            asked: "x.a. A",
            seen: "x.b. A",
            inner: &["answer: @ 60 CNAME w.three.", "answer: w.three. 60 A 192.0.2.1"],
            told: &[
                "NOERROR qr rd",
                "answer: y. 60 IN CNAME w.two.",
                "answer: w.three. 60 IN A 192.0.2.1",
            ],
        },
        // A name that would not be one is left as it is.
        Case {
            rules: r"rewrite name suffix .a .b answer name x\.b\. y..z answer value ^(one)\. {0}",
            asked: "x.a. A",
            seen: "x.b. A",
            inner: &["answer: @ 60 CNAME one."],
            told: &["NOERROR qr rd", "answer: x.b. 60 IN CNAME one."],
        },
    ]);
}

#[test]
fn the_rotation_of_a_set_survives_its_renaming() {
    use periplus_core::reply::Answer;
    let inner = Inner::new(VALUES, false);
    let server = inner.server("rewrite name a.example b.test");
    let asked = question("a.example. SRV");
    let Answer::Reply(mut reply) = ask(&server, &asked) else { panic!("a reply") };
    reply.answer[0].first = 2;
    let ports: Vec<u8> = reply.answer[0].rdata().map(|rdata| rdata[5]).collect();
    assert_eq!(ports, [5, 3, 4]);
}

#[test]
fn ttls_are_set_or_brought_into_a_range() {
    let cases: &[(&str, &str, [&str; 3])] = &[
        ("rewrite ttl a.test 30", "a.test.", ["30", "30", "30"]),
        ("rewrite ttl a.test 0", "A.test.", ["0", "0", "0"]),
        ("rewrite ttl exact a.test 30-300", "a.test.", ["30", "100", "300"]),
        ("rewrite ttl prefix a -50", "a.test.", ["10", "50", "50"]),
        ("rewrite ttl suffix .test 200-", "a.test.", ["200", "200", "4294967295"]),
        ("rewrite ttl substring a.te 1", "a.test.", ["10", "100", "4294967295"]),
        ("rewrite ttl substring a.test 1", "a.test.", ["1", "1", "1"]),
        (r"rewrite ttl regex ^a\. 5", "a.test.", ["5", "5", "5"]),
        ("rewrite ttl b.test 5", "a.test.", ["10", "100", "4294967295"]),
        // In reverse order: first at most 50, then at least 20.
        ("rewrite continue ttl a.test 20-\nrewrite ttl a.test -50", "a.test.", ["20", "50", "50"]),
        // The name is the one the rule sees.
        ("rewrite continue name a.test b.test\nrewrite ttl b.test 5", "a.test.", ["5", "5", "5"]),
    ];
    for (rules, asked, [answer, authority, additional]) in cases {
        let script = &[
            "answer: @ 10 A 192.0.2.1",
            "authority: @2 100 NS ns.",
            "additional: ns. 4294967295 A 192.0.2.2",
        ];
        let told = answer_lines(
            &Inner::new(script, false).server(rules),
            &question(&format!("{asked} A")),
        );
        // MAX_TTL bounds a range that is open above.
        let additional = if rules.contains("200-") { "2147483647" } else { additional };
        let ttls: Vec<&str> =
            told[1..].iter().map(|line| line.split(' ').nth(2).unwrap()).collect();
        assert_eq!(ttls, [*answer, authority, additional], "{rules}");
    }
}

#[test]
fn response_codes_are_changed_for_replies_and_failures() {
    let cases: &[(&str, &'static [&'static str], &str)] = &[
        ("rewrite rcode a.test SERVFAIL NOERROR", &["rcode: SERVFAIL"], "NOERROR qr rd"),
        ("rewrite rcode a.test 2 0", &["failure: SERVFAIL"], "NOERROR qr rd"),
        ("rewrite rcode exact a.test servfail NXDOMAIN", &["failure: REFUSED"], "REFUSED qr rd"),
        ("rewrite rcode prefix a REFUSED 15", &["failure: REFUSED"], "RCODE15 qr rd"),
        (
            "rewrite rcode suffix .test NXDOMAIN NOERROR",
            &["rcode: NXDOMAIN", "authority: @ 1 NS a."],
            "NOERROR qr rd",
        ),
        ("rewrite rcode substring a.test NOTIMPL NOTIMP", &["rcode: NOTIMP"], "NOTIMP qr rd"),
        (r"rewrite rcode regex ^a\. FORMERR SERVFAIL", &["failure: FORMERR"], "SERVFAIL qr rd"),
        ("rewrite rcode b.test SERVFAIL NOERROR", &["failure: SERVFAIL"], "SERVFAIL qr rd"),
        // Without an OPT record there is no room for an extended code.
        ("rewrite rcode a.test NOERROR BADCOOKIE", &["rcode: NOERROR"], "SERVFAIL qr rd"),
        // In reverse order: SERVFAIL -> NXDOMAIN is tried before NOERROR -> SERVFAIL,
        (
            "rewrite continue rcode a.test NOERROR SERVFAIL\nrewrite rcode a.test SERVFAIL NXDOMAIN",
            &["rcode: NOERROR"],
            "SERVFAIL qr rd",
        ),
        // and again for each further record.
        (
            "rewrite continue rcode a.test NOERROR SERVFAIL\nrewrite rcode a.test SERVFAIL NXDOMAIN",
            &["rcode: NOERROR", "answer: @ 1 A 192.0.2.1 + 192.0.2.2"],
            "NXDOMAIN qr rd",
        ),
    ];
    for (rules, script, expected) in cases {
        for later in [false, true] {
            let told =
                answer_lines(&Inner::new(script, later).server(rules), &question("A.test. A"));
            assert_eq!(told[0], *expected, "{rules}");
        }
    }
}

#[test]
fn the_cause_of_a_failure_reaches_the_operator() {
    let cases = [
        // (rules, whether rewrite makes the reply itself)
        ("rewrite name a.test b.test", true),
        ("rewrite type A AAAA", true),
        ("rewrite continue type A AAAA", false),
        ("rewrite continue ttl a.test 5", true),
        ("rewrite ttl other.test 5", false),
        ("rewrite continue edns0 nsid set", true),
    ];
    for (rules, replies) in cases {
        for later in [false, true] {
            let answer = ask(
                &Inner::new(&["failure: REFUSED"], later).server(rules),
                &question("a.test. A"),
            );
            assert_eq!(answer.rcode(), Some(Rcode::REFUSED), "{rules}");
            assert_eq!(
                answer.cause().map(ToString::to_string).as_deref(),
                Some("broken"),
                "{rules}"
            );
            assert_eq!(answer.reply().is_some(), replies, "{rules}");
        }
    }
}

#[test]
fn silence_stays_silence() {
    for rules in ["rewrite name a.test b.test", "rewrite cname x y"] {
        let told =
            answer_lines(&Inner::new(&["silence"], true).server(rules), &question("a.test. A"));
        assert!(told.is_empty(), "{told:?}");
    }
}

#[test]
fn a_cname_is_pointed_elsewhere_and_followed() {
    const CHAIN: &[&str] = &[
        "? a.test. A",
        "answer: @ 200 CNAME b.test.",
        "answer: b.test. 200 CNAME A.CDN.test.",
        "answer: a.cdn.test. 300 A 192.0.2.1 + 192.0.2.2",
        "authority: test. 60 NS ns.test.",
        "? a.other.test. A",
        "answer: @ 100 CNAME c.test.",
        "answer: c.test. 50 A 192.0.2.9",
        "authority: other.test. 60 NS ns.other.test.",
        "flag: tc",
    ];
    const FOLLOWED: &[&str] = &[
        "NOERROR qr tc rd",
        "answer: a.test. 200 IN CNAME b.test.",
        "answer: b.test. 200 IN CNAME a.other.test.",
        "answer: a.other.test. 100 IN CNAME c.test.",
        "answer: c.test. 50 IN A 192.0.2.9",
        "authority: test. 60 IN NS ns.test.",
    ];
    let rules = [
        "rewrite cname a.cdn.test a.other.test",
        "rewrite cname exact A.cdn.test. a.other.test.",
        "rewrite cname prefix a.cdn a.other",
        "rewrite cname suffix .cdn.test. .other.test.",
        "rewrite cname substring cdn other",
        r"rewrite cname regex (.*)\.CDN\.test {1}.other.test",
    ];
    for rules in rules {
        check(&[Case {
            rules,
            asked: "a.test. A",
            seen: "a.test. A",
            inner: CHAIN,
            told: FOLLOWED,
        }]);
    }
    for rules in ["rewrite cname suffix .cdn.test .other.test", "rewrite cname cdn.test other.test"]
    {
        let told = answer_lines(&Inner::new(CHAIN, false).server(rules), &question("a.test. A"));
        assert_eq!(told[3], "answer: a.cdn.test. 300 IN A 192.0.2.1", "{rules}");
    }
}

#[test]
fn a_cname_rule_works_beside_other_rules() {
    check(&[
        // The lookup passes the rules itself; what it finds is not changed a second time.
        Case {
            rules: "rewrite continue ttl prefix a 10\nrewrite continue ttl prefix x 77\nrewrite continue name a.test b.test\nrewrite cname y.test x.test",
            asked: "a.test. A",
            seen: "b.test. A",
            inner: &[
                "? b.test. A",
                "answer: @ 200 CNAME y.test.",
                "answer: y.test. 200 A 192.0.2.1",
                "authority: b.test. 300 NS b.test.",
                "? x.test. A",
                "answer: @ 100 A 192.0.2.2",
            ],
            told: &[
                "NOERROR qr rd",
                "answer: a.test. 10 IN CNAME x.test.",
                "answer: x.test. 77 IN A 192.0.2.2",
                "authority: a.test. 10 IN NS a.test.",
            ],
        },
        // The last rule has its say about a target first.
        Case {
            rules: "rewrite continue cname y.test z.test\nrewrite cname x.test y.test",
            asked: "a.test. A",
            seen: "a.test. A",
            inner: &[
                "? a.test. A",
                "answer: @ 200 CNAME x.test.",
                "? y.test. A",
                "answer: @ 100 A 192.0.2.2",
                "? z.test. A",
                "answer: @ 100 A 192.0.2.3",
            ],
            told: &[
                "NOERROR qr rd",
                "answer: a.test. 200 IN CNAME z.test.",
                "answer: z.test. 100 IN A 192.0.2.3",
            ],
        },
        // A rule for names that is written later has its say before, one written earlier after it.
        Case {
            rules: "rewrite continue name suffix .k .l answer value (.*)\\.new\\. {1}.newer\nrewrite continue cname s.mid t.new\nrewrite name suffix .l .m answer value (.*)\\.old\\. {1}.mid",
            asked: "a.k. A",
            seen: "a.m. A",
            inner: &[
                "? a.m. A",
                "answer: @ 200 CNAME s.old.",
                "? t.new. A",
                "answer: @ 100 CNAME u.new.",
                "? u.new. A",
            ],
            told: &[
                "NOERROR qr rd",
                "answer: a.m. 200 IN CNAME t.newer.",
                "answer: t.new. 100 IN CNAME u.new.",
            ],
        },
        // A failed lookup leaves the CNAME alone in the answer, as an empty reply would.
        Case {
            rules: "rewrite cname x.test y.test",
            asked: "a.test. A",
            seen: "a.test. A",
            inner: &[
                "? a.test. A",
                "answer: @ 200 CNAME x.test.",
                "answer: x.test. 200 A 192.0.2.1",
                "? y.test. A",
                "failure: SERVFAIL",
            ],
            told: &["NOERROR qr rd", "answer: a.test. 200 IN CNAME y.test."],
        },
        // No answer at all leaves the reply as it was.
        Case {
            rules: "rewrite cname x.test y.test",
            asked: "a.test. A",
            seen: "a.test. A",
            inner: &[
                "? a.test. A",
                "answer: @ 200 CNAME x.test.",
                "answer: x.test. 200 A 192.0.2.1",
                "? y.test. A",
                "silence",
            ],
            told: &[
                "NOERROR qr rd",
                "answer: a.test. 200 IN CNAME x.test.",
                "answer: x.test. 200 IN A 192.0.2.1",
            ],
        },
    ]);
}

#[test]
fn cnames_that_lead_in_a_circle_come_to_an_end() {
    for later in [false, true] {
        let inner = Inner::new(&["answer: @ 60 CNAME x.test."], later);
        let told =
            answer_lines(&inner.server("rewrite cname x.test x.test"), &question("a.test. A"));
        assert_eq!(inner.queries().len(), 1 + usize::from(periplus_core::query::MAX_DEPTH));
        assert_eq!(told[0], "NOERROR qr rd");
    }
}

#[test]
fn many_cname_rules_that_lead_to_each_other_cost_a_bounded_number_of_lookups() {
    const RULES: &str = "
        rewrite continue cname exact y.test. z.test.
        rewrite continue cname exact x.test. y.test.
        rewrite continue cname exact w.test. x.test.
        rewrite continue cname exact v.test. w.test.
    ";
    for later in [false, true] {
        let inner = Inner::new(&["answer: @ 60 CNAME v.test."], later);
        let told = answer_lines(&inner.server(RULES), &question("a.test. A"));
        assert_eq!(told[0], "NOERROR qr rd");
        let asked = inner.queries().len();
        assert!((9..=256).contains(&asked), "{asked} lookups for one question");
    }
}
