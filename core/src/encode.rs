//! From a reply to response bytes.
//!
//! Records are written whole or not at all: answer, authority, additional in order, until one does not fit; then TC is
//! set and nothing but the OPT record follows (CoreDNS's `request.Scrub` and the `Truncate` of its library). Names are compressed
//! case-sensitively, so that the spelling of every name survives.

use crate::codes::{Class, Rcode, RecordType, flags};
use crate::name::NameRef;
use crate::query::{Edns, HEADER, Query, response_limit};
use crate::record::{Entry, Owner, RdataNames, Section};
use crate::reply::{Answer, Failure, Reply};

/// Offset of the question's name in every message.
const QUESTION: usize = HEADER;
/// Most labels of a name, the root not counted: each takes two bytes at least.
const MAX_LABELS: usize = 127;
/// The largest offset a compression pointer can hold (RFC 1035 section 4.1.4).
const MAX_POINTER: usize = 0x3fff;

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

/// The bits of the EDNS flag word that come back: DO and the seven after it, as in CoreDNS's `request.SizeAndDo`.
const ECHOED_FLAGS: u16 = 0xff00;

/// The OPT record that answers a client's when no plugin made one: size and flags as asked, and only the options that CoreDNS
/// echoes.
pub fn echoed_edns(edns: &Edns) -> Edns {
    let mut echoed =
        Edns { udp_size: edns.udp_size, flags: edns.flags & ECHOED_FLAGS, ..Edns::default() };
    for (code, data) in edns.options() {
        if edns.echoes(code) {
            echoed.push_option(code, data);
        }
    }
    echoed
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
            made = echoed_edns(asked);
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
    out.extend_from_slice(query.spelled().as_wire());
    out.extend_from_slice(&query.qtype.0.to_be_bytes());
    out.extend_from_slice(&query.class.0.to_be_bytes());
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
        let class = entry.set.class();
        for rdata in entry.rdata() {
            let before = self.out.len();
            self.owner(&entry.owner);
            self.fixed(entry.rtype(), class, entry.ttl);
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

    fn owner(&mut self, owner: &Owner) {
        match owner {
            Owner::Question if !self.query.spelled().is_root() => self.pointer(QUESTION),
            Owner::QuestionSuffix(offset)
                if !self.query.spelled().suffix(usize::from(*offset)).is_root() =>
            {
                self.pointer(QUESTION + usize::from(*offset));
            }
            Owner::Name(name) => self.name(name.as_ref()),
            Owner::Question | Owner::QuestionSuffix(_) => self.out.push(0),
        }
    }

    fn fixed(&mut self, rtype: RecordType, class: Class, ttl: u32) {
        let [a, b] = rtype.0.to_be_bytes();
        let [c, d] = class.0.to_be_bytes();
        let [e, f, g, h] = ttl.to_be_bytes();
        self.out.extend_from_slice(&[a, b, c, d, e, f, g, h]);
    }

    fn compressed_rdata(&mut self, rdata: &[u8], names: RdataNames) {
        let length_at = self.out.len();
        self.out.extend_from_slice(&[0, 0]);
        let (before, mut rest) = rdata.split_at(names.before.min(rdata.len()));
        self.out.extend_from_slice(before);
        for _ in 0..names.count {
            let Some((name, tail)) =
                crate::name::wire_length(rest).map(|length| rest.split_at(length))
            else {
                break;
            };
            if let Some(name) = NameRef::from_wire(name) {
                self.name(name);
            }
            rest = tail;
        }
        self.out.extend_from_slice(rest);
        let length = (self.out.len() - length_at - 2) as u16;
        self.out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
    }

    fn pointer(&mut self, offset: usize) {
        self.out.extend_from_slice(&(0xc000 | offset as u16).to_be_bytes());
    }

    fn name(&mut self, name: NameRef<'_>) {
        self.compressor.write(self.out, self.start, self.query.spelled(), name);
    }
}

/// Remembers where names stand in the message being written.
///
/// An open table of (hash of a suffix, offset), emptied in O(1) by counting messages. It is touched only when a name other than the
/// question's is written, so an answer made of the question's own records never pays for it.
pub struct Compressor {
    slots: Box<[Slot; Compressor::SLOTS]>,
    message: u32,
    used: usize,
    /// The suffixes of the name at hand, longest first: where each begins and its hash.
    suffixes: Box<[(u8, u32); MAX_LABELS]>,
}

#[derive(Clone, Copy, Default)]
struct Slot {
    message: u32,
    hash: u32,
    offset: u16,
}

impl Compressor {
    const SLOTS: usize = 1024;
    /// Past this the table stops learning; names after it are compressed less, never wrongly.
    const MOST: usize = 768;

    /// An empty one, to be kept by a worker.
    pub fn new() -> Compressor {
        Compressor {
            slots: Box::new([Slot::default(); Compressor::SLOTS]),
            message: 0,
            used: 0,
            suffixes: Box::new([(0, 0); MAX_LABELS]),
        }
    }

    fn begin(&mut self) {
        self.used = 0;
        self.message = self.message.wrapping_add(1);
        if self.message == 0 {
            // After 2^32 messages an old slot could look new.
            self.slots.fill(Slot::default());
            self.message = 1;
        }
    }

    /// Appends `name` to the message that starts at `start`, sharing the longest tail already there.
    fn write(&mut self, out: &mut Vec<u8>, start: usize, question: NameRef<'_>, name: NameRef<'_>) {
        if self.used == 0 {
            let labels = self.hash_suffixes(question);
            self.learn(labels, QUESTION);
        }
        let labels = self.hash_suffixes(name);
        let mut fresh = 0;
        let found = loop {
            if fresh == labels {
                break None;
            }
            let (begin, hash) = self.suffixes[fresh];
            if let Some(offset) = self.find(out, start, name.suffix(usize::from(begin)), hash) {
                break Some(offset);
            }
            fresh += 1;
        };
        let at = out.len() - start;
        match found {
            Some(offset) => {
                let head = usize::from(self.suffixes[fresh].0);
                out.extend_from_slice(&name.as_wire()[..head]);
                out.extend_from_slice(&(0xc000 | offset).to_be_bytes());
            }
            None => out.extend_from_slice(name.as_wire()),
        }
        self.learn(fresh, at);
    }

    /// Fills `suffixes` from a name and says how many there are, the root not counted. One pass from the last label to the
    /// first gives all hashes, spelling included. Strangers choose these names, but a table lives for one message and
    /// stops growing, so that collisions cost at most its length.
    fn hash_suffixes(&mut self, name: NameRef<'_>) -> usize {
        let wire = name.as_wire();
        let mut labels = 0;
        let mut at = 0;
        while let Some(&length) = wire.get(at).filter(|length| **length != 0) {
            // A name has at most 255 bytes.
            self.suffixes[labels].0 = at as u8;
            labels += 1;
            at += 1 + usize::from(length);
        }
        let mut hash = 0;
        for (begin, slot) in self.suffixes[..labels].iter_mut().rev() {
            let begin = usize::from(*begin);
            hash = mix(hash, &wire[begin..at]);
            at = begin;
            *slot = (hash >> 32) as u32;
        }
        labels
    }

    /// Adds the `count` longest of `suffixes`, whose name stands at `at`.
    fn learn(&mut self, count: usize, at: usize) {
        for &(begin, hash) in &self.suffixes[..count] {
            let offset = at + usize::from(begin);
            if offset > MAX_POINTER || self.used >= Compressor::MOST {
                return;
            }
            let mut index = hash as usize % Compressor::SLOTS;
            while self.slots[index].message == self.message {
                index = (index + 1) % Compressor::SLOTS;
            }
            self.slots[index] = Slot { message: self.message, hash, offset: offset as u16 };
            self.used += 1;
        }
    }

    fn find(&self, out: &[u8], start: usize, name: NameRef<'_>, hash: u32) -> Option<u16> {
        let mut index = hash as usize % Compressor::SLOTS;
        while self.slots[index].message == self.message {
            let slot = self.slots[index];
            if slot.hash == hash && name_at(&out[start..], usize::from(slot.offset), name) {
                return Some(slot.offset);
            }
            index = (index + 1) % Compressor::SLOTS;
        }
        None
    }
}

impl Default for Compressor {
    fn default() -> Self {
        Compressor::new()
    }
}

/// Adds a label with its length byte to the hash of what follows it, eight bytes at a time.
fn mix(hash: u64, label: &[u8]) -> u64 {
    // The odd number nearest to 2^64 divided by the golden ratio; the shift brings high bits down again.
    let step = |hash: u64, word: u64| {
        let product = (hash ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        product ^ product >> 32
    };
    let (words, rest) = label.as_chunks::<8>();
    let hash = words.iter().fold(hash, |hash, word| step(hash, u64::from_le_bytes(*word)));
    let last = rest.iter().rev().fold(0, |last, &byte| last << 8 | u64::from(byte));
    step(hash, last)
}

/// Whether the (possibly compressed) name at `at` is `name`, byte for byte.
fn name_at(message: &[u8], mut at: usize, name: NameRef<'_>) -> bool {
    let mut rest = name.as_wire();
    loop {
        let Some(&length) = message.get(at) else { return false };
        if length >= 0xc0 {
            let Some(&low) = message.get(at + 1) else { return false };
            let target = usize::from(u16::from_be_bytes([length & 0x3f, low]));
            // This writer only points backwards.
            if target >= at {
                return false;
            }
            at = target;
            continue;
        }
        let size = 1 + usize::from(length);
        let (Some(have), Some(want)) = (message.get(at..at + size), rest.get(..size)) else {
            return false;
        };
        if have != want {
            return false;
        }
        if length == 0 {
            return true;
        }
        at += size;
        rest = &rest[size..];
    }
}
