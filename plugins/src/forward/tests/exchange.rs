//! One question, one upstream: what is sent, what is taken for the answer, and over which connection.

use std::collections::HashSet;
use std::time::Duration;

use periplus_core::codes::{Class, Rcode, RecordType, edns_option, flags};
use periplus_core::edns::Edns;
use periplus_core::name::Name;
use periplus_core::record::{Entry, Owner, RecordSet};

use super::super::testing::{Asked, ScriptedUpstream, Step, soa};
use super::{Fixture, PATIENT, over_tcp, short};
use crate::testing::{answer_lines, query};

#[test]
fn the_question_goes_out_as_it_came_in_but_for_the_id() {
    let upstream = ScriptedUpstream::answering(1);
    let fixture = Fixture::with_options(PATIENT, &upstream);
    let mut asked = query("WwW.Example.ORG.", RecordType::AAAA);
    asked.flags = flags::RD | flags::CD | flags::AD;
    let mut edns = Edns { udp_size: 1232, flags: flags::DO, ..Edns::default() };
    edns.push_option(edns_option::SUBNET, &[0, 1, 24, 0, 10, 0, 0]);
    asked.edns = Some(edns);
    fixture.ask(&asked);

    let seen = &upstream.asked()[0].query;
    assert_eq!(seen.spelled(), asked.spelled());
    assert_eq!((seen.qtype, seen.class, seen.flags), (asked.qtype, asked.class, asked.flags));
    assert_eq!(seen.edns, asked.edns);
}

#[test]
fn a_question_without_edns_gets_none() {
    let upstream = ScriptedUpstream::answering(1);
    let fixture = Fixture::with_options(PATIENT, &upstream);
    fixture.lines("example.org.");
    assert!(upstream.asked()[0].query.edns.is_none());
}

#[test]
fn the_answer_comes_back_as_it_was_sent() {
    let upstream = ScriptedUpstream::new(|asked| {
        vec![Step::Send(asked.response_with(|reply| {
            let target = Name::parse("Target.example.net.").unwrap();
            let cname = RecordSet::name(RecordType::CNAME, 30, target.as_ref());
            let address = RecordSet::addresses(20, [[192, 0, 2, 7].into()]).unwrap();
            reply.set(flags::AA, true);
            reply.set(flags::AD, true);
            reply.answer.push(Entry::of_question(cname));
            reply.answer.push(Entry::of(Owner::Name(target), address));
            reply.authority.push(soa("example.net."));
        }))]
    });
    let fixture = Fixture::with_options(PATIENT, &upstream);
    let expected = [
        "NOERROR qr aa rd ra ad",
        "answer: WwW.example.org. 30 IN CNAME Target.example.net.",
        "answer: Target.example.net. 20 IN A 192.0.2.7",
        "authority: example.net. 300 IN SOA example.net. example.net. 1 2 3 4 5",
    ];
    assert_eq!(fixture.lines("WwW.example.org."), expected);
}

#[test]
fn the_opt_record_of_the_upstream_is_passed_on() {
    let upstream = ScriptedUpstream::new(|asked| {
        vec![Step::Send(asked.response_with(|reply| {
            let mut opt = Edns { udp_size: 4096, ..Edns::default() };
            opt.push_option(edns_option::EDE, &[0, 9]);
            reply.opt = Some(Box::new(opt));
            reply.rcode = Rcode::BADCOOKIE;
        }))]
    });
    let fixture = Fixture::with_options(PATIENT, &upstream);
    let mut asked = query("example.org.", RecordType::A);
    asked.edns = Some(Edns { udp_size: 1232, ..Edns::default() });
    let answer = fixture.ask(&asked);
    let reply = answer.reply().unwrap();
    let opt = reply.opt.as_ref().unwrap();
    assert_eq!(opt.options().collect::<Vec<_>>(), [(edns_option::EDE, &[0, 9][..])]);
    assert_eq!(reply.rcode, Rcode::BADCOOKIE);
    assert_eq!(fixture.metric("coredns_proxy_request_duration_seconds_count"), 1.0);
}

#[test]
fn questions_of_other_classes_are_forwarded() {
    let upstream = ScriptedUpstream::answering(1);
    let fixture = Fixture::with_options(PATIENT, &upstream);
    assert!(fixture.configured.block.any_class);
    let mut asked = query("version.bind.", RecordType::TXT);
    asked.class = Class::CH;
    // The test server itself admits only IN; the plugin is what matters here.
    let server = std::sync::Arc::new(periplus_core::server::Server::new(
        periplus_core::server::ServerParts {
            label: "dns://:53".into(),
            zones: vec![(
                Name::root(),
                std::sync::Arc::new(periplus_core::server::Block::new(
                    fixture.configured.plugin.iter().cloned().collect(),
                )),
            )],
            any_class: fixture.configured.block.any_class,
            fatal_panics: None,
            panics: periplus_core::metrics::Counter::detached(),
            dropped: Vec::new(),
        },
    ));
    crate::testing::ask(&server, &asked);
    assert_eq!(upstream.asked()[0].query.class, Class::CH);
}

