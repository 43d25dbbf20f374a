//! Resource records as shared, immutable sets.
//!
//! A [`RecordSet`] is records of one type, class and TTL, RDATA packed as on the wire. What differs from answer to answer stands
//! beside it in an [`Entry`]: the owner, the TTL to send, where to start when the order is rotated. So shuffling, renaming
//! and ageing an answer copy no record.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use smallvec::SmallVec;

use crate::codes::{Class, RecordType};
use crate::name::{Name, NameBuf, NameRef};
use crate::query::Query;

/// Records of one type, class and TTL without their owner.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RecordSet {
    rtype: RecordType,
    class: Class,
    ttl: u32,
    count: u16,
    /// For each record: RDLENGTH (two bytes) and RDATA, names in it uncompressed. One or two IPv4 addresses, which is what most sets are,
    /// need no memory of their own.
    packed: SmallVec<[u8; 16]>,
}

impl RecordSet {
    /// An address record set; `None` when there is no address. All addresses must be of one family: the first decides
    /// and others are left out.
    pub fn addresses(
        ttl: u32,
        addresses: impl IntoIterator<Item = IpAddr>,
    ) -> Option<Arc<RecordSet>> {
        let mut addresses = addresses.into_iter().peekable();
        let v4 = addresses.peek()?.is_ipv4();
        let mut set = RecordSetBuilder::new(if v4 { RecordType::A } else { RecordType::AAAA }, ttl);
        for address in addresses {
            match address {
                IpAddr::V4(address) if v4 => set.push(&address.octets()),
                IpAddr::V6(address) if !v4 => set.push(&address.octets()),
                _ => {}
            }
        }
        Some(set.finish())
    }

    /// A set of one record.
    pub fn one(rtype: RecordType, ttl: u32, rdata: &[u8]) -> Arc<RecordSet> {
        let mut set = RecordSetBuilder::new(rtype, ttl);
        set.push(rdata);
        set.finish()
    }

    /// A CNAME, NS, PTR or DNAME set of one record.
    pub fn name(rtype: RecordType, ttl: u32, target: NameRef<'_>) -> Arc<RecordSet> {
        RecordSet::one(rtype, ttl, target.as_wire())
    }

    /// Type of all records.
    pub fn rtype(&self) -> RecordType {
        self.rtype
    }

    /// Class of all records.
    pub fn class(&self) -> Class {
        self.class
    }

    /// The TTL the set was made with, in seconds.
    pub fn ttl(&self) -> u32 {
        self.ttl
    }

    /// How many records.
    pub fn count(&self) -> usize {
        usize::from(self.count)
    }

    /// The RDATA of each record, in order.
    pub fn rdata(&self) -> Rdata<'_> {
        Rdata { rest: &self.packed }
    }

    /// The RDATA before record `at`, and from it on.
    fn split(&self, at: usize) -> (Rdata<'_>, Rdata<'_>) {
        let mut after = self.rdata();
        let skipped = after.by_ref().take(at).map(|rdata| rdata.len() + 2).sum();
        (Rdata { rest: &self.packed[..skipped] }, after)
    }

    /// Bytes of all RDATA together, length fields left out.
    pub fn rdata_length(&self) -> usize {
        self.packed.len() - 2 * self.count()
    }

    /// Memory held by the set, in bytes.
    pub fn memory(&self) -> usize {
        let apart = if self.packed.spilled() { self.packed.capacity() } else { 0 };
        size_of::<RecordSet>() + 2 * size_of::<usize>() + apart
    }
}

impl fmt::Debug for RecordSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} ", self.ttl, self.class, self.rtype)?;
        f.debug_list().entries(self.rdata().map(|rdata| RdataText(self.rtype, rdata))).finish()
    }
}

/// Collects the records of a set.
pub struct RecordSetBuilder {
    rtype: RecordType,
    class: Class,
    ttl: u32,
    count: u16,
    packed: SmallVec<[u8; 128]>,
}

impl RecordSetBuilder {
    /// An empty set of class IN.
    pub fn new(rtype: RecordType, ttl: u32) -> Self {
        RecordSetBuilder { rtype, class: Class::IN, ttl, count: 0, packed: SmallVec::new() }
    }

    /// Changes the class.
    pub fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// Adds a record. RDATA over 65,535 bytes, or a 65,536th record, is left out: neither fits a message.
    pub fn push(&mut self, rdata: &[u8]) {
        let (Ok(length), Some(count)) = (u16::try_from(rdata.len()), self.count.checked_add(1))
        else {
            return;
        };
        self.packed.extend_from_slice(&length.to_be_bytes());
        self.packed.extend_from_slice(rdata);
        self.count = count;
    }

    /// Whether no record was added yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The finished set.
    pub fn finish(self) -> Arc<RecordSet> {
        let RecordSetBuilder { rtype, class, ttl, count, packed } = self;
        Arc::new(RecordSet { rtype, class, ttl, count, packed: SmallVec::from_slice(&packed) })
    }
}

