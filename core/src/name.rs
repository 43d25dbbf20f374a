//! Domain names in uncompressed wire form (RFC 1035 section 3.1).
//!
//! Three shapes, one meaning: [`NameRef`] borrows the bytes of a name, [`Name`] shares them, and
//! [`NameBuf`] keeps up to 255 of them inline, so that a query carries its name without an
//! allocation. A name keeps the spelling it was made with; comparing, hashing and zone matching ignore
//! ASCII case (RFC 4343) through [`Name::to_lower`] or the `eq_ignore_case` family.

use std::fmt;
use std::sync::Arc;

/// Most bytes a name takes on the wire, the root label included (RFC 1035 section 2.3.4).
pub const MAX_NAME: usize = 255;
/// Most bytes of one label (RFC 1035 section 2.3.4).
pub const MAX_LABEL: usize = 63;

/// A borrowed name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NameRef<'a>(&'a [u8]);

impl<'a> NameRef<'a> {
    /// The root, `.`.
    pub const ROOT: NameRef<'static> = NameRef(&[0]);

    /// Takes wire bytes that are known to be one whole name.
    ///
    /// Returns `None` when they are not: a label over 63 bytes, no root label at the very end, or over
    /// 255 bytes in all.
    pub fn from_wire(bytes: &'a [u8]) -> Option<Self> {
        (wire_length(bytes)? == bytes.len()).then_some(NameRef(bytes))
    }

    /// The whole name at the start of `bytes`; `None` if it is cut, too long or compressed.
    pub fn at_start_of(bytes: &'a [u8]) -> Option<Self> {
        wire_length(bytes).map(|length| NameRef(&bytes[..length]))
    }

    /// The wire bytes, root label included.
    pub fn as_wire(self) -> &'a [u8] {
        self.0
    }

    /// Wire length in bytes.
    #[expect(clippy::len_without_is_empty, reason = "a name always has its root label")]
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether this is `.`.
    pub fn is_root(self) -> bool {
        self.0.len() <= 1
    }

    /// The labels from left to right, without the root label.
    pub fn labels(self) -> Labels<'a> {
        Labels { rest: self.0 }
    }

    /// How many labels there are, not counting the root.
    pub fn label_count(self) -> usize {
        self.labels().count()
    }

    /// The name without its leftmost label; `None` for the root.
    pub fn parent(self) -> Option<NameRef<'a>> {
        match *self.0.first()? {
            0 => None,
            length => Some(NameRef(&self.0[1 + usize::from(length)..])),
        }
    }

    /// Whether both names are the same but for ASCII case.
    pub fn eq_ignore_case(self, other: NameRef<'_>) -> bool {
        same_but_for_case(self.0, other.0)
    }

    /// Where `zone` begins within this name, if this name is at or below it (ASCII case ignored).
    pub fn zone_offset(self, zone: NameRef<'_>) -> Option<usize> {
        let offset = self.0.len().checked_sub(zone.len())?;
        if zone.is_root() {
            return Some(offset);
        }
        if !same_but_for_case(&self.0[offset..], zone.0) {
            return None;
        }
        // The tail must begin at a label, not inside one.
        let mut at = 0;
        while at < offset {
            at += 1 + usize::from(self.0[at]);
        }
        (at == offset).then_some(offset)
    }

    /// Whether this name is `zone` or lies below it.
    pub fn is_at_or_below(self, zone: NameRef<'_>) -> bool {
        self.zone_offset(zone).is_some()
    }

    /// The tail that begins at byte `offset`, which must be a label's start.
    pub fn suffix(self, offset: usize) -> NameRef<'a> {
        NameRef(&self.0[offset..])
    }

    /// A shared copy with the same spelling.
    pub fn to_name(self) -> Name {
        Name(Arc::from(self.0))
    }

    /// A shared copy in lower case.
    pub fn to_lower(self) -> Name {
        Name(self.0.to_ascii_lowercase().into())
    }

    /// Whether the spelling has no upper-case letter.
    pub fn is_lower(self) -> bool {
        !self.0.iter().any(u8::is_ascii_uppercase)
    }
}

