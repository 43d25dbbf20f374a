//! What one side writes, the other reads.

use hickory_proto::op::{Edns as HickoryEdns, Message, MessageType, OpCode, Query as HickoryQuery};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{Name as HickoryName, RecordType as HickoryType};
use proptest::collection::vec;
use proptest::prelude::*;

use super::model::{Exchange, Record, exchanges, flat, flat_records, queries};
use crate::codes::{Rcode, flags};
use crate::decode::decode;
use crate::edns::Edns;
use crate::encode::{Compressor, encode};
use crate::query::{Admission, Query, Transport, admit};
use crate::reply::{Answer, Reply};

/// The response as sent.
pub(super) fn encoded(query: &Query, reply: &Reply) -> Vec<u8> {
    let mut response = Vec::new();
    assert!(encode(query, &Answer::Reply(reply.clone()), &mut Compressor::new(), &mut response));
    response
}

fn hickory_question(query: &Query) -> HickoryQuery {
    let labels: Vec<&[u8]> = query.spelled().labels().collect();
    HickoryQuery::query(HickoryName::from_labels(labels).unwrap(), HickoryType::from(query.qtype.0))
}

/// The request of a query, as hickory-proto writes it.
fn request(query: &Query) -> Vec<u8> {
    let mut message = Message::new(query.id, MessageType::Query, OpCode::Query);
    message.metadata.truncation = query.has(flags::TC);
    message.metadata.recursion_desired = query.has(flags::RD);
    message.metadata.recursion_available = query.has(flags::RA);
    message.metadata.authentic_data = query.has(flags::AD);
    message.metadata.checking_disabled = query.has(flags::CD);
    message.add_query(hickory_question(query));
    if let Some(edns) = &query.edns {
        message.set_edns(hickory_edns(edns));
    }
    message.to_vec().unwrap()
}

