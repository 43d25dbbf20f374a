//! Reading the words of directives: values, and errors that say what would have been right.

use std::ops::RangeBounds;
use std::time::Duration;

use super::parse;
use crate::corefile::{
    Corefile, Diagnostic, DurationError, Line, format_go_duration, parse_go_duration,
    print_go_duration,
};

fn directive(text: &str) -> Corefile {
    parse(&format!(".\n{text}")).expect("the language allows it")
}

/// Reads the only directive of a text; errors as `LINE:COLUMN message|help|notes`.
fn read<T>(text: &str, with: impl FnOnce(&Line) -> Result<T, Diagnostic>) -> Result<T, String> {
    let corefile = directive(text);
    with(&corefile.blocks[0].directives[0]).map_err(|error| {
        let span = error.span.expect("errors of words have a place");
        let help = error.help.unwrap_or_default();
        format!(
            "{}:{} {}|{help}|{}",
            span.line - 1,
            span.column,
            error.message,
            error.notes.join("|")
        )
    })
}

#[test]
fn words_come_in_order() {
    let corefile = directive("x a b c d");
    let mut words = corefile.blocks[0].directives[0].words();
    assert_eq!(words.peek().map(|word| word.text.as_str()), Some("a"));
    assert_eq!(words.next().map(|word| word.text.as_str()), Some("a"));
    assert_eq!(words.required("a word").map(|word| word.text.as_str()), Ok("b"));
    let rest: Vec<&str> = words.rest().iter().map(|word| word.text.as_str()).collect();
    assert_eq!(rest, ["c", "d"]);
    assert!(words.next().is_none() && words.peek().is_none() && words.end().is_ok());
    let missing = words.required("a word").expect_err("there is none");
    assert!(missing.message.ends_with("after 'd'"));
}

#[test]
fn words_too_few_or_too_many_are_named() {
    let wrong = "Wrong argument count or unexpected line ending after";
    type Read = fn(&Line) -> Result<(), Diagnostic>;
    let cases: [(&str, Read, String); 7] = [
        (
            "x",
            |line| line.words().required("an ADDRESS").map(drop),
            format!("1:1 {wrong} 'x'|add an ADDRESS|"),
        ),
        (
            "x",
            |line| line.words().required_rest("an ADDRESS").map(drop),
            format!("1:1 {wrong} 'x'|add an ADDRESS|"),
        ),
        (
            "x a b",
            |line| {
                let mut words = line.words();
                words.next();
                words.end()
            },
            format!("1:5 {wrong} 'b'|nothing may follow 'a' here|"),
        ),
        (
            "x {}",
            Line::no_arguments,
            format!("1:3 {wrong} '{{}}'|write '{{' and '}}' as two words, or leave them out|"),
        ),
        ("x a", Line::no_arguments, format!("1:3 {wrong} 'a'|nothing may follow 'x' here|")),
        (
            "x a {\n}",
            Line::no_body,
            "1:5 Unexpected token '{' after 'x'|'x' takes no block|".to_owned(),
        ),
        (
            "x {\n y a\n}",
            |line| line.lines()[0].no_arguments(),
            format!("2:4 {wrong} 'a'|nothing may follow 'y' here|"),
        ),
    ];
    for (text, with, expected) in cases {
        assert_eq!(read(text, with), Err(expected), "{text:?}");
    }
    assert_eq!(read("x", |line| line.no_arguments().and(line.no_body())), Ok(()));
}

#[test]
fn values_are_checked_against_what_is_allowed() {
    let port = |line: &Line| line.words().integer("a port", 1..=65535u16);
    let cases = [
        ("x 53", Ok(53)),
        ("x +53", Ok(53)),
        ("x 0", Err("1:3 0 is out of range for a port||allowed here: 1 to 65535")),
        ("x 65536", Err("1:3 65536 is out of range for a port||allowed here: 1 to 65535")),
        ("x -1", Err("1:3 -1 is out of range for a port||allowed here: 1 to 65535")),
        ("x 5a", Err("1:3 '5a' is not a port||allowed here: 1 to 65535")),
        ("x \"\"", Err("1:3 '' is not a port||allowed here: 1 to 65535")),
    ];
    for (text, expected) in cases {
        assert_eq!(
            read(text, port).as_ref().map_err(String::as_str),
            expected.as_ref().map_err(|e| *e)
        );
    }
    let ratio = |line: &Line| line.words().float("a ratio", 0.0..=1.0);
    assert_eq!(read("x .5", ratio), Ok(0.5));
    for text in ["2", "-1", "NaN", "inf", "a"] {
        let expected = format!("1:3 '{text}' is not a ratio||allowed here: 0 to 1");
        assert_eq!(read(&format!("x {text}"), ratio), Err(expected));
    }
    let policy =
        |line: &Line| line.words().one_of("a policy", &[("random", 1), ("round_robin", 2)]);
    assert_eq!(read("x round_robin", policy), Ok(2));
    assert_eq!(
        read("x round_robbin", policy).unwrap_err(),
        "1:3 unexpected 'round_robbin'|did you mean 'round_robin'?|allowed here: random, round_robin"
    );
    assert_eq!(
        read("x", policy).unwrap_err(),
        "1:1 Wrong argument count or unexpected line ending after 'x'\
         |add a policy (random, round_robin)|"
    );
}

