//! Formats of log lines, read once and then only followed.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::time::Duration;

use periplus_core::codes::{Class, RecordType, flags};
use periplus_core::encode::is_truncated;
use periplus_core::name::NameText;
use periplus_core::query::Query;
use periplus_core::reply::Reply;

/// CoreDNS's common log format.
pub(super) const COMMON: &str = r#"{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" {rcode} {>rflags} {rsize} {duration}"#;
/// CoreDNS's combined log format.
pub(super) const COMBINED: &str = r#"{remote}:{port} - {>id} "{type} {class} {name} {proto} {size} {>do} {>bufsize}" {rcode} {>rflags} {rsize} {duration} "{>opcode}""#;

/// A format as a list of what to write.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Format(Vec<Segment>);

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Value(Value),
}

/// What a placeholder stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Value {
    Type,
    Class,
    Name,
    Proto,
    Remote,
    Local,
    Port,
    Size,
    Duration,
    Rcode,
    ResponseSize,
    ResponseFlags,
    Id,
    Opcode,
    DnssecOk,
    BufferSize,
    /// `{/LABEL}`: there is no metadata.
    Metadata,
}

impl Value {
    const NAMES: [(&'static str, Value); 16] = [
        ("{type}", Value::Type),
        ("{class}", Value::Class),
        ("{name}", Value::Name),
        ("{proto}", Value::Proto),
        ("{remote}", Value::Remote),
        ("{local}", Value::Local),
        ("{port}", Value::Port),
        ("{size}", Value::Size),
        ("{duration}", Value::Duration),
        ("{rcode}", Value::Rcode),
        ("{rsize}", Value::ResponseSize),
        ("{>rflags}", Value::ResponseFlags),
        ("{>id}", Value::Id),
        ("{>opcode}", Value::Opcode),
        ("{>do}", Value::DnssecOk),
        ("{>bufsize}", Value::BufferSize),
    ];

    fn parse(placeholder: &str) -> Option<Value> {
        let named = Value::NAMES.iter().find(|(name, _)| *name == placeholder);
        let metadata = || placeholder.starts_with("{/").then_some(Value::Metadata);
        named.map(|(_, value)| *value).or_else(metadata)
    }
}

/// What a line is about.
pub(super) struct Line<'a> {
    pub(super) query: &'a Query,
    /// `None`: the query stays without a response.
    pub(super) reply: Option<&'a Reply>,
    pub(super) duration: Duration,
}

impl Format {
    /// Reads a format. A placeholder goes from the nearest `{` before a `}` to that `}`; one that is not known stays as it is.
    pub(super) fn parse(text: &str) -> Format {
        let mut segments = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(end) = rest.find('}') {
            let (head, tail) = rest.split_at(end + 1);
            rest = tail;
            let value =
                head.rfind('{').and_then(|start| Some((start, Value::parse(&head[start..])?)));
            let Some((start, value)) = value else {
                literal += head;
                continue;
            };
            literal += &head[..start];
            if !literal.is_empty() {
                segments.push(Segment::Literal(std::mem::take(&mut literal)));
            }
            segments.push(Segment::Value(value));
        }
        literal += rest;
        if !literal.is_empty() {
            segments.push(Segment::Literal(literal));
        }
        Format(segments)
    }

    /// Appends the line.
    pub(super) fn write(&self, line: &Line<'_>, text: &mut String) {
        for segment in &self.0 {
            match segment {
                Segment::Literal(literal) => text.push_str(literal),
                Segment::Value(value) => value.write(line, text),
            }
        }
    }
}

