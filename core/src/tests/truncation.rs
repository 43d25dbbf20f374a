//! Responses that do not fit, and long ones that just do: beyond 16 KiB no compression pointer reaches.

use proptest::prelude::*;

use super::codec::encoded;
use super::model::{Exchange, exchanges, flat, flat_records};
use crate::codes::{RecordType, flags};
use crate::decode::decode;
use crate::edns::Edns;
use crate::name::Name;
use crate::query::{Query, Transport};
use crate::reply::Reply;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_response_never_exceeds_the_limit_and_loses_whole_records_from_the_end(exchange in exchanges(40), cut_before in any::<bool>()) {
        let Exchange { query, mut reply, records } = exchange;
        reply.set(flags::TC, cut_before);
        let response = encoded(&query, &reply);
        prop_assert!(response.len() <= query.response_limit(), "{} bytes", response.len());

        let sent = decode(&response, &query, "test").unwrap().reply;
        let sections = [&sent.answer, &sent.authority, &sent.additional];
        let mut complete = true;
        for (section, records) in sections.into_iter().zip(&records) {
            let (sent, all) = (flat(section, &query), flat_records(records));
            // Nothing follows where something is missing.
            prop_assert!(complete || sent.is_empty());
            prop_assert!(sent.len() <= all.len());
            prop_assert_eq!(&sent[..], &all[..sent.len()]);
            complete &= sent.len() == all.len();
        }
        prop_assert_eq!(sent.has(flags::TC), !complete || cut_before);
        prop_assert_eq!(sent.opt.map(|opt| *opt), query.edns.as_ref().map(Edns::echoed));

        let opt = query.edns.as_ref().map_or(0, |edns| edns.echoed().wire_length());
        let fits = reply.uncompressed_length(&query) + opt <= query.response_limit();
        prop_assert!(complete || !fits, "cut without need");
    }
}

#[test]
fn options_of_an_upstream_that_the_client_cannot_take_are_left_out() {
    let name = Name::parse("www.example.org.").unwrap();
    let mut query = Query::internal(name.as_ref(), RecordType::A);
    query.transport = Transport::Udp;
    let least = 12 + name.as_wire().len() + 4 + 11;
    for (edns, options, kept) in [
        (None, 512 - least - 4, true),
        (None, 512 - least - 3, false),
        (Some(Edns { udp_size: 1232, ..Edns::default() }), 1232 - least - 4, true),
        (Some(Edns { udp_size: 1232, ..Edns::default() }), 1232 - least - 3, false),
        (Some(Edns { udp_size: 1232, ..Edns::default() }), 60_000, false),
    ] {
        query.edns = edns;
        let mut reply = Reply::to(&query, "test");
        let mut opt = Edns::default();
        opt.push_option(65001, &vec![1; options]);
        reply.opt = Some(Box::new(opt));
        let response = encoded(&query, &reply);
        assert!(response.len() <= query.response_limit(), "{} bytes", response.len());
        let sent = decode(&response, &query, "test").unwrap().reply;
        assert!(!sent.has(flags::TC));
        assert_eq!(sent.opt.unwrap().options().count(), usize::from(kept));
    }
}