/// Iterator over the RDATA of a set.
#[derive(Clone)]
pub struct Rdata<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Rdata<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (head, tail) = self.rest.split_at_checked(2)?;
        let (rdata, tail) = tail.split_at(usize::from(u16::from_be_bytes([head[0], head[1]])));
        self.rest = tail;
        Some(rdata)
    }
}

/// Whose records they are.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// The question's name, spelled as it was asked.
    Question,
    /// The tail of the question's name from this byte on, spelled as it was asked.
    QuestionSuffix(u8),
    /// A name of its own.
    Name(Name),
}

impl Owner {
    /// The name it stands for in the reply to `query`.
    pub fn resolve<'a>(&'a self, query: &'a Query) -> NameRef<'a> {
        match self {
            Owner::Question => query.spelled(),
            Owner::QuestionSuffix(offset) => query.spelled().suffix(usize::from(*offset)),
            Owner::Name(name) => name.as_ref(),
        }
    }
}

/// A record set as it stands in one reply.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Owner of all records of the set.
    pub owner: Owner,
    /// TTL to send, in seconds.
    pub ttl: u32,
    /// Index of the record to send first; the others follow in order, wrapping around.
    pub first: u16,
    /// The records.
    pub set: Arc<RecordSet>,
}

impl Entry {
    /// Records owned by the question's name.
    pub fn of_question(set: Arc<RecordSet>) -> Entry {
        Entry { owner: Owner::Question, ttl: set.ttl, first: 0, set }
    }

    /// Records owned by `owner`.
    pub fn of(owner: Owner, set: Arc<RecordSet>) -> Entry {
        Entry { owner, ttl: set.ttl, first: 0, set }
    }

    /// Type of the records.
    pub fn rtype(&self) -> RecordType {
        self.set.rtype
    }

    /// The RDATA in the order of sending.
    pub fn rdata(&self) -> impl Iterator<Item = &[u8]> {
        let (before, after) = self.set.split(usize::from(self.first));
        after.chain(before)
    }

    /// Makes the owner independent of the question, so that the entry may move into the reply to another one.
    pub fn detach(&mut self, query: &Query) {
        if !matches!(self.owner, Owner::Name(_)) {
            self.owner = Owner::Name(self.owner.resolve(query).to_name());
        }
    }
}

/// A section of a reply: nearly always one record set.
pub type Section = SmallVec<[Entry; 1]>;

/// Fields of an SOA record (RFC 1035 section 3.3.13). Times in seconds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Soa<'a> {
    /// Primary name server.
    pub mname: NameRef<'a>,
    /// Mailbox of the person responsible.
    pub rname: NameRef<'a>,
    /// Serial number.
    pub serial: u32,
    /// Refresh interval of a secondary.
    pub refresh: u32,
    /// Retry interval of a secondary.
    pub retry: u32,
    /// When a secondary gives up.
    pub expire: u32,
    /// TTL of negative answers (RFC 2308).
    pub minimum: u32,
}

impl Soa<'_> {
    /// RDATA.
    pub fn rdata(&self) -> Vec<u8> {
        let mut rdata = Vec::with_capacity(self.mname.len() + self.rname.len() + 20);
        rdata.extend_from_slice(self.mname.as_wire());
        rdata.extend_from_slice(self.rname.as_wire());
        for number in [self.serial, self.refresh, self.retry, self.expire, self.minimum] {
            rdata.extend_from_slice(&number.to_be_bytes());
        }
        rdata
    }
}

/// RDATA of an SRV record (RFC 2782).
pub fn srv_rdata(
    priority: u16,
    weight: u16,
    port: u16,
    target: NameRef<'_>,
) -> SmallVec<[u8; 128]> {
    let mut rdata = SmallVec::new();
    for number in [priority, weight, port] {
        rdata.extend_from_slice(&number.to_be_bytes());
    }
    rdata.extend_from_slice(target.as_wire());
    rdata
}

/// RDATA of a TXT record: the text in strings of at most 255 bytes (RFC 1035 section 3.3.14).
pub fn txt_rdata(text: &[u8]) -> Vec<u8> {
    let mut rdata = Vec::with_capacity(text.len() + 1 + text.len() / 255);
    let mut chunks = text.chunks(255);
    // An empty text is still one (empty) string.
    let first = chunks.next().unwrap_or(&[]);
    for chunk in std::iter::once(first).chain(chunks) {
        rdata.push(chunk.len() as u8);
        rdata.extend_from_slice(chunk);
    }
    rdata
}

/// Where names stand in the RDATA of a type.
///
/// Reading a message expands compressed names in all of these; writing compresses them only in the types of RFC 1035 (RFC 3597
/// section 4), as CoreDNS's library does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RdataNames {
    /// Bytes before the first name.
    pub before: usize,
    /// How many names follow one another.
    pub count: usize,
    /// Whether they may be compressed in a message.
    pub compress: bool,
}

