use std::time::Duration;

use crate::testing::{configure, refused};

#[test]
fn the_interval_is_set_and_jitter_is_at_most_half_of_it() {
    // (directives, interval, jitter) in milliseconds
    let cases = [
        ("reload", 30_000, 15_000),
        ("reload 10s", 10_000, 5_000),
        ("reload 60s", 60_000, 15_000),
        ("reload 2s 0", 2_000, 0),
        ("reload 2s 1s", 2_000, 1_000),
        ("reload 10s 7s", 10_000, 5_000),
        ("reload 1h 10s", 3_600_000, 10_000),
        ("reload 10s 1s\nreload 20s 2s", 20_000, 2_000),
    ];
    for (directives, interval, jitter) in cases {
        let configured = configure(".", directives).unwrap();
        assert!(configured.plugin.is_none());
        let reload = configured.instance.reload.unwrap();
        let expected = (Duration::from_millis(interval), Duration::from_millis(jitter));
        assert_eq!((reload.interval, reload.jitter), expected, "{directives}");
    }
}

#[test]
fn without_the_directive_nobody_looks() {
    assert_eq!(configure(".", "whoami").unwrap().instance.reload, None);
}

#[test]
fn the_directive_is_refused_when_it_is_wrong() {
    let cases = [
        ("reload 1s", "Corefile:2:8: interval value must be greater or equal to 2s, not 1s"),
        (
            "reload 10 500ms",
            "Corefile:2:8: time: missing unit in duration \"10\" (a duration needs a unit: '10s' for seconds, '10m' for minutes)\n\
             Corefile:2:11: jitter value must be 0 or greater or equal to 1s, not 500ms",
        ),
        (
            "reload 10s 5s 1s",
            "Corefile:2:15: Wrong argument count or unexpected line ending after '1s' (nothing may follow '5s' here)",
        ),
        (
            "reload {\n}",
            "Corefile:2:8: Unexpected token '{' after 'reload' ('reload' takes no block)",
        ),
    ];
    for (directives, expected) in cases {
        refused(".", directives, expected);
    }
}
