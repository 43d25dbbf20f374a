//! The bytes that go to an upstream, and how its answer is told from everything else that arrives.

use std::sync::Arc;

use periplus_core::codes::{Rcode, flags};
use periplus_core::decode::{DecodeError, Response, decode, message_id};
use periplus_core::query::{HEADER, Query};
use periplus_core::random;
use periplus_core::reply::Reply;
use periplus_core::request::encode_request;

/// What is asked on behalf of a client.
pub(super) struct Asking {
    /// The client's question.
    pub(super) query: Arc<Query>,
    /// AD is set whatever the query says.
    pub(super) authenticated: bool,
}

impl Asking {
    /// The request of one attempt. Each has an id of its own, so that an answer to an earlier one cannot count.
    pub(super) fn request(&self) -> Request {
        let mut request = Request::new(&self.query);
        if self.authenticated {
            // The second byte of the flags.
            request.framed[5] |= flags::AD as u8;
        }
        request
    }
}

/// A request message, ready for both transports.
pub(super) struct Request {
    /// Two length bytes (RFC 1035 section 4.2.2) and the message.
    framed: Vec<u8>,
}

impl Request {
    /// The request that asks `query`.
    pub(super) fn new(query: &Query) -> Request {
        let edns = query.edns.as_ref().map_or(0, |edns| edns.wire_length());
        let mut framed = Vec::with_capacity(2 + HEADER + query.spelled().len() + 4 + edns);
        framed.extend_from_slice(&[0, 0]);
        encode_request(query, random::message_id(), &mut framed);
        // A query came in one message, so its length fits.
        let length = (framed.len() - 2) as u16;
        framed[..2].copy_from_slice(&length.to_be_bytes());
        Request { framed }
    }

    /// The message id.
    pub(super) fn id(&self) -> u16 {
        u16::from_be_bytes([self.framed[2], self.framed[3]])
    }

    /// The message for UDP.
    pub(super) fn datagram(&self) -> &[u8] {
        &self.framed[2..]
    }

    /// The message with its length before it, for TCP.
    pub(super) fn framed(&self) -> &[u8] {
        &self.framed
    }
}

/// The reply in `message`, if it is the answer to `query` asked under `id`: id, QR and question are right, and all of it can be read.
///
/// Of a response with TC set that was cut in the middle of a record only the header counts, as in CoreDNS.
pub(super) fn read_answer(message: &[u8], query: &Query, id: u16) -> Option<Reply> {
    let is_response = message.get(2).is_some_and(|byte| byte & (flags::QR >> 8) as u8 != 0);
    if message_id(message) != Some(id) || !is_response {
        return None;
    }
    match decode(message, query, super::NAME) {
        Ok(response) => answers(&response, query).then_some(response.reply),
        Err(DecodeError::Malformed) if u16::from(message[2]) & (flags::TC >> 8) != 0 => {
            // The same message without its records.
            let mut head = [0; HEADER + periplus_core::name::MAX_NAME + 4];
            let length = message.len().min(head.len());
            head[..length].copy_from_slice(&message[..length]);
            head[6..HEADER].fill(0);
            let response = decode(&head[..length], query, super::NAME).ok()?;
            answers(&response, query).then_some(response.reply)
        }
        Err(_) => None,
    }
}

/// Whether the response is about the question. Servers that could not read or would not look at the question may leave it out of their error.
fn answers(response: &Response, query: &Query) -> bool {
    match &response.question {
        Some(question) => question.matches(query),
        None => {
            matches!(
                response.reply.rcode,
                Rcode::FORMERR | Rcode::SERVFAIL | Rcode::NOTIMP | Rcode::REFUSED
            ) && response.reply.entries().next().is_none()
        }
    }
}

/// Whether `message` is any response at all to the request with this id: enough for a health probe.
pub(super) fn is_alive(message: &[u8], id: u16) -> Option<()> {
    (message_id(message) == Some(id) && message[2] & (flags::QR >> 8) as u8 != 0).then_some(())
}