impl RdataNames {
    /// The layout for a type; `None` when its RDATA holds no name at a fixed place.
    pub fn of(rtype: RecordType) -> Option<RdataNames> {
        let (before, count, compress) = match rtype {
            RecordType::CNAME
            | RecordType::NS
            | RecordType::PTR
            | RecordType::MB
            | RecordType::MG => (0, 1, true),
            RecordType::MD | RecordType::MF | RecordType::MR => (0, 1, true),
            RecordType::SOA | RecordType::MINFO => (0, 2, true),
            RecordType::MX | RecordType::AFSDB | RecordType::RT => (2, 1, rtype == RecordType::MX),
            RecordType::KX => (2, 1, false),
            RecordType::DNAME => (0, 1, false),
            RecordType::RP => (0, 2, false),
            RecordType::PX => (2, 2, false),
            RecordType::SRV => (6, 1, false),
            _ => return None,
        };
        Some(RdataNames { before, count, compress })
    }
}

/// The one target name of a CNAME, DNAME, NS, PTR, MX or SRV record.
pub fn target(rtype: RecordType, rdata: &[u8]) -> Option<NameRef<'_>> {
    let names = RdataNames::of(rtype).filter(|names| names.count == 1)?;
    NameRef::from_wire(rdata.get(names.before..)?)
}

/// The address of an A or AAAA record.
pub fn address(rtype: RecordType, rdata: &[u8]) -> Option<IpAddr> {
    match rtype {
        RecordType::A => {
            <[u8; 4]>::try_from(rdata).ok().map(|octets| Ipv4Addr::from(octets).into())
        }
        RecordType::AAAA => {
            <[u8; 16]>::try_from(rdata).ok().map(|octets| Ipv6Addr::from(octets).into())
        }
        _ => None,
    }
}

/// The `in-addr.arpa` or `ip6.arpa` name of an address (RFC 1035 section 3.5, RFC 3596 section 2.5).
pub fn reverse_name(address: IpAddr) -> NameBuf {
    use fmt::Write as _;
    let mut text = String::with_capacity(73);
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            let _ = write!(text, "{d}.{c}.{b}.{a}.in-addr.arpa.");
        }
        IpAddr::V6(v6) => {
            for byte in v6.octets().iter().rev() {
                let _ = write!(text, "{:x}.{:x}.", byte & 15, byte >> 4);
            }
            text.push_str("ip6.arpa.");
        }
    }
    NameBuf::parse(&text).expect("hexadecimal labels below arpa are a name")
}

/// The address a whole reverse name stands for; `None` for partial and malformed ones. ASCII case is ignored.
pub fn address_of_reverse_name(name: NameRef<'_>) -> Option<IpAddr> {
    let wire = name.as_wire();
    if let Some(digits) = before_zone(wire, b"\x07in-addr\x04arpa\0") {
        return reversed_v4(digits);
    }
    if let Some(digits) = before_zone(wire, b"\x03ip6\x04arpa\0") {
        return reversed_v6(digits);
    }
    None
}

/// What stands before a zone's wire form. Whether a label begins there shows when the labels before it are read.
fn before_zone<'a>(wire: &'a [u8], zone: &[u8]) -> Option<&'a [u8]> {
    let (before, tail) = wire.split_at_checked(wire.len().checked_sub(zone.len())?)?;
    tail.eq_ignore_ascii_case(zone).then_some(before)
}

/// `\x011\x010\x0296\x0210` as 10.96.0.1.
fn reversed_v4(mut labels: &[u8]) -> Option<IpAddr> {
    let mut octets = [0_u8; 4];
    for octet in octets.iter_mut().rev() {
        let (&length, rest) = labels.split_first()?;
        let (digits, rest) = rest.split_at_checked(usize::from(length))?;
        *octet = decimal_octet(digits)?;
        labels = rest;
    }
    labels.is_empty().then(|| octets.into())
}

/// 32 labels of one hexadecimal digit, the last of the address first.
fn reversed_v6(labels: &[u8]) -> Option<IpAddr> {
    let labels: &[u8; 64] = labels.try_into().ok()?;
    let mut octets = [0_u8; 16];
    for (octet, pair) in octets.iter_mut().rev().zip(labels.as_chunks::<4>().0) {
        let [1, low, 1, high] = *pair else { return None };
        let digit = |digit: u8| char::from(digit).to_digit(16).map(|value| value as u8);
        *octet = digit(high)? << 4 | digit(low)?;
    }
    Some(octets.into())
}

/// A number as Go's ParseIP takes it, which CoreDNS uses: `010` is not the way an address is written.
fn decimal_octet(digits: &[u8]) -> Option<u8> {
    if !matches!(digits, [b'0'..=b'9'] | [b'1'..=b'9', _] | [b'1'..=b'9', _, _]) {
        return None;
    }
    digits.iter().try_fold(0_u8, |value, digit| {
        let digit = digit.is_ascii_digit().then(|| digit - b'0')?;
        value.checked_mul(10)?.checked_add(digit)
    })
}

/// RDATA for people: addresses and names as text, the rest as in RFC 3597.
struct RdataText<'a>(RecordType, &'a [u8]);

impl fmt::Debug for RdataText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RdataText(rtype, rdata) = *self;
        if let Some(address) = address(rtype, rdata) {
            return write!(f, "{address}");
        }
        if let Some(name) = target(rtype, rdata) {
            return write!(f, "{name}");
        }
        write!(f, "\\# {} {rdata:02x?}", rdata.len())
    }
}
