use hickory_proto::op::Message;

use super::encode_request;
use crate::codes::{RecordType, flags};
use crate::edns::Edns;
use crate::name::Name;
use crate::query::{Admission, Query, admit};

fn query(name: &str, qtype: RecordType) -> Query {
    Query::internal(Name::parse(name).unwrap().as_ref(), qtype)
}

#[test]
fn a_request_reads_back_as_the_query_it_was_made_of() {
    let mut asked = query("wWw.Example.ORG.", RecordType::AAAA);
    asked.flags = flags::RD | flags::CD | flags::AD;
    let mut edns = Edns { udp_size: 1232, flags: flags::DO, ..Edns::default() };
    edns.push_option(10, &[1, 2, 3, 4, 5, 6, 7, 8]);
    edns.push_option(65001, b"anything");
    asked.edns = Some(edns);

    let mut message = Vec::new();
    let id = encode_request(&asked, asked.spelled(), &mut message);

    let mut read = Query::empty();
    assert_eq!(admit(&message, &mut read), Admission::Query);
    assert_eq!(read.id, id);
    assert_eq!(read.flags, asked.flags);
    assert_eq!(read.spelled(), asked.spelled());
    assert_eq!((read.qtype, read.class), (asked.qtype, asked.class));
    assert_eq!(read.edns, asked.edns);
    assert_eq!(read.size, message.len());
}

#[test]
fn another_dns_library_reads_the_same() {
    let mut message = Vec::new();
    let asked = query("a.b.c.", RecordType::SRV);
    encode_request(&asked, asked.spelled(), &mut message);
    let read = Message::from_vec(&message).unwrap();
    assert_eq!(read.queries.len(), 1);
    assert_eq!(read.queries[0].name().to_string(), "a.b.c.");
    assert_eq!(u16::from(read.queries[0].query_type()), RecordType::SRV.0);
    assert!(read.edns.is_none());
}

#[test]
fn a_query_that_was_an_answer_goes_out_as_a_question() {
    let mut asked = query(".", RecordType::NS);
    asked.flags |= flags::QR;
    let mut message = Vec::new();
    encode_request(&asked, asked.spelled(), &mut message);
    assert_eq!(message[2] & 0x80, 0);
}

#[test]
fn ids_are_new_each_time_and_follow_no_order() {
    let asked = query("example.org.", RecordType::A);
    let ids: Vec<u16> =
        (0..2000).map(|_| encode_request(&asked, asked.spelled(), &mut Vec::new())).collect();
    let different: std::collections::HashSet<_> = ids.iter().collect();
    // 2000 draws from 65,536 give about 1970 different ones.
    assert!(different.len() > 1800, "{} different ids", different.len());
    // A counter would rise each time, a draw every other time.
    let rises = ids.windows(2).filter(|pair| pair[0] < pair[1]).count();
    assert!((800..1200).contains(&rises), "{rises} rises");
    let near = ids.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) < 16).count();
    assert!(near < 20, "{near} of 2000 are next to the one before");
}
