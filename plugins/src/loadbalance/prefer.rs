//! `prefer`: addresses in certain networks go first.

use std::net::IpAddr;

use periplus_core::codes::RecordType;
use periplus_core::record::{self, Entry, RecordSetBuilder, Section};

use super::order::{is_address, shuffle};

/// Puts addresses of the first network before those of the second and so on, and those of no network last; what is in one network
/// keeps its order, or with `shuffled` gets a new one: a turned set of which some records are taken out would have its first ones more
/// often first than others. The section becomes CNAMEs, addresses, MX, everything else (CoreDNS `plugin/loadbalance`).
pub(super) fn prefer(networks: &[Subnet], shuffled: bool, section: &mut Section) {
    if let [only] = section.as_slice()
        && (!is_address(only) || only.set.count() == 1)
    {
        return;
    }
    let (mut open, mut begin) = (Rank::Cname, 0);
    let close = |group: &mut [Entry]| {
        if shuffled && group.first().is_some_and(is_address) {
            shuffle(group);
        }
    };
    let mut ranked: Vec<(Rank, Entry)> = Vec::with_capacity(section.len());
    for entry in section.drain(..) {
        match entry.rtype() {
            RecordType::CNAME => ranked.push((Rank::Cname, entry)),
            RecordType::A | RecordType::AAAA => divide(networks, entry, &mut ranked),
            RecordType::MX => ranked.push((Rank::Mx, entry)),
            _ => ranked.push((Rank::Other, entry)),
        }
    }
    ranked.sort_by_key(|(rank, _)| *rank);
    for (rank, entry) in ranked {
        if rank != open {
            close(&mut section[begin..]);
            (open, begin) = (rank, section.len());
        }
        section.push(entry);
    }
    close(&mut section[begin..]);
}

/// The place of an entry in its section.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Rank {
    Cname,
    /// The index of the network; one past the last for none.
    Address(usize),
    Mx,
    Other,
}

/// Divides a set of addresses by network. A set that lies in one network stays as it is.
fn divide(networks: &[Subnet], entry: Entry, ranked: &mut Vec<(Rank, Entry)>) {
    let rtype = entry.rtype();
    let rank = |rdata: &[u8]| {
        let address = record::address(rtype, rdata);
        let network = |address| networks.iter().position(|network| network.contains(address));
        address.and_then(network).unwrap_or(networks.len())
    };
    let mut ranks: Vec<usize> = entry.rdata().map(rank).collect();
    ranks.sort_unstable();
    ranks.dedup();
    if let [only] = ranks.as_slice() {
        ranked.push((Rank::Address(*only), entry));
        return;
    }
    for part in ranks {
        let mut set = RecordSetBuilder::new(rtype, entry.set.ttl()).class(entry.set.class());
        entry.rdata().filter(|rdata| rank(rdata) == part).for_each(|rdata| set.push(rdata));
        let owner = entry.owner.clone();
        ranked.push((
            Rank::Address(part),
            Entry { owner, ttl: entry.ttl, first: 0, set: set.finish() },
        ));
    }
}

/// A network in CIDR notation. IPv4 addresses in IPv6 form count as IPv4.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Subnet {
    v4: bool,
    /// The address as 128 bits, IPv4 in the upper 32, what the mask leaves.
    bits: u128,
    mask: u128,
}

impl Subnet {
    /// Reads `ADDRESS/LENGTH`.
    pub(super) fn parse(text: &str) -> Option<Subnet> {
        let (address, length) = text.split_once('/')?;
        if length.is_empty() || !length.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let address: IpAddr = address.parse().ok()?;
        let length: u32 = length.parse().ok()?;
        let (v4, length) = match (address, address.to_canonical()) {
            (IpAddr::V4(_), _) => (true, Some(length).filter(|length| *length <= 32)?),
            (IpAddr::V6(_), IpAddr::V4(_)) if (96..=128).contains(&length) => (true, length - 96),
            (IpAddr::V6(_), _) => (false, Some(length).filter(|length| *length <= 128)?),
        };
        let mask = if length == 0 { 0 } else { u128::MAX << (128 - length) };
        let bits = match address {
            IpAddr::V6(address) if !v4 => u128::from(address),
            _ => bits_of(address).1,
        };
        Some(Subnet { v4, bits: bits & mask, mask })
    }

    fn contains(&self, address: IpAddr) -> bool {
        let (v4, bits) = bits_of(address);
        v4 == self.v4 && bits & self.mask == self.bits
    }
}

fn bits_of(address: IpAddr) -> (bool, u128) {
    match address.to_canonical() {
        IpAddr::V4(address) => (true, u128::from(u32::from(address)) << 96),
        IpAddr::V6(address) => (false, u128::from(address)),
    }
}