impl Value {
    fn write(self, line: &Line<'_>, text: &mut String) {
        let query = line.query;
        match self {
            Value::Type => record_type(query.qtype, text),
            // ANY is a type as well, and so is written as a number (CoreDNS's library).
            Value::Class => match query.class.mnemonic().filter(|_| query.class != Class::ANY) {
                Some(mnemonic) => text.push_str(mnemonic),
                None => prefixed_number("CLASS", query.class.0, text),
            },
            Value::Name => text.push_str(NameText::of(query.name()).as_str()),
            Value::Proto => text.push_str(query.transport.label()),
            Value::Remote => address(query.peer.ip(), text),
            Value::Local => address(query.local.ip(), text),
            Value::Port => number(query.peer.port().into(), text),
            Value::Size => number(query.size as u64, text),
            Value::Duration => seconds(line.duration, text),
            Value::Rcode => match line.reply {
                Some(reply) => match reply.rcode.mnemonic() {
                    Some(mnemonic) => text.push_str(mnemonic),
                    None => number(reply.rcode.0.into(), text),
                },
                None => text.push('-'),
            },
            Value::ResponseSize => {
                number(line.reply.map_or(0, |reply| reply.uncompressed_length(query)) as u64, text);
            }
            Value::ResponseFlags => match line.reply {
                Some(reply) => response_flags(query, reply, text),
                None => text.push('-'),
            },
            Value::Id => number(query.id.into(), text),
            Value::Opcode => number(query.opcode().into(), text),
            Value::DnssecOk => text.push_str(if query.dnssec_ok() { "true" } else { "false" }),
            Value::BufferSize => number(query.response_limit() as u64, text),
            Value::Metadata => text.push('-'),
        }
    }
}

fn record_type(rtype: RecordType, text: &mut String) {
    match rtype.mnemonic() {
        Some(mnemonic) => text.push_str(mnemonic),
        // The words of CoreDNS's DNS library.
        None if rtype.0 == 0 => text.push_str("None"),
        None if rtype.0 == 65535 => text.push_str("Reserved"),
        None => prefixed_number("TYPE", rtype.0, text),
    }
}

fn prefixed_number(prefix: &str, value: u16, text: &mut String) {
    text.push_str(prefix);
    number(value.into(), text);
}

/// The flags of the header as the client sees them, `qr` first.
fn response_flags(query: &Query, reply: &Reply, text: &mut String) {
    const NAMES: [(u16, &str); 8] = [
        (flags::QR, "qr"),
        (flags::AA, "aa"),
        (flags::TC, "tc"),
        (flags::RD, "rd"),
        (flags::RA, "ra"),
        (flags::Z, "z"),
        (flags::AD, "ad"),
        (flags::CD, "cd"),
    ];
    let mut set = reply.flags;
    if is_truncated(query, reply) {
        set |= flags::TC;
    }
    let mut separator = "";
    for (_, name) in NAMES.iter().filter(|(flag, _)| set & flag != 0) {
        text.push_str(separator);
        text.push_str(name);
        separator = ",";
    }
}

/// An address; one of IPv6 in brackets (RFC 3986 section 3.2.2).
fn address(address: IpAddr, text: &mut String) {
    match address.to_canonical() {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            number(a.into(), text);
            for octet in [b, c, d] {
                text.push('.');
                number(octet.into(), text);
            }
        }
        IpAddr::V6(address) => {
            // Writing to a String cannot fail.
            let _ = write!(text, "[{address}]");
        }
    }
}

/// Seconds in decimal, as short as they can be without losing a nanosecond.
fn seconds(duration: Duration, text: &mut String) {
    number(duration.as_secs(), text);
    let nanoseconds = duration.subsec_nanos();
    if nanoseconds != 0 {
        text.push('.');
        let mut rest = nanoseconds;
        let mut place = 100_000_000;
        while rest != 0 {
            text.push(char::from(b'0' + (rest / place) as u8));
            rest %= place;
            place /= 10;
        }
    }
    text.push('s');
}

/// A number in decimal, without the formatting machinery: a line has about a dozen of them.
fn number(mut value: u64, text: &mut String) {
    let mut digits = [0_u8; 20];
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (value % 10) as u8;
        value /= 10;
        if value == 0 {
            break;
        }
    }
    text.push_str(std::str::from_utf8(&digits[start..]).expect("digits are ASCII"));
}
