//! From response bytes of another server to a [`Reply`].
//!
//! Records that follow one another with the same owner, type, class and TTL become one set, so that the order of the message is
//! kept. Names in RDATA are expanded; everything else stays as it was sent.

use std::fmt;

use crate::codes::{Class, Rcode, RecordType, flags};
use crate::edns::Edns;
use crate::name::{MAX_NAME, NameBuf, NameRef};
use crate::query::{HEADER, Query};
use crate::record::{Entry, Owner, RdataNames, RecordSetBuilder, Section};
use crate::reply::Reply;
use crate::spelling::Respelling;

/// A response message as another server sent it.
#[derive(Debug)]
pub struct Response {
    /// Message id.
    pub id: u16,
    /// The question it claims to answer; `None` when it has none.
    pub question: Option<Question>,
    /// All the rest. Owners that are the asked name, spelled as asked, are [`Owner::Question`].
    pub reply: Reply,
}

/// The question section of a response.
#[derive(Debug)]
pub struct Question {
    /// QNAME as spelled.
    pub name: NameBuf,
    /// QTYPE.
    pub qtype: RecordType,
    /// QCLASS.
    pub class: Class,
}

impl Question {
    /// Whether it is what `query` asked; the case of the name is ignored.
    pub fn matches(&self, query: &Query) -> bool {
        self.qtype == query.qtype
            && self.class == query.class
            && self.name.as_ref().eq_ignore_case(query.name())
    }
}

/// Why a message is no response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// Shorter than a header.
    NoHeader,
    /// More than one question.
    ManyQuestions,
    /// A name, a record or an option is cut or malformed.
    Malformed,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DecodeError::NoHeader => "message shorter than a header",
            DecodeError::ManyQuestions => "more than one question",
            DecodeError::Malformed => "malformed message",
        })
    }
}

impl std::error::Error for DecodeError {}

/// The id of a message, for telling whose response it is before reading further.
pub fn message_id(message: &[u8]) -> Option<u16> {
    message.get(..HEADER).map(|header| u16::from_be_bytes([header[0], header[1]]))
}

/// Reads a response to `query`. `source` becomes [`Reply::source`].
pub fn decode(
    message: &[u8],
    query: &Query,
    source: &'static str,
) -> Result<Response, DecodeError> {
    decode_sent(message, query, query.spelled(), source)
}

/// The same where the question's name went out spelled as `sent`. What the server copied from it is spelled in the reply as the client
/// did; only [`Response::question`] is as it came.
pub fn decode_sent(
    message: &[u8],
    query: &Query,
    sent: NameRef<'_>,
    source: &'static str,
) -> Result<Response, DecodeError> {
    let header = message.get(..HEADER).ok_or(DecodeError::NoHeader)?;
    let word = |index: usize| u16::from_be_bytes([header[2 * index], header[2 * index + 1]]);
    let respelling = Respelling::new(sent, query.spelled());
    let mut decoder = Decoder { message, at: HEADER, respelling };
    let question = match word(2) {
        0 => None,
        1 => Some(decoder.question().ok_or(DecodeError::Malformed)?),
        _ => return Err(DecodeError::ManyQuestions),
    };
    let mut reply = Reply::to(query, source);
    reply.flags = word(1) & !flags::RCODE;
    reply.rcode = Rcode(word(1) & flags::RCODE);
    let mut opt = None;
    for (section, count) in [
        (&mut reply.answer, word(3)),
        (&mut reply.authority, word(4)),
        (&mut reply.additional, word(5)),
    ] {
        decoder.section(count, query, section, &mut opt).ok_or(DecodeError::Malformed)?;
    }
    if let Some(opt) = opt {
        reply.rcode.0 |= u16::from(opt.extended_rcode) << 4;
        reply.opt = Some(Box::new(opt));
    }
    Ok(Response { id: word(0), question, reply })
}

struct Decoder<'a> {
    message: &'a [u8],
    at: usize,
    respelling: Option<Respelling<'a>>,
}

