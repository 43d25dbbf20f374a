//! Services: cluster IPs, endpoints and their SRV records.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;
use periplus_core::codes::RecordType;
use periplus_core::query::Query;
use periplus_core::record::RecordSet;

use super::finding::Finding;
use super::index::{EndpointQuery, EndpointRef, Kind, PortQuery, PortRef, ServiceEntry, Target};
use super::names::{Part, ServiceName};
use super::shared::{Place, Shared};
use super::srv::{Id, SrvReply};

/// Looks up a service's name or one below it.
pub(super) fn find(
    shared: &Shared,
    query: &Query,
    place: Place<'_>,
    name: ServiceName<'_>,
) -> Finding {
    shared.index.service(name.key, |entry| match entry.filter(|entry| entry.is_exposed()) {
        Some(entry) => Lookup { shared, query, place, name, entry }.find(),
        None => Finding::NameError,
    })
}

struct Lookup<'a> {
    shared: &'a Shared,
    query: &'a Query,
    place: Place<'a>,
    name: ServiceName<'a>,
    entry: &'a ServiceEntry,
}

impl Lookup<'_> {
    fn find(&self) -> Finding {
        let entry = self.entry;
        match (&entry.kind, self.name.part) {
            (Kind::Absent, _) => Finding::NameError,
            (Kind::External(target), Part::Whole) => self.external(target),
            (Kind::External(target), Part::Port(port)) if port.is_any() => self.external(target),
            (Kind::External(_), _) => Finding::NameError,
            (Kind::Cluster, _) if self.shared.ignore_empty_service && !entry.has_endpoints() => {
                Finding::NameError
            }
            (Kind::Cluster, Part::Whole) => self.cluster(PortQuery::ANY),
            (Kind::Cluster, Part::Port(port)) => self.cluster(port),
            (Kind::Headless, Part::Whole) => self.endpoints(EndpointQuery::All, PortQuery::ANY),
            (Kind::Headless, Part::Port(port)) => self.endpoints(EndpointQuery::All, port),
            (Kind::Cluster | Kind::Headless, Part::Endpoint(label)) => {
                self.endpoints(EndpointQuery::named(label), PortQuery::ANY)
            }
        }
    }

    /// An alias to a name elsewhere. Only address questions follow it.
    fn external(&self, target: &Target) -> Finding {
        let target = match target {
            Target::Name(target) => target,
            // CoreDNS denies the name altogether.
            Target::Address => return Finding::NameError,
            Target::Unsendable => return Finding::NoData,
        };
        match self.query.qtype {
            RecordType::CNAME => Finding::records(Some(Arc::clone(target))),
            RecordType::A | RecordType::AAAA => Finding::Alias(Arc::clone(target)),
            _ => Finding::NoData,
        }
    }

    fn cluster(&self, wanted: PortQuery<'_>) -> Finding {
        if self.entry.ports.matching(wanted).next().is_none() {
            return Finding::NameError;
        }
        let sets = self.entry.address_sets(self.shared.index.ttl());
        match self.query.qtype {
            RecordType::SRV => {
                let ports = self.entry.ports.matching(wanted);
                let addresses: usize = sets.both().map(|set| set.count()).sum();
                let mut srv = self.srv_reply(self.entry.ports.matching(wanted).count() * addresses);
                srv.add_cluster(ports, sets);
                srv.finish()
            }
            rtype => Finding::records(sets.of_type(rtype).cloned()),
        }
    }

    fn endpoints(&self, endpoints: EndpointQuery<'_>, ports: PortQuery<'_>) -> Finding {
        let ttl = self.shared.index.ttl();
        match self.query.qtype {
            RecordType::SRV => {
                let count = self.candidates(endpoints, ports).count();
                if count == 0 {
                    return Finding::NameError;
                }
                let mut srv = self.srv_reply(count);
                for (endpoint, port) in self.candidates(endpoints, ports) {
                    if !srv.add(Id::of(&endpoint), port, endpoint.address) {
                        break;
                    }
                }
                srv.finish()
            }
            // The whole of a headless service is asked for most; its sets are made once.
            rtype if matches!(endpoints, EndpointQuery::All) && ports.is_any() => {
                match self.entry.has_endpoints() {
                    true => Finding::records(self.entry.address_sets(ttl).of_type(rtype).cloned()),
                    false => Finding::NameError,
                }
            }
            rtype => {
                let mut found = false;
                let mut seen = HashSet::with_hasher(RandomState::default());
                let addresses =
                    self.candidates(endpoints, ports).map(|(endpoint, _)| endpoint.address);
                let addresses = addresses
                    .inspect(|_| found = true)
                    .filter(|address| is_of_type(rtype, *address) && seen.insert(*address));
                let set = RecordSet::addresses(ttl, addresses);
                if found { Finding::records(set) } else { Finding::NameError }
            }
        }
    }

    fn srv_reply(&self, candidates: usize) -> SrvReply<'_> {
        SrvReply::new(self.shared, self.query, self.place, self.name.key, candidates)
    }

    /// All pairs of an endpoint and a port that are asked for, in CoreDNS's order.
    fn candidates(
        &self,
        endpoints: EndpointQuery<'_>,
        ports: PortQuery<'_>,
    ) -> impl Iterator<Item = (EndpointRef<'_>, PortRef<'_>)> {
        self.entry.slices.iter().flat_map(move |slice| {
            let wanted = slice.endpoints().filter(move |endpoint| endpoints.matches(endpoint));
            wanted.flat_map(move |endpoint| {
                slice.ports().matching(ports).map(move |port| (endpoint, port))
            })
        })
    }
}

fn is_of_type(rtype: RecordType, address: IpAddr) -> bool {
    rtype == if address.is_ipv4() { RecordType::A } else { RecordType::AAAA }
}
