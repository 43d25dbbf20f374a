//! Responses that do not fit, and long ones that just do: beyond 16 KiB no compression pointer reaches.

use proptest::prelude::*;

use super::codec::encoded;
use super::model::{Exchange, exchanges, flat, flat_records};
use crate::codes::flags;
use crate::decode::decode;
use crate::encode::echoed_edns;

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
        prop_assert_eq!(sent.opt.map(|opt| *opt), query.edns.as_ref().map(echoed_edns));

        let opt = query.edns.as_ref().map_or(0, |edns| echoed_edns(edns).wire_length());
        let fits = reply.uncompressed_length(&query) + opt <= query.response_limit();
        prop_assert!(complete || !fits, "cut without need");
    }
}
