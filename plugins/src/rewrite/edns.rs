//! Rules for EDNS options of the request.

use std::borrow::Cow;
use std::net::IpAddr;

use periplus_core::codes::edns_option;
use periplus_core::edns::Edns;
use periplus_core::name::NameText;
use periplus_core::query::Query;

use super::pass::{Mend, Pass, Undo};

/// The most bytes all options of a request may take: RDLENGTH has 16 bits.
const MAX_OPTIONS: usize = u16::MAX as usize;

/// `edns0`.
#[derive(Debug)]
pub(super) struct OptionRule {
    pub(super) change: Change,
    pub(super) content: Content,
    /// Whether the response shows the option as it was before.
    pub(super) revert: bool,
}

/// What is done with the option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Append,
    Replace,
    Set,
    Unset,
}

/// Which option it is and what is written into it.
#[derive(Debug)]
pub(super) enum Content {
    /// A local option with fixed data.
    Fixed { code: u16, data: Box<[u8]> },
    /// A local option with data taken from the request.
    Variable { code: u16, variable: Variable },
    /// An empty name server identifier: the question for one (RFC 5001).
    Nsid,
    /// The client's network with this many bits of its address (RFC 7871).
    Subnet { v4_bits: u8, v6_bits: u8 },
}

/// Where the data of a local option comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Variable {
    Qname,
    Qtype,
    ClientIp,
    ClientPort,
    Protocol,
    ServerIp,
    ServerPort,
    /// A label of CoreDNS's `metadata`, which no plugin provides here: never there.
    Metadata,
}

impl OptionRule {
    pub(super) fn apply(&self, number: usize, pass: &mut Pass<'_>) -> bool {
        // CoreDNS looks for a variable's data before it makes an OPT record.
        let Some(data) = self.content.data(pass.query()) else { return false };
        let code = self.content.code();
        let edns = pass.edns_mut();
        if self.change == Change::Unset {
            edns.retain_options(|other, _| other != code);
            return true;
        }
        let before =
            edns.options().find(|(other, _)| *other == code).map(|(_, data)| data.to_vec());
        let replaces = matches!(self.change, Change::Replace | Change::Set);
        let undo = match before {
            Some(before) if replaces => {
                if !replace_first(edns, code, &data) {
                    return false;
                }
                Undo::OptionReplaced(code, before)
            }
            Some(_) if !self.content.may_stand_twice() => return false,
            _ if self.change == Change::Replace => return false,
            _ => {
                if edns.options.len() + 4 + data.len() > MAX_OPTIONS {
                    return false;
                }
                edns.push_option(code, &data);
                Undo::OptionAdded(code)
            }
        };
        if self.revert {
            pass.mend_later(number, undo);
        }
        true
    }
}

impl Content {
    fn code(&self) -> u16 {
        match self {
            Content::Fixed { code, .. } | Content::Variable { code, .. } => *code,
            Content::Nsid => edns_option::NSID,
            Content::Subnet { .. } => edns_option::SUBNET,
        }
    }

    /// Whether `append` adds the option again when it is there already: so it does in CoreDNS, against its README, for these two.
    fn may_stand_twice(&self) -> bool {
        matches!(self, Content::Fixed { .. } | Content::Nsid)
    }

    fn data(&self, query: &Query) -> Option<Cow<'_, [u8]>> {
        Some(match self {
            Content::Fixed { data, .. } => Cow::Borrowed(data),
            Content::Variable { variable, .. } => Cow::Owned(variable.data(query)?),
            Content::Nsid => Cow::Borrowed(&[]),
            Content::Subnet { v4_bits, v6_bits } => {
                Cow::Owned(match query.peer.ip().to_canonical() {
                    IpAddr::V4(address) => subnet(1, *v4_bits, &address.octets()),
                    IpAddr::V6(address) => subnet(2, *v6_bits, &address.octets()),
                })
            }
        })
    }
}

impl Variable {
    fn data(self, query: &Query) -> Option<Vec<u8>> {
        let client = query.peer.ip().to_canonical();
        Some(match self {
            Variable::Qname => NameText::of(query.spelled()).as_bytes().to_vec(),
            Variable::Qtype => query.qtype.0.to_be_bytes().to_vec(),
            Variable::ClientIp => octets(client),
            Variable::ClientPort => query.peer.port().to_be_bytes().to_vec(),
            Variable::Protocol => query.transport.label().as_bytes().to_vec(),
            Variable::ServerIp => octets(query.local.ip().to_canonical()),
            Variable::ServerPort => query.local.port().to_be_bytes().to_vec(),
            Variable::Metadata => return None,
        })
    }
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A client subnet option (RFC 7871 section 6): family, source prefix length, scope 0, as many address bytes as the prefix needs.
fn subnet(family: u16, bits: u8, address: &[u8]) -> Vec<u8> {
    let mut data = family.to_be_bytes().to_vec();
    data.extend_from_slice(&[bits, 0]);
    let whole = usize::from(bits / 8);
    data.extend_from_slice(&address[..whole]);
    if !bits.is_multiple_of(8) {
        data.push(address[whole] & (0xff << (8 - bits % 8)));
    }
    data
}

/// Turns back the changes of options that are to be turned back, in the OPT record that the response is finished from.
pub(super) fn restore_options(edns: &mut Edns, mends: &[Mend]) {
    for mend in mends.iter().rev() {
        match &mend.undo {
            Undo::OptionAdded(code) => remove_last(edns, *code),
            Undo::OptionReplaced(code, data) => {
                replace_first(edns, *code, data);
            }
            Undo::Nothing | Undo::Name { .. } => {}
        }
    }
}

/// The same in an OPT record that came from further in, which may show the options the request had.
pub(super) fn restore_options_of_reply(opt: &mut Edns, mends: &[Mend]) {
    for mend in mends.iter().rev() {
        match &mend.undo {
            Undo::OptionAdded(code) => opt.retain_options(|other, _| other != *code),
            Undo::OptionReplaced(code, data) => {
                replace_first(opt, *code, data);
            }
            Undo::Nothing | Undo::Name { .. } => {}
        }
    }
}

/// Writes other data into the first option with this code; `false` when that would take too much room.
fn replace_first(edns: &mut Edns, code: u16, data: &[u8]) -> bool {
    let mut changed = Edns::default();
    let mut done = false;
    for (other, old) in edns.options() {
        if other == code && !done {
            changed.push_option(code, data);
            done = true;
        } else {
            changed.push_option(other, old);
        }
    }
    let fits = changed.options.len() <= MAX_OPTIONS;
    if fits {
        edns.options = changed.options;
    }
    fits
}

fn remove_last(edns: &mut Edns, code: u16) {
    let count = edns.options().filter(|(other, _)| *other == code).count();
    let mut seen = 0;
    edns.retain_options(|other, _| {
        seen += usize::from(other == code);
        other != code || seen < count
    });
}
