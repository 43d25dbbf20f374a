//! The cluster index: what is known of the cluster, ready to be sent.
//!
//! ```text
//!  sources --Change--> apply (one writer) --> services            wire form of `svc.ns` -> service with its endpoints
//!                                         --> cluster addresses   address -> services
//!                                         --> endpoint addresses  address -> slices
//!                                         --> pods                address and namespace
//!                                         --> namespaces          label -> exposed or not
//!                                                ^
//!                            queries read, never waiting
//! ```
//!
//! It is a plain value: no client inside, so that tests feed it by hand. Readers walk lock-free maps. A service and its
//! endpoints are one immutable entry which an event replaces in one step, so that nobody sees half an update; what an event costs depends
//! on the service it touches, not on the cluster. Slices that come before their Service wait in an entry that
//! answers nothing.
//!
//! Why concurrent maps: at 10,000 services, finding one costs the same as in a whole table behind an atomic pointer (both are a few
//! cache misses), while an event costs 0.4 µs instead of the 2.5 ms that copying the table takes. A lock would make readers wait.
//!
//! The key of a service is what stands in the middle of its DNS name on the wire (`\x03web\x07default`), so that a look-up hashes a
//! piece of the question as it is.
//!
//! Strangers choose the names that are looked up, but only what the API server holds is ever stored; the hash function has a seed
//! of its own in every process.

mod addresses;
mod entry;
mod namespace;
mod pods;
mod ports;
mod slice;
#[cfg(test)]
mod tests;
mod writer;

use std::collections::HashMap;
use std::fmt;
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::atomic::{
    AtomicU8, AtomicU32,
    Ordering::{Acquire, Relaxed, Release},
};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use foldhash::fast::RandomState;
use periplus_core::identity::Holders;

use addresses::AddressMap;
pub(super) use entry::{AddressSets, Kind, ServiceEntry, Target};
use namespace::Namespace;
pub(super) use ports::{PortQuery, PortRef};
pub(super) use slice::{EndpointQuery, EndpointRef, Slice};
use writer::Writer;

use super::metrics::Metrics;
use super::objects::{Change, Resource};
use super::source::Sink;

type Map<K, V> = papaya::HashMap<K, V, RandomState>;

/// `\x03web\x07default`: service and namespace as two labels in lower case.
pub(super) type ServiceKey = Arc<[u8]>;

/// Time since the Unix epoch.
pub type Clock = Arc<dyn Fn() -> Duration + Send + Sync>;

/// What the index has to know of the configuration.
pub struct IndexSettings {
    /// TTL of the records, in seconds.
    pub ttl: u32,
    /// Namespaces to answer for; none: all that exist.
    pub namespaces: Vec<String>,
    /// Whether endpoints without a host name are named after their Pod.
    pub endpoint_pod_names: bool,
    /// The kinds of objects that sources will report.
    pub watched: Vec<Resource>,
    /// Where the time comes from.
    pub clock: Clock,
}

impl Default for IndexSettings {
    /// CoreDNS's defaults and the system's clock.
    fn default() -> IndexSettings {
        IndexSettings {
            ttl: 5,
            namespaces: Vec::new(),
            endpoint_pod_names: false,
            watched: vec![Resource::Services, Resource::EndpointSlices, Resource::Namespaces],
            clock: Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()),
        }
    }
}

/// What is known of the cluster.
pub struct Index {
    settings: IndexSettings,
    metrics: Option<Metrics>,
    services: Map<ServiceKey, ServiceEntry>,
    cluster_addresses: AddressMap<ServiceKey>,
    endpoint_addresses: AddressMap<Arc<Slice>>,
    namespaces: Map<Box<[u8]>, Arc<Namespace>>,
    pods: pods::Pods,
    /// Unix time in seconds of the last change that matters.
    serial: AtomicU32,
    /// A bit for each kind of object whose first list is complete.
    synced: AtomicU8,
    writer: Mutex<Writer>,
}

impl Index {
    /// An empty index.
    pub fn new(settings: IndexSettings) -> Index {
        Index {
            settings,
            metrics: None,
            services: Map::default(),
            cluster_addresses: AddressMap::default(),
            endpoint_addresses: AddressMap::default(),
            namespaces: Map::default(),
            pods: pods::Pods::default(),
            serial: AtomicU32::new(0),
            synced: AtomicU8::new(0),
            writer: Mutex::default(),
        }
    }

    /// The same, measuring how long changes took to get here.
    pub fn with_metrics(mut self, metrics: Metrics) -> Index {
        self.metrics = Some(metrics);
        self
    }

