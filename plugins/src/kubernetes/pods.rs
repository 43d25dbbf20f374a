//! `A-B-C-D.N.pod`: an address as a name.

use std::net::IpAddr;

use periplus_core::codes::RecordType;
use periplus_core::query::Query;
use periplus_core::record::{Entry, Owner, RecordSet, srv_rdata};

use super::finding::{Finding, reply};
use super::shared::{Place, PodMode, Shared};
use super::{dashed, zone};

/// Looks up the name of a Pod in a namespace that is answered for.
pub(super) fn find(
    shared: &Shared,
    query: &Query,
    place: Place<'_>,
    label: &[u8],
    namespace: &[u8],
) -> Finding {
    let Some(address) = dashed::address(label) else { return Finding::NameError };
    if shared.pods == PodMode::Verified && !is_known(shared, label, namespace, address) {
        return Finding::NameError;
    }
    let ttl = shared.index.ttl();
    let rtype = if address.is_ipv4() { RecordType::A } else { RecordType::AAAA };
    match query.qtype {
        asked if asked == rtype => Finding::records(RecordSet::addresses(ttl, [address])),
        // A record of no use to anybody, which CoreDNS has.
        RecordType::SRV => {
            let zone = query.spelled().suffix(place.offset);
            let Some(target) = zone::below([label, namespace, b"pod"], zone) else {
                return Finding::NoData;
            };
            let mut reply = reply(query);
            let set = RecordSet::one(RecordType::SRV, ttl, &srv_rdata(0, 100, 0, target.as_ref()));
            reply.answer.push(Entry::of_question(set));
            let addresses = RecordSet::addresses(ttl, [address]);
            reply
                .additional
                .extend(addresses.map(|set| Entry::of(Owner::Name(target.to_name()), set)));
            Finding::Reply(reply)
        }
        _ => Finding::NoData,
    }
}

/// Whether there is a Pod with the address, spelled in the one way in which Kubernetes writes it.
fn is_known(shared: &Shared, label: &[u8], namespace: &[u8], address: IpAddr) -> bool {
    dashed::pod_label(address).as_bytes() == label && shared.index.has_pod(namespace, address)
}
