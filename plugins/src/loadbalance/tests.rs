//! Replies in, order of records out; and how often each comes first.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use periplus_core::codes::RecordType;
use periplus_core::query::Query;
use periplus_core::server::Server;
use tempfile::NamedTempFile;

use super::weighted::parse;
use crate::testing::{
    Configured, answer_lines, configure, eventually, name, query, refused, replies::reply,
    run_tasks, scripted,
};

/// The plugin before a source that always gives this reply.
fn balancing(options: &str, lines: &'static [&'static str]) -> Arc<Server> {
    around(&configure(".", options).expect("valid options"), lines)
}

fn around(configured: &Configured, lines: &'static [&'static str]) -> Arc<Server> {
    configured.server(vec![scripted(move |query| reply(query, lines).into())])
}

fn ask(server: &Arc<Server>, qtype: RecordType) -> Vec<String> {
    answer_lines(server, &query("example.org.", qtype))
}

/// How often each record of type A or AAAA (the last word of its line) came first among all in the answer.
fn first_addresses(server: &Arc<Server>, times: u32) -> HashMap<String, u32> {
    fastrand::seed(20);
    let query: Query = query("example.org.", RecordType::A);
    let mut counts = HashMap::new();
    for _ in 0..times {
        let lines = answer_lines(server, &query);
        let first = lines.iter().find(|line| line.contains(" IN A"));
        let first = first.and_then(|line| line.split(' ').next_back()).expect("an address");
        *counts.entry(first.to_owned()).or_default() += 1;
    }
    counts
}

/// Pearson's chi-square against shares of the whole must stay below the value that one in a thousand honest draws exceeds. The
/// generator is seeded, so that the test says the same each time.
#[track_caller]
fn assert_shares(counts: &HashMap<String, u32>, shares: &[(&str, f64)]) {
    /// For 1 to 5 degrees of freedom.
    const CRITICAL: [f64; 5] = [10.83, 13.82, 16.27, 18.47, 20.52];
    let total = f64::from(counts.values().sum::<u32>());
    let whole: f64 = shares.iter().map(|(_, share)| share).sum();
    let chi_square: f64 = shares
        .iter()
        .map(|(address, share)| {
            let expected = total * share / whole;
            let seen = f64::from(counts.get(*address).copied().unwrap_or(0));
            (seen - expected).powi(2) / expected
        })
        .sum();
    assert!(counts.len() <= shares.len(), "{counts:?}");
    assert!(chi_square < CRITICAL[shares.len() - 2], "chi-square {chi_square:.1}: {counts:?}");
}

#[test]
fn groups_are_ordered_and_keep_what_is_in_them() {
    #[rustfmt::skip]
    let cases: &[(&str, &'static [&'static str], &[&str])] = &[
        // CNAME, the rest in its order, addresses, MX.
        ("loadbalance", &[
            "NOERROR qr",
            "answer: example.org. 60 IN MX 10 mail.example.org.",
            "answer: a.example.org. 60 IN A 192.0.2.1",
            "answer: example.org. 60 IN TXT x",
            "answer: b.example.org. 60 IN CNAME a.example.org.",
            "answer: example.org. 60 IN NS ns.example.org.",
            "answer: example.org. 60 IN CNAME b.example.org.",
            "authority: ns.example.org. 60 IN A 192.0.2.53",
            "authority: example.org. 60 IN NS ns.example.org.",
            "additional: ns.example.org. 60 IN AAAA 2001:db8::53",
            "additional: example.org. 60 IN TXT y",
        ], &[
            "NOERROR qr",
            "answer: b.example.org. 60 IN CNAME a.example.org.",
            "answer: example.org. 60 IN CNAME b.example.org.",
            "answer: example.org. 60 IN TXT x",
            "answer: example.org. 60 IN NS ns.example.org.",
            "answer: a.example.org. 60 IN A 192.0.2.1",
            "answer: example.org. 60 IN MX 10 mail.example.org.",
            "authority: example.org. 60 IN NS ns.example.org.",
            "authority: ns.example.org. 60 IN A 192.0.2.53",
            "additional: example.org. 60 IN TXT y",
            "additional: ns.example.org. 60 IN AAAA 2001:db8::53",
        ]),
        // Nothing to choose from.
        ("loadbalance round_robin", &["NOERROR qr"], &["NOERROR qr"]),
        ("loadbalance", &["NOERROR qr", "answer: example.org. 60 IN A 192.0.2.1"], &["NOERROR qr", "answer: example.org. 60 IN A 192.0.2.1"]),
        // Only NOERROR is touched.
        ("loadbalance", &[
            "NXDOMAIN qr",
            "answer: b.org. 60 IN A 192.0.2.1",
            "answer: example.org. 60 IN CNAME b.org.",
        ], &[
            "NXDOMAIN qr",
            "answer: b.org. 60 IN A 192.0.2.1",
            "answer: example.org. 60 IN CNAME b.org.",
        ]),
        // Other sets than addresses and MX keep their order.
        ("loadbalance", &["NOERROR qr", "answer: example.org. 60 IN TXT x", "answer: example.org. 60 IN TXT y"],
            &["NOERROR qr", "answer: example.org. 60 IN TXT x", "answer: example.org. 60 IN TXT y"]),
    ];
    for (options, given, expected) in cases {
        let server = balancing(options, given);
        for _ in 0..10 {
            let mut lines = ask(&server, RecordType::A);
            for line in &mut lines {
                *line = line.replace('"', "");
            }
            assert_eq!(lines, *expected, "{options}");
        }
    }
}