#[test]
fn whatever_is_not_the_answer_is_passed_over_until_the_answer_comes() {
    type Lie = fn(&Asked) -> Vec<u8>;
    let lies: [(&str, Lie); 10] = [
        ("another id", |asked| asked.lie(|query| query.id ^= 1)),
        ("another name", |asked| {
            asked.lie(|query| query.set_name(Name::parse("evil.example.").unwrap().as_ref()))
        }),
        ("another type", |asked| asked.lie(|query| query.qtype = RecordType::TXT)),
        ("another class", |asked| asked.lie(|query| query.class = Class::CH)),
        ("a question, not a response", |asked| asked.message.clone()),
        ("nothing", |_| Vec::new()),
        ("less than a header", |asked| asked.address(66)[..11].to_vec()),
        ("a cut record", |asked| {
            let message = asked.address(66);
            message[..message.len() - 1].to_vec()
        }),
        ("noise with the right id", |asked| {
            let mut noise = vec![0xff; 60];
            noise[..2].copy_from_slice(&asked.message[..2]);
            noise
        }),
        ("no question, but an answer", |asked| {
            let mut message = asked.address(66);
            message.drain(12..message.len() - 16);
            message[5] = 0;
            message
        }),
    ];
    for (what, lie) in lies {
        let upstream = ScriptedUpstream::new(move |asked| {
            vec![Step::Send(lie(asked)), Step::Send(lie(asked)), Step::Send(asked.address(1))]
        });
        let fixture = Fixture::with_options(PATIENT, &upstream);
        assert_eq!(fixture.short("example.org."), "1", "{what}");
        assert_eq!(upstream.count("example.org."), 1, "{what}: one attempt was enough");
    }
}

#[test]
fn lies_alone_are_a_timeout() {
    let upstream =
        ScriptedUpstream::new(|asked| vec![Step::Send(asked.lie(|query| query.id = !query.id))]);
    let fixture = Fixture::with_options("read_timeout 100ms", &upstream);
    let failure = fixture.failure(&query("example.org.", RecordType::A));
    assert!(
        failure.starts_with("read udp 127.0.0.1:") && failure.ends_with(": i/o timeout"),
        "{failure}"
    );
}

#[test]
fn a_flood_of_guesses_ends_the_attempt_and_the_next_one_has_another_port() {
    let upstream = ScriptedUpstream::new(|asked| {
        (0..500_u16)
            .map(|guess| Step::Send(asked.lie(|query| query.id = query.id.wrapping_add(1 + guess))))
            .collect()
    });
    let fixture = Fixture::with_options("max_connect_attempts 2\nread_timeout 10s", &upstream);
    let failure = fixture.failure(&query("example.org.", RecordType::A));
    assert!(failure.ends_with("too many answers that do not match the question"), "{failure}");
    let asked = upstream.asked();
    let asked: Vec<_> = asked.iter().filter(|asked| asked.name() == "example.org.").collect();
    assert_eq!(asked.len(), 2);
    assert_ne!(asked[0].from, asked[1].from);
    assert_ne!(asked[0].query.id, asked[1].query.id);
}

#[test]
fn an_error_without_a_question_is_an_answer() {
    for rcode in [Rcode::FORMERR, Rcode::SERVFAIL, Rcode::NOTIMP, Rcode::REFUSED] {
        let upstream = ScriptedUpstream::new(move |asked| {
            let mut header = asked.response(rcode)[..12].to_vec();
            header[5] = 0;
            vec![Step::Send(header)]
        });
        let fixture = Fixture::with_options(PATIENT, &upstream);
        assert_eq!(fixture.short("example.org."), rcode.to_string());
    }
}

#[test]
fn a_slow_answer_is_waited_for() {
    let upstream = ScriptedUpstream::new(|asked| {
        vec![Step::Wait(Duration::from_millis(300)), Step::Send(asked.address(1))]
    });
    let fixture = Fixture::with_options("read_timeout 30s", &upstream);
    assert_eq!(fixture.short("example.org."), "1");
    assert_eq!(upstream.count("example.org."), 1);
}

#[test]
fn the_client_decides_about_the_protocol_unless_the_corefile_does() {
    for (options, client_over_tcp, upstream_over_tcp) in [
        ("", false, false),
        ("", true, true),
        ("force_tcp", false, true),
        ("prefer_udp", true, false),
        ("prefer_udp\nforce_tcp", false, true),
        ("force_tcp\nprefer_udp", true, true),
    ] {
        let upstream = ScriptedUpstream::answering(1);
        let fixture = Fixture::with_options(&format!("{PATIENT}\n{options}"), &upstream);
        let mut asked = query("example.org.", RecordType::A);
        if client_over_tcp {
            asked = over_tcp(asked);
        }
        assert_eq!(short(&answer_lines(&fixture.server, &asked)), "1", "{options}");
        assert_eq!(upstream.asked()[0].over_tcp(), upstream_over_tcp, "{options}");
    }
}

