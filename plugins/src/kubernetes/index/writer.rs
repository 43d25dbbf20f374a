//! How changes get into the index.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock};

use foldhash::fast::RandomState;
use periplus_core::codes::RecordType;
use periplus_core::name::{MAX_LABEL, Name};
use periplus_core::record::RecordSet;
use smallvec::SmallVec;

use super::super::objects::{
    Change, EndpointSlice, ObjectKey, Pod, Resource, Service, ServiceKind,
};
use super::entry::{AddressSets, Kind, ServiceEntry, Slices, Target};
use super::namespace::Namespace;
use super::pods::PodAddresses;
use super::ports::{PortLists, Ports};
use super::slice::{self, ByKey, Slice};
use super::{Index, ServiceKey, bit};

/// What only the writer needs to remember.
#[derive(Default)]
pub(super) struct Writer {
    slices: HashSet<ByKey, RandomState>,
    pods: PodAddresses,
    port_lists: PortLists,
    next_namespace: u32,
}

impl Writer {
    pub(super) fn apply(&mut self, index: &Index, change: Change) {
        match change {
            Change::Service(service) => self.put_service(index, &service),
            Change::ServiceGone(key) => self.remove_service(index, &key),
            Change::Slice(slice) => self.put_slice(index, &slice),
            Change::SliceGone(key) => self.remove_slice(index, &key),
            Change::Namespace(name) => self.put_namespace(index, &name),
            Change::NamespaceGone(name) => remove_namespace(index, &name),
            Change::Pod(pod) => self.put_pod(index, &pod),
            Change::PodGone(key) => self.remove_pod(index, &key),
        }
    }

    fn put_service(&mut self, index: &Index, service: &Service) {
        let Some(key) = service_key(&service.key.namespace, &service.key.name) else { return };
        let services = index.services.pin();
        let old = services.get_key_value(&key);
        let known = old.map(|(_, entry)| entry).filter(|entry| !matches!(entry.kind, Kind::Absent));
        let mut new = ServiceParts::new(service, index.settings.ttl);
        if known.is_some_and(|known| new.is_as(known)) {
            return;
        }
        new.ports = self.port_lists.share(new.ports);
        // As CoreDNS's serial: of an update, ports and the external name count.
        let touched = known
            .is_none_or(|known| known.ports != new.ports || !same_target(&known.kind, &new.kind));
        let before: Vec<IpAddr> = known.map_or_else(Vec::new, cluster_addresses);
        let (key, slices) = match old {
            Some((key, entry)) => (Arc::clone(key), entry.slices.clone()),
            None => (key, Slices::new()),
        };
        let after = new.addresses.clone();
        let namespace = match old {
            Some((_, entry)) => Arc::clone(&entry.namespace),
            None => self.join_namespace(index, &service.key.namespace),
        };
        services.insert(Arc::clone(&key), new.into_entry(namespace, slices, index.settings.ttl));
        let is_this = |other: &ServiceKey| *other == key;
        for address in before.iter().filter(|address| !after.contains(address)) {
            index.cluster_addresses.replace(*address, is_this, None);
        }
        for address in after.iter().filter(|address| !before.contains(address)) {
            index.cluster_addresses.replace(*address, is_this, Some(Arc::clone(&key)));
        }
        if touched {
            index.touch();
        }
    }

    fn remove_service(&mut self, index: &Index, key: &ObjectKey) {
        let Some(key) = service_key(&key.namespace, &key.name) else { return };
        let services = index.services.pin();
        let Some(old) = services.get(&key).filter(|entry| !matches!(entry.kind, Kind::Absent))
        else {
            return;
        };
        for address in cluster_addresses(old) {
            index.cluster_addresses.replace(address, |other: &ServiceKey| *other == key, None);
        }
        put_slices(index, &key, old, old.slices.clone(), true);
        index.touch();
    }

    fn put_slice(&mut self, index: &Index, slice: &EndpointSlice) {
        let service =
            slice.service.as_ref().and_then(|name| service_key(&slice.key.namespace, name));
        let mut new = Slice::pack(slice, service, index.settings.endpoint_pod_names);
        let old = self.slices.get(&*slice::key_of(&slice.key)).map(|slice| Arc::clone(&slice.0));
        if old.as_deref() == Some(&new) {
            return observe(index, slice, &new);
        }
        // The key's bytes are shared with the service's entry.
        if let Some(key) = &mut new.service {
            *key = self.share_key(index, key, &slice.key.namespace);
        }
        let new = Arc::new(new);
        self.slices.replace(ByKey(Arc::clone(&new)));
        if let Some(left) = old.as_ref().filter(|old| old.service != new.service) {
            attach(index, Some(left), None);
            attach(index, None, Some(&new));
        } else {
            attach(index, old.as_ref(), Some(&new));
        }
        index_addresses(index, old.as_ref(), Some(&new));
        index.touch();
        observe(index, slice, &new);
    }

    fn remove_slice(&mut self, index: &Index, key: &ObjectKey) {
        let Some(ByKey(old)) = self.slices.take(&*slice::key_of(key)) else { return };
        attach(index, Some(&old), None);
        index_addresses(index, Some(&old), None);
        index.touch();
    }

