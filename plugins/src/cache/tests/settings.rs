//! Options: from text to settings, or to an exact error.

use std::time::Duration;

use periplus_core::memory::Budget;

use super::super::settings::{Limits, Prefetch, Settings, Stale, StaleMode};
use super::super::side::Side;
use super::super::store::Bounds;
use super::settings;
use crate::testing::{configure, name, refused};

const fn limits(capacity: usize, max: u32, min: u32) -> Limits {
    Limits { capacity, max, min }
}

fn stale(window: u64, mode: StaleMode, ttl: u32, recheck: u64) -> Option<Stale> {
    Some(Stale {
        window: Duration::from_secs(window),
        mode,
        ttl,
        recheck: Duration::from_secs(recheck),
    })
}

#[test]
fn limits_come_from_the_ttl_and_the_options() {
    let cases: &[(&str, Limits, Limits)] = &[
        ("cache", limits(10_000, 3600, 5), limits(10_000, 1800, 5)),
        ("cache 30", limits(10_000, 30, 5), limits(10_000, 30, 5)),
        ("cache 5000", limits(10_000, 5000, 5), limits(10_000, 5000, 5)),
        ("cache +30 example.org", limits(10_000, 30, 5), limits(10_000, 30, 5)),
        ("cache {\nsuccess 10\n}", limits(10, 3600, 5), limits(10_000, 1800, 5)),
        ("cache 30 {\nsuccess 10 60\n}", limits(10, 60, 5), limits(10_000, 30, 5)),
        ("cache {\ndenial 10 60 0\n}", limits(10_000, 3600, 5), limits(10, 60, 0)),
        ("cache {\nsuccess 10 60 7 ignored\n}", limits(10, 60, 7), limits(10_000, 1800, 5)),
    ];
    for (text, success, denial) in cases {
        let settings = settings(text);
        assert_eq!((settings.success, settings.denial), (*success, *denial), "{text}");
    }
}

#[test]
fn capacity_bounds_entries_and_bytes() {
    for (text, entries) in
        [("cache", 10_000), ("cache {\nsuccess 5000\n}", 5000), ("cache {\nsuccess 1\n}", 1024)]
    {
        let bounds = settings(text).bounds(Side::Success, Budget::default());
        assert_eq!(bounds, Bounds { entries, bytes: entries * 1024 }, "{text}");
    }
    let small = Budget::new(Some(64 << 20));
    let bounds = settings("cache").bounds(Side::Success, small);
    assert_eq!(bounds, Bounds { entries: 10_000, bytes: 6 << 20 }, "an eighth of what is left");
}

#[test]
fn a_shortest_ttl_above_the_longest_loses() {
    let settings = settings("cache 3");
    let clamped = [1, 4, 100].map(|ttl| settings.success.clamp(ttl));
    assert_eq!(clamped, [3, 3, 3]);
}

#[test]
fn options_are_read() {
    type Check = fn(&Settings) -> bool;
    let second = Duration::from_secs(1);
    let prefetch = |amount, window, percentage| Some(Prefetch { amount, window, percentage });
    for (text, expected) in [
        ("cache", None),
        ("cache {\nprefetch 0\n}", None),
        ("cache {\nprefetch 10\n}", prefetch(10, 60 * second, 10)),
        ("cache {\nprefetch 10 10s\n}", prefetch(10, 10 * second, 10)),
        ("cache {\nprefetch 10 1m 90%\n}", prefetch(10, 60 * second, 90)),
    ] {
        assert_eq!(settings(text).prefetch, expected, "{text}");
    }
    let verify = |timeout| StaleMode::Verify(Duration::from_millis(timeout));
    for (option, expected) in [
        ("serve_stale", stale(3600, StaleMode::Immediate, 0, 0)),
        ("serve_stale 20m", stale(1200, StaleMode::Immediate, 0, 0)),
        ("serve_stale 1h IMMEDIATE", stale(3600, StaleMode::Immediate, 0, 0)),
        ("serve_stale 1h immediate 30s 30s", stale(3600, StaleMode::Immediate, 30, 30)),
        ("serve_stale 1h verify", stale(3600, verify(0), 0, 0)),
        ("serve_stale 1h Verify 100ms", stale(3600, verify(100), 0, 0)),
        ("serve_stale 1h verify 0 30s 5m", stale(3600, verify(0), 30, 300)),
    ] {
        assert_eq!(settings(&format!("cache {{\n{option}\n}}")).stale, expected, "{option}");
    }
    let checks: &[(&str, Check)] = &[
        ("keepttl", |settings| settings.keep_ttl),
        ("servfail 0", |settings| settings.servfail.is_zero()),
        ("servfail 5m", |settings| settings.servfail == Duration::from_secs(300)),
        ("serve_stale\nserve_stale_policy Prefer_Positive", |settings| settings.prefer_positive),
    ];
    for (option, check) in checks {
        assert!(check(&settings(&format!("cache {{\n{option}\n}}"))), "{option}");
        assert!(!check(&settings("cache")), "{option} is the default");
    }
}

#[test]
fn without_serve_stale_old_answers_are_for_failures() {
    for (options, fallback, stale) in [
        ("cache", true, false),
        ("cache {\nservfail 0\n}", true, false),
        ("cache {\nserve_stale off\n}", false, false),
        ("cache {\nserve_stale\n}", false, true),
    ] {
        let settings = settings(options);
        let found = (settings.fallback.is_some(), settings.stale.is_some());
        assert_eq!(found, (fallback, stale), "{options}");
    }
}

