//! A whole server: from a request to a reply. The first byte says whether it comes by UDP.
#![no_main]

use std::cell::LazyCell;

use hickory_proto::op::{Message, MessageType};
use libfuzzer_sys::fuzz_target;
use periplus_core::name::Name;
use periplus_core::query::{Admission, HEADER, Query, Transport, admit};
use periplus_fuzz::{Machine, cluster, labels};

/// Everything that answers without waiting, in kubeadm's order.
const COREFILE: &str = "
.:53 {
    debug
    prometheus
    errors
    log
    loadbalance
    rewrite stop {
        name suffix .old.test .shop.svc.cluster.local answer auto
    }
    rewrite name regex (.*)\\.wild\\.test {1}.hosts.test answer auto
    rewrite ttl suffix .hosts.test 7
    hosts {
        192.0.2.1 a.hosts.test
        192.0.2.2 *.hosts.test
        2001:db8::1 a.hosts.test
        fallthrough
    }
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        snapshot CLUSTER
        pods verified
        endpoint_pod_names
        fallthrough in-addr.arpa ip6.arpa
        ttl 30
    }
    forward . 192.0.2.53
}
whoami.test:53 {
    debug
    rewrite edns0 local set 0xffee 0x61626364
    rewrite edns0 nsid set
    whoami
}
";

thread_local! {
    static MACHINE: LazyCell<Machine> = LazyCell::new(|| {
        let file = cluster();
        let corefile = COREFILE.replace("CLUSTER", &file.path().display().to_string());
        Machine::start(&corefile, |_| None)
    });
}

fuzz_target!(|input: &[u8]| {
    let [kind, message @ ..] = input else { return };
    let transport = if kind & 1 == 0 { Transport::Udp } else { Transport::Tcp };
    MACHINE.with(|machine| check(machine, transport, message));
});

fn check(machine: &Machine, transport: Transport, message: &[u8]) {
    let mut query = Query::empty();
    query.transport = transport;
    let admission = admit(message, &mut query);
    let Some(response) = machine.ask(message, transport) else {
        assert_eq!(admission, Admission::Drop, "silence");
        return;
    };
    assert_eq!(response[..2], message[..2], "the id comes back");
    assert!(response[2] & 0x80 != 0, "it is a response");
    assert!(response.len() <= query.response_limit(), "{} bytes", response.len());
    let theirs = Message::from_vec(&response).expect("another library can read it");
    assert_eq!(theirs.metadata.message_type, MessageType::Response);
    if admission != Admission::Query {
        return;
    }
    let [question] = &theirs.queries[..] else { panic!("the question comes back") };
    assert_eq!(labels(question.name()), query.spelled().labels().collect::<Vec<_>>());
    let name = query.spelled().as_wire();
    assert_eq!(response[HEADER..HEADER + name.len()], *name, "as it was spelled");
    assert_eq!(u16::from(question.query_type()), query.qtype.0);
    assert_eq!(u16::from(question.query_class()), query.class.0);
    // `rewrite edns0` of the second block makes an OPT record where there was none, as in CoreDNS.
    let zone = Name::parse("whoami.test.").expect("it is a name");
    let is_added = query.name().is_at_or_below(zone.as_ref());
    assert_eq!(
        theirs.edns.is_some(),
        query.edns.is_some() || is_added,
        "OPT if the client sent one"
    );

    // By TCP everything comes. TC stands exactly where something is missing.
    let whole = machine.ask(message, Transport::Tcp).expect("by TCP as by UDP");
    let whole = Message::from_vec(&whole).expect("another library can read it");
    let count = |message: &Message| {
        [&message.answers, &message.authorities, &message.additionals].map(Vec::len)
    };
    assert!(!whole.metadata.truncation);
    assert_eq!(theirs.metadata.response_code, whole.metadata.response_code);
    assert_eq!(theirs.metadata.truncation, count(&theirs) != count(&whole));
}