/// Compares wire bytes. Names are nearly always in lower case on both sides, and comparing whole words is many times faster than
/// folding byte by byte. Length bytes are below 64, so the folding leaves them alone.
fn same_but_for_case(one: &[u8], other: &[u8]) -> bool {
    let (Some(one_end), Some(other_end)) = (one.last_chunk::<8>(), other.last_chunk::<8>()) else {
        return one.eq_ignore_ascii_case(other);
    };
    // Different zones nearly always differ in their last bytes, whatever the case.
    let folded = |end: &[u8; 8]| u64::from_ne_bytes(*end) | 0x2020_2020_2020_2020;
    folded(one_end) == folded(other_end) && (one == other || one.eq_ignore_ascii_case(other))
}

/// How many bytes the name at the start of `bytes` takes; `None` if it is cut, too long or compressed.
pub fn wire_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let length = usize::from(*bytes.get(at)?);
        if length > MAX_LABEL {
            return None;
        }
        at += 1 + length;
        if at > MAX_NAME {
            return None;
        }
        if length == 0 {
            return Some(at);
        }
    }
}

/// Presentation form, fully qualified (see [`NameText`]).
impl fmt::Display for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NameText::of(*self).as_str())
    }
}

impl fmt::Debug for NameRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Iterator over the labels of a name.
#[derive(Clone)]
pub struct Labels<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Labels<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        let (&length, rest) = self.rest.split_first()?;
        if length == 0 {
            return None;
        }
        let (label, rest) = rest.split_at(usize::from(length));
        self.rest = rest;
        Some(label)
    }
}

/// A shared, immutable name. Cloning copies no byte.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<[u8]>);

impl Name {
    /// The root, `.`.
    pub fn root() -> Name {
        NameRef::ROOT.to_name()
    }

    /// Reads presentation form, with or without the final dot; `\.` and `\DDD` are understood.
    pub fn parse(text: &str) -> Result<Name, NameError> {
        Ok(NameBuf::parse(text)?.as_ref().to_name())
    }

    /// Borrows it.
    pub fn as_ref(&self) -> NameRef<'_> {
        NameRef(&self.0)
    }

    /// The wire bytes, root label included.
    pub fn as_wire(&self) -> &[u8] {
        &self.0
    }

    /// The same name in lower case; shares the bytes when there is nothing to change.
    pub fn to_lower(&self) -> Name {
        if self.as_ref().is_lower() { self.clone() } else { self.as_ref().to_lower() }
    }
}

impl std::borrow::Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_ref().fmt(f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Name, NameError> {
        Name::parse(text)
    }
}

/// A name of its own without an allocation: 255 bytes inline.
#[derive(Clone)]
pub struct NameBuf {
    length: u8,
    bytes: [u8; MAX_NAME],
}

impl PartialEq for NameBuf {
    fn eq(&self, other: &NameBuf) -> bool {
        self.as_ref() == other.as_ref()
    }
}

impl Eq for NameBuf {}

impl NameBuf {
    /// The root.
    pub const ROOT: NameBuf = NameBuf { length: 1, bytes: [0; MAX_NAME] };

