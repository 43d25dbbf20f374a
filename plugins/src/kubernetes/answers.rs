//! From the shape of a question to what there is to say.
//!
//! ```text
//!  name -> Shape -> services / pods / reverse / apex -> Finding -> handler
//! ```

use std::sync::{Arc, LazyLock};

use periplus_core::codes::RecordType;
use periplus_core::query::Query;
use periplus_core::record::{RecordSet, txt_rdata};

use super::finding::{Finding, reply};
use super::names::{self, Shape, Tree};
use super::shared::{Place, Shared};
use super::{apex, pods, reverse, services};

/// Version of the schema, as CoreDNS has it, and its TTL in seconds.
static DNS_VERSION: LazyLock<Arc<RecordSet>> =
    LazyLock::new(|| RecordSet::one(RecordType::TXT, 28800, &txt_rdata(b"1.1.0")));

/// Looks up a question in a zone.
pub(super) fn find(shared: &Shared, query: &Query, place: Place<'_>) -> Finding {
    let name = query.name();
    let shape = names::parse(name, place.offset);
    match (shape, query.qtype) {
        (Shape::Apex, RecordType::SOA) => {
            let mut reply = reply(query);
            reply.answer.push(place.soa(query, shared.index.serial()));
            Finding::Reply(reply)
        }
        (Shape::Apex, RecordType::NS) => apex::name_servers(shared, query, place),
        (Shape::Apex, RecordType::PTR) => reverse::find_apex(shared, query),
        (Shape::Apex | Shape::Tree, RecordType::TXT) => Finding::WronglyDenied,
        (Shape::Apex | Shape::Tree, _) => Finding::NoData,
        (Shape::DnsVersion, RecordType::TXT) => Finding::records(Some(Arc::clone(&DNS_VERSION))),
        (Shape::DnsVersion, RecordType::SOA) => Finding::NoData,
        // CoreDNS has no other type there, and says that there is no such name.
        (Shape::DnsVersion, _) | (Shape::NameServer, RecordType::TXT | RecordType::PTR) => {
            Finding::NameError
        }
        (Shape::NameServer, _) => apex::name_server_address(shared, query),
        (Shape::Unknown, _) => reverse::find(shared, query),
        // CoreDNS has no services below reverse names.
        _ if place.zone.is_reverse => Finding::NameError,
        (Shape::Namespace(tree, namespace), rtype) => match (shared.has(tree, namespace), rtype) {
            (false, _) => Finding::NameError,
            (true, RecordType::TXT) => Finding::WronglyDenied,
            (true, _) => Finding::NoData,
        },
        (Shape::Service(service), _) => services::find(shared, query, place, service),
        (Shape::Pod { label, namespace }, _) if shared.has(Tree::Pod, namespace) => {
            pods::find(shared, query, place, label, namespace)
        }
        (Shape::Pod { .. }, _) => Finding::NameError,
    }
}
