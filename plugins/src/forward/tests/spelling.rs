//! `randomize_case`: questions in letters that nobody can guess.

use std::collections::HashSet;

use periplus_core::codes::{Rcode, RecordType};
use periplus_core::edns::Edns;
use periplus_core::name::Name;
use periplus_core::query::Transport;
use periplus_core::record::{Entry, Owner, RecordSet};
use periplus_core::reply::Answer;

use super::super::testing::{Asked, ScriptedUpstream, Step, soa};
use super::{Fixture, PATIENT, over_tcp, short};
use crate::testing::{answer_lines, query};

const NAME: &str = "wWw.A-long-name.Example.ORG.";

/// The answer that it would be, but for the question in these letters.
fn respelled(asked: &Asked, change: fn(&str) -> String) -> Vec<u8> {
    let name = Name::parse(&change(&asked.name())).expect("it was a name before");
    asked.lie(|query| query.set_name(name.as_ref()))
}

fn lower(name: &str) -> String {
    name.to_ascii_lowercase()
}

/// As it was sent, but for the first letter.
fn nearly(name: &str) -> String {
    let first = name.as_bytes()[0] ^ 0x20;
    format!("{}{}", char::from(first), &name[1..])
}

#[test]
fn the_client_finds_its_own_spelling_and_the_upstream_another_one_each_time() {
    let upstream = ScriptedUpstream::new(|asked| {
        vec![Step::Send(asked.response_with(|reply| {
            // As servers do that point at the question: the name itself, and what it ends in.
            let sent = asked.query.spelled();
            let zone = Name::parse(asked.name().split_once('.').unwrap().1).unwrap();
            let target = Name::parse(&format!("target.{zone}")).unwrap();
            assert!(sent.to_string().ends_with(&zone.to_string()));
            let cname = RecordSet::name(RecordType::CNAME, 30, target.as_ref());
            let address = RecordSet::addresses(20, [[192, 0, 2, 7].into()]).unwrap();
            reply.answer.push(Entry::of_question(cname));
            reply.answer.push(Entry::of(Owner::Name(target), address));
            reply.authority.push(soa(&zone.to_string()));
        }))]
    });
    let fixture = Fixture::with_options(&format!("{PATIENT}\nrandomize_case"), &upstream);
    let expected = [
        "NOERROR qr rd ra",
        "answer: wWw.A-long-name.Example.ORG. 30 IN CNAME target.A-long-name.Example.ORG.",
        "answer: target.A-long-name.Example.ORG. 20 IN A 192.0.2.7",
        "authority: A-long-name.Example.ORG. 300 IN SOA A-long-name.Example.ORG. A-long-name.Example.ORG. 1 2 3 4 5",
    ];
    for _ in 0..20 {
        assert_eq!(fixture.lines(NAME), expected);
    }
    let spellings: HashSet<String> = upstream.asked().iter().map(Asked::name).collect();
    // Of 2^21 spellings.
    assert!(spellings.len() >= 19, "{spellings:?}");
    assert!(spellings.iter().all(|name| name.eq_ignore_ascii_case(NAME)));
}

#[test]
fn an_answer_in_other_letters_is_passed_over() {
    for change in [lower, nearly] {
        let upstream = ScriptedUpstream::new(move |asked| {
            vec![Step::Send(respelled(asked, change)), Step::Send(asked.address(1))]
        });
        let fixture = Fixture::with_options(&format!("{PATIENT}\nrandomize_case"), &upstream);
        for _ in 0..5 {
            assert_eq!(fixture.short(NAME), "1");
        }
        assert_eq!(upstream.asked().len(), 5);
        // Without the option all of them are answers.
        let fixture = Fixture::with_options(PATIENT, &upstream);
        assert_eq!(fixture.short(NAME), "66");
    }
}

#[test]
fn an_error_without_a_question_says_nothing_about_the_letters() {
    let upstream = ScriptedUpstream::new(|asked| {
        let mut header = asked.response(Rcode::REFUSED)[..12].to_vec();
        header[5] = 0;
        vec![Step::Send(header), Step::Send(asked.address(1))]
    });
    assert_eq!(
        Fixture::with_options(&format!("{PATIENT}\nrandomize_case"), &upstream).short(NAME),
        "1"
    );
}

#[test]
fn an_upstream_that_changes_letters_is_an_error_that_names_the_option() {
    let upstream = ScriptedUpstream::new(|asked| vec![Step::Send(respelled(asked, lower))]);
    let fixture = Fixture::with_options("randomize_case\nread_timeout 30s", &upstream);
    let mut asked = query(NAME, RecordType::A);
    asked.edns = Some(Edns { udp_size: 1232, ..Edns::default() });
    let Answer::Failure(failure) = fixture.ask(&asked) else { panic!("no failure") };
    let cause = failure.cause.expect("a cause");
    let reason =
        "the upstream does not copy the spelling of the question, which 'randomize_case' needs";
    assert!(cause.to_string().ends_with(reason), "{cause}");
    assert_eq!(cause.extended.expect("an extended error").text, reason);
    // Nothing was asked in the client's letters instead.
    let seen = upstream.asked();
    let questions = seen.iter().filter(|asked| asked.query.qtype == RecordType::A);
    assert!(questions.map(Asked::name).all(|name| name != NAME));
}

#[test]
fn over_tcp_the_client_s_spelling_goes_out() {
    let upstream = ScriptedUpstream::answering(1);
    let fixture = Fixture::with_options(&format!("{PATIENT}\nrandomize_case"), &upstream);
    let asked = over_tcp(query(NAME, RecordType::A));
    assert_eq!(short(&answer_lines(&fixture.server, &asked)), "1");
    let seen = &upstream.asked()[0];
    assert_eq!((seen.query.transport, seen.name().as_str()), (Transport::Tcp, NAME));
}
