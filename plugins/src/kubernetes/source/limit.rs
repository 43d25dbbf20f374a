//! `apiserver_qps`, `apiserver_burst` and `apiserver_max_inflight`.

use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// client-go's burst, which holds where only `apiserver_qps` is set.
const DEFAULT_BURST: u32 = 10;

/// Holds requests back until they may be sent.
///
/// Without settings nothing is held back: a source has one request per kind of object at a time and waits ever longer between
/// failures, so that client-go's default of 5 requests per second would only slow down the pages of a list.
pub(super) struct Limiter {
    rate: Option<Mutex<Bucket>>,
    inflight: Option<Semaphore>,
}

struct Bucket {
    per_second: f64,
    burst: f64,
    tokens: f64,
    filled: Instant,
}

impl Limiter {
    pub(super) fn new(qps: f32, burst: u32, max_inflight: u32) -> Limiter {
        let burst = f64::from(if burst == 0 { DEFAULT_BURST } else { burst });
        let bucket =
            || Bucket { per_second: f64::from(qps), burst, tokens: burst, filled: Instant::now() };
        Limiter {
            rate: (qps > 0.0).then(|| Mutex::new(bucket())),
            inflight: (max_inflight > 0).then(|| Semaphore::new(max_inflight as usize)),
        }
    }

    /// Waits until one more request may be sent. The permit is held until the answer's header is there, so that a
    /// watch does not count as in flight (CoreDNS's `newMaxInflightRoundTripper`).
    pub(super) async fn wait(&self) -> Option<SemaphorePermit<'_>> {
        if let Some(bucket) = &self.rate {
            let delay = bucket.lock().await.take(Instant::now());
            tokio::time::sleep(delay).await;
        }
        match &self.inflight {
            Some(semaphore) => semaphore.acquire().await.ok(),
            None => None,
        }
    }
}

impl Bucket {
    /// Takes a token, if need be one that is still to come, and returns how long to wait for it.
    fn take(&mut self, now: Instant) -> Duration {
        let gained = now.saturating_duration_since(self.filled).as_secs_f64() * self.per_second;
        self.tokens = (self.tokens + gained).min(self.burst) - 1.0;
        self.filled = now;
        Duration::try_from_secs_f64((-self.tokens / self.per_second).max(0.0))
            .unwrap_or(Duration::ZERO)
    }
}
