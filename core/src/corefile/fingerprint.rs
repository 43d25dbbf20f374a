//! A hash that changes when what a configuration says changes.

use std::fmt;

use sha2::{Digest, Sha512};

use super::{Corefile, Line, Word};

/// The SHA-512 of a configuration's words in their structure, imports and environment included.
/// Comments, white space and line numbers do not count. Its text is in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; 64]);

impl Corefile {
    /// What a reload compares to see whether the configuration changed.
    pub fn fingerprint(&self) -> Fingerprint {
        let mut hash = Sha512::new();
        count(&mut hash, self.blocks.len());
        for block in &self.blocks {
            words(&mut hash, &block.keys);
            lines(&mut hash, &block.directives);
        }
        Fingerprint(hash.finalize().into())
    }
}

fn lines(hash: &mut Sha512, lines: &[Line]) {
    count(hash, lines.len());
    for line in lines {
        word(hash, &line.name);
        words(hash, &line.arguments);
        match &line.body {
            None => hash.update([0]),
            Some(body) => {
                hash.update([1]);
                self::lines(hash, body);
            }
        }
    }
}

fn words(hash: &mut Sha512, words: &[Word]) {
    count(hash, words.len());
    words.iter().for_each(|word| self::word(hash, word));
}

/// Lengths stand before contents, so that no two configurations hash the same bytes.
fn word(hash: &mut Sha512, word: &Word) {
    count(hash, word.text.len());
    hash.update(word.text.as_bytes());
}

fn count(hash: &mut Sha512, count: usize) {
    hash.update((count as u64).to_be_bytes());
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fingerprint({self})")
    }
}
