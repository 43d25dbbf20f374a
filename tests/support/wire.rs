//! A DNS message taken apart as it is on the wire: for comparing two servers, where nothing may be smoothed over.

use std::fmt;
use std::net::{Ipv4Addr, Ipv6Addr};

use periplus_core::codes::RecordType;

/// A message; names keep their spelling.
#[derive(Clone, PartialEq, Eq)]
pub struct Wire {
    pub id: u16,
    /// QR, opcode, AA, TC, RD, RA, Z, AD, CD and RCODE.
    pub flags: u16,
    /// The bytes of the question section, and how many questions the header counts.
    pub question: (u16, Vec<u8>),
    pub answer: Vec<Record>,
    pub authority: Vec<Record>,
    pub additional: Vec<Record>,
    pub opt: Option<Opt>,
}

/// A resource record, its RDATA as text.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Record {
    pub owner: String,
    pub rtype: RecordType,
    pub class: u16,
    pub ttl: u32,
    pub rdata: String,
}

/// The OPT record (RFC 6891, Section 6.1).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Opt {
    pub size: u16,
    pub rcode: u8,
    pub version: u8,
    pub flags: u16,
    pub options: Vec<(u16, Vec<u8>)>,
}

pub const TC: u16 = 0x0200;

impl Wire {
    /// Takes a message apart; `None` if it does not hold what its header counts, or holds more.
    pub fn parse(message: &[u8]) -> Option<Wire> {
        let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
        let (questions, mut at) = (word(4)?, 12);
        for _ in 0..questions {
            at = name(message, at)?.1 + 4;
        }
        let question = (questions, message.get(12..at)?.to_vec());
        let mut wire = Wire {
            id: word(0)?,
            flags: word(2)?,
            question,
            answer: Vec::new(),
            authority: Vec::new(),
            additional: Vec::new(),
            opt: None,
        };
        for (section, count) in [word(6)?, word(8)?, word(10)?].into_iter().enumerate() {
            for _ in 0..count {
                let (owner, head) = name(message, at)?;
                let (rtype, class) = (RecordType(word(head)?), word(head + 2)?);
                let ttl = u32::from(word(head + 4)?) << 16 | u32::from(word(head + 6)?);
                let (from, to) = (head + 10, head + 10 + usize::from(word(head + 8)?));
                let data = message.get(from..to)?;
                at = to;
                if rtype == RecordType::OPT {
                    if owner != "." || wire.opt.is_some() || section != 2 {
                        return None;
                    }
                    let [rcode, version, high, low] = ttl.to_be_bytes();
                    let (flags, options) = (u16::from_be_bytes([high, low]), options(data)?);
                    wire.opt = Some(Opt { size: class, rcode, version, flags, options });
                    continue;
                }
                let record =
                    Record { owner, rtype, class, ttl, rdata: rdata(message, rtype, from, to)? };
                match section {
                    0 => wire.answer.push(record),
                    1 => wire.authority.push(record),
                    _ => wire.additional.push(record),
                }
            }
        }
        (at == message.len()).then_some(wire)
    }

    /// The RCODE with the upper bits that EDNS adds.
    pub fn rcode(&self) -> u16 {
        self.flags & 15 | self.opt.as_ref().map_or(0, |opt| u16::from(opt.rcode) << 4)
    }

    pub fn is_truncated(&self) -> bool {
        self.flags & TC != 0
    }
}

/// Name, type and class of the first question of a message, as far as it can be read.
pub fn first_question(message: &[u8]) -> Option<(String, RecordType, u16)> {
    let (name, end) = name(message, 12)?;
    let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    Some((name, RecordType(word(end)?), word(end + 2)?))
}