#[test]
fn durations_are_checked_against_their_range() {
    fn duration(text: &str, range: impl RangeBounds<Duration>) -> Result<Duration, String> {
        read(text, |line| line.words().duration("a duration", range))
    }
    let second = Duration::from_secs(1);
    assert_eq!(duration("x 1m30s", second..), Ok(second * 90));
    assert_eq!(
        duration("x 5s", second * 10..=second * 60).unwrap_err(),
        "1:3 duration '5s' is out of range||allowed here: 10s to 1m"
    );
    assert_eq!(
        duration("x 0", second..).unwrap_err(),
        "1:3 duration '0' is out of range||allowed here: 1s or more"
    );
    assert_eq!(
        duration("x 2s", ..second).unwrap_err(),
        "1:3 duration '2s' is out of range||allowed here: 0s to less than 1s"
    );
    assert_eq!(
        duration("x 30", ..).unwrap_err(),
        "1:3 time: missing unit in duration \"30\"\
         |a duration needs a unit: '30s' for seconds, '30m' for minutes|"
    );
    assert_eq!(
        duration("x -5s", ..).unwrap_err(),
        "1:3 negative duration \"-5s\"|a duration may not be negative|"
    );
}

#[test]
fn durations_are_those_of_go() {
    let nanoseconds = [
        ("0", 0),
        ("-0", 0),
        ("+0", 0),
        ("5s", 5_000_000_000),
        ("+5s", 5_000_000_000),
        ("5.s", 5_000_000_000),
        (".5s", 500_000_000),
        ("1.0s", 1_000_000_000),
        ("1.004s", 1_004_000_000),
        ("1.0040s", 1_004_000_000),
        ("100.00100s", 100_001_000_000),
        ("10ns", 10),
        ("11us", 11_000),
        ("12\u{b5}s", 12_000),
        ("12\u{3bc}s", 12_000),
        ("13ms", 13_000_000),
        ("15m", 900_000_000_000),
        ("16h", 57_600_000_000_000),
        ("3h30m", 12_600_000_000_000),
        ("10.5s4m", 250_500_000_000),
        ("1h2m3s4ms5us6ns", 3_723_004_005_006),
        ("39h9m14.425s", 140_954_425_000_000),
        ("0.5ns", 0),
        ("-0.5ns", 0),
        ("52763797000ns", 52_763_797_000),
        ("0.3333333333333333333h", 1_200_000_000_000),
        ("0.100000000000000000000h", 360_000_000_000),
        ("9223372036854775807ns", i64::MAX as u64),
        ("9223372036854775.807us", i64::MAX as u64),
        ("9223372036s854ms775us807ns", i64::MAX as u64),
        ("0.830103483285477580700h", 2_988_372_539_827),
    ];
    for (text, expected) in nanoseconds {
        assert_eq!(parse_go_duration(text), Ok(Duration::from_nanos(expected)), "{text}");
    }
    let invalid = |text: &str| DurationError::Invalid(text.to_owned());
    let missing = |text: &str| DurationError::MissingUnit(text.to_owned());
    let unknown = |text: &str, unit: &str| DurationError::UnknownUnit {
        unit: unit.to_owned(),
        text: text.to_owned(),
    };
    let errors = [
        ("", invalid("")),
        ("3", missing("3")),
        ("-", invalid("-")),
        ("s", invalid("s")),
        (".", invalid(".")),
        ("-.", invalid("-.")),
        (".s", invalid(".s")),
        ("+.s", invalid("+.s")),
        ("1d", unknown("1d", "d")),
        ("1 s", unknown("1 s", " s")),
        ("5S", unknown("5S", "S")),
        ("1h 2m", unknown("1h 2m", "h ")),
        ("-1s", DurationError::Negative("-1s".to_owned())),
        ("9223372036854775808ns", invalid("9223372036854775808ns")),
        ("9223372036854775.808us", invalid("9223372036854775.808us")),
        ("9223372036854ms775us808ns", invalid("9223372036854ms775us808ns")),
        ("99999999999999999999s", invalid("99999999999999999999s")),
        ("3000000h", invalid("3000000h")),
    ];
    for (text, expected) in errors {
        assert_eq!(parse_go_duration(text), Err(expected), "{text}");
    }
}

#[test]
fn durations_are_written_briefly() {
    let cases = [
        (0, "0s"),
        (1, "1ns"),
        (1_500, "1.5us"),
        (2_000_000, "2ms"),
        (1_500_000, "1.5ms"),
        (1_500_000_000, "1.5s"),
        (60_000_000_000, "1m"),
        (5_400_000_000_000, "1h30m"),
        (3_600_000_000_001, "1h0.000000001s"),
    ];
    for (nanoseconds, expected) in cases {
        assert_eq!(format_go_duration(Duration::from_nanos(nanoseconds)), expected);
    }
}

#[test]
fn texts_of_coredns_keep_the_way_go_prints_durations() {
    let cases = [
        (0, "0s"),
        (1_500, "1.5\u{b5}s"),
        (20_000_000, "20ms"),
        (59_500_000_000, "59.5s"),
        (60_000_000_000, "1m0s"),
        (300_500_000_000, "5m0.5s"),
        (3_600_000_000_000, "1h0m0s"),
        (5_400_010_000_000, "1h30m0.01s"),
        (370_000_000_000_000, "102h46m40s"),
    ];
    for (nanoseconds, expected) in cases {
        assert_eq!(print_go_duration(Duration::from_nanos(nanoseconds)), expected);
    }
}
