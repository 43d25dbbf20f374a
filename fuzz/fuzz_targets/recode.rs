//! `decode`, `encode` and back: what an upstream sends, as a client gets it. The first bytes say what the client can take.
#![no_main]

use hickory_proto::op::Message;
use libfuzzer_sys::fuzz_target;
use periplus_core::codes::{Class, RecordType, flags};
use periplus_core::decode::decode;
use periplus_core::edns::Edns;
use periplus_core::encode::{Compressor, encode};
use periplus_core::name::Name;
use periplus_core::query::{Query, Transport};
use periplus_core::reply::Answer;
use periplus_fuzz::records;

fuzz_target!(|input: &[u8]| {
    let [kind, high, low, message @ ..] = input else { return };
    let somewhere = Name::parse("www.example.org.").expect("it is a name");
    let mut query = Query::internal(somewhere.as_ref(), RecordType::A);
    query.transport = if kind & 1 == 0 { Transport::Udp } else { Transport::Tcp };
    if kind & 2 == 0 {
        let udp_size = u16::from_be_bytes([*high, *low]);
        query.edns = Some(Edns { udp_size, ..Edns::default() });
    }
    let Ok(first) = decode(message, &query, "fuzz") else { return };
    if let Some(question) = &first.question {
        query.set_name(question.name.as_ref());
        query.qtype = question.qtype;
        query.class = question.class;
    } else {
        query.class = Class::IN;
    }
    let Ok(response) = decode(message, &query, "fuzz") else { return };
    let reply = response.reply;

    let mut sent = Vec::new();
    assert!(encode(&query, &Answer::Reply(reply.clone()), &mut Compressor::new(), &mut sent));
    assert!(sent.len() <= query.response_limit(), "{} bytes", sent.len());
    let read = decode(&sent, &query, "fuzz").expect("what is sent can be read");
    assert_eq!(read.id, query.id);
    assert!(read.question.expect("the question comes back").matches(&query));

    // Whole records from the front, and TC exactly where some are missing.
    let mut complete = true;
    for (sent, all) in [
        (&read.reply.answer, &reply.answer),
        (&read.reply.authority, &reply.authority),
        (&read.reply.additional, &reply.additional),
    ] {
        let (sent, all) = (records(sent, &query), records(all, &query));
        assert!(complete || sent.is_empty());
        assert_eq!(sent[..], all[..sent.len()]);
        complete &= sent.len() == all.len();
    }
    assert_eq!(read.reply.has(flags::TC), !complete || reply.has(flags::TC));

    // What another library could read, it can still read.
    if Message::from_vec(message).is_ok() {
        Message::from_vec(&sent).expect("the response can be read as the upstream's could");
    }
});
