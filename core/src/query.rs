//! A question as a client asked it: the parsed view of one request message.
//!
//! ```text
//! bytes -> admit -> Admission::Query(&mut Query)      goes to the server block
//!                -> Admission::Reject(Rejection)      header-only reply, seen by no plugin
//!                -> Admission::Drop                   no reply at all
//! ```
//!
//! A [`Query`] is a plain value without a lifetime: parsing writes into one that the worker keeps, so a query that is
//! answered at once costs no allocation, and one that has to wait is cloned into its future.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use crate::codes::{Class, Rcode, RecordType, flags, opcode};
use crate::edns::{Edns, is_well_formed};
use crate::name::{NameBuf, NameRef};

/// Bytes of a message header (RFC 1035 section 4.1.1).
pub const HEADER: usize = 12;
/// The least and the default response size over UDP (RFC 1035 section 4.2.1).
pub const MIN_UDP_SIZE: u16 = 512;
/// How deep plugins may ask the server again for one client's question (CNAME targets, rewrites).
pub const MAX_DEPTH: u8 = 8;

/// How a request came and its response leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Transport {
    /// One datagram each.
    Udp,
    /// A stream with two length bytes before each message (RFC 7766).
    Tcp,
}

impl Transport {
    /// The value of the metric label `proto` and of `{proto}` in `log`.
    pub fn label(self) -> &'static str {
        match self {
            Transport::Udp => "udp",
            Transport::Tcp => "tcp",
        }
    }
}

/// One question, with all that plugins may ask about its request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Message id.
    pub id: u16,
    /// The second header word as received.
    pub flags: u16,
    name: NameBuf,
    spelled: NameBuf,
    /// QTYPE.
    pub qtype: RecordType,
    /// QCLASS.
    pub class: Class,
    /// The OPT record, if the request had one.
    pub edns: Option<Edns>,
    /// Length of the request message in bytes.
    pub size: usize,
    /// Who asks.
    pub peer: SocketAddr,
    /// The address that was asked.
    pub local: SocketAddr,
    /// How the request came.
    pub transport: Transport,
    /// When it was received.
    pub received: Instant,
    /// How many internal lookups lie between the client's question and this one.
    pub depth: u8,
}

impl Query {
    /// A query with nothing in it, to be filled by [`admit`].
    pub fn empty() -> Query {
        let nowhere = SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
        Query {
            id: 0,
            flags: 0,
            name: NameBuf::ROOT,
            spelled: NameBuf::ROOT,
            qtype: RecordType(0),
            class: Class(0),
            edns: None,
            size: 0,
            peer: nowhere,
            local: nowhere,
            transport: Transport::Udp,
            received: Instant::now(),
            depth: 0,
        }
    }

    /// A question made by the server itself: RD set, no EDNS, as if asked over TCP by nobody.
    pub fn internal(name: NameRef<'_>, qtype: RecordType) -> Query {
        let mut query = Query::empty();
        query.set_name(name);
        query.qtype = qtype;
        query.class = Class::IN;
        query.flags = flags::RD;
        query.transport = Transport::Tcp;
        query.size = HEADER + name.len() + 4;
        query
    }

    /// QNAME in lower case.
    pub fn name(&self) -> NameRef<'_> {
        self.name.as_ref()
    }

    /// QNAME in the client's spelling.
    pub fn spelled(&self) -> NameRef<'_> {
        self.spelled.as_ref()
    }

    /// Asks for another name.
    pub fn set_name(&mut self, name: NameRef<'_>) {
        self.name.set_lower(name);
        self.spelled.set(name);
    }

    /// The same client's question about another name, class IN: what a plugin asks to follow a CNAME (CoreDNS's `plugin/pkg/upstream`).
    ///
    /// `None` when the chain of lookups is as deep as it may get.
    pub fn follow(&self, name: NameRef<'_>, qtype: RecordType) -> Option<Query> {
        if self.depth >= MAX_DEPTH {
            return None;
        }
        let mut query = self.clone();
        query.set_name(name);
        query.qtype = qtype;
        query.class = Class::IN;
        query.depth += 1;
        Some(query)
    }

    /// The operation code.
    pub fn opcode(&self) -> u8 {
        ((self.flags & flags::OPCODE) >> 11) as u8
    }

    /// Whether the client asked for DNSSEC records (RFC 3225).
    pub fn dnssec_ok(&self) -> bool {
        self.edns.as_ref().is_some_and(Edns::dnssec_ok)
    }

    /// Whether a header flag is set.
    pub fn has(&self, flag: u16) -> bool {
        self.flags & flag != 0
    }

    /// The size the client can take, as CoreDNS's `request.Size` normalises it: at least 512; 65535 over TCP.
    pub fn response_limit(&self) -> usize {
        response_limit(self.transport, self.edns.as_ref())
    }
}

/// The largest response for a transport and the client's EDNS.
pub fn response_limit(transport: Transport, edns: Option<&Edns>) -> usize {
    match transport {
        Transport::Tcp => usize::from(u16::MAX),
        Transport::Udp => usize::from(edns.map_or(MIN_UDP_SIZE, |e| e.udp_size.max(MIN_UDP_SIZE))),
    }
}

/// What becomes of a request message before any server block sees it.
#[derive(Debug, PartialEq, Eq)]
pub enum Admission {
    /// The query was filled in.
    Query,
    /// The query was filled in except that it asks nothing: the header said one question and the message ended.
    NoQuestion,
    /// The reply is this bare header, and the question if `question` says so.
    Reject {
        /// The response code.
        rcode: Rcode,
        /// Whether the question was read and is echoed.
        question: bool,
    },
    /// No reply.
    Drop,
}

