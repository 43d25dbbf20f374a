//! `decode::decode`: what upstreams send.
#![no_main]

use hickory_proto::op::Message;
use libfuzzer_sys::fuzz_target;
use periplus_core::codes::RecordType;
use periplus_core::decode::decode;
use periplus_core::name::Name;
use periplus_core::query::Query;
use periplus_fuzz::{comparable, labels, records, their_records};

fuzz_target!(|message: &[u8]| {
    let somewhere = Name::parse("www.example.org.").expect("it is a name");
    let mut query = Query::internal(somewhere.as_ref(), RecordType::A);
    let Ok(first) = decode(message, &query, "fuzz") else { return };
    // The same message as the answer to the question that it names: owners are told otherwise, records are the same.
    if let Some(question) = &first.question {
        query.set_name(question.name.as_ref());
        query.qtype = question.qtype;
        query.class = question.class;
        assert!(question.matches(&query));
    }
    let ours =
        decode(message, &query, "fuzz").expect("the question does not decide what can be read");

    let Ok(theirs) = Message::from_vec(message) else { return };
    assert_eq!(theirs.metadata.id, ours.id);
    assert_eq!(theirs.queries.len(), usize::from(ours.question.is_some()));
    if let (Some(question), Some(asked)) = (theirs.queries.first(), &ours.question) {
        assert_eq!(labels(question.name()), asked.name.as_ref().labels().collect::<Vec<_>>());
    }
    let reply = &ours.reply;
    for (ours, theirs) in [
        (&reply.answer, &theirs.answers),
        (&reply.authority, &theirs.authorities),
        (&reply.additional, &theirs.additionals),
    ] {
        assert_eq!(comparable(records(ours, &query)), their_records(theirs));
    }
});
