use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::name::Name;

/// Names from so few labels that they share tails, and labels that look like the start of others.
fn name() -> impl Strategy<Value = Name> {
    let label = prop_oneof![Just("a"), Just("A"), Just("bb"), Just("\\001a"), Just("example")];
    vec(label, 0..6).prop_map(|labels| {
        let text = if labels.is_empty() { ".".to_owned() } else { labels.join(".") };
        Name::parse(&text).expect("the labels are valid")
    })
}

fn written(question: &Name, names: &[Name], hashing: bool) -> Vec<u8> {
    let mut out = vec![0; QUESTION];
    out.extend_from_slice(question.as_wire());
    let mut compressor = Compressor::new();
    compressor.begin();
    if hashing {
        compressor.begin_hashing(&out, 0, question.as_ref());
    }
    for name in names {
        compressor.write(&mut out, 0, question.as_ref(), name.as_ref());
    }
    out
}

/// Reads a name that may be compressed.
fn read(message: &[u8], mut at: usize) -> (Vec<u8>, usize) {
    let (mut wire, mut end) = (Vec::new(), None);
    loop {
        let length = message[at];
        if length >= 0xc0 {
            end = end.or(Some(at + 2));
            at = usize::from(u16::from_be_bytes([length & 0x3f, message[at + 1]]));
            continue;
        }
        wire.extend_from_slice(&message[at..=at + usize::from(length)]);
        at += 1 + usize::from(length);
        if length == 0 {
            return (wire, end.unwrap_or(at));
        }
    }
}

proptest! {
    #[test]
    fn names_are_written_alike_with_the_table_and_without(
        question in name(), names in vec(name(), 0..9),
    ) {
        let message = written(&question, &names, false);
        prop_assert_eq!(&message, &written(&question, &names, true));
        let mut at = QUESTION + question.as_wire().len();
        for name in &names {
            let (wire, end) = read(&message, at);
            prop_assert_eq!(name.as_wire(), wire.as_slice());
            at = end;
        }
        prop_assert_eq!(at, message.len());
    }
}
