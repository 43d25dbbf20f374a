//! Bodies in parts.

use proptest::prelude::*;

use crate::kubernetes::source::scan::{LineScanner, ListScanner, Piece, ScanError};

#[derive(Debug, PartialEq, Eq)]
struct Found {
    items: Vec<String>,
    metadata: Vec<String>,
    ended: bool,
}

/// Reads a text in parts of these lengths.
fn scan(text: &str, lengths: &[usize]) -> Result<Found, ScanError> {
    let mut scanner = ListScanner::default();
    let mut found = Found { items: Vec::new(), metadata: Vec::new(), ended: false };
    let mut rest = text.as_bytes();
    let mut lengths = lengths.iter().cycle();
    while !rest.is_empty() {
        let length = (*lengths.next().expect("there is a length")).clamp(1, rest.len());
        scanner.push(&rest[..length], |piece| {
            let (list, text) = match piece {
                Piece::Metadata(text) => (&mut found.metadata, text),
                Piece::Item(text) => (&mut found.items, text),
            };
            list.push(String::from_utf8_lossy(text).into_owned());
            Ok::<_, ScanError>(())
        })?;
        rest = &rest[length..];
    }
    found.ended = scanner.ended();
    Ok(found)
}

#[test]
fn lists_are_cut_into_objects() {
    let cases: [(&str, &[&str], &[&str], bool); 12] = [
        (
            r#"{"kind":"List","metadata":{"resourceVersion":"1"},"items":[]}"#,
            &[],
            &[r#"{"resourceVersion":"1"}"#],
            true,
        ),
        (r#"{"metadata":{},"items":null}"#, &[], &["{}"], true),
        (
            r#"{"items":[{"a":1},{"b":[{}]}],"metadata":{"x":{"y":[]}}}"#,
            &[r#"{"a":1}"#, r#"{"b":[{}]}"#],
            &[r#"{"x":{"y":[]}}"#],
            true,
        ),
        ("{ \"items\" : [ {\"a\": 1} , {} ] }\n", &[r#"{"a": 1}"#, "{}"], &[], true),
        (r#"{"items":[{"a":"}]{[\"\\"}]}"#, &[r#"{"a":"}]{[\"\\"}"#], &[], true),
        (
            r#"{"kind":"items","x":[{"a":1}],"items":[{"metadata":{"items":[{}]}}]}"#,
            &[r#"{"metadata":{"items":[{}]}}"#],
            &[],
            true,
        ),
        (r#"{"kind":"metadata","x":{"a":1},"metadata":{}}"#, &[], &["{}"], true),
        (r#"{"metadata":{"a":1},"items":[{"a":1},{"b""#, &[r#"{"a":1}"#], &[r#"{"a":1}"#], false),
        (r#"{"items":[{"a":1}]"#, &[r#"{"a":1}"#], &[], false),
        (r#"{"items":[1,"x",{"a":1},null]}"#, &[r#"{"a":1}"#], &[], true),
        ("{}", &[], &[], true),
        ("", &[], &[], false),
    ];
    for (text, items, metadata, ended) in cases {
        for length in [1, 2, 3, 7, 1000] {
            let found = scan(text, &[length]).expect(text);
            assert_eq!(found.items, items, "{text} in parts of {length}");
            assert_eq!(found.metadata, metadata, "{text} in parts of {length}");
            assert_eq!(found.ended, ended, "{text} in parts of {length}");
        }
    }
}

#[test]
fn what_is_no_list_is_refused() {
    for text in ["<html>", "[]", "\"x\"", "x", "}", "{}{}", "{}x", "{}]", "{\"a\":1}}"] {
        for length in [1, 1000] {
            assert_eq!(scan(text, &[length]), Err(ScanError::NotAList), "{text}");
        }
    }
}

#[test]
fn an_object_without_end_is_given_up() {
    let mut scanner = ListScanner::default();
    let mut push = |part: &[u8]| scanner.push(part, |_| Ok::<_, ScanError>(()));
    push(b"{\"items\":[{\"a\":\"").expect("it begins well");
    let part = vec![b'x'; 1 << 20];
    let result = (0..20).try_for_each(|_| push(&part));
    assert_eq!(result, Err(ScanError::TooLarge));
}

proptest! {
    #[test]
    fn parts_make_no_difference(
        items in proptest::collection::vec(proptest::collection::btree_map("[a-z\"{}\\[\\]\\\\:,é]{0,6}", ".{0,12}", 0..4), 0..6),
        lengths in proptest::collection::vec(1_usize..40, 1..5),
    ) {
        let text = serde_json::json!({"metadata": {"resourceVersion": "1"}, "items": items}).to_string();
        let found = scan(&text, &lengths).map_err(|error| TestCaseError::fail(format!("{error:?}")))?;
        let expected: Vec<_> = items.iter().map(|item| serde_json::json!(item).to_string()).collect();
        prop_assert_eq!(found.items, expected);
        prop_assert!(found.ended);
    }

    #[test]
    fn nothing_makes_it_panic(text in ".{0,200}", lengths in proptest::collection::vec(1_usize..40, 1..5)) {
        let _ = scan(&text, &lengths);
    }
}

#[test]
fn watches_are_cut_into_lines() {
    for length in [1, 2, 5, 100] {
        let mut scanner = LineScanner::default();
        let mut lines = Vec::new();
        for part in b"one\ntwo\n\nthree\nunfinished".chunks(length) {
            let found = |line: &[u8]| {
                lines.push(String::from_utf8_lossy(line).into_owned());
                Ok::<_, ScanError>(())
            };
            scanner.push(part, found).expect("lines are short");
        }
        assert_eq!(lines, ["one", "two", "", "three"], "in parts of {length}");
    }
}

#[test]
fn a_line_without_end_is_given_up() {
    let mut scanner = LineScanner::default();
    let part = vec![b'x'; 1 << 20];
    let result = (0..20).try_for_each(|_| scanner.push(&part, |_| Ok(())));
    assert_eq!(result, Err(ScanError::TooLarge));
}
