//! Networks as reverse zones.

use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address and a prefix length, as Go's `net.ParseCIDR` reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Network {
    address: IpAddr,
    ones: u32,
}

impl Network {
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (address, ones) = text.split_once('/')?;
        let address: IpAddr = address.parse().ok()?;
        if ones.is_empty() || !ones.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        let ones: u32 = ones.parse().ok()?;
        (ones <= bits(address)).then_some(Self { address, ones })
    }

    /// The zones that hold exactly the reverse names of this network. A network between two label
    /// boundaries (8 bits, or 4 for IPv6) is split at the next longer one: at most 128 zones.
    pub(super) fn reverse_zones(self) -> Vec<String> {
        let step = if self.address.is_ipv4() { 8 } else { 4 };
        let labels = self.ones.div_ceil(step);
        let boundary = labels * step;
        let all = bits(self.address);
        let first = match self.address {
            IpAddr::V4(address) => u128::from(address.to_bits()),
            IpAddr::V6(address) => address.to_bits(),
        };
        // Host bits are masked away; shifting by all bits at once would overflow.
        let host_bits = all - self.ones;
        let first = first.checked_shr(host_bits).unwrap_or(0).checked_shl(host_bits).unwrap_or(0);
        let size = 1u128.checked_shl(all - boundary).unwrap_or(0);
        let count = 1u128 << (boundary - self.ones);
        (0..count).map(|index| zone(self.address, first + index * size, labels)).collect()
    }
}

fn bits(address: IpAddr) -> u32 {
    if address.is_ipv4() { 32 } else { 128 }
}

/// The reverse name of the leading `labels` octets (IPv4, RFC 1035 section 3.5) or nibbles (IPv6,
/// RFC 3596 section 2.5).
fn zone(family: IpAddr, address: u128, labels: u32) -> String {
    let labels = labels as usize;
    let mut zone = String::new();
    match family {
        IpAddr::V4(_) => {
            let octets = Ipv4Addr::from_bits(address as u32).octets();
            for octet in octets[..labels].iter().rev() {
                let _ = write!(zone, "{octet}.");
            }
            zone + "in-addr.arpa."
        }
        IpAddr::V6(_) => {
            let octets = Ipv6Addr::from_bits(address).octets();
            let nibbles: Vec<u8> = octets.iter().flat_map(|o| [o >> 4, o & 0xf]).collect();
            for nibble in nibbles[..labels].iter().rev() {
                let _ = write!(zone, "{nibble:x}.");
            }
            zone + "ip6.arpa."
        }
    }
}
