//! Host names among the destinations.

use periplus_core::codes::{Rcode, RecordType};
use periplus_core::record::{Entry, RecordSet};

use super::super::testing::{ScriptedUpstream, Step};
use super::Fixture;
use crate::testing::{eventually, query};

/// Says that every name has the address 127.0.0.1, and no address of version 6.
fn resolver() -> ScriptedUpstream {
    ScriptedUpstream::new(|asked| {
        vec![Step::Send(asked.response_with(|reply| {
            if asked.query.qtype == RecordType::A {
                let address = RecordSet::addresses(60, [[127, 0, 0, 1].into()]).unwrap();
                reply.answer.push(Entry::of_question(address));
            }
        }))]
    })
}

#[test]
fn a_host_name_is_looked_up_with_the_resolver_and_then_asked() {
    let (resolver, upstream) = (resolver(), ScriptedUpstream::answering(1));
    let port = upstream.address.port();
    let text = format!("forward . dns.example.net:{port} {{\nresolver {{1}}\n}}");
    let fixture = Fixture::new(&text, &[resolver.address]);
    eventually("the host name is resolved", || fixture.short("example.org.") == "1");
    let asked: Vec<_> =
        resolver.asked().iter().map(|asked| (asked.name(), asked.query.qtype)).collect();
    let name = || "dns.example.net.".to_owned();
    assert_eq!(asked, [(name(), RecordType::A), (name(), RecordType::AAAA)]);
}

#[test]
fn until_then_the_other_upstreams_are_asked_and_the_look_up_is_tried_again() {
    let (resolver, host, other) = (
        ScriptedUpstream::failing(Rcode::SERVFAIL),
        ScriptedUpstream::answering(1),
        ScriptedUpstream::answering(2),
    );
    let text = format!(
        "forward . dns.example.net:{} {{2}} {{\nresolver {{1}}\npolicy sequential\n}}",
        host.address.port()
    );
    let fixture = Fixture::new(&text, &[resolver.address, other.address]);
    eventually("a look-up was made", || resolver.asked().len() >= 2);
    assert_eq!(fixture.short("example.org."), "2");
    resolver.becomes(|asked| {
        vec![Step::Send(asked.response_with(|reply| {
            if asked.query.qtype == RecordType::A {
                let address = RecordSet::addresses(60, [[127, 0, 0, 1].into()]).unwrap();
                reply.answer.push(Entry::of_question(address));
            }
        }))]
    });
    eventually("the host stands first, as in the Corefile", || {
        fixture.short("example.org.") == "1"
    });
}

#[test]
fn the_second_resolver_is_asked_when_the_first_knows_nothing() {
    let (ignorant, knowing) = (ScriptedUpstream::failing(Rcode::NXDOMAIN), resolver());
    let upstream = ScriptedUpstream::answering(1);
    let text = format!(
        "forward . dns.example.net:{} {{\nresolver {{1}} {{2}}\n}}",
        upstream.address.port()
    );
    let fixture = Fixture::new(&text, &[ignorant.address, knowing.address]);
    eventually("the host name is resolved", || fixture.short("example.org.") == "1");
}

#[test]
fn without_any_address_yet_the_answer_is_servfail() {
    let silent = ScriptedUpstream::silent();
    let fixture = Fixture::new("forward . dns.example.net {\nresolver {1}\n}", &[silent.address]);
    assert_eq!(fixture.failure(&query("example.org.", RecordType::A)), "no healthy proxies");
}

#[test]
fn the_system_knows_localhost() {
    let upstream = ScriptedUpstream::answering(1);
    let text = format!("forward . localhost:{} {{\npolicy sequential\n}}", upstream.address.port());
    let fixture = Fixture::new(&text, &[]);
    eventually("localhost is resolved", || fixture.short("example.org.") == "1");
}

#[test]
fn an_address_that_stands_there_twice_counts_once() {
    let upstream = ScriptedUpstream::new(|_| vec![Step::Close]);
    let fixture =
        Fixture::new("forward . {1} dns://{1} {\nforce_tcp\nmax_fails 0\n}", &[upstream.address]);
    assert_eq!(fixture.short("example.org."), "SERVFAIL");
    assert_eq!(upstream.count("example.org."), 2, "two attempts for one upstream");
}
