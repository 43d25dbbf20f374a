//! What holds for every log format and every request: asked of random ones by the fuzzer, and by the tests of those that it keeps.

use std::time::Duration;

use periplus_core::query::{Query, admit};
use periplus_core::reply::Reply;

use super::format::{Format, Line};

/// Whoever asks cannot end the line or send control characters to a terminal. `input` is a format, a line feed, and a request.
pub fn holds(input: &[u8]) {
    let end = input.iter().position(|&byte| byte == b'\n').unwrap_or(input.len());
    let (text, request) = input.split_at(end);
    let text = String::from_utf8_lossy(text);
    let mut query = Query::empty();
    admit(request.get(1..).unwrap_or_default(), &mut query);
    let format = Format::parse(&text);
    let reply = Reply::to(&query, "log");
    for reply in [Some(&reply), None] {
        let mut line = String::new();
        let duration = Duration::from_nanos(u64::from(query.id) * 1_000_003);
        format.write(&Line { query: &query, reply, duration }, &mut line);
        assert!(controls(&line) <= controls(&text), "{text:?}: {line:?}");
        if !text.contains('}') {
            assert_eq!(line, text);
        }
    }
}

fn controls(text: &str) -> usize {
    text.chars().filter(|char| char.is_control()).count()
}

#[test]
fn the_corpus_keeps_to_it() {
    crate::testing::corpus("log_format").iter().for_each(|input| holds(input));
}
