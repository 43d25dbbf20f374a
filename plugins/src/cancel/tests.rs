use std::sync::Arc;
use std::time::{Duration, Instant};

use periplus_core::codes::RecordType;
use periplus_core::plugin::{Outcome, Plugin};
use periplus_core::reply::{Answer, Reply};

use super::handler::Cancel;
use crate::testing::{ask, configure, delayed, query, refused, scripted, server};

/// The cause of the failure, or nothing if there was a reply.
fn asked(
    after: Duration,
    answer: impl Fn(Outcome) -> Outcome + Send + Sync + 'static,
) -> Option<String> {
    let inner = scripted(move |query| answer(Reply::to(query, "test").into()));
    let chain: Vec<Arc<dyn Plugin>> = vec![Arc::new(Cancel { after }), inner];
    match ask(&server(chain), &query("example.org.", RecordType::A)) {
        Answer::Failure(failure) => {
            assert_eq!(failure.source, "cancel");
            failure.cause.map(|cause| cause.text)
        }
        _ => None,
    }
}

#[test]
fn only_answers_that_take_too_long_are_given_up() {
    let short = Duration::from_millis(5);
    let long = Duration::from_secs(60);
    assert_eq!(asked(short, |answer| answer), None);
    assert_eq!(asked(long, move |answer| delayed(answer, short)), None);
    let start = Instant::now();
    let given_up = asked(short, move |answer| delayed(answer, long));
    assert_eq!(given_up.as_deref(), Some("context deadline exceeded"));
    assert!(start.elapsed() < long);
}

#[test]
fn an_answer_that_is_there_is_not_delayed_by_a_task() {
    let inner = scripted(|query| Reply::to(query, "test").into());
    let chain: Vec<Arc<dyn Plugin>> =
        vec![Arc::new(Cancel { after: Duration::from_secs(1) }), inner];
    let outcome = server(chain).dispatch(&query("example.org.", RecordType::A));
    assert!(matches!(outcome, Outcome::Now(Answer::Reply(_))));
}

#[test]
fn the_directive_is_read_or_refused() {
    for accepted in ["cancel", "cancel 5s", "cancel 500ms", "cancel 1s\ncancel"] {
        assert!(configure(".", accepted).unwrap().plugin.is_some(), "{accepted}");
    }
    let cases = [
        (
            "cancel 5",
            "Corefile:2:8: time: missing unit in duration \"5\" (a duration needs a unit: '5s' for seconds, '5m' for minutes)",
        ),
        ("cancel 0s", "Corefile:2:8: duration '0s' is out of range"),
        (
            "cancel 1s 2s",
            "Corefile:2:11: Wrong argument count or unexpected line ending after '2s' (nothing may follow '1s' here)",
        ),
        (
            "cancel {\n}",
            "Corefile:2:8: Unexpected token '{' after 'cancel' ('cancel' takes no block)",
        ),
    ];
    for (directives, expected) in cases {
        refused(".", directives, expected);
    }
    let error = configure(".", "cancel -1s").err().unwrap();
    assert!(error.starts_with("Corefile:2:8: "), "{error}");
}
