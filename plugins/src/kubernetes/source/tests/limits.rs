//! The rate of requests, and the waits after failures.

use std::time::Duration;

use tokio::time::{Instant, timeout};

use crate::kubernetes::source::backoff::Backoff;
use crate::kubernetes::source::failure::Failure;
use crate::kubernetes::source::limit::Limiter;

#[tokio::test]
async fn requests_beyond_the_burst_wait() {
    let limiter = Limiter::new(20.0, 3, 0);
    let start = Instant::now();
    for _ in 0..3 {
        limiter.wait().await;
    }
    limiter.wait().await;
    limiter.wait().await;
    // Never earlier than the rate allows; the tokens gained on the way are few.
    assert!(start.elapsed() >= Duration::from_millis(90));
}

#[tokio::test]
async fn without_settings_nothing_waits() {
    let limiter = Limiter::new(0.0, 1, 0);
    for _ in 0..10_000 {
        assert!(limiter.wait().await.is_none());
    }
}

#[tokio::test]
async fn only_so_many_requests_are_in_flight() {
    let limiter = Limiter::new(0.0, 0, 2);
    let (first, _second) = (limiter.wait().await, limiter.wait().await);
    assert!(timeout(Duration::from_millis(20), limiter.wait()).await.is_err());
    drop(first);
    assert!(limiter.wait().await.is_some());
}

#[test]
fn waits_double_up_to_a_limit_and_begin_again() {
    let milliseconds = Duration::from_millis;
    let mut backoff = Backoff::new(milliseconds(100), milliseconds(500));
    let failure = Failure::Connect("refused".to_owned());
    for step in [100, 200, 400, 500, 500] {
        let wait = backoff.after(&failure, false);
        assert!(
            wait >= milliseconds(step / 2) && wait <= milliseconds(step),
            "{wait:?} in step {step}"
        );
    }
    // What an outage has taught does not hold up a try at something else; that grows by itself.
    for step in [100, 200, 400, 500, 500] {
        assert!(backoff.after(&Failure::Expired, true) <= milliseconds(step), "step {step}");
    }
    backoff.reset();
    assert!(backoff.after(&failure, false) <= milliseconds(100));
    assert!(backoff.after(&Failure::Expired, true) <= milliseconds(100));
}

#[test]
fn a_wait_is_not_shorter_than_asked_nor_endless() {
    let seconds = Duration::from_secs;
    let mut backoff = Backoff::new(seconds(1), seconds(15));
    let busy = |after| Failure::Status { code: 429, text: String::new(), after };
    assert!(backoff.after(&busy(None), false) <= seconds(1));
    let waits: Vec<_> = (0..20).map(|_| backoff.after(&busy(Some(seconds(20))), false)).collect();
    assert!(waits.iter().all(|wait| (seconds(20)..=seconds(25)).contains(wait)), "{waits:?}");
    assert!(waits.iter().any(|wait| *wait != waits[0]), "not all at once: {waits:?}");
    for after in [seconds(3600), Duration::MAX] {
        let wait = backoff.after(&busy(Some(after)), false);
        assert!((seconds(24)..=seconds(30)).contains(&wait), "{wait:?}");
    }
}