impl fmt::Display for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "  rcode {} flags {:04x}", self.rcode(), self.flags)?;
        if let Some(opt) = &self.opt {
            write!(
                f,
                " edns {} version {} flags {:04x} {:?}",
                opt.size, opt.version, opt.flags, opt.options
            )?;
        }
        writeln!(f)?;
        let sections = [
            ("answer", &self.answer),
            ("authority", &self.authority),
            ("additional", &self.additional),
        ];
        for (section, records) in sections {
            for record in records.iter().take(12) {
                writeln!(f, "  {section:10} {record}")?;
            }
            if records.len() > 12 {
                writeln!(f, "  {section:10} ... {} in all", records.len())?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} {} {}", self.owner, self.ttl, self.rtype, self.rdata)
    }
}

fn options(mut data: &[u8]) -> Option<Vec<(u16, Vec<u8>)>> {
    let mut options = Vec::new();
    while let [a, b, c, d, rest @ ..] = data {
        let (code, length) =
            (u16::from_be_bytes([*a, *b]), usize::from(u16::from_be_bytes([*c, *d])));
        options.push((code, rest.get(..length)?.to_vec()));
        data = &rest[length..];
    }
    data.is_empty().then_some(options)
}

/// A name at an offset as text, and where it ends; pointers must point backwards (RFC 1035, Section 4.1.4).
fn name(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let (mut text, mut end, mut limit) = (String::new(), None, at);
    loop {
        match usize::from(*message.get(at)?) {
            0 => {
                let end = end.unwrap_or(at + 1);
                return Some((if text.is_empty() { ".".to_owned() } else { text }, end));
            }
            length @ 1..=63 => {
                for byte in message.get(at + 1..at + 1 + length)? {
                    match byte {
                        b'.' | b'\\' => text.extend(['\\', char::from(*byte)]),
                        b'!'..=b'~' => text.push(char::from(*byte)),
                        other => text.push_str(&format!("\\{other:03}")),
                    }
                }
                text.push('.');
                at += 1 + length;
            }
            high @ 192.. => {
                end = end.or(Some(at + 2));
                at = (high & 63) << 8 | usize::from(*message.get(at + 1)?);
                if at >= limit {
                    return None;
                }
                limit = at;
            }
            _ => return None,
        }
    }
}

/// RDATA as text: names and addresses readable, everything else as hexadecimal digits.
fn rdata(message: &[u8], rtype: RecordType, from: usize, to: usize) -> Option<String> {
    let data = &message[from..to];
    let names = |mut at: usize, count: usize| {
        let mut texts = Vec::new();
        for _ in 0..count {
            let (text, end) = name(message, at)?;
            texts.push(text);
            at = end;
        }
        Some((texts.join(" "), at))
    };
    let word = |at: usize| Some(u16::from_be_bytes([*data.get(at)?, *data.get(at + 1)?]));
    let long = |at: usize| Some(u32::from(word(at)?) << 16 | u32::from(word(at + 2)?));
    let (text, end) = match rtype {
        RecordType::A => (Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).to_string(), to),
        RecordType::AAAA => (Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).to_string(), to),
        RecordType::NS | RecordType::CNAME | RecordType::PTR | RecordType::DNAME => names(from, 1)?,
        RecordType::MX => names(from + 2, 1)
            .and_then(|(text, end)| Some((format!("{} {text}", word(0)?), end)))?,
        RecordType::SRV => names(from + 6, 1).and_then(|(text, end)| {
            Some((format!("{} {} {} {text}", word(0)?, word(2)?, word(4)?), end))
        })?,
        RecordType::SOA => {
            let (text, end) = names(from, 2)?;
            let numbers: Option<Vec<String>> =
                (0..5).map(|index| Some(long(end - from + 4 * index)?.to_string())).collect();
            (format!("{text} {}", numbers?.join(" ")), end + 20)
        }
        _ => (data.iter().map(|byte| format!("{byte:02x}")).collect(), to),
    };
    (end == to).then_some(text)
}

/// Replaces the serial number of every SOA record: it counts what one process has seen.
pub fn without_serials(records: &[Record]) -> Vec<Record> {
    records
        .iter()
        .cloned()
        .map(|mut record| {
            if record.rtype == RecordType::SOA {
                let mut words: Vec<&str> = record.rdata.split(' ').collect();
                words[2] = "SERIAL";
                record.rdata = words.join(" ");
            }
            record
        })
        .collect()
}
