//! Who is turned away because it asks more than its share, told in a bounded way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use periplus_core::metrics::{Counter, Registry};

const DROPPED: &str = "periplus_dropped_requests_total";
const DROPPED_HELP: &str = "Counter of requests and connections that were turned away, by reason.";
const BY_CLIENT: &str = "periplus_client_share_exceeded_total";
const BY_CLIENT_HELP: &str = "Counter of requests that were turned away because their client asked more than its share while the server was at its limit.";
/// Clients that the metric names; those that come later count as `other`.
const MAX_CLIENTS: usize = 20;
/// The same client is named in the log again after this.
const REMIND: Duration = Duration::from_secs(600);
/// Lines in the log within `REMIND`, whoever they name.
const MAX_LINES: usize = 20;

/// Counts requests that were turned away for their client's sake.
pub(super) struct TurnedAway {
    total: Counter,
    by_client: Mutex<ByClient>,
}

struct ByClient {
    registry: Arc<Registry>,
    counters: HashMap<IpAddr, Counter>,
    other: Option<Counter>,
    told: Vec<(IpAddr, Instant)>,
}

impl TurnedAway {
    /// Nobody yet.
    pub(super) fn new(metrics: &Arc<Registry>) -> TurnedAway {
        let by_client = ByClient {
            registry: Arc::clone(metrics),
            counters: HashMap::new(),
            other: None,
            told: Vec::new(),
        };
        TurnedAway {
            total: TurnedAway::counter(metrics, "client_share"),
            by_client: Mutex::new(by_client),
        }
    }

    /// The counter of all that is turned away for a reason.
    pub(super) fn counter(metrics: &Registry, reason: &str) -> Counter {
        metrics.counter(DROPPED, DROPPED_HELP, &[("reason", reason)])
    }

    /// The same, asked for when the metrics are read.
    pub(super) fn computed(
        metrics: &Registry,
        reason: &str,
        value: impl Fn() -> f64 + Send + Sync + 'static,
    ) {
        metrics.computed(DROPPED, DROPPED_HELP, "counter", &[("reason", reason)], value);
    }

    /// Counts `count` requests of a client, and names it in the log if that was not done lately.
    pub(super) fn add(&self, client: IpAddr, count: u64) {
        self.total.add(count);
        let mut clients = self.lock();
        clients.counter(client).add(count);
        if clients.is_news(client, Instant::now()) {
            tracing::warn!(
                "client {client} asks more than its share while the server is at its limit: what is above the share is turned away \
                 ({BY_CLIENT} counts it)"
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, ByClient> {
        self.by_client.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ByClient {
    fn counter(&mut self, client: IpAddr) -> &Counter {
        let make =
            |client: &str| self.registry.counter(BY_CLIENT, BY_CLIENT_HELP, &[("client", client)]);
        if self.counters.len() >= MAX_CLIENTS && !self.counters.contains_key(&client) {
            return self.other.get_or_insert_with(|| make("other"));
        }
        self.counters.entry(client).or_insert_with(|| make(&client.to_string()))
    }

    fn is_news(&mut self, client: IpAddr, now: Instant) -> bool {
        self.told.retain(|(_, at)| now.duration_since(*at) < REMIND);
        if self.told.len() >= MAX_LINES || self.told.iter().any(|(told, _)| *told == client) {
            return false;
        }
        self.told.push((client, now));
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client(number: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, number])
    }

    #[test]
    fn the_metric_names_few_clients_and_counts_all() {
        let registry = Arc::new(Registry::new(1));
        let turned_away = TurnedAway::new(&registry);
        for number in 0..200 {
            turned_away.add(client(number), 3);
        }
        let text = registry.expose();
        assert_eq!(text.lines().filter(|line| line.starts_with(BY_CLIENT)).count(), 21, "{text}");
        let line = |start: &str| text.lines().any(|line| line == start);
        assert!(line(&format!("{BY_CLIENT}{{client=\"10.0.0.7\"}} 3")), "{text}");
        assert!(line(&format!("{BY_CLIENT}{{client=\"other\"}} 540")), "{text}");
        assert!(line(&format!("{DROPPED}{{reason=\"client_share\"}} 600")), "{text}");
    }

    #[test]
    fn a_client_is_named_once_in_ten_minutes_and_few_in_all() {
        let turned_away = TurnedAway::new(&Arc::new(Registry::new(1)));
        let mut clients = turned_away.lock();
        let now = Instant::now();
        assert!(clients.is_news(client(1), now));
        assert!(!clients.is_news(client(1), now + REMIND / 2));
        assert!(clients.is_news(client(2), now + REMIND / 2));
        assert!(clients.is_news(client(1), now + REMIND));
        let named =
            (0..200).filter(|number| clients.is_news(client(*number), now + REMIND)).count();
        assert_eq!(named, MAX_LINES - 2);
    }
}
