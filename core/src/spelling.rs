//! Questions under a random spelling (draft-vixie-dnsext-dns0x20-00).
//!
//! Names are compared without regard to case, and nearly all servers copy the question as it came. So each letter of a question carries a
//! bit that a stranger who forges an answer has to guess beside id and port. The client must not notice: what the server copied from
//! the question's name is spelled back as the client spelled it.

use crate::name::{NameBuf, NameRef};
use crate::random;

/// The same name with each letter in upper or lower case by chance.
pub fn random_case(name: NameRef<'_>) -> NameBuf {
    let mut spelled = NameBuf::ROOT;
    spelled.set(name);
    for chunk in spelled.wire_mut().chunks_mut(64) {
        let mut bits = random::number();
        // A length byte is less than any letter.
        for byte in chunk.iter_mut().filter(|byte| byte.is_ascii_alphabetic()) {
            *byte ^= (bits as u8 & 1) << 5;
            bits >>= 1;
        }
    }
    spelled
}

/// How names of a response are spelled back.
#[derive(Clone, Copy)]
pub(crate) struct Respelling<'a> {
    sent: NameRef<'a>,
    asked: NameRef<'a>,
}

impl<'a> Respelling<'a> {
    /// For a question that was sent as `sent` where the client had asked for `asked`; `None` when they are the same.
    pub(crate) fn new(sent: NameRef<'a>, asked: NameRef<'a>) -> Option<Respelling<'a>> {
        (sent != asked && sent.eq_ignore_case(asked)).then_some(Respelling { sent, asked })
    }

    /// Gives the longest end that `name` has in common with the name that was sent, letter for letter, the client's spelling.
    pub(crate) fn apply(self, name: &mut NameBuf) {
        let mut offset = 0;
        while let Some(length) = name.as_ref().as_wire().get(offset).copied() {
            let tail = &mut name.wire_mut()[offset..];
            let at = self.sent.len().checked_sub(tail.len());
            if let Some(at) = at
                && self.sent.as_wire()[at..] == *tail
            {
                tail.copy_from_slice(&self.asked.as_wire()[at..]);
                return;
            }
            offset += 1 + usize::from(length);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Name;

    fn name(text: &str) -> NameBuf {
        NameBuf::parse(text).unwrap()
    }

    #[test]
    fn each_letter_is_upper_or_lower_case_as_often_and_nothing_else_changes() {
        let long = format!("{}.a-1.eXample.", "b".repeat(63));
        let asked = Name::parse(&long).unwrap();
        let mut upper = vec![0; asked.as_ref().len()];
        for _ in 0..400 {
            let sent = random_case(asked.as_ref());
            assert!(sent.as_ref().eq_ignore_case(asked.as_ref()));
            assert_eq!(sent.as_ref().label_count(), 3);
            for (count, byte) in upper.iter_mut().zip(sent.as_ref().as_wire()) {
                *count += usize::from(byte.is_ascii_uppercase());
            }
        }
        for (count, byte) in upper.iter().zip(asked.as_ref().as_wire()) {
            // Six standard deviations are 60.
            let expected = if byte.is_ascii_alphabetic() { 140..=260 } else { 0..=0 };
            assert!(expected.contains(count), "{count} of 400 for {}", char::from(*byte));
        }
    }

    #[test]
    fn what_was_copied_from_the_question_is_spelled_back() {
        let (sent, asked) = (name("wWW.eXamPLe.oRG."), name("www.Example.org."));
        let respelling = Respelling::new(sent.as_ref(), asked.as_ref()).unwrap();
        for (given, expected) in [
            ("wWW.eXamPLe.oRG.", "www.Example.org."),
            ("eXamPLe.oRG.", "Example.org."),
            ("NS.eXamPLe.oRG.", "NS.Example.org."),
            ("a.wWW.eXamPLe.oRG.", "a.www.Example.org."),
            // Not copied, or only in part.
            ("WWW.EXAMPLE.ORG.", "WWW.EXAMPLE.ORG."),
            ("WWW.EXAMPLE.oRG.", "WWW.EXAMPLE.org."),
            (".", "."),
        ] {
            let mut name = name(given);
            respelling.apply(&mut name);
            assert_eq!(name.as_ref().to_string(), expected);
        }
        assert!(Respelling::new(sent.as_ref(), sent.as_ref()).is_none());
    }
}