#[test]
fn zone_transfers_keep_their_order() {
    let lines: &[&str] = &[
        "NOERROR qr",
        "answer: example.org. 60 IN A 192.0.2.1",
        "answer: example.org. 60 IN CNAME b.example.org.",
    ];
    let server = balancing("loadbalance", lines);
    for qtype in [RecordType::AXFR, RecordType::IXFR] {
        assert_eq!(ask(&server, qtype), lines);
    }
}

#[test]
fn every_record_of_a_set_is_first_equally_often() {
    let server = balancing(
        "loadbalance",
        &[
            "NOERROR qr",
            "answer: example.org. 60 IN A 192.0.2.1",
            "answer: example.org. 60 IN A 192.0.2.2",
            "answer: example.org. 60 IN A 192.0.2.3",
        ],
    );
    let counts = first_addresses(&server, 6000);
    assert_shares(&counts, &[("192.0.2.1", 1.0), ("192.0.2.2", 1.0), ("192.0.2.3", 1.0)]);
}

#[test]
fn every_record_of_several_sets_is_first_equally_often() {
    let server = balancing(
        "loadbalance",
        &[
            "NOERROR qr",
            "answer: a.example.org. 60 IN A 192.0.2.1",
            "answer: a.example.org. 60 IN A 192.0.2.2",
            "answer: a.example.org. 60 IN A 192.0.2.3",
            "answer: b.example.org. 60 IN A 192.0.2.4",
            "answer: b.example.org. 60 IN AAAA 2001:db8::1",
        ],
    );
    let even = ["192.0.2.1", "192.0.2.2", "192.0.2.3", "192.0.2.4", "2001:db8::1"];
    assert_shares(&first_addresses(&server, 10_000), &even.map(|address| (address, 1.0)));
}

#[test]
fn mail_exchangers_are_shuffled_among_themselves() {
    let server = balancing(
        "loadbalance",
        &["NOERROR qr", "answer: example.org. 60 IN MX 1 a.", "answer: example.org. 60 IN MX 1 b."],
    );
    fastrand::seed(1);
    let mut first: Vec<String> = (0..64).map(|_| ask(&server, RecordType::MX)[1].clone()).collect();
    first.sort();
    first.dedup();
    assert_eq!(first.len(), 2);
}

fn weight_file(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().expect("a temporary file");
    file.write_all(text.as_bytes()).expect("it can be written");
    file
}

const FOUR: &[&str] = &[
    "NOERROR qr",
    "answer: example.org. 60 IN A 192.0.2.1",
    "answer: example.org. 60 IN A 192.0.2.2",
    "answer: example.org. 60 IN A 192.0.2.3",
    "answer: www.example.org. 60 IN A 192.0.2.1",
];

