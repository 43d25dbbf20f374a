//! From a reply to response bytes.
//!
//! Records are written whole or not at all: answer, authority, additional in order, until one does not fit; then TC is
//! set and nothing but the OPT record follows (CoreDNS's `request.Scrub` and the `Truncate` of its library). Names are compressed
//! case-sensitively, so that the spelling of every name survives.

use crate::codes::{Rcode, RecordType, flags};
pub use crate::compress::Compressor;
use crate::compress::{QUESTION, pointer};
use crate::edns::{ECHOED_FLAGS, Edns};
use crate::name::NameRef;
use crate::query::{HEADER, Query, response_limit};
use crate::record::{Entry, Owner, RdataNames, Section};
use crate::reply::{Answer, ExtendedError, Failure, FailureKind, Reply};

/// Appends the response for an answer; `false` when there is nothing to send.
///
/// `query` is the client's own question: its id, spelling, transport and EDNS decide, whatever the chain
/// asked in its place.
pub fn encode(
    query: &Query,
    answer: &Answer,
    compressor: &mut Compressor,
    out: &mut Vec<u8>,
) -> bool {
    match answer {
        Answer::Reply(reply) => encode_reply(query, reply, compressor, out),
        Answer::Failure(failure) => {
            encode_reply(query, &failure_reply(query, failure), compressor, out)
        }
        Answer::Silence => return false,
    }
    true
}

/// The empty reply that stands for a failure.
pub fn failure_reply(query: &Query, failure: &Failure) -> Reply {
    let mut reply = Reply::to(query, "");
    reply.rcode = failure.rcode;
    if let Some(error) = failure.cause.as_ref().and_then(|cause| cause.extended.clone()) {
        reply.set_extended_error(query, error);
    }
    if failure.kind == FailureKind::Cached {
        let error = ExtendedError { code: ExtendedError::CACHED_ERROR, text: String::new() };
        reply.set_extended_error(query, error);
    }
    reply
}

/// Appends a bare header (and the question, if wanted) for a message that reaches no server block. TC, RA, AD, RD and CD come
/// back as they were sent.
pub fn encode_rejection(query: &Query, rcode: Rcode, question: bool, out: &mut Vec<u8>) {
    let mut kept = flags::TC | flags::RD | flags::RA | flags::AD | flags::CD;
    if rcode == Rcode::NOTIMP {
        kept |= flags::OPCODE;
    }
    out.extend_from_slice(&query.id.to_be_bytes());
    out.extend_from_slice(&(flags::QR | query.flags & kept | rcode.0).to_be_bytes());
    out.extend_from_slice(&[0, u8::from(question), 0, 0, 0, 0, 0, 0]);
    if question {
        write_question(query, out);
    }
}

/// Appends the answer to a header that promises a question and has none: a reply like others, unlike [`encode_rejection`]'s, but without
/// a question.
pub fn encode_no_question(query: &Query, out: &mut Vec<u8>) {
    let start = out.len();
    write_header(query, Reply::to(query, "").flags, Rcode::SERVFAIL, out);
    out[start + 5] = 0;
}

/// Appends the answer to an EDNS version this server does not speak (RFC 6891 section 6.1.3), in CoreDNS's shape: payload size
/// 0, no flags.
pub fn encode_bad_version(query: &Query, out: &mut Vec<u8>) {
    let start = out.len();
    write_header(query, Reply::to(query, "").flags, Rcode::BADVERS, out);
    out[start + 11] = 1;
    write_question(query, out);
    write_opt(&Edns::default(), Rcode::BADVERS, out);
}

/// Whether the response that [`encode`] makes of this reply has TC set. The reply is encoded to find out only if it could be too large.
pub fn is_truncated(query: &Query, reply: &Reply) -> bool {
    if reply.has(flags::TC) {
        return true;
    }
    let request_edns = reply.request_edns.as_deref().or(query.edns.as_ref());
    // Compression only makes it smaller, and an echoed OPT record is never larger than the client's.
    let most = reply.uncompressed_length(query) + request_edns.map_or(0, Edns::wire_length);
    if most <= response_limit(query.transport, request_edns) {
        return false;
    }
    let mut response = Vec::new();
    encode_reply(query, reply, &mut Compressor::new(), &mut response);
    response[2] & (flags::TC >> 8) as u8 != 0
}

