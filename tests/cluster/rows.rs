//! Questions and the expected answers as lines of text.
//!
//! ```text
//! options pods insecure; ttl 30                         what follows is asked under these options
//! A     till.shop = 10.96.1.1                           NAME is below svc.cluster.local. if no dot ends it
//! PTR   10.96.1.1 = till.shop                           an address stands for its reverse name
//! SRV   till.shop = 0 100 80 till.shop + till.shop A 10.96.1.1
//! AAAA  till.shop = NODATA                              with the SOA record of the zone and nothing else
//! A     _tcp.till.shop = NODATA not NXDOMAIN            what CoreDNS answers, where that is something else (DIFFERENCES.md)
//! ```
//!
//! Records are separated by ` | ` and sections by ` + ` (answer, then additional). A record is OWNER TTL TYPE RDATA, where the owner
//! is left out if it is the question name, the TTL if it is that of the options, and the type if it is the asked one and the owner
//! is left out. Order does not count. Flags other than QR, AA and RD stand before the answer.

use std::fmt::Write;
use std::net::{IpAddr, SocketAddr};

use periplus_core::codes::RecordType;

use crate::support::client::{connect, question, read, write};
use crate::support::cluster::expand;
use crate::support::wire::{Record, Wire};

const ORIGIN: &str = ".svc.cluster.local.";

/// Options of the `kubernetes` plugin and what is asked under them.
pub struct Section {
    /// One option a line.
    pub options: Vec<String>,
    pub rows: Vec<Row>,
}

/// A question and its answer.
pub struct Row {
    pub qtype: RecordType,
    pub name: String,
    asked: String,
    expected: String,
    /// What CoreDNS says instead.
    of_coredns: Option<String>,
}

/// Who is asked.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Who {
    Periplus,
    CoreDns,
}

/// Reads a file of rows.
pub fn parse(text: &str) -> Vec<Section> {
    let mut sections: Vec<Section> = Vec::new();
    for line in
        text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        if let Some(options) = line.strip_prefix("options ") {
            let options = options.split(';').map(|option| option.trim().to_owned()).collect();
            sections.push(Section { options, rows: Vec::new() });
            continue;
        }
        let (question, expected) = line.split_once('=').unwrap_or_else(|| panic!("no row: {line}"));
        let (qtype, asked) =
            question.trim().split_once(' ').unwrap_or_else(|| panic!("no question: {line}"));
        let qtype = RecordType::from_mnemonic(qtype).unwrap_or_else(|| panic!("no type: {line}"));
        let (expected, of_coredns) = expected
            .split_once(" not ")
            .map_or((expected, None), |(ours, theirs)| (ours, Some(theirs)));
        let row = Row {
            qtype,
            name: absolute(asked.trim()),
            asked: asked.trim().to_owned(),
            expected: sorted(expected),
            of_coredns: of_coredns.map(sorted),
        };
        sections.last_mut().expect("options stand before the first row").rows.push(row);
    }
    sections
}

impl Section {
    /// The TTL of the records under these options; 5 seconds is the plugin's own.
    fn ttl(&self) -> u32 {
        self.options
            .iter()
            .find_map(|option| option.strip_prefix("ttl "))
            .map_or(5, |ttl| ttl.parse().expect("a TTL"))
    }

    /// Asks all questions over one connection; gives the rows that were answered differently.
    pub fn differences(&self, server: SocketAddr, who: Who) -> Vec<String> {
        let mut differences = Vec::new();
        let mut stream = connect(server);
        for (id, row) in (1_u16..).zip(&self.rows) {
            write(&mut stream, &question(id, &row.name, row.qtype.0, None));
            let answer = read(&mut stream);
            let found = match &answer {
                // A connection that ends takes the next question with it.
                None => {
                    stream = connect(server);
                    "no answer".to_owned()
                }
                Some(message) => {
                    let wire = Wire::parse(message).filter(|wire| wire.id == id);
                    wire.map_or_else(
                        || format!("unreadable {message:02x?}"),
                        |wire| render(&wire, row, self.ttl()),
                    )
                }
            };
            let expected =
                row.of_coredns.as_ref().filter(|_| who == Who::CoreDns).unwrap_or(&row.expected);
            if found != *expected {
                differences.push(format!(
                    "{} {} = {found}\n    expected {expected}",
                    row.qtype, row.asked
                ));
            }
        }
        differences
    }
}