#[test]
fn weights_decide_how_often_an_address_is_first() {
    let file = weight_file(
        "# two names\nEXAMPLE.org\n192.0.2.1 5\n::ffff:192.0.2.2  3\n\nother.org.\n192.0.2.3 200\n",
    );
    let server = balancing(&format!("loadbalance weighted {}", file.path().display()), FOUR);
    // 192.0.2.1 at the other name and 192.0.2.3 have the default weight 1.
    let counts = first_addresses(&server, 10_000);
    assert_shares(&counts, &[("192.0.2.1", 6.0), ("192.0.2.2", 3.0), ("192.0.2.3", 1.0)]);
    // Other types are left alone.
    let given: &[&str] = &[
        "NOERROR qr",
        "answer: example.org. 60 IN A 192.0.2.1",
        "answer: example.org. 60 IN CNAME b.",
    ];
    let server = balancing(&format!("loadbalance weighted {}", file.path().display()), given);
    assert_eq!(ask(&server, RecordType::ANY), given);
    assert_eq!(ask(&server, RecordType::A), [given[0], given[2], given[1]]);
}

#[test]
fn a_changed_weight_file_is_read_again_and_a_bad_one_changes_nothing() {
    let mut file = weight_file("example.org\n192.0.2.1 255\n192.0.2.2 1\n192.0.2.3 1\n");
    let options = format!("loadbalance weighted {} {{\nreload 10ms\n}}", file.path().display());
    let mut configured = configure(".", &options).expect("valid options");
    let server = around(&configured, FOUR);
    let tasks = run_tasks(&mut configured.instance);
    let mostly = |address: &str| first_addresses(&server, 200)[address] > 150;
    assert!(mostly("192.0.2.1"));
    file.write_all(b"some words more\n").expect("it can be written");
    std::thread::sleep(std::time::Duration::from_millis(50));
    assert!(mostly("192.0.2.1"));
    std::fs::write(file.path(), "example.org\n192.0.2.3 255\n").expect("it can be written");
    eventually("the new weights are in force", || {
        first_addresses(&server, 200).get("192.0.2.3").is_some_and(|count| *count > 150)
    });
    tasks.stop();
}

#[test]
fn a_missing_weight_file_is_waited_for_unless_it_is_read_only_once() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let path = folder.path().join("weights");
    let path = path.display();
    let server = balancing(&format!("loadbalance weighted {path}"), FOUR);
    assert_eq!(first_addresses(&server, 400).len(), 3);
    let error = configure(".", &format!("loadbalance weighted {path} {{\nreload 0\n}}")).err();
    assert!(error.expect("refused").contains("weight file open error"));
}

#[test]
fn weight_files_are_read_or_refused_with_the_line() {
    let table = parse("a.org\n192.0.2.1 1\nB.ORG.\n2001:db8::1 255\na.org\n192.0.2.2 2\n");
    let table = table.expect("a good file");
    let address = |text: &str| text.parse().expect("an address");
    assert_eq!(table[&name("a.org")], [(address("192.0.2.1"), 1), (address("192.0.2.2"), 2)]);
    assert_eq!(table[&name("b.org")], [(address("2001:db8::1"), 255)]);
    for (text, error) in [
        ("192.0.2.1", "line 1: wrong domain name:\"192.0.2.1\" (Maybe a missing weight value?)"),
        ("a..b", "line 1: wrong domain name:\"a..b\" (Maybe a missing weight value?)"),
        ("#\n192.0.2.1 1", "line 2: missing domain name"),
        ("a.org\n192.0.2 1", "line 2: wrong IP address:\"192.0.2\""),
        ("a.org\n192.0.2.1 0", "line 2: wrong weight value:\"0\", allowed are 1 to 255"),
        ("a.org\n192.0.2.1 256", "line 2: wrong weight value:\"256\", allowed are 1 to 255"),
        ("a.org\n192.0.2.1 1 1", "line 2: could not parse weight line:\"192.0.2.1 1 1\""),
    ] {
        assert_eq!(parse(text).err().map(|error| error.to_string()).as_deref(), Some(error));
    }
}

