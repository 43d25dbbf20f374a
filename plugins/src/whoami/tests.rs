use std::sync::Arc;

use periplus_core::codes::{Class, RecordType, flags};
use periplus_core::query::{Query, Transport};

use super::Whoami;
use crate::testing::{answer_lines, configure, query, refused, server};

fn told(query: &Query) -> Vec<String> {
    answer_lines(&server(vec![Arc::new(Whoami)]), query)
}

#[test]
fn the_client_is_told_its_address_port_and_transport() {
    let long = format!("{0}.{0}.{0}.{1}.", "a".repeat(63), "b".repeat(60));
    type Change = fn(&mut Query);
    let cases: &[(&str, RecordType, Change, &[&str])] = &[
        (
            "example.org.",
            RecordType::A,
            |_| {},
            &[
                "NOERROR qr aa rd",
                "additional: example.org. 0 IN A 10.240.0.1",
                "additional: _udp.example.org. 0 IN SRV 0 0 40212 .",
            ],
        ),
        (
            "Example.ORG.",
            RecordType::TXT,
            |query| {
                query.peer = "[2001:db8::7]:5300".parse().unwrap();
                query.transport = Transport::Tcp;
            },
            &[
                "NOERROR qr aa rd",
                "additional: Example.ORG. 0 IN AAAA 2001:db8::7",
                "additional: _tcp.Example.ORG. 0 IN SRV 0 0 5300 .",
            ],
        ),
        (
            ".",
            RecordType::NS,
            |query| {
                query.peer = "[::ffff:192.0.2.9]:1".parse().unwrap();
                query.class = Class::CH;
                query.flags = flags::CD;
            },
            &["REFUSED qr cd"],
        ),
        (
            ".",
            RecordType::NS,
            |query| query.peer = "[::ffff:192.0.2.9]:1".parse().unwrap(),
            &[
                "NOERROR qr aa rd",
                "additional: . 0 IN A 192.0.2.9",
                "additional: _udp. 0 IN SRV 0 0 1 .",
            ],
        ),
        (
            &long,
            RecordType::A,
            |_| {},
            &["NOERROR qr aa rd", &format!("additional: {long} 0 IN A 10.240.0.1")],
        ),
    ];
    for (name, qtype, change, expected) in cases {
        let mut query = query(name, *qtype);
        change(&mut query);
        assert_eq!(told(&query), *expected, "{name} {qtype}");
    }
}

#[test]
fn nothing_can_be_configured() {
    assert!(configure(".", "whoami").unwrap().plugin.is_some());
    refused(
        ".",
        "whoami please",
        "Corefile:2:8: Wrong argument count or unexpected line ending after 'please' (nothing may follow 'whoami' here)",
    );
    refused(
        ".",
        "whoami {\n}",
        "Corefile:2:8: Unexpected token '{' after 'whoami' ('whoami' takes no block)",
    );
}
