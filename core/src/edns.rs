//! What an OPT record says (RFC 6891), and what of it comes back.

use std::sync::Arc;

use crate::codes::{edns_option, flags};
use crate::name::NameRef;

/// The bits of the EDNS flag word that come back: DO and the seven after it, as in CoreDNS's `request.SizeAndDo`.
pub(crate) const ECHOED_FLAGS: u16 = 0xff00;

/// The content of an OPT record (RFC 6891 section 6.1).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edns {
    /// The sender's UDP payload size, as written.
    pub udp_size: u16,
    /// The upper eight bits of the response code.
    pub extended_rcode: u8,
    /// EDNS version.
    pub version: u8,
    /// The flag word, DO first.
    pub flags: u16,
    /// The options as they stand on the wire: code, length, data, repeated.
    pub options: Vec<u8>,
    /// Codes of options that come back in the response beside those of [`is_echoed_option`]: a plugin's choice.
    pub also_echoed: Option<Arc<[u16]>>,
}

impl Edns {
    /// Whether DO is set.
    pub fn dnssec_ok(&self) -> bool {
        self.flags & flags::DO != 0
    }

    /// The options in order: code and data.
    pub fn options(&self) -> impl Iterator<Item = (u16, &[u8])> {
        let mut rest = self.options.as_slice();
        std::iter::from_fn(move || {
            let (head, tail) = rest.split_at_checked(4)?;
            let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
            let (data, tail) = tail.split_at_checked(length)?;
            rest = tail;
            Some((u16::from_be_bytes([head[0], head[1]]), data))
        })
    }

    /// Adds an option at the end.
    pub fn push_option(&mut self, code: u16, data: &[u8]) {
        push_option(&mut self.options, code, data);
    }

    /// Keeps only the options that `keep` says yes to.
    pub fn retain_options(&mut self, mut keep: impl FnMut(u16, &[u8]) -> bool) {
        let mut kept = Vec::new();
        for (code, data) in self.options() {
            if keep(code, data) {
                push_option(&mut kept, code, data);
            }
        }
        self.options = kept;
    }

    /// Drops what follows the last option that is whole: with it, whoever gets these options cannot read the message.
    pub fn drop_broken_end(&mut self) {
        let whole = self.options().map(|(_, data)| 4 + data.len()).sum();
        self.options.truncate(whole);
    }

    /// Whether a client's option comes back in the response when no plugin wrote an OPT of its own.
    pub fn echoes(&self, code: u16) -> bool {
        is_echoed_option(code)
            || self.also_echoed.as_ref().is_some_and(|codes| codes.contains(&code))
    }

    /// The OPT record that answers this one when no plugin made one: size and flags as asked, and only the options that CoreDNS
    /// echoes.
    pub fn echoed(&self) -> Edns {
        let mut echoed =
            Edns { udp_size: self.udp_size, flags: self.flags & ECHOED_FLAGS, ..Edns::default() };
        for (code, data) in self.options() {
            if self.echoes(code) {
                echoed.push_option(code, data);
            }
        }
        echoed
    }

    /// Length of the record on the wire.
    pub fn wire_length(&self) -> usize {
        11 + self.options.len()
    }
}

fn push_option(options: &mut Vec<u8>, code: u16, data: &[u8]) {
    options.extend_from_slice(&code.to_be_bytes());
    options.extend_from_slice(&(data.len() as u16).to_be_bytes());
    options.extend_from_slice(data);
}

/// The options that come back in any response (CoreDNS `plugin/pkg/edns`).
pub fn is_echoed_option(code: u16) -> bool {
    use edns_option::{COOKIE, EXPIRE, KEEPALIVE, NSID, PADDING};
    matches!(code, NSID | EXPIRE | COOKIE | KEEPALIVE | PADDING)
}

/// Whether an option's data can be what its code says, for the options that CoreDNS's library understands; it refuses a message
/// with any other.
pub(crate) fn is_well_formed(code: u16, data: &[u8]) -> bool {
    match code {
        edns_option::LLQ => data.len() >= 18,
        edns_option::UPDATE_LEASE => matches!(data.len(), 4 | 8),
        // Family, source and scope prefix length (RFC 7871 section 6). Family 0 comes from dig, for "no address".
        edns_option::SUBNET => match data {
            [0, 0, 0, _, ..] => true,
            [0, 1, source, scope, ..] => *source <= 32 && *scope <= 32,
            [0, 2, source, scope, ..] => *source <= 128 && *scope <= 128,
            _ => false,
        },
        edns_option::EXPIRE => data.is_empty() || data.len() >= 4,
        edns_option::KEEPALIVE => matches!(data.len(), 0 | 2),
        edns_option::EDE | edns_option::ZONEVERSION => data.len() >= 2,
        // The agent's domain, whole and not compressed (RFC 9567 section 5).
        edns_option::REPORT_CHANNEL => NameRef::at_start_of(data).is_some(),
        _ => true,
    }
}