    /// Borrows it.
    pub fn as_ref(&self) -> NameRef<'_> {
        NameRef(&self.bytes[..usize::from(self.length)])
    }

    /// The wire bytes, to change letters.
    pub(crate) fn wire_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[..usize::from(self.length)]
    }

    /// Becomes a copy of `name`.
    pub fn set(&mut self, name: NameRef<'_>) {
        self.bytes[..name.len()].copy_from_slice(name.0);
        self.length = name.len() as u8;
    }

    /// Becomes a lower-case copy of `name`.
    pub fn set_lower(&mut self, name: NameRef<'_>) {
        self.set(name);
        self.bytes[..name.len()].make_ascii_lowercase();
    }

    /// Adds one label on the right, before the root.
    pub fn push_label(&mut self, label: &[u8]) -> Result<(), NameError> {
        if label.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        if label.len() > MAX_LABEL {
            return Err(NameError::LabelTooLong);
        }
        let end = usize::from(self.length) - 1;
        let new_end = end + 1 + label.len();
        if new_end + 1 > MAX_NAME {
            return Err(NameError::TooLong);
        }
        self.bytes[end] = label.len() as u8;
        self.bytes[end + 1..new_end].copy_from_slice(label);
        self.bytes[new_end] = 0;
        self.length = (new_end + 1) as u8;
        Ok(())
    }

    /// Adds all labels of `tail` on the right.
    pub fn push_name(&mut self, tail: NameRef<'_>) -> Result<(), NameError> {
        let end = usize::from(self.length) - 1;
        let new_length = end + tail.len();
        if new_length > MAX_NAME {
            return Err(NameError::TooLong);
        }
        self.bytes[end..new_length].copy_from_slice(tail.0);
        self.length = new_length as u8;
        Ok(())
    }

    /// Reads presentation form, with or without the final dot.
    pub fn parse(text: &str) -> Result<NameBuf, NameError> {
        let mut name = NameBuf::ROOT;
        if text.is_empty() {
            return Err(NameError::Empty);
        }
        if text == "." {
            return Ok(name);
        }
        let mut label = [0_u8; MAX_LABEL];
        let mut length = 0;
        let mut bytes = text.bytes();
        let mut ended = false;
        while let Some(byte) = bytes.next() {
            ended = false;
            let byte = match byte {
                b'.' => {
                    name.push_label(&label[..length])?;
                    length = 0;
                    ended = true;
                    continue;
                }
                b'\\' => match bytes.next().ok_or(NameError::BadEscape)? {
                    hundreds @ b'0'..=b'9' => {
                        let mut value = u16::from(hundreds - b'0');
                        for _ in 0..2 {
                            let digit = bytes.next().filter(u8::is_ascii_digit);
                            value =
                                value * 10 + u16::from(digit.ok_or(NameError::BadEscape)? - b'0');
                        }
                        u8::try_from(value).map_err(|_| NameError::BadEscape)?
                    }
                    other => other,
                },
                other => other,
            };
            *label.get_mut(length).ok_or(NameError::LabelTooLong)? = byte;
            length += 1;
        }
        if !ended {
            name.push_label(&label[..length])?;
        }
        Ok(name)
    }

    /// A shared copy.
    pub fn to_name(&self) -> Name {
        self.as_ref().to_name()
    }
}

impl Default for NameBuf {
    fn default() -> Self {
        NameBuf::ROOT
    }
}

impl fmt::Debug for NameBuf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_ref(), f)
    }
}

/// Presentation form of a name without an allocation: fully qualified; dots, backslashes and other special characters escaped,
/// bytes outside printable ASCII as `\DDD` (RFC 1035 section 5.1).
#[derive(Clone)]
pub struct NameText {
    length: u16,
    bytes: [u8; NameText::MOST],
}

impl NameText {
    /// Four labels of 250 bytes in all, each byte as `\DDD`, and their dots.
    const MOST: usize = 4 * (MAX_NAME - 5) + 4;

    /// The text of `name`.
    pub fn of(name: NameRef<'_>) -> NameText {
        let mut text = NameText { length: 0, bytes: [0; NameText::MOST] };
        for label in name.labels() {
            for &byte in label {
                match byte {
                    b'.' | b' ' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\' => {
                        text.push(b'\\');
                        text.push(byte);
                    }
                    b'!'..=b'~' => text.push(byte),
                    _ => {
                        text.push(b'\\');
                        for divisor in [100, 10, 1] {
                            text.push(b'0' + byte / divisor % 10);
                        }
                    }
                }
            }
            text.push(b'.');
        }
        if name.is_root() {
            text.push(b'.');
        }
        text
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(self.as_bytes()).expect("only ASCII was written")
    }

    /// The text as ASCII bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }

    fn push(&mut self, byte: u8) {
        self.bytes[usize::from(self.length)] = byte;
        self.length += 1;
    }
}

/// Why a text or a sequence of labels is not a domain name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NameError {
    /// Nothing at all.
    Empty,
    /// Two dots in a row, or a leading dot.
    EmptyLabel,
    /// A label of more than 63 bytes.
    LabelTooLong,
    /// More than 255 bytes on the wire.
    TooLong,
    /// A backslash without a character or a number from 000 to 255.
    BadEscape,
}

impl fmt::Display for NameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            NameError::Empty => "empty name",
            NameError::EmptyLabel => "empty label",
            NameError::LabelTooLong => "label longer than 63 bytes",
            NameError::TooLong => "name longer than 255 bytes",
            NameError::BadEscape => "bad escape",
        })
    }
}

impl std::error::Error for NameError {}
