//! Addresses written as one label: `10-0-0-1`, `fd00--1`.

use std::fmt::{self, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use periplus_core::name::MAX_LABEL;

/// Most bytes of an address in text form.
const MAX_TEXT: usize = 45;

/// A label made on the spot.
pub(crate) struct Label {
    length: usize,
    bytes: [u8; MAX_LABEL],
}

impl Label {
    /// The label's text.
    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

impl fmt::Write for Label {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.length + text.len();
        self.bytes.get_mut(self.length..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.length = end;
        Ok(())
    }
}

/// An address as CoreDNS names pods by it: every `.` or `:` of its canonical text becomes `-`.
pub(crate) fn pod_label(address: IpAddr) -> Label {
    let mut label = Label { length: 0, bytes: [0; MAX_LABEL] };
    // Its text is never longer than a label.
    let _ = write!(label, "{address}");
    for byte in &mut label.bytes[..label.length] {
        if matches!(byte, b'.' | b':') {
            *byte = b'-';
        }
    }
    label
}

/// An address as CoreDNS names endpoints by it: the same, except that no label ends in `-`.
pub(crate) fn endpoint_label(address: IpAddr) -> Label {
    let mut label = pod_label(address);
    if label.as_bytes().ends_with(b"-") {
        let _ = label.write_str("0");
    }
    label
}

/// The address a label in lower case stands for, whether or not it is written in the canonical way. IPv4 addresses mapped into IPv6
/// are IPv4, as Go's `net.IP` has it.
pub(crate) fn address(label: &[u8]) -> Option<IpAddr> {
    if label.len() > MAX_TEXT || label.contains(&b'.') {
        return None;
    }
    let mut text = [0; MAX_TEXT];
    let text = &mut text[..label.len()];
    text.copy_from_slice(label);
    let dashes = label.iter().filter(|&&byte| byte == b'-').count();
    let v4 = dashes == 3 && !label.windows(2).any(|pair| pair == b"--");
    for byte in text.iter_mut().filter(|byte| **byte == b'-') {
        *byte = if v4 { b'.' } else { b':' };
    }
    let text = std::str::from_utf8(text).ok()?;
    if v4 {
        text.parse::<Ipv4Addr>().ok().map(IpAddr::V4)
    } else {
        text.parse::<Ipv6Addr>().ok().map(|address| IpAddr::V6(address).to_canonical())
    }
}