#[test]
fn sides_are_disabled_by_zone() {
    let asked = name("a.svc.cluster.local");
    // (options, success disabled, denial disabled, nothing is looked up)
    let cases = [
        ("disable success", true, false, false),
        ("disable denial", false, true, false),
        ("disable success cluster.local", true, false, false),
        ("disable success cluster.local\ndisable denial cluster.local", true, true, true),
        ("disable success\ndisable denial svc.cluster.local", true, true, true),
        ("disable success svc.cluster.local\ndisable denial", true, true, true),
        ("disable success svc.cluster.local\ndisable denial pod.cluster.local", true, false, false),
        ("disable success cluster.local\ndisable success example.org", false, false, false),
    ];
    for (options, success, denial, never) in cases {
        let settings = settings(&format!("cache {{\n{options}\n}}"));
        let asked = asked.as_ref();
        let found = (
            settings.disabled(Side::Success, asked),
            settings.disabled(Side::Denial, asked),
            settings.never_keeps(asked),
        );
        assert_eq!(found, (success, denial, never), "{options}");
    }
}

#[test]
fn bad_options_are_refused_with_the_reason() {
    let cases = [
        ("cache 0", "2:7: cache TTL can not be zero or negative: 0 (write seconds from 1 on)"),
        ("cache -1", "2:7: cache TTL can not be zero or negative: -1 (write seconds from 1 on)"),
        ("cache 99999999999", "2:7: 99999999999 is out of range for a TTL in seconds"),
        ("cache\ncache", "3:1: this plugin can only be used once per Server Block"),
        ("cache {\nsucces 10\n}", "3:1: unknown property 'succes' (did you mean 'success'?)"),
        (
            "cache {\nsuccess\n}",
            "3:1: Wrong argument count or unexpected line ending after 'success' (add a capacity in entries)",
        ),
        ("cache {\nsuccess many\n}", "3:9: 'many' is not a capacity"),
        (
            "cache {\ndenial 10 0\n}",
            "3:11: cache TTL can not be zero or negative: 0 (write seconds from 1 on)",
        ),
        (
            "cache {\ndenial 10 30 -1\n}",
            "3:14: cache min TTL can not be negative: -1 (write seconds from 0 on)",
        ),
        (
            "cache {\nprefetch -1\n}",
            "3:10: prefetch amount should be positive: -1 (0 turns prefetching off)",
        ),
        (
            "cache {\nprefetch 1 1m 10\n}",
            "3:15: last character of percentage should be `%`, but is: '0' (write 10% to 90%)",
        ),
        (
            "cache {\nprefetch 1 1m 95%\n}",
            "3:15: percentage should fall in range [10, 90]: 95 (write 10% to 90%)",
        ),
        (
            "cache {\nprefetch 1 1m 10% 1\n}",
            "3:19: Wrong argument count or unexpected line ending after '1' (nothing may follow '10%' here)",
        ),
        (
            "cache {\nserve_stale 30\n}",
            "3:13: time: missing unit in duration \"30\" (a duration needs a unit: '30s' for seconds, '30m' for minutes)",
        ),
        (
            "cache {\nserve_stale 1h later\n}",
            "3:16: invalid value for serve_stale refresh mode: later",
        ),
        (
            "cache {\nserve_stale 1h immediate 1500ms\n}",
            "3:26: serve_stale response TTL must be a whole number of seconds",
        ),
        (
            "cache {\nserve_stale 1h immediate 1s 6m\n}",
            "3:29: serve_stale failure recheck cannot exceed 5 minutes",
        ),
        (
            "cache {\nserve_stale 1h immediate 1s 1s 1s\n}",
            "3:32: Wrong argument count or unexpected line ending after '1s' (nothing may follow '1s' here)",
        ),
        (
            "cache {\nserve_stale_policy prefer_positive\n}",
            "3:1: serve_stale_policy requires serve_stale (add a line 'serve_stale')",
        ),
        (
            "cache {\nserve_stale off\nserve_stale_policy prefer_positive\n}",
            "4:1: serve_stale_policy requires serve_stale (add a line 'serve_stale')",
        ),
        (
            "cache {\nserve_stale off 1h\n}",
            "3:13: time: invalid duration \"off\" (a duration is a number and a unit (ns, us, ms, s, m or h), as in 1m30s)",
        ),
        (
            "cache {\nserve_stale\nserve_stale_policy prefer_negative\n}",
            "4:20: invalid serve_stale_policy: prefer_negative",
        ),
        (
            "cache {\nserve_stale\nserve_stale_policy prefer_positive\nserve_stale_policy prefer_positive\n}",
            "5:1: serve_stale_policy can only be specified once",
        ),
        (
            "cache {\nservfail 6m\n}",
            "3:10: caching SERVFAIL responses over 5 minutes is not permitted",
        ),
        (
            "cache {\ndisable\n}",
            "3:1: Wrong argument count or unexpected line ending after 'disable' (add what to disable: success or denial)",
        ),
        (
            "cache {\ndisable everything\n}",
            "3:9: cache type for disable must be \"success\" or \"denial\" ('everything' is neither)",
        ),
        ("cache {\ndisable success a..b\n}", "3:17: invalid disabled zone: a..b"),
        (
            "cache {\nkeepttl now\n}",
            "3:9: Wrong argument count or unexpected line ending after 'now' (nothing may follow 'keepttl' here)",
        ),
    ];
    for (text, error) in cases {
        refused(".", text, &format!("Corefile:{error}"));
    }
}

#[test]
fn all_errors_are_reported_at_once() {
    let error = configure(".", "cache 0 {\nsuccess x\nkeepttl 1\nservfail 1h\n}").err();
    assert_eq!(error.map(|error| error.lines().count()), Some(4));
}
