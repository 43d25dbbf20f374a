//! The examples of the README do what it says.

use periplus_core::corefile::parse;

use super::{Inner, question};
use crate::testing::answer_lines;

const README: &str = include_str!("../README.md");

/// The `rewrite` directives of the Corefile that stands in the README after `introduction`.
fn rules(introduction: &str) -> String {
    let after = &README[README.find(introduction).expect("the README has this sentence")..];
    let corefile = after.split("```").nth(1).unwrap().strip_prefix("corefile\n").unwrap();
    let parsed = parse("README.md", corefile, std::path::Path::new("."));
    let Ok(mut parsed) = parsed else { panic!("not a Corefile: {corefile}") };
    let block = parsed.blocks.remove(0);
    let lines: Vec<&str> = corefile.lines().collect();
    let text = |line: u32, end: u32| lines[line as usize - 1..end as usize].join("\n");
    let directives = block.occurrences("rewrite");
    let texts = directives.map(|directive| {
        let body = directive
            .lines()
            .last()
            .map_or(directive.name.span.line, |line| line.name.span.line + 1);
        text(directive.name.span.line, body)
    });
    texts.collect::<Vec<_>>().join("\n")
}

#[test]
fn every_example_does_what_it_says() {
    /// The sentence before the example; question, question further in, answer further in, what the client is told.
    type Example = (
        &'static str,
        &'static str,
        &'static str,
        &'static [&'static str],
        &'static [&'static str],
    );
    const ADDRESS: &[&str] = &["answer: @ 60 A 10.10.10.10"];
    let examples: &[Example] = &[
        (
            "Make a service of the cluster known",
            "API.example.com. A",
            "api.default.svc.cluster.local. A",
            ADDRESS,
            &["NOERROR qr rd", "answer: api.example.com. 60 IN A 10.10.10.10"],
        ),
        (
            "The same for all names below a zone",
            "Web.shop.example.com. A",
            "web.shop.svc.cluster.local. A",
            ADDRESS,
            &["NOERROR qr rd", "answer: web.shop.example.com. 60 IN A 10.10.10.10"],
        ),
        (
            "Take a name apart",
            "ftp-us-west-1.coredns.rocks. A",
            "ftp.service.us-west-1.consul. A",
            ADDRESS,
            &["NOERROR qr rd", "answer: ftp-us-west-1.coredns.rocks. 60 IN A 10.10.10.10"],
        ),
        (
            "Rename what PTR records point to",
            "30.30.30.10.in-addr.arpa. PTR",
            "30.30.30.10.in-addr.arpa. PTR",
            &["answer: @ 60 PTR ftp-us-west-1.service.consul."],
            &[
                "NOERROR qr rd",
                "answer: 30.30.30.10.in-addr.arpa. 60 IN PTR ftp-us-west-1.coredns.rocks.",
            ],
        ),
        (
            "Refuse ANY politely",
            "a.example.org. ANY",
            "a.example.org. HINFO",
            &[],
            &["NOERROR qr rd"],
        ),
        (
            "Refuse ANY politely",
            "a.example.org. A",
            "a.example.org. A",
            &["answer: @ 5 A 192.0.2.1", "authority: @2 900 NS ns.example.org."],
            &[
                "NOERROR qr rd",
                "answer: a.example.org. 30 IN A 192.0.2.1",
                "authority: example.org. 300 IN NS ns.example.org.",
            ],
        ),
        (
            "Refuse ANY politely",
            "x.optional.example.org. A",
            "x.optional.example.org. A",
            &["failure: SERVFAIL"],
            &["NOERROR qr rd"],
        ),
        (
            "Use another content network",
            "my-app.com. A",
            "my-app.com. A",
            &[
                "? my-app.com. A",
                "answer: @ 200 CNAME my-app.com.cdn.example.net.",
                "answer: my-app.com.cdn.example.net. 300 A 20.2.0.1 + 20.2.0.2",
                "? my-app.com.other.cdn.com. A",
                "answer: @ 100 A 30.3.1.2",
            ],
            &[
                "NOERROR qr rd",
                "answer: my-app.com. 200 IN CNAME my-app.com.other.cdn.com.",
                "answer: my-app.com.other.cdn.com. 100 IN A 30.3.1.2",
            ],
        ),
    ];
    for (introduction, asked, seen, script, told) in examples {
        let inner = Inner::new(script, false);
        let lines = answer_lines(&inner.server(&rules(introduction)), &question(asked));
        assert_eq!(inner.seen()[0], *seen, "{introduction}");
        assert_eq!(lines, *told, "{introduction}");
    }
}

#[test]
fn the_example_for_options_shows_the_client_nothing() {
    let inner = Inner::new(&["answer: @ 60 A 192.0.2.1"], false);
    let answer = crate::testing::ask(
        &inner.server(&rules("Send the client's network")),
        &question("a.test. A"),
    );
    let seen = inner.queries().remove(0).edns.unwrap();
    let codes: Vec<u16> = seen.options().map(|(code, _)| code).collect();
    assert_eq!(codes, [8, 0xffee]);
    assert!(answer.reply().unwrap().request_edns.as_ref().unwrap().options.is_empty());
}