#[test]
fn preferred_networks_go_first_in_their_order() {
    const GIVEN: &[&str] = &[
        "NOERROR qr",
        "answer: example.org. 60 IN TXT \"x\"",
        "answer: example.org. 60 IN MX 1 mail.",
        "answer: example.org. 60 IN A 10.9.30.1",
        "answer: example.org. 60 IN A 10.9.20.5",
        "answer: example.org. 60 IN A 192.168.1.2",
        "answer: example.org. 60 IN A 10.9.20.3",
        "answer: example.org. 60 IN AAAA 2001:db8::1",
        "answer: example.org. 60 IN AAAA fd00::1",
        "answer: example.org. 60 IN CNAME a.org.",
        "authority: example.org. 60 IN A 192.168.1.2",
        "authority: example.org. 60 IN A 10.9.20.5",
    ];
    let networks = ["2001:db8::/32", "10.9.20.0/24", "::ffff:10.9.30.0/120"];
    let server = balancing(&format!("loadbalance {{\nprefer {}\n}}", networks.join(" ")), GIVEN);
    for _ in 0..20 {
        let lines = ask(&server, RecordType::A);
        let mut answer: Vec<&str> = lines
            .iter()
            .filter_map(|line| line.strip_prefix("answer: example.org. 60 IN "))
            .collect();
        // Within a network, and outside of all, the policy decides.
        answer[2..4].sort_unstable();
        answer[5..7].sort_unstable();
        let expected = [
            "CNAME a.org.",
            "AAAA 2001:db8::1",
            "A 10.9.20.3",
            "A 10.9.20.5",
            "A 10.9.30.1",
            "A 192.168.1.2",
            "AAAA fd00::1",
            "MX 1 mail.",
            "TXT x",
        ];
        assert_eq!(answer, expected);
        assert_eq!(lines.iter().filter(|line| line.starts_with("authority")).count(), 2);
    }
}

#[test]
fn the_policy_still_decides_within_a_network() {
    let server = balancing(
        "loadbalance {\nprefer 10.0.0.0/8\n}",
        &[
            "NOERROR qr",
            "answer: example.org. 60 IN A 192.0.2.1",
            "answer: example.org. 60 IN A 10.0.0.1",
            "answer: example.org. 60 IN A 10.0.0.2",
        ],
    );
    let counts = first_addresses(&server, 2000);
    assert_shares(&counts, &[("10.0.0.1", 1.0), ("10.0.0.2", 1.0)]);
}

#[test]
fn options_are_read_or_refused_with_the_reason() {
    for good in [
        "loadbalance",
        "loadbalance round_robin",
        "loadbalance {\n}",
        "loadbalance {\nprefer 10.0.0.0/8 0.0.0.0/0\nprefer ::/0\n}",
        "loadbalance\nloadbalance {\nprefer 10.0.0.0/8\n}",
    ] {
        assert!(configure(".", good).is_ok(), "{good}");
    }
    for (text, error) in [
        (
            "loadbalance random",
            "2:13: unknown policy: random (allowed here: round_robin, weighted)",
        ),
        ("loadbalance round_robin x", "2:25: unknown property for round_robin"),
        (
            "loadbalance weighted",
            "2:13: missing weight file argument (write 'weighted' and the name of the file)",
        ),
        ("loadbalance weighted a b", "2:24: unexpected argument(s)"),
        ("loadbalance {\nreload 1s\n}", "3:1: unknown property 'reload'"),
        (
            "loadbalance weighted a {\nreload\n}",
            "3:1: reload duration value is missing (write '30s' after it)",
        ),
        (
            "loadbalance weighted a {\nreload 30\n}",
            "3:8: time: missing unit in duration \"30\" (a duration needs a unit: '30s' for seconds, '30m' for minutes)",
        ),
        (
            "loadbalance {\nprefer 10.0.0.0\n}",
            "3:8: invalid CIDR \"10.0.0.0\" (write a network such as 10.0.0.0/8 or 2001:db8::/32)",
        ),
        (
            "loadbalance {\nprefer 10.0.0.0/33\n}",
            "3:8: invalid CIDR \"10.0.0.0/33\" (write a network such as 10.0.0.0/8 or 2001:db8::/32)",
        ),
    ] {
        refused(".", text, &format!("Corefile:{error}"));
    }
    let bad = weight_file("example.org 5 6\n");
    let error = configure(".", &format!("loadbalance weighted {}", bad.path().display())).err();
    assert!(error.expect("refused").contains("line 1: could not parse weight line"));
}
