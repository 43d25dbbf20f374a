//! The bytes that go to an upstream, and how its answer is told from everything else that arrives.

use std::sync::Arc;

use periplus_core::codes::{Rcode, flags};
use periplus_core::decode::{DecodeError, Response, decode_sent, message_id};
use periplus_core::name::{NameBuf, NameRef};
use periplus_core::query::{HEADER, Query};
use periplus_core::reply::Reply;
use periplus_core::request::encode_request;
use periplus_core::spelling::random_case;

/// What is asked on behalf of a client.
pub(super) struct Asking {
    /// The client's question.
    pub(super) query: Arc<Query>,
    /// AD is set whatever the query says.
    pub(super) authenticated: bool,
}

impl Asking {
    /// The request of one attempt. Each has an id of its own, and with `randomize_case` a spelling, so that an answer to an earlier one
    /// cannot count.
    pub(super) fn request(&self, randomize_case: bool) -> Request {
        let sent = randomize_case.then(|| Box::new(random_case(self.query.spelled())));
        let mut request = Request::spelled(&self.query, sent);
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
    expected: Expected,
}

impl Request {
    /// The request that asks `query` as it is spelled.
    pub(super) fn new(query: &Query) -> Request {
        Request::spelled(query, None)
    }

    fn spelled(query: &Query, sent: Option<Box<NameBuf>>) -> Request {
        let edns = query.edns.as_ref().map_or(0, |edns| edns.wire_length());
        let mut framed = Vec::with_capacity(2 + HEADER + query.spelled().len() + 4 + edns);
        framed.extend_from_slice(&[0, 0]);
        let name = sent.as_ref().map_or(query.spelled(), |sent| NameBuf::as_ref(sent));
        let id = encode_request(query, name, &mut framed);
        // A query came in one message, so its length fits.
        let length = (framed.len() - 2) as u16;
        framed[..2].copy_from_slice(&length.to_be_bytes());
        Request { framed, expected: Expected { id, sent } }
    }

    /// The message id.
    pub(super) fn id(&self) -> u16 {
        self.expected.id
    }

    /// What its answer must look like.
    pub(super) fn expected(&self) -> &Expected {
        &self.expected
    }

    /// The same, without the request.
    pub(super) fn into_expected(self) -> Expected {
        self.expected
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

/// What tells the answer to one request from everything else that arrives.
pub(super) struct Expected {
    id: u16,
    /// The question's name as it was sent, when that is not as the client spelled it.
    sent: Option<Box<NameBuf>>,
}

/// Why a message is not the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// It is something else altogether.
    Other,
    /// It would be, but the question has not come back letter for letter.
    Case,
}

impl Expected {
    /// What the answer to a request under this id looks like.
    #[cfg(any(test, fuzzing))]
    pub(super) fn under(id: u16) -> Expected {
        Expected { id, sent: None }
    }

    /// The reply in `message`, if it is the answer to `query`: id, QR and question are right, and all of it can be read.
    ///
    /// Of a response with TC set that was cut in the middle of a record only the header counts, as in CoreDNS.
    pub(super) fn read(&self, message: &[u8], query: &Query) -> Result<Reply, Mismatch> {
        let is_response = message.get(2).is_some_and(|byte| byte & (flags::QR >> 8) as u8 != 0);
        if message_id(message) != Some(self.id) || !is_response {
            return Err(Mismatch::Other);
        }
        let sent = self.sent.as_ref().map_or(query.spelled(), |sent| NameBuf::as_ref(sent));
        let response = match decode_sent(message, query, sent, super::NAME) {
            Err(DecodeError::Malformed) if u16::from(message[2]) & (flags::TC >> 8) != 0 => {
                // The same message without its records.
                let mut head = [0; HEADER + periplus_core::name::MAX_NAME + 4];
                let length = message.len().min(head.len());
                head[..length].copy_from_slice(&message[..length]);
                head[6..HEADER].fill(0);
                decode_sent(&head[..length], query, sent, super::NAME)
            }
            read => read,
        };
        let response = response.map_err(|_| Mismatch::Other)?;
        if !answers(&response, query) {
            return Err(Mismatch::Other);
        }
        match &self.sent {
            Some(sent) if !echoes(&response, sent.as_ref().as_ref()) => Err(Mismatch::Case),
            _ => Ok(response.reply),
        }
    }
}

/// Whether the question came back letter for letter. One that was left out did not.
fn echoes(response: &Response, sent: NameRef<'_>) -> bool {
    response.question.as_ref().is_some_and(|question| question.name.as_ref() == sent)
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