fn encode_reply(query: &Query, reply: &Reply, compressor: &mut Compressor, out: &mut Vec<u8>) {
    let start = out.len();
    let request_edns = reply.request_edns.as_deref().or(query.edns.as_ref());
    let limit = response_limit(query.transport, request_edns);
    let made;
    let opt = match (&reply.opt, request_edns) {
        (Some(opt), asked) => {
            let mut opt = (**opt).clone();
            if let Some(asked) = asked {
                opt.udp_size = asked.udp_size;
                opt.version = 0;
                opt.flags = opt.flags & ECHOED_FLAGS | asked.flags & flags::DO;
            }
            // Another server's options can be longer than all that the client takes. They may go (RFC 8914 section 3), the client's
            // limit may not be exceeded.
            if HEADER + query.spelled().len() + 4 + opt.wire_length() > limit {
                opt.options.clear();
            }
            made = opt;
            Some(&made)
        }
        (None, Some(asked)) => {
            made = asked.echoed();
            Some(&made)
        }
        (None, None) => None,
    };
    let room = limit.saturating_sub(opt.map_or(0, Edns::wire_length));
    // The upper bits of a code have no place without an OPT record (RFC 6891 section 6.1.3), and the lower ones alone would lie.
    let rcode =
        if opt.is_none() && reply.rcode.0 > flags::RCODE { Rcode::SERVFAIL } else { reply.rcode };

    write_header(query, reply.flags, rcode, out);
    write_question(query, out);
    compressor.begin();
    let mut writer = Writer { query, out, start, end: start + room, compressor };
    let mut counts = [0_u16; 3];
    let mut complete = true;
    for (section, count) in
        [&reply.answer, &reply.authority, &reply.additional].into_iter().zip(&mut counts)
    {
        if complete {
            complete = writer.section(section, count);
        }
    }
    if !complete {
        out[start + 2] |= (flags::TC >> 8) as u8;
    }
    for (index, count) in counts.iter().enumerate() {
        let at = start + 6 + 2 * index;
        out[at..at + 2].copy_from_slice(&count.to_be_bytes());
    }
    if let Some(opt) = opt {
        write_opt(opt, rcode, out);
        let additional = counts[2].wrapping_add(1);
        out[start + 10..start + 12].copy_from_slice(&additional.to_be_bytes());
    }
}

fn write_header(query: &Query, flags: u16, rcode: Rcode, out: &mut Vec<u8>) {
    let flags = flags & !flags::RCODE | rcode.0 & flags::RCODE;
    let [i, d] = query.id.to_be_bytes();
    let [f, g] = flags.to_be_bytes();
    out.extend_from_slice(&[i, d, f, g, 0, 1, 0, 0, 0, 0, 0, 0]);
}

fn write_question(query: &Query, out: &mut Vec<u8>) {
    let [t, u] = query.qtype.0.to_be_bytes();
    let [c, d] = query.class.0.to_be_bytes();
    out.extend_from_slice(query.spelled().as_wire());
    out.extend_from_slice(&[t, u, c, d]);
}

/// Appends an OPT record (RFC 6891 section 6.1.2).
pub fn write_opt(opt: &Edns, rcode: Rcode, out: &mut Vec<u8>) {
    out.push(0);
    out.extend_from_slice(&RecordType::OPT.0.to_be_bytes());
    out.extend_from_slice(&opt.udp_size.to_be_bytes());
    out.extend_from_slice(&[(rcode.0 >> 4) as u8, opt.version]);
    out.extend_from_slice(&opt.flags.to_be_bytes());
    out.extend_from_slice(&(opt.options.len() as u16).to_be_bytes());
    out.extend_from_slice(&opt.options);
}

