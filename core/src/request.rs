//! From a question to the bytes of a request to another server.
//!
//! What the client asked is passed on as it is: spelling, flags, and the OPT record with all its options. Only the message id is
//! new. It is made here, so that no request goes out under one that somebody could guess (RFC 5452 section 9.2).

use crate::codes::{Rcode, flags};
use crate::encode::write_opt;
use crate::name::NameRef;
use crate::query::Query;
use crate::random;

/// Appends the request message that asks `query`, with the name spelled as `sent`. Gives the message id, which is new and random.
///
/// Other records of the client's request, such as a TSIG, are not part of a [`Query`] and are not passed on.
pub fn encode_request(query: &Query, sent: NameRef<'_>, out: &mut Vec<u8>) -> u16 {
    let id = random::message_id();
    let additional = u8::from(query.edns.is_some());
    let [i, d] = id.to_be_bytes();
    let [f, g] = (query.flags & !flags::QR).to_be_bytes();
    out.extend_from_slice(&[i, d, f, g, 0, 1, 0, 0, 0, 0, 0, additional]);
    out.extend_from_slice(sent.as_wire());
    out.extend_from_slice(&query.qtype.0.to_be_bytes());
    out.extend_from_slice(&query.class.0.to_be_bytes());
    if let Some(edns) = &query.edns {
        write_opt(edns, Rcode(u16::from(edns.extended_rcode) << 4), out);
    }
    id
}

#[cfg(test)]
mod tests;
