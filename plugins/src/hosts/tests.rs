use std::fs;
use std::path::Path;

use periplus_core::codes::RecordType;
use periplus_core::zone::Zones;
use tempfile::TempDir;

use super::entries::{BadLine, Entries, Rules};
use crate::testing::{
    Configured, answer_lines, configure, eventually, name, passed_on, query, refused, run_tasks,
};

const FILE: &str = "\
# a comment
127.0.0.1   localhost localhost.domain
::1         localhost localhost.domain
10.0.0.1    Example.org # another
10.0.0.2 example.org
::FFFF:10.0.0.2 reservecake.org
fe80::3%lo0 ipv6-only.example.org
192.0.2.7   *.wild.example.org exact.wild.example.org
2001:db8::7 *.wild.example.org
10.9.9.9    elsewhere.net
";

/// A folder with a hosts file.
fn folder(text: &str) -> TempDir {
    let folder = TempDir::new().unwrap();
    write(folder.path(), text);
    folder
}

fn write(folder: &Path, text: &str) {
    fs::write(folder.join("hosts"), text).unwrap();
}

fn configured(folder: &TempDir, zones: &str, options: &str) -> Configured {
    let path = folder.path().join("hosts");
    configure(".", &format!("hosts {} {zones} {{\n{options}\n}}", path.display())).unwrap()
}

/// The answer's records, or what became of the query.
fn answered(configured: &Configured, qname: &str, qtype: RecordType) -> String {
    let lines = answer_lines(&configured.server(vec![passed_on()]), &query(qname, qtype));
    match lines[0].as_str() {
        "NOERROR qr aa rd" if lines.len() == 1 => "no data".into(),
        "NOERROR qr aa rd" => lines[1..].join("\n").replace("answer: ", ""),
        "SERVFAIL qr rd" => "servfail".into(),
        "NOTIMP qr rd" => "next".into(),
        other => panic!("{other}"),
    }
}

#[test]
fn names_and_addresses_of_the_file_are_answered() {
    use RecordType as T;
    let configured = configured(&folder(FILE), "", "");
    let cases = [
        ("example.org.", T::A, "example.org. 3600 IN A 10.0.0.1\nexample.org. 3600 IN A 10.0.0.2"),
        // In lower case, however it was asked.
        ("EXAMPLE.org.", T::A, "example.org. 3600 IN A 10.0.0.1\nexample.org. 3600 IN A 10.0.0.2"),
        ("localhost.", T::AAAA, "localhost. 3600 IN AAAA ::1"),
        ("reservecake.org.", T::A, "reservecake.org. 3600 IN A 10.0.0.2"),
        ("ipv6-only.example.org.", T::AAAA, "ipv6-only.example.org. 3600 IN AAAA fe80::3"),
        ("ipv6-only.example.org.", T::A, "no data"),
        ("example.org.", T::AAAA, "no data"),
        ("example.org.", T::MX, "no data"),
        ("example.org.", T::ANY, "no data"),
        ("missing.example.org.", T::A, "servfail"),
        ("missing.example.org.", T::TXT, "servfail"),
        (".", T::A, "servfail"),
        // Wildcards cover exactly one label; an exact name hides its own family only.
        ("a.wild.example.org.", T::A, "a.wild.example.org. 3600 IN A 192.0.2.7"),
        ("A.wild.example.org.", T::AAAA, "a.wild.example.org. 3600 IN AAAA 2001:db8::7"),
        ("exact.wild.example.org.", T::AAAA, "exact.wild.example.org. 3600 IN AAAA 2001:db8::7"),
        ("*.wild.example.org.", T::A, "*.wild.example.org. 3600 IN A 192.0.2.7"),
        ("a.wild.example.org.", T::TXT, "no data"),
        ("b.a.wild.example.org.", T::A, "servfail"),
        ("wild.example.org.", T::A, "servfail"),
        (
            "2.0.0.10.in-addr.arpa.",
            T::PTR,
            "2.0.0.10.in-addr.arpa. 3600 IN PTR example.org.\n2.0.0.10.in-addr.arpa. 3600 IN PTR reservecake.org.",
        ),
        (
            "7.2.0.192.IN-addr.arpa.",
            T::PTR,
            "7.2.0.192.in-addr.arpa. 3600 IN PTR exact.wild.example.org.",
        ),
        // Unknown addresses are always somebody else's.
        ("9.2.0.192.in-addr.arpa.", T::PTR, "next"),
        ("2.0.192.in-addr.arpa.", T::PTR, "next"),
        ("example.org.", T::PTR, "next"),
        ("9.2.0.192.in-addr.arpa.", T::A, "servfail"),
    ];
    for (qname, qtype, expected) in cases {
        assert_eq!(answered(&configured, qname, qtype), expected, "{qname} {qtype}");
    }
    let loopback = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.";
    assert!(answered(&configured, loopback, T::PTR).contains("PTR localhost.domain."));
    let mapped = "2.0.0.0.0.0.a.0.f.f.f.f.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.ip6.arpa.";
    assert!(answered(&configured, mapped, T::PTR).contains("PTR reservecake.org."));
}