fn hickory_edns(edns: &Edns) -> HickoryEdns {
    let mut made = HickoryEdns::new();
    made.set_max_payload(edns.udp_size).set_dnssec_ok(edns.dnssec_ok());
    made.flags_mut().z = edns.flags & 0x7fff;
    edns.options().for_each(|(code, data)| {
        made.options_mut().insert(EdnsOption::Unknown(code, data.to_vec()))
    });
    made
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(100))]

    #[test]
    fn hickory_reads_the_replies_that_are_written(exchange in exchanges(4), rcode in 0_u16..=10) {
        let Exchange { mut query, mut reply, records } = exchange;
        query.transport = Transport::Tcp;
        reply.rcode = Rcode(rcode);
        let message = Message::from_vec(&encoded(&query, &reply)).unwrap();
        prop_assert_eq!(message.metadata.id, query.id);
        prop_assert_eq!(message.metadata.message_type, MessageType::Response);
        prop_assert_eq!(u16::from(message.metadata.response_code), rcode);
        prop_assert!(!message.metadata.truncation);
        prop_assert_eq!(message.metadata.authoritative, reply.has(flags::AA));
        prop_assert_eq!(message.metadata.recursion_desired, reply.has(flags::RD));
        prop_assert_eq!(message.metadata.recursion_available, reply.has(flags::RA));
        prop_assert_eq!(message.metadata.checking_disabled, reply.has(flags::CD));
        prop_assert_eq!(message.queries.len(), 1);
        let asked: Vec<&[u8]> = message.queries[0].name().iter().collect();
        prop_assert_eq!(asked, query.spelled().labels().collect::<Vec<_>>());
        for (sent, records) in [&message.answers, &message.authorities, &message.additionals].into_iter().zip(records) {
            prop_assert_eq!(sent.iter().map(Record::of_hickory).collect::<Vec<_>>(), records);
        }
        prop_assert_eq!(message.edns.is_some(), query.edns.is_some());
        if let (Some(sent), Some(asked)) = (&message.edns, &query.edns) {
            prop_assert_eq!(sent.max_payload(), asked.udp_size);
            prop_assert_eq!(sent.flags().dnssec_ok, asked.dnssec_ok());
        }
    }

    #[test]
    fn replies_are_read_back_as_they_were(exchange in exchanges(4)) {
        let Exchange { mut query, reply, .. } = exchange;
        query.transport = Transport::Tcp;
        let response = decode(&encoded(&query, &reply), &query, "test").unwrap();
        prop_assert_eq!(response.id, query.id);
        prop_assert!(response.question.unwrap().matches(&query));
        prop_assert_eq!(response.reply.flags, reply.flags);
        prop_assert_eq!(flat(&response.reply.answer, &query), flat(&reply.answer, &query));
        prop_assert_eq!(flat(&response.reply.authority, &query), flat(&reply.authority, &query));
        prop_assert_eq!(flat(&response.reply.additional, &query), flat(&reply.additional, &query));
    }

    #[test]
    fn the_responses_that_hickory_writes_are_read(exchange in exchanges(4)) {
        let Exchange { query, records: [answers, authorities, additionals], .. } = exchange;
        let mut message = Message::new(query.id, MessageType::Response, OpCode::Query);
        message.add_query(hickory_question(&query));
        message.add_answers(answers.iter().map(Record::to_hickory));
        message.add_authorities(authorities.iter().map(Record::to_hickory));
        message.add_additionals(additionals.iter().map(Record::to_hickory));
        if let Some(edns) = &query.edns {
            message.set_edns(hickory_edns(edns));
        }
        let response = decode(&message.to_vec().unwrap(), &query, "test").unwrap();
        prop_assert_eq!(response.id, query.id);
        prop_assert!(response.question.unwrap().matches(&query));
        prop_assert_eq!(flat(&response.reply.answer, &query), flat_records(&answers));
        prop_assert_eq!(flat(&response.reply.authority, &query), flat_records(&authorities));
        prop_assert_eq!(flat(&response.reply.additional, &query), flat_records(&additionals));
        prop_assert_eq!(response.reply.opt.map(|opt| *opt), query.edns);
    }

    #[test]
    fn the_requests_that_hickory_writes_are_admitted(query in queries()) {
        let message = request(&query);
        let mut admitted = Query::empty();
        prop_assert_eq!(admit(&message, &mut admitted), Admission::Query);
        prop_assert_eq!(admitted.id, query.id);
        prop_assert_eq!(admitted.flags, query.flags);
        prop_assert_eq!(admitted.spelled(), query.spelled());
        prop_assert_eq!(admitted.name(), query.name());
        prop_assert_eq!(admitted.qtype, query.qtype);
        prop_assert_eq!(admitted.class, query.class);
        prop_assert_eq!(admitted.edns, query.edns);
        prop_assert_eq!(admitted.size, message.len());
    }

    #[test]
    fn no_request_can_do_harm(message in vec(any::<u8>(), 0..300)) {
        admit(&message, &mut Query::empty());
    }

    #[test]
    fn no_damaged_request_can_do_harm(query in queries(), damage in vec((any::<usize>(), any::<u8>()), 0..6), cut in any::<usize>()) {
        let message = damaged(request(&query), &damage, cut);
        let mut admitted = Query::empty();
        if admit(&message, &mut admitted) == Admission::Query {
            // What was admitted can be answered.
            let response = encoded(&admitted, &Reply::to(&admitted, "test"));
            prop_assert_eq!(&response[12..12 + admitted.spelled().len()], admitted.spelled().as_wire());
        }
    }

    #[test]
    fn no_damaged_response_can_do_harm(exchange in exchanges(3), damage in vec((any::<usize>(), any::<u8>()), 0..6), cut in any::<usize>()) {
        let Exchange { mut query, reply, .. } = exchange;
        query.transport = Transport::Tcp;
        let message = damaged(encoded(&query, &reply), &damage, cut);
        if let Ok(response) = decode(&message, &query, "test") {
            // What was read can be sent on, and means the same.
            let again = decode(&encoded(&query, &response.reply), &query, "test").unwrap();
            prop_assert_eq!(flat(&again.reply.answer, &query), flat(&response.reply.answer, &query));
            prop_assert_eq!(flat(&again.reply.additional, &query), flat(&response.reply.additional, &query));
        }
    }
}

/// Overwrites some bytes after the id and sometimes cuts the end off.
fn damaged(mut message: Vec<u8>, damage: &[(usize, u8)], cut: usize) -> Vec<u8> {
    for (at, byte) in damage {
        let at = 2 + at % (message.len() - 2);
        message[at] = *byte;
    }
    if cut.is_multiple_of(3) {
        message.truncate(cut / 3 % message.len());
    }
    message
}
