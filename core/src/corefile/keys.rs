//! The keys of a server block: `[SCHEME://]ZONE-OR-CIDR[:PORT]`.

use std::fmt;

use super::cidr::Network;
use super::diagnostic::quoted;
use super::suggest::suggest;
use super::{Diagnostic, Span, Word, shown};

/// The port of plain DNS (RFC 1035 section 4.2).
pub const DEFAULT_PORT: u16 = 53;

/// What a server block answers for, and how it is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// The transport.
    pub scheme: Scheme,
    /// The zone, fully qualified and in lower case.
    pub zone: String,
    /// The port, from the key or the scheme.
    pub port: u16,
    /// The word of the configuration it comes from.
    pub span: Span,
}

/// Reads a key. A network gives one key per reverse zone. `default_port` is for plain DNS.
pub fn parse_key(word: &Word, default_port: u16) -> Result<Vec<Key>, Diagnostic> {
    let (scheme, address) = Scheme::split(&word.text).map_err(|UnknownScheme(scheme)| {
        let names: Vec<&str> = Scheme::ALL.iter().map(|(name, _, _)| *name).collect();
        let error = word.error(format!("unknown scheme '{}://'", shown(scheme)));
        suggest(error, scheme, &names)
    })?;
    let parts = Parts::read(address).map_err(|error| {
        let help = error.help(address);
        word.error(error.to_string()).with_optional_help(help)
    })?;
    let port = match parts.port {
        None if scheme == Scheme::Dns => default_port,
        None => scheme.default_port(),
        Some(number) => u16::try_from(number).map_err(|_| {
            word.error(format!("port {number} is out of range"))
                .with_note("allowed here: 0 to 65535")
        })?,
    };
    let zones = parts.zones.iter();
    Ok(zones.map(|zone| Key { scheme, zone: lower(zone), port, span: word.span }).collect())
}

/// The zones a plugin's ZONES argument stands for: scheme and port are stripped, a network is
/// expanded, names become lower case and fully qualified. CoreDNS skips arguments that fail.
pub fn normalize_zone(text: &str) -> Result<Vec<String>, ZoneError> {
    let address = match Scheme::split(text) {
        Ok((_, address)) => address,
        // CoreDNS knows this scheme for plugins only.
        Err(UnknownScheme("unix")) => &text["unix://".len()..],
        Err(UnknownScheme(_)) => text,
    };
    Ok(Parts::read(address)?.zones.iter().map(|zone| lower(zone)).collect())
}

/// How a server is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scheme {
    /// DNS over UDP and TCP.
    Dns,
    /// DNS over TLS (RFC 7858).
    Tls,
    /// DNS over QUIC (RFC 9250).
    Quic,
    /// DNS over gRPC.
    Grpc,
    /// DNS over HTTPS (RFC 8484) with HTTP/1.1 and HTTP/2.
    Https,
    /// DNS over HTTPS with HTTP/3.
    Https3,
}

struct UnknownScheme<'a>(&'a str);

impl Scheme {
    /// Spelling, value and default port.
    const ALL: [(&'static str, Self, u16); 6] = [
        ("dns", Self::Dns, DEFAULT_PORT),
        ("tls", Self::Tls, 853),
        ("quic", Self::Quic, 853),
        ("grpc", Self::Grpc, 443),
        ("https", Self::Https, 443),
        ("https3", Self::Https3, 443),
    ];

    fn row(self) -> &'static (&'static str, Self, u16) {
        // The variants are declared in the order of the table; a test compares them.
        &Self::ALL[self as usize]
    }

    /// As it is written in a key, without `://`.
    pub fn as_str(self) -> &'static str {
        self.row().0
    }

    /// The port of a key that names none.
    pub fn default_port(self) -> u16 {
        self.row().2
    }

    /// Takes the scheme off a key. Anything before `://` that is no scheme is refused: CoreDNS
    /// would quietly serve a zone called `http://example.org.`.
    fn split(text: &str) -> Result<(Self, &str), UnknownScheme<'_>> {
        let Some((name, rest)) = text.split_once("://") else { return Ok((Self::Dns, text)) };
        match Self::ALL.iter().find(|(known, _, _)| *known == name) {
            Some((_, scheme, _)) => Ok((*scheme, rest)),
            None => Err(UnknownScheme(name)),
        }
    }
}

impl fmt::Display for Scheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}:{}", self.scheme, self.zone, self.port)
    }
}

