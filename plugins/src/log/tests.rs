use std::sync::Arc;
use std::time::Duration;

use periplus_core::codes::{Class, Rcode, RecordType, flags, opcode};
use periplus_core::edns::Edns;
use periplus_core::plugin::Plugin;
use periplus_core::query::{Query, Transport};
use periplus_core::record::{Entry, Owner, RecordSet, Soa};
use periplus_core::reply::{Answer, Failure, Reply};

use super::format::{COMBINED, COMMON, Format, Line};
use crate::testing::{
    Captured, ask, configure, configure_with, delayed, name, query, refused, scripted,
};

fn formatted(format: &str, query: &Query, reply: Option<&Reply>) -> String {
    let mut text = String::new();
    let line = Line { query, reply, duration: Duration::from_nanos(54_321_000) };
    Format::parse(format).write(&line, &mut text);
    text
}

#[test]
fn every_placeholder_has_its_value() {
    let mut asked = query("WWW.Example.org.", RecordType::AAAA);
    asked.id = 4711;
    asked.edns = Some(Edns { udp_size: 1232, flags: flags::DO, ..Edns::default() });
    asked.flags = flags::RD | flags::CD;
    let reply = Reply::authoritative(&asked, "hosts");
    let cases = [
        ("{type} {class} {name} {proto}", "AAAA IN www.example.org. udp"),
        ("{remote} {port} {local}", "10.240.0.1 40212 127.0.0.1"),
        ("{size} {duration} {rcode} {rsize}", "33 0.054321s NOERROR 33"),
        ("{>rflags} {>id} {>opcode} {>do} {>bufsize}", "qr,aa,rd,cd 4711 0 true 1232"),
        ("{/forward/upstream}|{/}", "-|-"),
        (
            COMMON,
            r#"10.240.0.1:40212 - 4711 "AAAA IN www.example.org. udp 33 true 1232" NOERROR qr,aa,rd,cd 33 0.054321s"#,
        ),
        (
            COMBINED,
            r#"10.240.0.1:40212 - 4711 "AAAA IN www.example.org. udp 33 true 1232" NOERROR qr,aa,rd,cd 33 0.054321s "0""#,
        ),
    ];
    for (format, expected) in cases {
        assert_eq!(formatted(format, &asked, Some(&reply)), expected, "{format}");
    }
}

#[test]
fn what_is_no_placeholder_stays_as_it_is() {
    let asked = query("a.", RecordType::A);
    let cases = [
        ("", ""),
        ("{foo} {Name}", "{foo} {Name}"),
        ("{ {name} }", "{ a. }"),
        ("} {name", "} {name"),
        ("{x}{name}{y} z", "{x}a.{y} z"),
        ("{name{type}}", "{nameA}"),
        ("\"{name}\"", "\"a.\""),
        ("{>foo} {>rflags", "{>foo} {>rflags"),
    ];
    for (format, expected) in cases {
        assert_eq!(formatted(format, &asked, None), expected, "{format}");
    }
}

