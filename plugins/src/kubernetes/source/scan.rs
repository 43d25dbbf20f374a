//! Cutting a response body into objects while it arrives.
//!
//! A list of a large cluster has tens of megabytes; of these only the object that is arriving is held. The scanner knows no more of
//! JSON than strings and brackets: each piece it finds is decoded, and checked, by serde.

use std::io::BufRead as _;

/// An object, or a line of a watch, that is longer than this is not read. etcd's own limit for an object is 1.5 MB by default.
const MAX_PIECE: usize = 16 << 20;

/// How much of a chunk is looked at at once.
const PART: usize = 16 << 10;

/// Why a body cannot be read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ScanError {
    /// It is not a JSON object with a list of objects.
    NotAList,
    /// One object is larger than 16 MB.
    TooLarge,
}

/// A part of a list.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Piece<'a> {
    /// The list's own `metadata`.
    Metadata(&'a [u8]),
    /// An element of `items`.
    Item(&'a [u8]),
}

/// Cuts a list: `{"kind": .., "metadata": {..}, "items": [{..}, ..]}`, in any order of the keys.
#[derive(Default)]
pub(super) struct ListScanner {
    /// What has not been used yet: at most one unfinished piece and one part of a chunk.
    buffer: Vec<u8>,
    /// How much of it was looked at.
    position: usize,
    /// Open brackets.
    depth: u32,
    string: InString,
    /// Where a string directly in the outer object begins and ends that may yet be a key: if a colon follows.
    word: Option<(usize, usize)>,
    section: Section,
    /// Where the piece that is open began.
    piece: Option<usize>,
    ended: bool,
}

#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum InString {
    #[default]
    No,
    Yes,
    /// After a backslash.
    Escaped,
}

/// The key of the outer object whose value is being read.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum Section {
    #[default]
    Other,
    Metadata,
    Items,
}

impl ListScanner {
    /// Takes the next bytes and reports the pieces that they complete.
    pub(super) fn push<E: From<ScanError>>(
        &mut self,
        chunk: &[u8],
        mut found: impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        // A connection that brings more than is read hands over hundreds of kilobytes at once.
        chunk.chunks(PART).try_for_each(|part| self.push_part(part, &mut found))
    }

    fn push_part<E: From<ScanError>>(
        &mut self,
        part: &[u8],
        found: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.buffer.extend_from_slice(part);
        while let Some(&byte) = self.buffer.get(self.position) {
            let at = self.position;
            self.position += 1;
            match self.string {
                InString::Yes => match byte {
                    b'"' => {
                        self.string = InString::No;
                        if let Some((_, end)) = &mut self.word {
                            *end = at;
                        }
                    }
                    b'\\' => self.string = InString::Escaped,
                    _ => self.skip_text(),
                },
                InString::Escaped => self.string = InString::Yes,
                InString::No => match byte {
                    b'"' => {
                        self.string = InString::Yes;
                        if self.depth == 1 {
                            self.word = Some((at + 1, at + 1));
                        }
                        if self.depth == 0 {
                            return Err(ScanError::NotAList.into());
                        }
                    }
                    b':' if self.depth == 1 => {
                        let (start, end) = self.word.take().unwrap_or_default();
                        self.section = match self.buffer.get(start..end) {
                            Some(b"metadata") => Section::Metadata,
                            Some(b"items") => Section::Items,
                            _ => Section::Other,
                        }
                    }
                    b'{' | b'[' => self.open(byte, at)?,
                    b'}' | b']' => self.close(at, found)?,
                    _ if self.depth == 0 && !byte.is_ascii_whitespace() => {
                        return Err(ScanError::NotAList.into());
                    }
                    _ => {}
                },
            }
        }
        self.forget_what_is_used()
    }

    /// Most of a list is text in strings, and most of that is plain.
    fn skip_text(&mut self) {
        let rest = &self.buffer[self.position..];
        let plain = rest.iter().position(|&byte| byte == b'"' || byte == b'\\');
        self.position += plain.unwrap_or(rest.len());
    }

    /// Whether the list came to its end.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    fn open(&mut self, byte: u8, at: usize) -> Result<(), ScanError> {
        if self.depth == 0 && (byte != b'{' || self.ended) {
            return Err(ScanError::NotAList);
        }
        let begins = match self.section {
            Section::Metadata => self.depth == 1,
            Section::Items => self.depth == 2,
            Section::Other => false,
        };
        if begins {
            self.piece = Some(at);
        }
        // What a bracket follows is no key.
        self.word = None;
        self.depth += 1;
        Ok(())
    }

    fn close<E: From<ScanError>>(
        &mut self,
        at: usize,
        found: &mut impl FnMut(Piece<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        self.depth = self.depth.checked_sub(1).ok_or(ScanError::NotAList)?;
        let (ends, piece): (_, fn(&[u8]) -> Piece<'_>) = match self.section {
            Section::Metadata => (self.depth == 1, |text| Piece::Metadata(text)),
            Section::Items => (self.depth == 2, |text| Piece::Item(text)),
            Section::Other => (false, |text| Piece::Item(text)),
        };
        self.ended |= self.depth == 0;
        match self.piece {
            Some(start) if ends => {
                self.piece = None;
                found(piece(&self.buffer[start..=at]))
            }
            _ => Ok(()),
        }
    }

    fn forget_what_is_used<E: From<ScanError>>(&mut self) -> Result<(), E> {
        // A key may still be waiting for its colon.
        let word = self.word.map_or(self.position, |(start, _)| start);
        let used = self.piece.unwrap_or(self.position).min(word);
        self.buffer.drain(..used);
        self.position -= used;
        self.word = self.word.map(|(start, end)| (start - used, end - used));
        self.piece = self.piece.map(|start| start - used);
        if self.buffer.len() > MAX_PIECE { Err(ScanError::TooLarge.into()) } else { Ok(()) }
    }
}

/// Cuts a watch: one event on each line.
#[derive(Default)]
pub(super) struct LineScanner {
    buffer: Vec<u8>,
}

impl LineScanner {
    /// Takes the next bytes and reports the lines that they complete.
    pub(super) fn push<E: From<ScanError>>(
        &mut self,
        chunk: &[u8],
        mut found: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut rest = chunk;
        loop {
            let mut after = rest;
            // Reading from a slice cannot fail, and finds the end of a line at the speed of `memchr`.
            let length = after.skip_until(b'\n').unwrap_or(rest.len());
            let Some((line, b"\n")) = rest[..length].split_last_chunk() else { break };
            if self.buffer.is_empty() {
                found(line)?;
            } else {
                self.buffer.extend_from_slice(line);
                found(&std::mem::take(&mut self.buffer))?;
            }
            rest = after;
        }
        self.buffer.extend_from_slice(rest);
        if self.buffer.len() > MAX_PIECE { Err(ScanError::TooLarge.into()) } else { Ok(()) }
    }
}
