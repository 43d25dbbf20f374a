//! `query::admit`: what strangers send.
#![no_main]

use hickory_proto::op::Message;
use libfuzzer_sys::fuzz_target;
use periplus_core::name::{Name, NameText};
use periplus_core::query::{Admission, Query, admit};
use periplus_core::request::encode_request;
use periplus_fuzz::labels;

fuzz_target!(|message: &[u8]| {
    let mut query = Query::empty();
    if admit(message, &mut query) != Admission::Query {
        return;
    }
    assert!(query.size <= message.len());

    // The name can be written as text and read again.
    let text = NameText::of(query.spelled());
    let read = Name::parse(text.as_str()).expect("a name that was written can be read");
    assert_eq!(read.as_ref(), query.spelled());
    assert!(query.name().is_lower() && query.name().eq_ignore_case(query.spelled()));

    // What an upstream is asked is what the client asked.
    let mut request = Vec::new();
    let id = encode_request(&query, query.spelled(), &mut request);
    let mut again = Query::empty();
    assert_eq!(admit(&request, &mut again), Admission::Query);
    assert_eq!(again.id, id);
    assert_eq!(again.flags, query.flags);
    assert_eq!(again.spelled(), query.spelled());
    assert_eq!((again.qtype, again.class), (query.qtype, query.class));
    assert_eq!(again.edns, query.edns);

    // Another library reads the same.
    let Ok(theirs) = Message::from_vec(message) else { return };
    assert_eq!(theirs.metadata.id, query.id);
    let [question] = &theirs.queries[..] else { panic!("one question was admitted") };
    assert_eq!(labels(question.name()), query.spelled().labels().collect::<Vec<_>>());
    assert_eq!(u16::from(question.query_type()), query.qtype.0);
    assert_eq!(u16::from(question.query_class()), query.class.0);
});