#[test]
fn options_change_what_is_answered_and_passed_on() {
    use RecordType as T;
    let cases = [
        // (zones, options, name, type, expected)
        ("example.org", "", "localhost.", T::A, "next"),
        ("example.org", "", "missing.example.org.", T::A, "servfail"),
        ("example.org", "", "elsewhere.net.", T::A, "next"),
        // Names outside of the zones are not even read.
        ("example.org", "", "9.9.9.10.in-addr.arpa.", T::PTR, "next"),
        (
            "example.org",
            "",
            "1.0.0.10.in-addr.arpa.",
            T::PTR,
            "1.0.0.10.in-addr.arpa. 3600 IN PTR example.org.",
        ),
        ("", "no_reverse", "1.0.0.10.in-addr.arpa.", T::PTR, "next"),
        ("", "ttl 60", "localhost.", T::A, "localhost. 60 IN A 127.0.0.1"),
        (
            "",
            "ttl 60",
            "1.0.0.10.in-addr.arpa.",
            T::PTR,
            "1.0.0.10.in-addr.arpa. 60 IN PTR example.org.",
        ),
        ("", "fallthrough", "missing.", T::A, "next"),
        ("", "fallthrough", "example.org.", T::AAAA, "no data"),
        ("", "fallthrough", "example.org.", T::TXT, "no data"),
        ("", "fallthrough net", "missing.net.", T::A, "next"),
        ("", "fallthrough net", "missing.org.", T::A, "servfail"),
        ("", "fallthrough\nfallthrough_unsupported", "example.org.", T::TXT, "next"),
        ("", "fallthrough_unsupported\nfallthrough net", "example.org.", T::TXT, "no data"),
        ("", "fallthrough\nfallthrough_unsupported", "example.org.", T::AAAA, "no data"),
        // Entries of the Corefile come after those of the file.
        (
            "",
            "10.0.0.9 example.org new.example.org",
            "example.org.",
            T::A,
            "example.org. 3600 IN A 10.0.0.1\nexample.org. 3600 IN A 10.0.0.2\nexample.org. 3600 IN A 10.0.0.9",
        ),
        (
            "",
            "10.0.0.1 example.org",
            "1.0.0.10.in-addr.arpa.",
            T::PTR,
            "1.0.0.10.in-addr.arpa. 3600 IN PTR example.org.\n1.0.0.10.in-addr.arpa. 3600 IN PTR example.org.",
        ),
        (
            "",
            "10.0.0.9 new.example.org\nfallthrough",
            "NEW.example.org.",
            T::A,
            "new.example.org. 3600 IN A 10.0.0.9",
        ),
        // An exact name of one source does not hide a wildcard of the other.
        (
            "",
            "10.0.0.9 *.wild.example.org\n10.0.0.8 x.wild.example.org",
            "exact.wild.example.org.",
            T::A,
            "exact.wild.example.org. 3600 IN A 192.0.2.7\nexact.wild.example.org. 3600 IN A 10.0.0.9",
        ),
        (
            "",
            "10.0.0.9 *.wild.example.org\n10.0.0.8 x.wild.example.org",
            "x.wild.example.org.",
            T::A,
            "x.wild.example.org. 3600 IN A 192.0.2.7\nx.wild.example.org. 3600 IN A 10.0.0.8",
        ),
        // CoreDNS never finds a wildcard right below the root.
        ("", "10.0.0.9 *", "foo.", T::A, "servfail"),
        // What is neither an option nor an entry is passed over.
        ("", "tll 60", "localhost.", T::A, "localhost. 3600 IN A 127.0.0.1"),
    ];
    let folder = folder(FILE);
    for (zones, options, qname, qtype, expected) in cases {
        let configured = configured(&folder, zones, options);
        assert_eq!(
            answered(&configured, qname, qtype),
            expected,
            "{zones} {options} {qname} {qtype}"
        );
    }
}