impl<'a> Decoder<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let bytes = self.message.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|bytes| u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    fn question(&mut self) -> Option<Question> {
        let (name, end) = expand(self.message, self.at)?;
        self.at = end;
        Some(Question { name, qtype: RecordType(self.u16()?), class: Class(self.u16()?) })
    }

    fn name(&mut self) -> Option<NameBuf> {
        let (name, end) = self.expand(self.at)?;
        self.at = end;
        Some(name)
    }

    /// The name at a place, spelled as the client spells it, and where it ends.
    fn expand(&self, at: usize) -> Option<(NameBuf, usize)> {
        let (mut name, end) = expand(self.message, at)?;
        if let Some(respelling) = self.respelling {
            respelling.apply(&mut name);
        }
        Some((name, end))
    }

    fn section(
        &mut self,
        count: u16,
        query: &Query,
        section: &mut Section,
        opt: &mut Option<Edns>,
    ) -> Option<()> {
        let mut open: Option<(NameBuf, u32, RecordType, Class, RecordSetBuilder)> = None;
        for _ in 0..count {
            // A count larger than the records present is tolerated when the message simply ends, as in CoreDNS's library.
            if self.at == self.message.len() {
                break;
            }
            let owner = self.name()?;
            let (rtype, class) = (RecordType(self.u16()?), Class(self.u16()?));
            let ttl = u32::from(self.u16()?) << 16 | u32::from(self.u16()?);
            let length = usize::from(self.u16()?);
            if rtype == RecordType::OPT {
                let [extended_rcode, version, high, low] = ttl.to_be_bytes();
                let mut edns = Edns {
                    udp_size: class.0,
                    extended_rcode,
                    version,
                    flags: u16::from_be_bytes([high, low]),
                    options: self.take(length)?.to_vec(),
                    also_echoed: None,
                };
                edns.drop_broken_end();
                *opt = Some(edns);
                continue;
            }
            let continues = open.as_ref().is_some_and(|(o, t, r, c, _)| {
                *t == ttl && *r == rtype && *c == class && o.as_ref() == owner.as_ref()
            });
            if !continues && let Some(done) = open.take() {
                close(done, query, section);
            }
            let (.., set) = open.get_or_insert_with(|| {
                (owner, ttl, rtype, class, RecordSetBuilder::new(rtype, ttl).class(class))
            });
            self.rdata(rtype, length, set)?;
        }
        if let Some(done) = open {
            close(done, query, section);
        }
        Some(())
    }

    fn rdata(
        &mut self,
        rtype: RecordType,
        length: usize,
        set: &mut RecordSetBuilder,
    ) -> Option<()> {
        let start = self.at;
        let raw = self.take(length)?;
        let expected = match rtype {
            RecordType::A => 4,
            RecordType::AAAA => 16,
            _ => length,
        };
        if length != expected {
            return None;
        }
        let Some(names) = RdataNames::of(rtype).filter(|_| length > 0) else {
            set.push(raw);
            return Some(());
        };
        let mut rdata: smallvec::SmallVec<[u8; 512]> =
            smallvec::SmallVec::from_slice(raw.get(..names.before)?);
        let mut at = start + names.before;
        for _ in 0..names.count {
            let (name, end) = self.expand(at)?;
            rdata.extend_from_slice(name.as_ref().as_wire());
            at = end;
        }
        rdata.extend_from_slice(self.message.get(at..start + length)?);
        set.push(&rdata);
        Some(())
    }
}

fn close(
    (owner, _, _, _, set): (NameBuf, u32, RecordType, Class, RecordSetBuilder),
    query: &Query,
    section: &mut Section,
) {
    let owner = if owner.as_ref() == query.spelled() {
        Owner::Question
    } else {
        Owner::Name(owner.to_name())
    };
    section.push(Entry::of(owner, set.finish()));
}

/// Follows compression pointers from `at`; gives the name and where reading goes on (RFC 1035 section 4.1.4). Each pointer must point before
/// the place it was reached from, which bounds the walk.
fn expand(message: &[u8], mut at: usize) -> Option<(NameBuf, usize)> {
    let mut name = NameBuf::ROOT;
    let mut end = None;
    let mut lowest = at;
    let mut total = 1;
    loop {
        let length = usize::from(*message.get(at)?);
        match length & 0xc0 {
            0x00 if length == 0 => return Some((name, end.unwrap_or(at + 1))),
            0x00 => {
                total += 1 + length;
                if total > MAX_NAME {
                    return None;
                }
                name.push_label(message.get(at + 1..at + 1 + length)?).ok()?;
                at += 1 + length;
            }
            0xc0 => {
                let target = usize::from(u16::from_be_bytes([
                    *message.get(at)? & 0x3f,
                    *message.get(at + 1)?,
                ]));
                end.get_or_insert(at + 2);
                if target >= lowest {
                    return None;
                }
                lowest = target;
                at = target;
            }
            _ => return None,
        }
    }
}