struct Writer<'a> {
    query: &'a Query,
    out: &'a mut Vec<u8>,
    /// Where the message begins in `out`.
    start: usize,
    /// Where it must end.
    end: usize,
    compressor: &'a mut Compressor,
}

impl Writer<'_> {
    /// Writes as many records as fit and says whether that was all.
    fn section(&mut self, section: &Section, count: &mut u16) -> bool {
        section.iter().all(|entry| self.entry(entry, count))
    }

    fn entry(&mut self, entry: &Entry, count: &mut u16) -> bool {
        let names = RdataNames::of(entry.rtype()).filter(|names| names.compress);
        match (names, self.owner_pointer(&entry.owner)) {
            (None, Some(pointer)) => self.plain_records(entry, pointer, count),
            (names, pointer) => self.named_records(entry, pointer, names, count),
        }
    }

    /// Records without a name to compress, whose owner is a pointer: addresses, nearly always. Twelve bytes are the same in each but for
    /// the length.
    fn plain_records(&mut self, entry: &Entry, [o, p]: [u8; 2], count: &mut u16) -> bool {
        let [t, u, c, d, e, f, g, h] = fixed_fields(entry);
        for rdata in entry.rdata() {
            let [k, l] = (rdata.len() as u16).to_be_bytes();
            let head = [o, p, t, u, c, d, e, f, g, h, k, l];
            if self.out.len() + head.len() + rdata.len() > self.end {
                return false;
            }
            self.out.extend_from_slice(&head);
            self.out.extend_from_slice(rdata);
            *count += 1;
        }
        true
    }

    fn named_records(
        &mut self,
        entry: &Entry,
        pointer: Option<[u8; 2]>,
        names: Option<RdataNames>,
        count: &mut u16,
    ) -> bool {
        let fixed = fixed_fields(entry);
        for rdata in entry.rdata() {
            let before = self.out.len();
            match (pointer, &entry.owner) {
                (Some(pointer), _) => self.out.extend_from_slice(&pointer),
                (None, Owner::Name(name)) => self.name(name.as_ref()),
                (None, Owner::Question | Owner::QuestionSuffix(_)) => self.out.push(0),
            }
            self.out.extend_from_slice(&fixed);
            match names {
                None => {
                    self.out.extend_from_slice(&(rdata.len() as u16).to_be_bytes());
                    self.out.extend_from_slice(rdata);
                }
                Some(names) => self.compressed_rdata(rdata, names),
            }
            if self.out.len() > self.end {
                self.out.truncate(before);
                return false;
            }
            *count += 1;
        }
        true
    }

    /// A pointer to the owner, if it stands in the question and is longer than a pointer's worth.
    fn owner_pointer(&self, owner: &Owner) -> Option<[u8; 2]> {
        let offset = match owner {
            Owner::Question => 0,
            Owner::QuestionSuffix(offset) => usize::from(*offset),
            Owner::Name(_) => return None,
        };
        let is_root = self.query.spelled().suffix(offset).is_root();
        (!is_root).then(|| pointer(QUESTION + offset))
    }

    fn compressed_rdata(&mut self, rdata: &[u8], names: RdataNames) {
        let length_at = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        let (before, mut rest) = rdata.split_at(names.before.min(rdata.len()));
        self.out.extend_from_slice(before);
        for _ in 0..names.count {
            let Some(name) = NameRef::at_start_of(rest) else { break };
            self.name(name);
            rest = &rest[name.len()..];
        }
        self.out.extend_from_slice(rest);
        let length = (self.out.len() - length_at - 2) as u16;
        self.out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }

    fn name(&mut self, name: NameRef<'_>) {
        self.compressor.write(self.out, self.start, self.query.spelled(), name);
    }
}

/// Type, class and TTL of an entry's records.
fn fixed_fields(entry: &Entry) -> [u8; 8] {
    let [a, b] = entry.rtype().0.to_be_bytes();
    let [c, d] = entry.set.class().0.to_be_bytes();
    let [e, f, g, h] = entry.ttl.to_be_bytes();
    [a, b, c, d, e, f, g, h]
}