    /// Takes in one change. Queries go on meanwhile; a second caller waits for the first.
    pub fn apply(&self, change: Change) {
        let mut writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner);
        writer.apply(self, change);
    }

    /// Notes that the first list of a kind has been applied to its end.
    pub fn synced(&self, resource: Resource) {
        if resource == Resource::Services {
            make_roomy(&self.services);
            self.cluster_addresses.make_roomy();
        }
        self.synced.fetch_or(bit(resource), Release);
    }

    /// Whether the first lists of all kinds are complete.
    pub fn is_synced(&self) -> bool {
        let wanted = self.settings.watched.iter().fold(0, |bits, &resource| bits | bit(resource));
        self.synced.load(Acquire) & wanted == wanted
    }

    /// The kinds whose first list is not complete.
    pub fn unsynced(&self) -> impl Iterator<Item = Resource> {
        let synced = self.synced.load(Acquire);
        self.settings.watched.iter().copied().filter(move |&resource| synced & bit(resource) == 0)
    }

    /// The zone's serial number: Unix time of the last change that DNS shows, 0 before the first one.
    pub fn serial(&self) -> u32 {
        self.serial.load(Relaxed)
    }

    /// TTL of the records, in seconds.
    pub fn ttl(&self) -> u32 {
        self.settings.ttl
    }

    /// Looks at a service: `read` is given what is known under its key.
    pub(super) fn service<R>(
        &self,
        key: &[u8],
        read: impl FnOnce(Option<&ServiceEntry>) -> R,
    ) -> R {
        read(self.services.pin().get(key))
    }

    /// Whether a namespace exists and is answered for.
    pub(super) fn is_exposed(&self, namespace: &[u8]) -> bool {
        self.namespaces.pin().get(namespace).is_some_and(|namespace| namespace.is_exposed())
    }

    /// Whether a Pod with this address is known in a namespace.
    pub(super) fn has_pod(&self, namespace: &[u8], address: IpAddr) -> bool {
        let namespaces = self.namespaces.pin();
        namespaces.get(namespace).is_some_and(|namespace| self.pods.contains(namespace.id, address))
    }

    /// Says which of these addresses are those of Pods, and of which namespaces: a walk through all Pods, for whoever is no query.
    pub(super) fn tell_namespaces(&self, holders: &mut Holders) {
        if holders.is_empty() {
            return;
        }
        let namespaces = self.namespaces.pin();
        let name = |name: &[u8]| Arc::<str>::from(String::from_utf8_lossy(name));
        let names: HashMap<u32, Arc<str>, RandomState> =
            namespaces.iter().map(|(key, namespace)| (namespace.id, name(key))).collect();
        self.pods.each(|address, namespace| {
            if let Some(holder) = holders.get_mut(&address)
                && let Some(name) = names.get(&namespace)
            {
                holder.add(name);
            }
        });
    }

    /// Looks at the services that have a cluster IP.
    pub(super) fn services_at<R>(
        &self,
        address: IpAddr,
        read: impl FnOnce(&[ServiceKey]) -> R,
    ) -> R {
        self.cluster_addresses.at(address, read)
    }

    /// Looks at the slices that have an endpoint with an address.
    pub(super) fn slices_at<R>(&self, address: IpAddr, read: impl FnOnce(&[Arc<Slice>]) -> R) -> R {
        self.endpoint_addresses.at(address, read)
    }

    /// Notes that something has changed that DNS shows.
    fn touch(&self) {
        self.serial.store((self.settings.clock)().as_secs() as u32, Relaxed);
    }
}

impl Sink for Index {
    fn apply(&self, change: Change) {
        Index::apply(self, change);
    }

    fn synced(&self, resource: Resource) {
        Index::synced(self, resource);
    }
}

/// Counts only: an index of a real cluster fills screens.
impl fmt::Debug for Index {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Index")
            .field("services", &self.services.len())
            .field("namespaces", &self.namespaces.len())
            .field("serial", &self.serial())
            .finish_non_exhaustive()
    }
}

/// Makes a map at least twice as large as what is in it. By itself it fills up to nine tenths before it grows, and then a look-up, most
/// of all one of a name that is not there, goes through tens of places.
fn make_roomy<K: Hash + Eq, V>(map: &Map<K, V>) {
    let map = map.pin();
    map.reserve(map.len() / 2);
}

fn bit(resource: Resource) -> u8 {
    match resource {
        Resource::Services => 1,
        Resource::EndpointSlices => 2,
        Resource::Namespaces => 4,
        Resource::Pods => 8,
    }
}