/// A key without its scheme.
struct Parts {
    /// As written, or the reverse zones of a network.
    zones: Vec<String>,
    port: Option<i64>,
}

impl Parts {
    fn read(text: &str) -> Result<Self, ZoneError> {
        let colon = text.rfind(':');
        // An empty text counts as ending in its last colon, as in CoreDNS.
        if text.is_empty() || colon == Some(text.len() - 1) {
            return Err(ZoneError::NothingAfterColon(text.to_owned()));
        }
        // What follows the last colon is a port only when it is a number, sign included;
        // otherwise the colon is part of the name or of an IPv6 network.
        let port = colon.and_then(|colon| Some((colon, text[colon + 1..].parse::<i64>().ok()?)));
        let name = port.map_or(text, |(colon, _)| &text[..colon]);
        let port = port.map(|(_, port)| port);
        // CoreDNS looks at the text as written, and then once more with its final dot.
        for length in [name.len(), qualified(name).len()] {
            if length > 255 {
                return Err(ZoneError::TooLong(length));
            }
        }
        if !is_domain_name(name) {
            return Err(ZoneError::NotAName(name.to_owned()));
        }
        let Some(network) = Network::parse(name) else {
            return Ok(Self { zones: vec![name.to_owned()], port });
        };
        if name.starts_with(':') || (name.starts_with('0') && name.contains(':')) {
            return Err(ZoneError::InvalidCidr(name.to_owned()));
        }
        Ok(Self { zones: network.reverse_zones(), port })
    }
}

/// Why a text names no zone; the messages are CoreDNS's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ZoneError {
    /// It is empty or ends in a colon.
    NothingAfterColon(String),
    /// It is longer than 255 bytes.
    TooLong(usize),
    /// It breaks the limits of domain names (RFC 1035 section 2.3.4).
    NotAName(String),
    /// A network that begins with a colon or a zero.
    InvalidCidr(String),
}

impl ZoneError {
    fn help(&self, address: &str) -> Option<String> {
        match self {
            Self::NotAName(name) if name.is_empty() => {
                Some(format!("write '.{address}' for the root zone"))
            }
            Self::NotAName(name) if name.starts_with('.') => {
                Some(format!("did you mean '{}'?", shown(name.trim_start_matches('.'))))
            }
            Self::NothingAfterColon(_) => Some("write a zone, and a port after the colon".into()),
            _ => None,
        }
    }
}

impl fmt::Display for ZoneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NothingAfterColon(text) => {
                write!(f, "expecting data after last colon: {}", quoted(text))
            }
            Self::TooLong(length) => write!(f, "specified zone is too long: {length} > 255"),
            Self::NotAName(name) => write!(f, "zone is not a valid domain name: {}", shown(name)),
            Self::InvalidCidr(text) => write!(f, "invalid CIDR {}", shown(text)),
        }
    }
}

impl std::error::Error for ZoneError {}

/// Letters outside ASCII keep their case: only ASCII letters are alike in the DNS (RFC 4343).
fn lower(zone: &str) -> String {
    qualified(zone).to_ascii_lowercase()
}

/// With a final dot, unless there is one that is not escaped.
fn qualified(name: &str) -> String {
    let is_qualified = name.strip_suffix('.').is_some_and(|rest| {
        let backslashes = rest.bytes().rev().take_while(|byte| *byte == b'\\').count();
        backslashes % 2 == 0
    });
    if is_qualified { name.to_owned() } else { format!("{name}.") }
}

/// The limits of a domain name in presentation format: labels of 1 to 63 bytes, 255 bytes in all.
/// Which characters a label holds does not matter (RFC 2181 section 11).
fn is_domain_name(name: &str) -> bool {
    if name.is_empty() {
        return false;
    }
    let name = qualified(name);
    if name == "." {
        return true;
    }
    let bytes = name.as_bytes();
    // The byte of the root label ends every name.
    let (mut at, mut label, mut total) = (0, 0, 1);
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => {
                let decimal = bytes.get(at + 1..at + 4);
                let decimal = decimal.is_some_and(|d| d.iter().all(u8::is_ascii_digit));
                at += if decimal { 4 } else { 2 };
                label += 1;
            }
            b'.' => {
                if label == 0 || label > 63 {
                    return false;
                }
                total += 1 + label;
                (at, label) = (at + 1, 0);
            }
            _ => (at, label) = (at + 1, label + 1),
        }
    }
    // A backslash may have taken the final dot for itself, so that no label is closed by it.
    label == 0 && total <= 255
}
