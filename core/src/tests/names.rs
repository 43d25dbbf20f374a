//! Names: text, limits, zones of names.

use std::fmt::Write as _;

use proptest::prelude::*;

use super::model::{labels, name, wire};
use crate::name::{MAX_NAME, Name, NameBuf, NameError, NameRef, NameText, wire_length};

#[test]
fn text_is_read_and_written() {
    // (text, wire form, canonical text)
    let cases: &[(&str, &[u8], &str)] = &[
        (".", b"\0", "."),
        ("org", b"\x03org\0", "org."),
        ("Example.org.", b"\x07Example\x03org\0", "Example.org."),
        (r"a\.b.c", b"\x03a.b\x01c\0", r"a\.b.c."),
        (r"a\\b", b"\x03a\\b\0", r"a\\b."),
        (r"\097\066", b"\x02aB\0", "aB."),
        (r"\000\255", b"\x02\0\xff\0", r"\000\255."),
        (r"a b@c;d(e)f'g", b"\x0da b@c;d(e)f'g\0", r"a\ b\@c\;d\(e\)f\'g."),
        (r#"\"x\""#, b"\x03\"x\"\0", r#"\"x\"."#),
        ("*.a_b-c", b"\x01*\x05a_b-c\0", "*.a_b-c."),
        ("é", b"\x02\xc3\xa9\0", r"\195\169."),
        (r"end\.", b"\x04end.\0", r"end\.."),
    ];
    for (text, wire, canonical) in cases {
        let name = Name::parse(text).unwrap();
        assert_eq!(name.as_wire(), *wire, "{text}");
        assert_eq!(name.to_string(), *canonical, "{text}");
        assert_eq!(Name::parse(canonical).unwrap(), name, "{text}");
    }
}

#[test]
fn text_that_is_no_name_is_refused() {
    let label = |length| "x".repeat(length);
    let long = |last| format!("{0}.{0}.{0}.{1}", label(63), label(last));
    let cases = [
        (String::new(), Err(NameError::Empty)),
        ("..".into(), Err(NameError::EmptyLabel)),
        (".a".into(), Err(NameError::EmptyLabel)),
        ("a..b".into(), Err(NameError::EmptyLabel)),
        ("a.b..".into(), Err(NameError::EmptyLabel)),
        ("a\\".into(), Err(NameError::BadEscape)),
        ("\\25".into(), Err(NameError::BadEscape)),
        ("\\25x".into(), Err(NameError::BadEscape)),
        ("\\256".into(), Err(NameError::BadEscape)),
        (label(63), Ok(65)),
        (label(64), Err(NameError::LabelTooLong)),
        (long(61), Ok(255)),
        (format!("{}.", long(61)), Ok(255)),
        (long(62), Err(NameError::TooLong)),
    ];
    for (text, expected) in cases {
        assert_eq!(NameBuf::parse(&text).map(|name| name.as_ref().len()), expected, "{text}");
    }
}

#[test]
fn wire_bytes_are_measured_and_checked() {
    let full: Vec<u8> = [&[63][..], &[b'x'; 63]].concat().repeat(3);
    let of_length = |last: usize| [&full[..], &[last as u8], &vec![b'x'; last], &[0]].concat();
    let cases: &[(&[u8], Option<usize>)] = &[
        (b"", None),
        (b"\0", Some(1)),
        (b"\0rest", Some(1)),
        (b"\x01a\0", Some(3)),
        (b"\x01a", None),
        (b"\x02a\0", None),
        (b"\x40", None),
        (b"\xc0\x0c", None),
        (&of_length(61), Some(255)),
        (&of_length(62), None),
    ];
    for (bytes, expected) in cases {
        assert_eq!(wire_length(bytes), *expected, "{bytes:?}");
        assert_eq!(
            NameRef::from_wire(bytes).is_some(),
            *expected == Some(bytes.len()),
            "{bytes:?}"
        );
    }
}

#[test]
fn a_name_lies_in_a_zone_by_whole_labels() {
    let cases = [
        ("example.org", "example.org", Some(0)),
        ("Www.Example.ORG", "example.org", Some(4)),
        ("example.org", ".", Some(12)),
        (".", ".", Some(0)),
        (".", "org", None),
        ("myexample.org", "example.org", None),
        ("org", "example.org", None),
        // The bytes of the zone end the name, but inside a label.
        (r"a\003org", "org", None),
        (r"x\.example.org", "example.org", None),
    ];
    for (text, zone, expected) in cases {
        let (name, zone) = (Name::parse(text).unwrap(), Name::parse(zone).unwrap());
        assert_eq!(name.as_ref().zone_offset(zone.as_ref()), expected, "{name} in {zone}");
        assert_eq!(
            name.as_ref().is_at_or_below(zone.as_ref()),
            expected.is_some(),
            "{name} in {zone}"
        );
    }
}

#[test]
fn labels_are_added_until_the_name_is_full() {
    let mut name = NameBuf::ROOT;
    assert_eq!(name.push_label(b""), Err(NameError::EmptyLabel));
    assert_eq!(name.push_label(&[b'x'; 64]), Err(NameError::LabelTooLong));
    for _ in 0..3 {
        name.push_label(&[b'x'; 63]).unwrap();
    }
    assert_eq!(name.push_label(&[b'x'; 62]), Err(NameError::TooLong));
    name.push_label(&[b'x'; 61]).unwrap();
    assert_eq!(name.as_ref().len(), MAX_NAME);
    let before = name.to_name();
    assert_eq!(name.push_label(b"y"), Err(NameError::TooLong));
    assert_eq!(name.push_name(before.as_ref()), Err(NameError::TooLong));
    assert_eq!(name.push_name(NameRef::ROOT), Ok(()));
    assert_eq!(name.to_name(), before);
}

#[test]
fn the_longest_text_fits() {
    let name = NameBuf::parse(
        &[r"\255".repeat(63), r"\255".repeat(63), r"\255".repeat(63), r"\255".repeat(61)].join("."),
    )
    .unwrap();
    assert_eq!(NameText::of(name.as_ref()).as_str().len(), 1004);
}

#[test]
fn lower_case_is_shared_where_there_is_nothing_to_change() {
    let (lower, mixed) = (Name::parse("example.org").unwrap(), Name::parse("Example.org").unwrap());
    assert_eq!(lower.to_lower().as_wire().as_ptr(), lower.as_wire().as_ptr());
    assert_eq!(mixed.to_lower(), lower);
    assert_ne!(mixed, lower);
    assert!(mixed.as_ref().eq_ignore_case(lower.as_ref()));
}

proptest! {
    #[test]
    fn text_and_wire_form_mean_the_same(labels in labels()) {
        let name = name(&labels);
        let text = name.to_string();
        prop_assert_eq!(Name::parse(&text).unwrap(), name.clone());
        prop_assert_eq!(name.as_ref().labels().map(<[u8]>::to_vec).collect::<Vec<_>>(), labels.clone());
        // Written out once more, label by label.
        let mut expected = String::new();
        for label in &labels {
            for byte in label {
                match byte {
                    b' ' => expected.push_str("\\ "),
                    b'!'..=b'~' if br#".'@;()"\"#.contains(byte) => write!(expected, "\\{}", *byte as char).unwrap(),
                    b'!'..=b'~' => expected.push(*byte as char),
                    _ => write!(expected, "\\{byte:03}").unwrap(),
                }
            }
            expected.push('.');
        }
        prop_assert_eq!(text, if labels.is_empty() { ".".to_owned() } else { expected });
    }

    #[test]
    fn any_text_is_a_name_or_an_error(text in r"[a-c.\\0-9é]{0,80}") {
        if let Ok(name) = Name::parse(&text) {
            prop_assert_eq!(wire_length(name.as_wire()), Some(name.as_wire().len()));
            prop_assert_eq!(Name::parse(&name.to_string()).unwrap(), name);
        }
    }

    #[test]
    fn every_tail_of_a_name_is_a_zone_of_it(labels in labels(), without in any::<usize>()) {
        let tail = labels[without % (labels.len() + 1)..].to_vec();
        let (name, zone) = (name(&labels), name(&tail));
        let offset = wire(&labels).len() - wire(&tail).len();
        prop_assert_eq!(name.as_ref().to_lower().as_ref().zone_offset(zone.as_ref()), Some(offset));
        prop_assert_eq!(name.as_ref().suffix(offset), zone.as_ref());
    }
}