    /// The key of the service's entry, which is made if there is none yet.
    fn share_key(&mut self, index: &Index, key: &ServiceKey, namespace: &str) -> ServiceKey {
        let services = index.services.pin();
        if let Some((key, _)) = services.get_key_value(key) {
            return Arc::clone(key);
        }
        let namespace = self.join_namespace(index, namespace);
        services.insert(Arc::clone(key), ServiceEntry::absent(namespace));
        Arc::clone(key)
    }

    fn put_namespace(&mut self, index: &Index, name: &str) {
        self.namespace(index, name).set_exists(true);
    }

    fn put_pod(&mut self, index: &Index, pod: &Pod) {
        let namespace = self.namespace(index, &pod.key.namespace);
        let old = self.pods.set(namespace.id, &pod.key.name, pod.address);
        if old == Some(pod.address) {
            return;
        }
        index.pods.add(namespace.id, pod.address);
        match old {
            Some(old) => index.pods.take(namespace.id, old),
            None => namespace.join(),
        }
        index.touch();
    }

    fn remove_pod(&mut self, index: &Index, key: &ObjectKey) {
        let Some(namespace) = index.namespaces.pin().get(key.namespace.as_bytes()).cloned() else {
            return;
        };
        let Some(address) = self.pods.remove(namespace.id, &key.name) else { return };
        index.pods.take(namespace.id, address);
        leave_namespace(index, &namespace, key.namespace.as_bytes());
        index.touch();
    }

    fn join_namespace(&mut self, index: &Index, name: &str) -> Arc<Namespace> {
        let namespace = self.namespace(index, name);
        namespace.join();
        namespace
    }

    fn namespace(&mut self, index: &Index, name: &str) -> Arc<Namespace> {
        let namespaces = index.namespaces.pin();
        if let Some(namespace) = namespaces.get(name.as_bytes()) {
            return Arc::clone(namespace);
        }
        let listed = &index.settings.namespaces;
        let listed = listed.is_empty() || listed.iter().any(|listed| listed == name);
        let namespace = Arc::new(Namespace::new(self.next_namespace, listed));
        self.next_namespace += 1;
        namespaces.insert(name.as_bytes().into(), Arc::clone(&namespace));
        namespace
    }
}

fn remove_namespace(index: &Index, name: &str) {
    let namespaces = index.namespaces.pin();
    let Some(namespace) = namespaces.get(name.as_bytes()) else { return };
    namespace.set_exists(false);
    if namespace.is_unused() {
        namespaces.remove(name.as_bytes());
    }
}

fn leave_namespace(index: &Index, namespace: &Namespace, name: &[u8]) {
    namespace.leave();
    if namespace.is_unused() {
        index.namespaces.pin().remove(name);
    }
}

/// Puts a slice into its service's entry, in the place of its older version, or takes that out.
fn attach(index: &Index, old: Option<&Arc<Slice>>, new: Option<&Arc<Slice>>) {
    let Some(key) = new.or(old).and_then(|slice| slice.service.as_ref()) else { return };
    let services = index.services.pin();
    let Some(entry) = services.get(key) else { return };
    let mut new = new.cloned();
    let mut slices = Slices::new();
    for slice in &entry.slices {
        if old.is_some_and(|old| Arc::ptr_eq(old, slice)) {
            slices.extend(new.take());
        } else {
            slices.push(Arc::clone(slice));
        }
    }
    slices.extend(new);
    put_slices(index, key, entry, slices, false);
}

/// Replaces the slices of an entry, and its Service by nothing if that is gone. An entry without both leaves the map.
fn put_slices(
    index: &Index,
    key: &ServiceKey,
    old: &ServiceEntry,
    slices: Slices,
    service_is_gone: bool,
) {
    let services = index.services.pin();
    let absent = service_is_gone || matches!(old.kind, Kind::Absent);
    if absent && slices.is_empty() {
        let (namespace, at) = (Arc::clone(&old.namespace), 1 + usize::from(key[0]));
        services.remove(key);
        return leave_namespace(index, &namespace, &key[at + 1..]);
    }
    let entry = if absent {
        ServiceEntry { slices, ..ServiceEntry::absent(Arc::clone(&old.namespace)) }
    } else {
        let addresses = match old.kind {
            Kind::Cluster => old.addresses.clone(),
            _ => OnceLock::new(),
        };
        let (namespace, ports) = (Arc::clone(&old.namespace), old.ports.clone());
        let pointer = old.pointer.clone();
        ServiceEntry { namespace, kind: old.kind.clone(), ports, slices, addresses, pointer }
    };
    // The map shares the key that is there already.
    let key =
        services.get_key_value(key).map_or_else(|| Arc::clone(key), |(key, _)| Arc::clone(key));
    services.insert(key, entry);
}