#[test]
fn unusual_queries_and_replies_are_written_as_by_coredns() {
    type Change = fn(&mut Query, &mut Reply);
    let cases: &[(Change, &str, &str)] = &[
        (|query, _| query.qtype = RecordType(65280), "{type}", "TYPE65280"),
        (|query, _| query.qtype = RecordType(0), "{type}", "None"),
        (|query, _| query.qtype = RecordType(65535), "{type}", "Reserved"),
        (|query, _| query.class = Class(0), "{class}", "CLASS0"),
        (|query, _| query.class = Class::CH, "{class}", "CH"),
        (|query, _| query.class = Class::ANY, "{class}", "CLASS255"),
        (
            |query, _| {
                query.peer = "[2001:db8::1]:1".parse().unwrap();
                query.local = "[::1]:53".parse().unwrap();
                query.transport = Transport::Tcp;
            },
            "{remote} {local} {proto} {>bufsize}",
            "[2001:db8::1] [::1] tcp 65535",
        ),
        (|query, _| query.peer = "[::ffff:192.0.2.1]:1".parse().unwrap(), "{remote}", "192.0.2.1"),
        (
            |query, _| query.edns = Some(Edns { udp_size: 100, ..Edns::default() }),
            "{>bufsize} {>do}",
            "512 false",
        ),
        (|query, _| query.flags = u16::from(opcode::NOTIFY) << 11, "{>opcode}", "4"),
        (|_, reply| reply.rcode = Rcode(3841), "{rcode}", "3841"),
        (|_, reply| reply.flags = 0, "[{>rflags}]", "[]"),
        (|_, reply| reply.flags |= 0x07f0, "{>rflags}", "qr,aa,tc,rd,ra,z,ad,cd"),
        (
            |query, _| query.set_name(name("a\\.b\\ c\\010.Org.").as_ref()),
            "{name}",
            "a\\.b\\ c\\010.org.",
        ),
    ];
    for (change, format, expected) in cases {
        let mut asked = query("a.", RecordType::A);
        let mut reply = Reply::to(&asked, "hosts");
        change(&mut asked, &mut reply);
        assert_eq!(formatted(format, &asked, Some(&reply)), *expected, "{format}");
    }
}

#[test]
fn durations_are_as_short_as_they_can_be() {
    let asked = query("a.", RecordType::A);
    let cases = [
        (0, "0s"),
        (1, "0.000000001s"),
        (120_000, "0.00012s"),
        (500_000_000, "0.5s"),
        (1_000_000_000, "1s"),
        (61_000_000_010, "61.00000001s"),
    ];
    for (nanoseconds, expected) in cases {
        let mut text = String::new();
        let line = Line { query: &asked, reply: None, duration: Duration::from_nanos(nanoseconds) };
        Format::parse("{duration}").write(&line, &mut text);
        assert_eq!(text, expected);
    }
}

#[test]
fn a_reply_that_will_be_cut_is_logged_with_tc_and_its_whole_size() {
    let asked = query("a.", RecordType::A);
    let mut reply = Reply::to(&asked, "hosts");
    let addresses = (0..40).map(|last| [192, 0, 2, last].into());
    reply.answer.push(Entry::of_question(RecordSet::addresses(5, addresses).unwrap()));
    // 40 records of 17 bytes without compression, of 16 with it.
    assert_eq!(formatted("{>rflags} {rsize}", &asked, Some(&reply)), "qr,tc,rd 699");
    let mut roomy = asked.clone();
    roomy.edns = Some(Edns { udp_size: 1232, ..Edns::default() });
    assert_eq!(formatted("{>rflags} {rsize}", &roomy, Some(&reply)), "qr,rd 699");
    // Fits only thanks to compression.
    let mut narrow = asked.clone();
    narrow.edns = Some(Edns { udp_size: 19 + 40 * 16 + 11, ..Edns::default() });
    assert_eq!(formatted("{>rflags} {rsize}", &narrow, Some(&reply)), "qr,rd 699");
}

/// Answers by the first label of the name.
fn answers() -> Arc<dyn Plugin> {
    scripted(|query| {
        let first: &[u8] = query.name().labels().next().unwrap_or_default();
        let mut reply = Reply::to(query, "test");
        match first {
            b"denied" => {
                reply.rcode = Rcode::NXDOMAIN;
                let soa = Soa {
                    mname: query.name(),
                    rname: query.name(),
                    serial: 1,
                    refresh: 1,
                    retry: 1,
                    expire: 1,
                    minimum: 1,
                };
                let soa = RecordSet::one(RecordType::SOA, 5, &soa.rdata());
                reply.authority.push(Entry::of(Owner::Question, soa));
                reply.into()
            }
            b"fails" => Failure::servfail("forward", "no healthy proxies").into(),
            b"refused" => Failure::silent(Rcode::REFUSED, "acl").into(),
            b"silent" => Answer::Silence.into(),
            b"later" => delayed(reply.into(), Duration::from_millis(1)),
            _ => reply.into(),
        }
    })
}

