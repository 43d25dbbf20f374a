//! Lines of a hosts file: an address and the names it belongs to.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use foldhash::fast::RandomState;
use periplus_core::name::{Name, NameRef};
use periplus_core::zone::Zones;

/// The entries of one source. Within a source an exact name hides the wildcard above it, per address family.
#[derive(Default)]
pub(super) struct Entries {
    pub(super) exact: HashMap<Name, Addresses, RandomState>,
    /// By the name below which the wildcard stands.
    pub(super) wildcards: HashMap<Name, Addresses, RandomState>,
    pub(super) reverse: HashMap<IpAddr, Vec<Name>, RandomState>,
}

/// The addresses of a name, in the order they were written.
#[derive(Default)]
pub(super) struct Addresses {
    pub(super) v4: Vec<Ipv4Addr>,
    pub(super) v6: Vec<Ipv6Addr>,
}

/// What to take from the lines.
#[derive(Clone)]
pub(super) struct Rules {
    /// Names outside of these are left out.
    pub(super) zones: Zones,
    /// Whether addresses get PTR records.
    pub(super) reverse: bool,
}

/// Why a line is left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BadLine {
    /// The first word is no IP address.
    NotAnAddress,
    /// There is nothing after the address.
    NoName,
    /// One of the names is no domain name; the others are taken.
    BadName,
}

impl BadLine {
    pub(super) fn reason(self) -> &'static str {
        match self {
            BadLine::NotAnAddress => "does not begin with an IP address",
            BadLine::NoName => "has no name after the address",
            BadLine::BadName => "has a name that is no domain name",
        }
    }
}

impl Entries {
    /// Reads a whole file. `bad` hears of lines that are left out, by number from 1.
    pub(super) fn read(text: &str, rules: &Rules, mut bad: impl FnMut(usize, BadLine)) -> Entries {
        let mut entries = Entries::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.split_once('#').map_or(line, |(before, _)| before);
            if let Err(reason) = entries.add_line(line.split_whitespace(), rules) {
                bad(index + 1, reason);
            }
        }
        entries
    }

    /// Adds the words of one line; no word at all is no line.
    pub(super) fn add_line<'a>(
        &mut self,
        mut words: impl Iterator<Item = &'a str>,
        rules: &Rules,
    ) -> Result<(), BadLine> {
        let Some(address) = words.next() else { return Ok(()) };
        let address = parse_address(address).ok_or(BadLine::NotAnAddress)?;
        let (mut good, mut bad) = (0, 0);
        for word in words {
            match Name::parse(word) {
                Ok(name) => {
                    self.add(address, name.to_lower(), rules);
                    good += 1;
                }
                Err(_) => bad += 1,
            }
        }
        match (good, bad) {
            (0, 0) => Err(BadLine::NoName),
            (_, 0) => Ok(()),
            _ => Err(BadLine::BadName),
        }
    }

    fn add(&mut self, address: IpAddr, name: Name, rules: &Rules) {
        if !rules.zones.contains(name.as_ref()) {
            return;
        }
        let addresses = match wildcard_parent(name.as_ref()) {
            Some(parent) => self.wildcards.entry(parent.to_name()).or_default(),
            None => {
                if rules.reverse {
                    self.reverse.entry(address).or_default().push(name.clone());
                }
                self.exact.entry(name).or_default()
            }
        };
        match address {
            IpAddr::V4(address) => addresses.v4.push(address),
            IpAddr::V6(address) => addresses.v6.push(address),
        }
    }

    /// How many addresses and reverse names there are: what `coredns_hosts_entries` counts.
    pub(super) fn len(&self) -> usize {
        let addresses = |map: &HashMap<Name, Addresses, RandomState>| -> usize {
            map.values().map(|addresses| addresses.v4.len() + addresses.v6.len()).sum()
        };
        let reverse: usize = self.reverse.values().map(Vec::len).sum();
        addresses(&self.exact) + addresses(&self.wildcards) + reverse
    }
}

/// An address without its zone identifier; an IPv4 address in IPv6 form is one of IPv4.
fn parse_address(text: &str) -> Option<IpAddr> {
    let text = text.split_once('%').map_or(text, |(address, _)| address);
    text.parse::<IpAddr>().ok().map(|address| address.to_canonical())
}

/// The name below which a wildcard such as `*.example.org` stands.
fn wildcard_parent(name: NameRef<'_>) -> Option<NameRef<'_>> {
    name.labels().next().filter(|label| *label == b"*")?;
    name.parent()
}
