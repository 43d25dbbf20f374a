//! Messages made to cost much.

use crate::codes::{Rcode, RecordType};
use crate::decode::decode;
use crate::name::Name;
use crate::query::{Admission, Query, admit};
use crate::request::encode_request;

fn query() -> Query {
    Query::internal(Name::parse("www.example.org.").unwrap().as_ref(), RecordType::A)
}

/// A header with the same count for all sections, and a question.
fn message(flags: u16, count: u16) -> Vec<u8> {
    let mut message = vec![0, 1];
    for word in [flags, 1, count, count, count] {
        message.extend_from_slice(&word.to_be_bytes());
    }
    message.extend_from_slice(query().spelled().as_wire());
    message.extend_from_slice(&[0, 1, 0, 1]);
    message
}

#[test]
fn counts_that_promise_more_than_is_there_cost_nothing() {
    // A request with such counts goes no further than its header.
    let rejected = Admission::Reject { rcode: Rcode::FORMERR, question: false };
    assert_eq!(admit(&message(0x0100, u16::MAX), &mut Query::empty()), rejected);
    // A response may end early, and has then what is there.
    let response = decode(&message(0x8180, u16::MAX), &query(), "test").unwrap();
    assert_eq!(response.reply.entries().count(), 0);
}

#[test]
fn options_of_an_upstream_that_are_cut_are_not_passed_on() {
    let whole = [0, 15, 0, 2, 0, 3];
    for broken in [&[][..], &[0], &[0, 12, 0], &[0, 12, 0, 9, 1, 2]] {
        let options = [&whole[..], broken].concat();
        let mut response = message(0x8180, 0);
        response[11] = 1;
        response.extend_from_slice(&[0, 0, 41, 4, 208, 0, 0, 0, 0, 0, options.len() as u8]);
        response.extend_from_slice(&options);
        let reply = decode(&response, &query(), "test").unwrap().reply;
        assert_eq!(reply.opt.expect("there is one").options, whole, "{broken:?}");
    }
}

#[test]
fn a_message_full_of_compressed_names_grows_within_bounds() {
    // The longest name, once; then NS records, each with two pointers to it: one whole, one without its first label.
    let mut full = message(0x8180, 0);
    let at = full.len() as u16;
    for _ in 0..63 {
        full.extend_from_slice(b"\x03abc");
    }
    full.push(0);
    let pointer = |offset: u16| (0xc000 | (at + offset)).to_be_bytes();
    // The name itself is the owner of the first record.
    full.extend_from_slice(&[0, 2, 0, 1, 0, 0, 0, 0, 0, 2]);
    full.extend_from_slice(&pointer(0));
    let mut records = 1_u16;
    while full.len() + 14 <= usize::from(u16::MAX) {
        full.extend_from_slice(&pointer(4 * (records % 2)));
        full.extend_from_slice(&[0, 2, 0, 1, 0, 0, 0, 0, 0, 2]);
        full.extend_from_slice(&pointer(0));
        records += 1;
    }
    full[6..8].copy_from_slice(&records.to_be_bytes());
    let reply = decode(&full, &query(), "test").unwrap().reply;
    let held: usize =
        reply.entries().map(|e| e.set.memory() + e.owner.resolve(&query()).len()).sum();
    assert_eq!(reply.entries().count(), usize::from(records));
    assert!(held < 4 << 20, "{held} bytes of a message of {}", full.len());
}

#[test]
fn a_signature_gives_no_rights_and_goes_nowhere() {
    // A TSIG record (RFC 8945 section 4.2) of a key and with a MAC that nobody knows.
    let mut signed = message(0x0100, 0);
    signed[11] = 1;
    let rdata = b"\x0bhmac-sha256\0\0\0\0\0\0\0\x01\x2c\0\x04fake\0\x01\0\0\0\0";
    signed.extend_from_slice(b"\x03key\0\0\xfa\0\xff\0\0\0\0");
    signed.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
    signed.extend_from_slice(rdata);
    let mut admitted = Query::empty();
    assert_eq!(admit(&signed, &mut admitted), Admission::Query);
    assert_eq!(admitted.size, signed.len(), "it was read");

    let unsigned = message(0x0100, 0);
    let mut request = Vec::new();
    encode_request(&admitted, admitted.spelled(), &mut request);
    assert_eq!(request[2..], unsigned[2..], "all but the id");
}