/// Brings the map from addresses to slices from one version of a slice to the next.
fn index_addresses(index: &Index, old: Option<&Arc<Slice>>, new: Option<&Arc<Slice>>) {
    let distinct = |slice: Option<&Arc<Slice>>| {
        let mut addresses: SmallVec<[IpAddr; 16]> =
            slice.into_iter().flat_map(|slice| slice.addresses()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        addresses
    };
    let (before, after) = (distinct(old), distinct(new));
    let is_old = |other: &Arc<Slice>| old.is_some_and(|old| Arc::ptr_eq(old, other));
    for address in &after {
        index.endpoint_addresses.replace(*address, is_old, new.cloned());
    }
    for address in before.iter().filter(|address| after.binary_search(address).is_err()) {
        index.endpoint_addresses.replace(*address, is_old, None);
    }
}

/// Measures how long a change of endpoints took from its cause to here (CoreDNS's `EndpointLatencyRecorder`). The first list tells of
/// old changes and is left out.
fn observe(index: &Index, slice: &EndpointSlice, packed: &Slice) {
    let (Some(metrics), Some(changed), Some(key)) =
        (&index.metrics, slice.last_change, &packed.service)
    else {
        return;
    };
    if index.synced.load(std::sync::atomic::Ordering::Relaxed) & bit(Resource::EndpointSlices) == 0
    {
        return;
    }
    let now = (index.settings.clock)().as_nanos() as f64;
    let seconds = (now - changed as f64) / 1e9;
    match index.services.pin().get(key).map(|entry| &entry.kind) {
        Some(Kind::Headless) => metrics.headless.observe(seconds),
        Some(Kind::Cluster | Kind::External(_)) => metrics.cluster_ip.observe(seconds),
        Some(Kind::Absent) | None => {}
    }
}

/// A Service in the form of the index, before it meets its slices.
struct ServiceParts {
    kind: Kind,
    ports: Ports,
    addresses: Vec<IpAddr>,
}

impl ServiceParts {
    fn new(service: &Service, ttl: u32) -> ServiceParts {
        let (kind, mut addresses) = match &service.kind {
            ServiceKind::ClusterIp(addresses) => (Kind::Cluster, addresses.clone()),
            ServiceKind::Headless => (Kind::Headless, Vec::new()),
            ServiceKind::ExternalName(name) => (Kind::External(target(name, ttl)), Vec::new()),
        };
        // The order in which an entry gives them back.
        addresses.sort_by_key(IpAddr::is_ipv6);
        addresses.dedup();
        ServiceParts { kind, ports: Ports::pack(&service.ports), addresses }
    }

    /// Whether an entry already says the same.
    fn is_as(&self, entry: &ServiceEntry) -> bool {
        let same_kind = match (&self.kind, &entry.kind) {
            (Kind::External(a), Kind::External(b)) => a == b,
            (a, b) => std::mem::discriminant(a) == std::mem::discriminant(b),
        };
        same_kind && self.ports == entry.ports && self.addresses == cluster_addresses(entry)
    }

    fn into_entry(self, namespace: Arc<Namespace>, slices: Slices, ttl: u32) -> ServiceEntry {
        let addresses = OnceLock::new();
        if matches!(self.kind, Kind::Cluster) {
            let _ = addresses.set(AddressSets::new(&self.addresses, ttl));
        }
        let (kind, ports, pointer) = (self.kind, self.ports, OnceLock::new());
        ServiceEntry { namespace, kind, ports, slices, addresses, pointer }
    }
}

impl ServiceEntry {
    /// An entry without a Service.
    fn absent(namespace: Arc<Namespace>) -> ServiceEntry {
        let (ports, slices) = (Ports::default(), Slices::new());
        let (addresses, pointer) = (OnceLock::new(), OnceLock::new());
        ServiceEntry { namespace, kind: Kind::Absent, ports, slices, addresses, pointer }
    }
}

fn cluster_addresses(entry: &ServiceEntry) -> Vec<IpAddr> {
    match entry.kind {
        Kind::Cluster => {
            entry.addresses.get().into_iter().flat_map(AddressSets::addresses).collect()
        }
        _ => Vec::new(),
    }
}

/// Where an ExternalName service leads.
fn target(name: &str, ttl: u32) -> Target {
    if name.parse::<IpAddr>().is_ok() {
        return Target::Address;
    }
    let set = |name: Name| RecordSet::name(RecordType::CNAME, ttl, name.as_ref());
    Name::parse(name).map_or(Target::Unsendable, |name| Target::Name(set(name)))
}

fn same_target(a: &Kind, b: &Kind) -> bool {
    match (a, b) {
        (Kind::External(a), Kind::External(b)) => a == b,
        (Kind::External(_), _) | (_, Kind::External(_)) => false,
        _ => true,
    }
}

/// The key of a service; `None` when its names are no labels. What a slice's label has in upper case belongs to no Service, as in CoreDNS.
fn service_key(namespace: &str, name: &str) -> Option<ServiceKey> {
    let mut key = Vec::with_capacity(name.len() + namespace.len() + 2);
    for label in [name, namespace] {
        if label.is_empty() || label.len() > MAX_LABEL {
            return None;
        }
        key.push(label.len() as u8);
        key.extend_from_slice(label.as_bytes());
    }
    Some(key.into())
}