/// What is logged for these names.
fn logged(directives: &str, names: &[&str]) -> String {
    let captured = Captured::new();
    let server = configure_with(".", directives, &captured).unwrap().server(vec![answers()]);
    for name in names {
        ask(&server, &query(name, RecordType::A));
    }
    captured.finish()
}

#[test]
fn replies_failures_and_silence_are_logged() {
    let names =
        ["a.org.", "denied.org.", "fails.org.", "refused.org.", "silent.org.", "later.org."];
    assert_eq!(
        logged("log . \"{name} {rcode} {>rflags} {rsize}\"", &names),
        "[INFO] a.org. NOERROR qr,rd 23\n\
         [INFO] denied.org. NXDOMAIN qr,rd 94\n\
         [INFO] fails.org. SERVFAIL qr,rd 27\n\
         [INFO] refused.org. REFUSED qr,rd 29\n\
         [INFO] silent.org. - - 0\n\
         [INFO] later.org. NOERROR qr,rd 27\n"
    );
}

#[test]
fn the_first_rule_whose_names_cover_the_query_decides() {
    let names = ["a.org.", "denied.org.", "fails.org.", "silent.org.", "A.net."];
    let cases = [
        ("log . \"{name}\" {\nclass denial\n}", "denied.org."),
        ("log . \"{name}\" {\nclass success\nclass denial\n}", "a.org. denied.org. a.net."),
        (
            "log . \"{name}\" {\nclass error all\n}",
            "a.org. denied.org. fails.org. silent.org. a.net.",
        ),
        ("log . \"{name}\" {\nclass error\n}", "fails.org. silent.org."),
        ("log Net \"{name}\"", "a.net."),
        ("log net example. \"{name}\"", "a.net."),
        // The second rule is not asked although the first one's class does not match.
        ("log org \"{name}\" {\nclass denial\n}\nlog . \"2{name}\"", "denied.org. 2a.net."),
        // A single argument is a name.
        ("log \"{name}\"", ""),
        ("log \"{name} is a format that is too long to be a label of a domain name\"", ""),
    ];
    for (directives, expected) in cases {
        let expected: String =
            expected.split_whitespace().map(|name| format!("[INFO] {name}\n")).collect();
        assert_eq!(logged(directives, &names), expected, "{directives}");
    }
}

#[test]
fn without_arguments_the_common_format_is_used() {
    let text = logged("log", &["a.org."]);
    let start = "[INFO] 10.240.0.1:40212 - 1 \"A IN a.org. udp 23 false 512\" NOERROR qr,rd 23 0.";
    assert!(text.starts_with(start), "{text}");
    let combined = logged("log . \"{combined} {common}\"", &["a.org."]);
    assert!(combined.starts_with(start) && combined.contains("s \"0\" 10.240.0.1:40212 - 1 "));
}

#[test]
fn the_directive_is_read_or_refused() {
    for accepted in ["log", "log .", "log example.org {common}", "log {\nclass all\n}", "log\nlog"]
    {
        assert!(configure(".", accepted).unwrap().plugin.is_some(), "{accepted}");
    }
    let cases = [
        (
            "log {\nclass\n}",
            "Corefile:3:1: Wrong argument count or unexpected line ending after 'class' (add a class)",
        ),
        (
            "log {\nclass most denial none\n}",
            "Corefile:3:7: invalid Class: most\nCorefile:3:19: invalid Class: none",
        ),
        ("log {\nclas all\n}", "Corefile:3:1: unknown property 'clas' (did you mean 'class'?)"),
        ("log a..org", "Corefile:2:5: 'a..org' is not a name: empty label"),
    ];
    for (directives, expected) in cases {
        refused(".", directives, expected);
    }
}
