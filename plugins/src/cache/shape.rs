//! What decides beside the question whether an upstream answers.
//!
//! A request goes upstream with its client's header, transport and EDNS. One that asks without recursion is refused, one with an option
//! may be answered FORMERR or not at all. What becomes of it says nothing about the requests of others: only those of one shape
//! wait for each other and share failures. Answers are kept for all; errors and referrals only if most clients would be told the same.
//!
//! There are more shapes than anybody can count, and each request upstream is a chance for whoever forges answers (CVE-2023-30464). So only
//! a few of one question are asked at a time; who comes in yet another shape is answered as if in the usual one.

use std::hash::{BuildHasher, Hasher};

use periplus_core::codes::{Rcode, flags};
use periplus_core::edns::Edns;
use periplus_core::query::{Query, Transport};
use periplus_core::reply::Answer;

use super::question::{OwnedQuestion, Question};

/// The bits of the header that the question has already (CD), that are the same for all (QR and the operation code), or that the cache
/// sets itself (AD).
const ELSEWHERE: u16 = flags::QR | flags::OPCODE | flags::AD | flags::CD;

/// The shape of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    /// Over UDP, RD set, without EDNS or with no options.
    Usual,
    /// The same over TCP.
    UsualOverTcp,
    /// Any other: a keyed hash of all that makes it. Of options that is code and length: cookies are different for each client.
    Odd(u64),
}

impl Shape {
    pub(super) fn of(query: &Query, seed: &foldhash::quality::RandomState) -> Shape {
        if is_usual(query) {
            return match query.transport {
                Transport::Udp => Shape::Usual,
                Transport::Tcp => Shape::UsualOverTcp,
            };
        }
        let mut hasher = seed.build_hasher();
        hasher.write_u16(query.flags & !ELSEWHERE);
        hasher.write_u8(query.transport as u8);
        if let Some(edns) = &query.edns {
            hasher.write_u16(edns.flags & !flags::DO);
            hasher.write_u16(u16::from_be_bytes([edns.version, edns.extended_rcode]));
            for (code, data) in edns.options() {
                hasher.write_u16(code);
                hasher.write_usize(data.len());
            }
        }
        Shape::Odd(hasher.finish())
    }

    /// The shape in few bits, never zero. No odd one can be taken for the usual one.
    pub(super) fn tag(self) -> u16 {
        match self {
            Shape::Usual => 1,
            Shape::UsualOverTcp => 3,
            Shape::Odd(hash) => (hash >> 48) as u16 | 2,
        }
    }

    fn hash(self) -> u64 {
        match self {
            Shape::Usual => 0,
            Shape::UsualOverTcp => 1,
            Shape::Odd(hash) => hash,
        }
    }
}

/// Whether a reply says that the request was at fault, for its EDNS if it had some: others may have none, or other options.
pub(super) fn faults_request(answer: &Answer) -> bool {
    answer.reply().is_some_and(|reply| {
        use Rcode as R;
        matches!(reply.rcode, R::FORMERR | R::NOTIMP | R::BADVERS | R::BADCOOKIE)
    })
}

/// Whether a request looks as those of most clients do.
pub(super) fn is_usual(query: &Query) -> bool {
    query.flags & !ELSEWHERE == flags::RD && query.edns.as_ref().is_none_or(is_bare)
}

/// Nothing but a size and DO.
fn is_bare(edns: &Edns) -> bool {
    edns.options.is_empty()
        && edns.flags & !flags::DO == 0
        && (edns.version, edns.extended_rcode) == (0, 0)
}

/// The same question as usual clients ask it over this transport. What is asked in nobody's name does not fail for one client's fault.
pub(super) fn as_usual(query: &Query) -> Query {
    let mut query = query.clone();
    query.flags = flags::RD | query.flags & ELSEWHERE;
    if let Some(edns) = &mut query.edns {
        let (udp_size, flags) = (edns.udp_size, edns.flags & flags::DO);
        *edns = Edns { udp_size, flags, ..Edns::default() };
    }
    query
}

/// A question and the shape in which it is asked.
#[derive(Clone, Copy)]
pub(super) struct Asked<'a> {
    pub(super) question: Question<'a>,
    pub(super) shape: Shape,
}

impl Asked<'_> {
    /// A copy that owns its name.
    pub(super) fn to_owned(self) -> OwnedAsked {
        OwnedAsked { question: self.question.to_owned(), shape: self.shape }
    }

    /// Its hash.
    pub(super) fn hash(self) -> u64 {
        self.question.hash() ^ self.shape.hash()
    }
}

/// The same that owns its name.
pub(super) struct OwnedAsked {
    question: OwnedQuestion,
    shape: Shape,
}

impl OwnedAsked {
    /// Borrows it; a copy of that shares the name.
    pub(super) fn borrow(&self) -> Asked<'_> {
        Asked { question: self.question.borrow(), shape: self.shape }
    }

    /// Whether both are the same question in the same shape.
    pub(super) fn is(&self, other: Asked<'_>) -> bool {
        self.shape == other.shape && self.question.is(other.question)
    }

    /// Its hash.
    pub(super) fn hash(&self) -> u64 {
        self.borrow().hash()
    }
}
