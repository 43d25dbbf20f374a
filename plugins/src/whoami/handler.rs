use std::net::IpAddr;

use periplus_core::codes::RecordType;
use periplus_core::name::{NameBuf, NameRef};
use periplus_core::plugin::{Next, Outcome, Plugin};
use periplus_core::query::{Query, Transport};
use periplus_core::record::{Entry, Owner, RecordSetBuilder, srv_rdata};
use periplus_core::reply::Reply;

/// The end of a chain: an empty answer, and in the additional section who asked.
pub struct Whoami;

impl Plugin for Whoami {
    fn name(&self) -> &'static str {
        "whoami"
    }

    fn handle(&self, query: &Query, _next: Next<'_>) -> Outcome {
        let mut reply = Reply::authoritative(query, self.name());
        reply.additional.push(address(query));
        reply.additional.extend(port(query));
        reply.into()
    }
}

/// The client's address, owned by the name it asked for. The class is the question's, as in CoreDNS.
fn address(query: &Query) -> Entry {
    let set = match query.peer.ip().to_canonical() {
        IpAddr::V4(address) => {
            let mut set = RecordSetBuilder::new(RecordType::A, 0).class(query.class);
            set.push(&address.octets());
            set
        }
        IpAddr::V6(address) => {
            let mut set = RecordSetBuilder::new(RecordType::AAAA, 0).class(query.class);
            set.push(&address.octets());
            set
        }
    };
    Entry::of_question(set.finish())
}

/// The client's port and transport as `_udp.QNAME SRV 0 0 PORT .`; nothing if that name would be too long.
fn port(query: &Query) -> Option<Entry> {
    let mut owner = NameBuf::ROOT;
    let label: &[u8] = match query.transport {
        Transport::Udp => b"_udp",
        Transport::Tcp => b"_tcp",
    };
    owner.push_label(label).and_then(|()| owner.push_name(query.spelled())).ok()?;
    let mut set = RecordSetBuilder::new(RecordType::SRV, 0).class(query.class);
    set.push(&srv_rdata(0, 0, query.peer.port(), NameRef::ROOT));
    Some(Entry::of(Owner::Name(owner.to_name()), set.finish()))
}