/// The answer in the form of the rows.
fn render(wire: &Wire, row: &Row, ttl: u32) -> String {
    let mut text = String::new();
    for (name, bit, usual) in [("AA", 0x0400, true), ("TC", 0x0200, false), ("RA", 0x0080, false)] {
        if (wire.flags & bit != 0) != usual {
            let _ = write!(text, "{}{name} ", if usual { "no-" } else { "" });
        }
    }
    let negative = wire.answer.is_empty()
        && wire.additional.is_empty()
        && is_soa_of_zone(&wire.authority, row, ttl);
    match wire.rcode() {
        0 if negative => return text + "NODATA",
        3 if negative => return text + "NXDOMAIN",
        0 => {}
        rcode => {
            let _ = write!(text, "RCODE{rcode} ");
        }
    }
    let section = |records: &[Record]| {
        records.iter().map(|record| show(record, row, ttl)).collect::<Vec<_>>().join(" | ")
    };
    text.push_str(&section(&wire.answer));
    if !wire.additional.is_empty() {
        let _ = write!(text, " + {}", section(&wire.additional));
    }
    // Positive answers have no authority section.
    if !wire.authority.is_empty() {
        let _ = write!(text, " + authority {}", section(&wire.authority));
    }
    sorted(&text)
}

fn is_soa_of_zone(authority: &[Record], row: &Row, ttl: u32) -> bool {
    let [record] = authority else { return false };
    let zone = record.owner.as_str();
    let rdata: Vec<&str> = record.rdata.split(' ').collect();
    let (ttl, minimum) = (ttl.min(300), ttl.to_string());
    record.rtype == RecordType::SOA
        && record.ttl == ttl
        && row.name.ends_with(zone)
        && rdata[..2] == [format!("ns.dns.{zone}"), format!("hostmaster.{zone}")]
        && rdata[3..] == ["7200", "1800", "86400", minimum.as_str()]
}

fn show(record: &Record, row: &Row, ttl: u32) -> String {
    let mut words = Vec::new();
    let elsewhere = record.owner != row.name;
    if elsewhere {
        words.push(relative(&record.owner));
    }
    if record.ttl != ttl {
        words.push(record.ttl.to_string());
    }
    if elsewhere || record.rtype != row.qtype {
        words.push(record.rtype.to_string());
    }
    let rdata = match record.rtype {
        RecordType::SOA => "SOA".to_owned(),
        _ => record.rdata.split(' ').map(relative).collect::<Vec<_>>().join(" "),
    };
    words.push(rdata);
    words.join(" ")
}

/// The records of each section in order, ranges written out.
fn sorted(answer: &str) -> String {
    let sections = answer.trim().split(" + ").map(|section| {
        let mut records: Vec<String> =
            section.split(" | ").flat_map(|record| expand(record.trim())).collect();
        records.sort();
        records.join(" | ")
    });
    sections.collect::<Vec<_>>().join(" + ")
}

fn absolute(name: &str) -> String {
    if let Ok(address) = name.parse::<IpAddr>() {
        return reverse(address);
    }
    if name.ends_with('.') { name.to_owned() } else { format!("{name}{ORIGIN}") }
}

fn relative(name: &str) -> String {
    name.strip_suffix(ORIGIN).unwrap_or(name).to_owned()
}

/// The name that maps an address back (RFC 1035, Section 3.5; RFC 3596, Section 2.5).
pub fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => {
            let [a, b, c, d] = address.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa.")
        }
        IpAddr::V6(address) => {
            let nibbles =
                address.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            format!(
                "{}.ip6.arpa.",
                nibbles.map(|nibble| format!("{nibble:x}")).collect::<Vec<_>>().join(".")
            )
        }
    }
}
