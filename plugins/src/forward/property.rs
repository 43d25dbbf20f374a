//! What holds for every answer and every resolv.conf: asked of random ones by the fuzzer, and by the tests of those that it keeps.

use std::fmt::Write as _;
use std::net::SocketAddr;

use hickory_proto::op::{Message, MessageType};
use periplus_core::codes::{Rcode, RecordType, flags};
use periplus_core::name::Name;
use periplus_core::query::Query;

use super::message::Expected;
use super::resolv_conf::parse;

/// Only a response to the question is taken for the answer: here `www.example.org. A` under the id 0x1234.
pub fn only_answers_count(message: &[u8]) {
    let name = Name::parse("www.example.org.").expect("it is a name");
    let query = Query::internal(name.as_ref(), RecordType::A);
    let Ok(reply) = Expected::under(0x1234).read(message, &query) else { return };
    assert_eq!(message[..2], [0x12, 0x34]);
    assert!(message[2] & 0x80 != 0);
    if message[4..6] == [0, 0] {
        // An error may come without the question; records never do.
        assert!(![Rcode::NOERROR, Rcode::NXDOMAIN].contains(&reply.rcode));
        assert_eq!(reply.entries().count(), 0);
        return;
    }
    // What was cut in the middle another library does not read.
    let Ok(theirs) = Message::from_vec(message) else { return };
    assert_eq!(theirs.metadata.message_type, MessageType::Response);
    let [question] = &theirs.queries[..] else { panic!("one question was answered") };
    assert!(question.name().to_ascii().eq_ignore_ascii_case("www.example.org."));
    assert_eq!((u16::from(question.query_type()), u16::from(question.query_class())), (1, 1));
    let theirs = theirs.answers.len() + theirs.authorities.len() + theirs.additionals.len();
    let ours = reply.entries().map(|entry| entry.set.count()).sum::<usize>();
    // The other library takes RDATA that ours does not, and of a response with TC set nothing but the header counts then.
    assert!(ours == theirs || ours == 0 && reply.has(flags::TC), "{ours} of {theirs} records");
}

/// The servers written out again are the same servers; an error names the first line that has one.
pub fn servers_are_read(file: &[u8]) {
    let text = String::from_utf8_lossy(file);
    match parse(&text) {
        Ok(servers) => {
            assert!(servers.len() <= text.lines().count());
            let mut again = String::new();
            for server in &servers {
                assert_eq!(server.port(), 53);
                let _ = match server {
                    SocketAddr::V6(v6) if v6.scope_id() != 0 => {
                        writeln!(again, "nameserver {}%{}", v6.ip(), v6.scope_id())
                    }
                    _ => writeln!(again, "nameserver {}", server.ip()),
                };
            }
            assert_eq!(parse(&again), Ok(servers));
        }
        Err((line, _)) => {
            let before: Vec<&str> = text.lines().take(line - 1).collect();
            assert!(parse(&before.join("\n")).is_ok());
            let at_fault = text.lines().nth(line - 1).expect("the line is in the file");
            assert!(matches!(parse(at_fault), Err((1, _))));
        }
    }
}

#[test]
fn the_corpus_keeps_to_it() {
    crate::testing::corpus("resolv_conf").iter().for_each(|input| servers_are_read(input));
    crate::testing::corpus("answer").iter().for_each(|input| only_answers_count(input));
}