/// Truncated over UDP, whole over TCP.
fn truncating() -> ScriptedUpstream {
    ScriptedUpstream::new(|asked| {
        let truncated = asked.response_with(|reply| reply.set(flags::TC, true));
        vec![Step::Send(if asked.over_tcp() { asked.address(2) } else { truncated })]
    })
}

#[test]
fn a_truncated_answer_is_passed_on() {
    let upstream = truncating();
    let fixture = Fixture::with_options(PATIENT, &upstream);
    assert_eq!(fixture.lines("example.org."), ["NOERROR qr tc rd ra"]);
    assert_eq!(upstream.asked().len(), 1);
}

#[test]
fn with_prefer_udp_a_truncated_answer_is_fetched_again_over_tcp() {
    let upstream = truncating();
    let fixture = Fixture::with_options(&format!("{PATIENT}\nprefer_udp"), &upstream);
    assert_eq!(fixture.short("example.org."), "2");
    let transports: Vec<bool> = upstream.asked().iter().map(Asked::over_tcp).collect();
    assert_eq!(transports, [false, true]);
}

#[test]
fn an_answer_cut_in_the_middle_with_tc_set_is_a_truncated_one() {
    let upstream = ScriptedUpstream::new(|asked| {
        let mut message = asked.address(1);
        message[2] |= 0x02;
        message.truncate(message.len() - 2);
        vec![Step::Send(message)]
    });
    let fixture = Fixture::with_options(PATIENT, &upstream);
    assert_eq!(fixture.lines("example.org."), ["NOERROR qr tc rd ra"]);
}

#[test]
fn an_answer_larger_than_the_client_takes_is_cut_for_the_client_only() {
    let upstream = ScriptedUpstream::new(|asked| {
        vec![Step::Send(asked.response_with(|reply| {
            let addresses = (0..100).map(|last| [192, 0, 2, last].into());
            reply.answer.push(Entry::of_question(RecordSet::addresses(60, addresses).unwrap()));
        }))]
    });
    let fixture = Fixture::with_options(PATIENT, &upstream);
    let asked = query("example.org.", RecordType::A);
    let answer = fixture.ask(&asked);
    assert_eq!(answer.reply().unwrap().answer[0].set.count(), 100);
    assert_eq!(fixture.lines("example.org.")[0], "NOERROR qr tc rd ra");
}

#[test]
fn tcp_answers_may_come_in_pieces_and_after_others() {
    let upstream = ScriptedUpstream::new(|asked| {
        let other = asked.lie(|query| query.id = !query.id);
        let message = asked.address(3);
        let framed = [&(message.len() as u16).to_be_bytes(), &message[..]].concat();
        let pause = Step::Wait(Duration::from_millis(20));
        let mut steps = vec![Step::Send(other)];
        for piece in [&framed[..1], &framed[1..9], &framed[9..]] {
            steps.extend([pause.clone(), Step::Raw(piece.to_vec())]);
        }
        steps
    });
    let fixture = Fixture::with_options(&format!("{PATIENT}\nforce_tcp"), &upstream);
    assert_eq!(fixture.short("example.org."), "3");
    assert_eq!(upstream.asked().len(), 1);
}

#[test]
fn over_tcp_the_wrong_answer_is_an_error_at_once() {
    let upstream = ScriptedUpstream::new(|asked| {
        vec![Step::Send(asked.lie(|query| query.qtype = RecordType::TXT))]
    });
    let fixture = Fixture::with_options("force_tcp\nread_timeout 10s", &upstream);
    let failure = fixture.failure(&query("example.org.", RecordType::A));
    assert!(failure.ends_with("the answer does not match the question"), "{failure}");
}

#[test]
fn a_tcp_connection_that_ends_early_is_an_error_at_once() {
    type Script = fn(&Asked) -> Vec<Step>;
    let scripts: [(Script, &str); 2] = [
        (|_| vec![Step::Close], ": EOF"),
        (|_| vec![Step::Raw(vec![0, 50, 1, 2, 3]), Step::Close], ": EOF"),
    ];
    for (script, end) in scripts {
        let upstream = ScriptedUpstream::new(script);
        let fixture = Fixture::with_options("force_tcp\nread_timeout 10s", &upstream);
        let failure = fixture.failure(&query("example.org.", RecordType::A));
        assert!(failure.starts_with("read tcp 127.0.0.1:") && failure.ends_with(end), "{failure}");
        assert_eq!(upstream.count("example.org."), 2, "two attempts on one upstream");
    }
}

#[test]
fn ids_and_ports_are_hard_to_guess() {
    let upstream = ScriptedUpstream::answering(1);
    let fixture = Fixture::with_options("expire 0s", &upstream);
    for _ in 0..50 {
        fixture.lines("example.org.");
    }
    let asked = upstream.asked();
    let ids: HashSet<u16> = asked.iter().map(|asked| asked.query.id).collect();
    let ports: HashSet<u16> = asked.iter().map(|asked| asked.from.port()).collect();
    assert!(ids.len() > 45, "{} ids", ids.len());
    assert!(ports.len() > 40, "{} ports", ports.len());
}