#[test]
fn lines_that_are_left_out_are_named() {
    let rules = Rules { zones: Zones::new([name(".")]), reverse: true };
    let text = "10.0.0.256 a\n10.0.0.1\n\n # nothing\n10.0.0.1 a..b c\r\n10.0.0.1 # a\n010.0.0.1 a\n::1%eth0 d\n";
    let mut bad = Vec::new();
    let entries = Entries::read(text, &rules, |line, reason| bad.push((line, reason)));
    assert_eq!(
        bad,
        [
            (1, BadLine::NotAnAddress),
            (2, BadLine::NoName),
            (5, BadLine::BadName),
            (6, BadLine::NoName),
            (7, BadLine::NotAnAddress),
        ]
    );
    // c and d, each with its address and its reverse.
    assert_eq!(entries.len(), 4);
}

#[test]
fn a_changed_file_is_read_again_and_a_lost_one_keeps_its_answers() {
    let folder = folder("10.0.0.1 one.org");
    let mut configured = configured(&folder, "", "reload 5ms\n10.0.0.9 inline.org");
    let gauge = |configured: &Configured, name: &str| -> f64 {
        let text = configured.instance.metrics.expose();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.rsplit_once(' ').unwrap().1.parse().unwrap()
    };
    assert_eq!(gauge(&configured, "coredns_hosts_entries{hostsfile="), 4.0);
    assert!(gauge(&configured, "coredns_hosts_reload_timestamp_seconds") > 1e9);

    let tasks = run_tasks(&mut configured.instance);
    write(folder.path(), "10.0.0.22 one.org\n10.0.0.2 two.org");
    let one = "one.org. 3600 IN A 10.0.0.22";
    eventually("the new file is in force", || {
        answered(&configured, "one.org.", RecordType::A) == one
    });
    assert_eq!(answered(&configured, "two.org.", RecordType::A), "two.org. 3600 IN A 10.0.0.2");
    assert_eq!(
        answered(&configured, "inline.org.", RecordType::A),
        "inline.org. 3600 IN A 10.0.0.9"
    );
    assert_eq!(gauge(&configured, "coredns_hosts_entries{hostsfile="), 6.0);

    fs::remove_file(folder.path().join("hosts")).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(30));
    assert_eq!(answered(&configured, "one.org.", RecordType::A), one);

    write(folder.path(), "10.0.0.3 one.org");
    let one = "one.org. 3600 IN A 10.0.0.3";
    eventually("the file is back", || answered(&configured, "one.org.", RecordType::A) == one);
    tasks.stop();
}

#[test]
fn a_file_may_be_missing_or_unreadable() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("hosts")).unwrap();
    let directory = configured(&folder, "", "10.0.0.9 inline.org");
    assert_eq!(
        answered(&directory, "inline.org.", RecordType::A),
        "inline.org. 3600 IN A 10.0.0.9"
    );
    let missing = configure(".", "hosts surely/missing {\n10.0.0.9 inline.org\n}").unwrap();
    assert_eq!(answered(&missing, "inline.org.", RecordType::A), "inline.org. 3600 IN A 10.0.0.9");
    let text = missing.instance.metrics.expose();
    assert!(text.contains("coredns_hosts_entries{hostsfile=\"surely/missing\"} 2\n"), "{text}");
}

#[test]
fn reloading_can_be_turned_off() {
    assert_eq!(configure(".", "hosts").unwrap().instance.tasks.len(), 1);
    assert_eq!(configure(".", "hosts {\nreload 0\n}").unwrap().instance.tasks.len(), 0);
}

#[test]
fn the_directive_is_read_or_refused() {
    let cases = [
        ("hosts\nhosts", "Corefile:3:1: this plugin can only be used once per Server Block"),
        (
            "hosts /etc/hosts {\nttl 0\nreload 5\nno_reverse now\n}",
            "Corefile:3:5: 0 is out of range for a number of seconds\n\
             Corefile:4:8: time: missing unit in duration \"5\" (a duration needs a unit: '5s' for seconds, '5m' for minutes)\n\
             Corefile:5:12: Wrong argument count or unexpected line ending after 'now' (nothing may follow 'no_reverse' here)",
        ),
        ("hosts {\nttl many\n}", "Corefile:3:5: 'many' is not a number of seconds"),
        (
            "hosts {\nfallthrough\n10.0.0.1 a\nttll 5\n}",
            "Corefile:4:1: unknown property '10.0.0.1' (entries must stand before 'fallthrough')\n\
             Corefile:5:1: unknown property 'ttll' (did you mean 'ttl'?)",
        ),
        (
            "hosts {\nfallthrough_unsupported\n}",
            "Corefile:3:1: fallthrough_unsupported requires fallthrough (add a line 'fallthrough')",
        ),
        (
            "hosts {\n10.0.0.1 a {\nb\n}\n}",
            "Corefile:3:12: Unexpected token '{' after '10.0.0.1' ('10.0.0.1' takes no block)",
        ),
    ];
    for (directives, expected) in cases {
        refused(".", directives, expected);
    }
}
