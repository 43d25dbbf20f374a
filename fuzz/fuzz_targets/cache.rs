//! `cache` between clients and an upstream that may send anything: a fresh server for each input, which is a list of exchanges, each a
//! request and the response that the upstream has for it if it is asked.
#![no_main]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use libfuzzer_sys::fuzz_target;
use periplus_core::decode::decode;
use periplus_core::query::{Admission, Query, Transport, admit};
use periplus_fuzz::{Machine, records};

const COREFILE: &str = "
.:53 {
    debug
    loadbalance
    rewrite name exact from.test to.test answer auto
    rewrite ttl suffix .test 5-60
    cache 300 {
        success 64 300 2
        denial 64 60 1
        servfail 5s
        serve_stale 1h immediate
        keepttl
        disable denial example.net
    }
    forward . 192.0.2.53
}
";

fuzz_target!(|input: &[u8]| {
    let exchanges = split(input);
    if exchanges.is_empty() {
        return;
    }
    let responses: Rc<RefCell<VecDeque<Vec<u8>>>> = Rc::default();
    let upstream = Rc::clone(&responses);
    let machine = Machine::start(COREFILE, move |_| upstream.borrow_mut().pop_front());
    for (request, response) in exchanges {
        responses.borrow_mut().clear();
        responses.borrow_mut().push_back(response.to_vec());
        let Some(first) = answer(&machine, request) else { continue };
        // Once more, with nothing to be had from the upstream.
        let was_asked = responses.borrow().is_empty();
        responses.borrow_mut().clear();
        let Some(second) = answer(&machine, request) else { panic!("silence the second time") };
        if !was_asked {
            assert_eq!(first, second, "the cache answers the same twice");
        }
    }
});

/// Response code and records, in an order of their own, without TTLs.
type Meaning = (u16, [Vec<Vec<u8>>; 3]);

fn answer(machine: &Machine, request: &[u8]) -> Option<Meaning> {
    let mut query = Query::empty();
    query.transport = Transport::Tcp;
    let admission = admit(request, &mut query);
    let response = machine.ask(request, Transport::Tcp)?;
    assert_eq!(response[..2], request[..2]);
    assert!(response.len() <= query.response_limit());
    let read = decode(&response, &query, "fuzz").expect("what is sent can be read");
    if admission == Admission::Query {
        assert!(read.question.expect("the question comes back").matches(&query));
    }
    let sections = [&read.reply.answer, &read.reply.authority, &read.reply.additional];
    let sections = sections.map(|section| {
        let mut records: Vec<Vec<u8>> = records(section, &query)
            .into_iter()
            .map(|record| [&record.rtype.to_be_bytes()[..], &record.rdata].concat())
            .collect();
        records.sort_unstable();
        records
    });
    Some((read.reply.rcode.0, sections))
}

/// Pairs of parts, each with its length in two bytes before it.
fn split(mut input: &[u8]) -> Vec<(&[u8], &[u8])> {
    let mut part = || {
        let (length, rest) = input.split_at_checked(2)?;
        let length = usize::from(u16::from_be_bytes([length[0] & 0x03, length[1]]));
        let (part, rest) = rest.split_at_checked(length)?;
        input = rest;
        Some(part)
    };
    let mut exchanges = Vec::new();
    while let (Some(request), Some(response)) = (part(), part()) {
        exchanges.push((request, response));
    }
    exchanges
}
