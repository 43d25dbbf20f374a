use std::hash::{BuildHasher, Hasher};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use periplus_core::metrics::{PerWorker, Registry};
use periplus_core::name::NameRef;
use periplus_core::query::Query;

use super::loudest::Tally;
use super::settings::Settings;
use super::window::{ADDRESS, Half, Kind, Windows};

/// What all workers counted, for all server blocks of a configuration.
pub(super) struct Talkers {
    pub(super) settings: Settings,
    /// Length of a window in nanoseconds.
    length: u64,
    start: Instant,
    /// Strangers choose the names: the seed is this process's own.
    seed: foldhash::quality::RandomState,
    workers: PerWorker<Windows>,
}

impl Talkers {
    /// Nothing counted yet.
    pub(super) fn new(settings: Settings, registry: &Registry) -> Talkers {
        Talkers {
            settings,
            length: settings.window.as_nanos() as u64,
            start: Instant::now(),
            seed: foldhash::quality::RandomState::default(),
            workers: registry.per_worker(move || Windows::new(&settings, fastrand::u64(..))),
        }
    }

    /// Counts a query.
    #[inline]
    pub(super) fn count(&self, query: &Query, nxdomain: bool) {
        let now = self.since_start(query.received);
        self.workers.write(|windows| {
            let half = windows.at(now, self.length);
            let weight = half.weight();
            if weight != 0 {
                self.count_in(half, query, nxdomain, weight);
            }
        });
    }

    #[inline(never)]
    fn count_in(&self, half: &Half, query: &Query, nxdomain: bool, weight: u32) {
        if let Some(clients) = half.sketch(Kind::Clients) {
            let address = address_key(query.peer.ip());
            clients.count(self.hash(&address), &address, weight);
        }
        let names = half.sketch(Kind::Names);
        let nxdomain = half.sketch(Kind::Nxdomain).filter(|_| nxdomain);
        if names.is_some() || nxdomain.is_some() {
            let name = query.name().as_wire();
            let hash = self.hash(name);
            for sketch in names.into_iter().chain(nxdomain) {
                sketch.count(hash, name, weight);
            }
        }
    }

    /// What was counted in the length of a window before `now`: all of the current window, and of the one before the share that its end
    /// has in that time. `None` if nobody wants it.
    pub(super) fn tally(&self, kind: Kind, now: Instant) -> Option<Tally<'_>> {
        let wanted = match kind {
            Kind::Clients => self.settings.clients + self.settings.namespaces,
            Kind::Names => self.settings.names,
            Kind::Nxdomain => self.settings.nxdomain,
        };
        let now = self.since_start(now);
        let (window, gone) = (now / self.length, now % self.length);
        let rest = 1.0 - gone as f64 / self.length as f64;
        let mut tally = Tally::default();
        for windows in self.workers.iter() {
            for (window, share) in [(Some(window), 1.0), (window.checked_sub(1), rest)] {
                if let Some((sketch, entries)) = window.and_then(|at| windows.read(kind, at)) {
                    tally.add(sketch, &entries, share);
                }
            }
        }
        (wanted > 0).then_some(tally)
    }

    /// The client whose key these bytes are, if they have the hash.
    pub(super) fn client(&self, key: &[u8], hash: u64) -> Option<IpAddr> {
        let key: [u8; ADDRESS] = key.try_into().ok()?;
        let address = IpAddr::V6(Ipv6Addr::from(key)).to_canonical();
        (self.hash(&key) == hash).then_some(address)
    }

    /// The name at the start of these bytes, if it has the hash.
    pub(super) fn name<'a>(&self, key: &'a [u8], hash: u64) -> Option<NameRef<'a>> {
        NameRef::at_start_of(key).filter(|name| self.hash(name.as_wire()) == hash)
    }

    fn since_start(&self, time: Instant) -> u64 {
        let elapsed = time.saturating_duration_since(self.start);
        elapsed.as_secs() * 1_000_000_000 + u64::from(elapsed.subsec_nanos())
    }

    /// Never 0, which marks a free place of a sketch.
    #[inline]
    fn hash(&self, key: &[u8]) -> u64 {
        let mut hasher = self.seed.build_hasher();
        hasher.write(key);
        hasher.finish().max(1)
    }

    /// Bytes that the workers' sketches take, each worker's.
    #[cfg(test)]
    pub(super) fn memory(&self) -> Vec<usize> {
        self.workers.iter().map(Windows::memory).collect()
    }
}

fn address_key(address: IpAddr) -> [u8; ADDRESS] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}