/// Reads a request message into `query`, whose addresses, transport and time the caller sets.
///
/// The order of the checks and what is tolerated are CoreDNS's (the `MsgAcceptFunc` and unpacking of its DNS library): bytes
/// after the last counted record are ignored, and a count larger than the records present is no
/// error where the message simply ends.
pub fn admit(message: &[u8], query: &mut Query) -> Admission {
    let Some(header) = message.get(..HEADER) else {
        return Admission::Drop;
    };
    let word = |index: usize| u16::from_be_bytes([header[2 * index], header[2 * index + 1]]);
    query.id = word(0);
    query.flags = word(1);
    query.depth = 0;
    query.edns = None;
    if query.has(flags::QR) {
        return Admission::Drop;
    }
    if !matches!(query.opcode(), opcode::QUERY | opcode::NOTIFY) {
        return Admission::Reject { rcode: Rcode::NOTIMP, question: false };
    }
    let malformed = |question| Admission::Reject { rcode: Rcode::FORMERR, question };
    let (answers, authorities, additionals) = (word(3), word(4), word(5));
    if word(2) != 1 || answers > 1 || authorities > 1 || additionals > 2 {
        return malformed(false);
    }
    let rest = &message[HEADER..];
    if rest.is_empty() {
        // The values are reused: nothing of the question before may be left.
        query.set_name(NameRef::ROOT);
        query.qtype = RecordType(0);
        query.class = Class(0);
        query.size = HEADER;
        return Admission::NoQuestion;
    }
    let Some(name) = NameRef::at_start_of(rest) else {
        return malformed(false);
    };
    query.set_name(name);
    let mut reader = Reader { message, at: HEADER + name.len() };
    // The message may end after the name or after the type: what is missing is zero.
    query.qtype = RecordType(0);
    query.class = Class(0);
    if !reader.is_at_end() {
        match reader.u16() {
            Some(value) => query.qtype = RecordType(value),
            None => return malformed(false),
        }
        if !reader.is_at_end() {
            match reader.u16() {
                Some(value) => query.class = Class(value),
                None => return malformed(false),
            }
        }
    }
    for _ in 0..answers + authorities {
        if reader.is_at_end() {
            break;
        }
        if reader.record().is_none() {
            return malformed(true);
        }
    }
    for _ in 0..additionals {
        if reader.is_at_end() {
            break;
        }
        match reader.record() {
            // Of several OPT records the last one counts, as in CoreDNS.
            Some(record) if record.rtype == RecordType::OPT => match record.edns() {
                Some(edns) => query.edns = Some(edns),
                None => return malformed(true),
            },
            Some(record) if record.is_plausible() => {}
            _ => return malformed(true),
        }
    }
    query.size = reader.at;
    Admission::Query
}

/// A cursor over a message.
struct Reader<'a> {
    message: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn is_at_end(&self) -> bool {
        self.at >= self.message.len()
    }

    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let bytes = self.message.get(self.at..self.at.checked_add(count)?)?;
        self.at += count;
        Some(bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        let bytes = self.take(2)?;
        Some(u16::from_be_bytes([bytes[0], bytes[1]]))
    }

    /// Passes over a name, which may be compressed: a pointer ends it (RFC 1035 section 4.1.4).
    fn skip_name(&mut self) -> Option<()> {
        let start = self.at;
        loop {
            let length = usize::from(*self.message.get(self.at)?);
            match length & 0xc0 {
                0x00 => self.at += 1 + length,
                0xc0 => {
                    let pointer = usize::from(self.u16()? & 0x3fff);
                    return (pointer < start).then_some(());
                }
                _ => return None,
            }
            if length == 0 {
                return (self.at <= self.message.len()).then_some(());
            }
            if self.at - start > crate::name::MAX_NAME {
                return None;
            }
        }
    }

    fn record(&mut self) -> Option<RawRecord<'a>> {
        self.skip_name()?;
        let fixed = self.take(8)?;
        let length = self.u16()?;
        let rdata = self.take(usize::from(length))?;
        Some(RawRecord {
            rtype: RecordType(u16::from_be_bytes([fixed[0], fixed[1]])),
            class: u16::from_be_bytes([fixed[2], fixed[3]]),
            ttl: [fixed[4], fixed[5], fixed[6], fixed[7]],
            rdata,
        })
    }
}

struct RawRecord<'a> {
    rtype: RecordType,
    class: u16,
    ttl: [u8; 4],
    rdata: &'a [u8],
}

impl RawRecord<'_> {
    /// The OPT reading of the record (RFC 6891 section 6.1.2); `None` when an option is cut.
    fn edns(&self) -> Option<Edns> {
        let mut rest = self.rdata;
        while !rest.is_empty() {
            let (head, tail) = rest.split_at_checked(4)?;
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let (data, tail) = tail.split_at_checked(length)?;
            if !is_well_formed(u16::from_be_bytes([head[0], head[1]]), data) {
                return None;
            }
            rest = tail;
        }
        Some(Edns {
            udp_size: self.class,
            extended_rcode: self.ttl[0],
            version: self.ttl[1],
            flags: u16::from_be_bytes([self.ttl[2], self.ttl[3]]),
            options: self.rdata.to_vec(),
            also_echoed: None,
        })
    }

    /// Whether the RDATA can be what the type says, for the types whose length is fixed.
    fn is_plausible(&self) -> bool {
        match self.rtype {
            RecordType::A => matches!(self.rdata.len(), 0 | 4),
            RecordType::AAAA => matches!(self.rdata.len(), 0 | 16),
            _ => true,
        }
    }
}
