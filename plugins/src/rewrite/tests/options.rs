//! EDNS options: what the next plugin sees in the request, and what the client sees in the response.

use periplus_core::decode::decode;
use periplus_core::edns::Edns;
use periplus_core::encode::{Compressor, encode};
use periplus_core::query::{Query, Transport};
use periplus_core::reply::{ExtendedError, Reply};

use super::{Inner, question};
use crate::testing::{ask, configure, scripted};

/// `CODE=HEX` for each option, or `-` without an OPT record.
fn shown(edns: Option<&Edns>) -> String {
    let Some(edns) = edns else { return "-".to_owned() };
    let hex = |data: &[u8]| data.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    let options: Vec<String> =
        edns.options().map(|(code, data)| format!("{code}={}", hex(data))).collect();
    options.join(" ")
}

/// The OPT record of the response as sent.
fn sent(query: &Query, answer: &periplus_core::reply::Answer) -> Option<Edns> {
    let mut message = Vec::new();
    encode(query, answer, &mut Compressor::new(), &mut message);
    decode(&message, query, "test").unwrap().reply.opt.map(|opt| *opt)
}

/// A question with these options of the client, or without an OPT record.
fn asked(options: Option<&[(u16, &[u8])]>) -> Query {
    let mut query = question("a.test. A");
    query.edns = options.map(|options| {
        let mut edns = Edns { udp_size: 1232, ..Edns::default() };
        options.iter().for_each(|(code, data)| edns.push_option(*code, data));
        edns
    });
    query
}

#[test]
fn options_are_added_replaced_removed_and_turned_back() {
    /// Rules, the client's options, those seen further in, those of the response.
    type Case = (&'static str, Option<&'static [(u16, &'static [u8])]>, &'static str, &'static str);
    const SUBNET: &[u8] = &[0, 1, 8, 0, 192];
    const OLD: Option<&[(u16, &[u8])]> = Some(&[(65518, b"old"), (65001, b"z")]);
    let cases: &[Case] = &[
        // Local options, which come back since a rule names them.
        ("rewrite edns0 local set 0xffee abcd", None, "65518=61626364", "65518=61626364"),
        (
            "rewrite edns0 local set 0xffee 0x61626364",
            Some(&[]),
            "65518=61626364",
            "65518=61626364",
        ),
        ("rewrite edns0 local set 65518 new", OLD, "65518=6e6577 65001=7a", "65518=6e6577"),
        ("rewrite edns0 local replace 0177756 new", OLD, "65518=6e6577 65001=7a", "65518=6e6577"),
        ("rewrite edns0 local replace 0xffee new", None, "", ""),
        (
            "rewrite edns0 local append 0xffee new",
            OLD,
            "65518=6f6c64 65001=7a 65518=6e6577",
            "65518=6f6c64 65518=6e6577",
        ),
        ("rewrite edns0 local append 0xffee new", None, "65518=6e6577", "65518=6e6577"),
        ("rewrite edns0 local unset 0xffee", OLD, "65001=7a", ""),
        ("rewrite edns0 local unset 0xffee", None, "", ""),
        ("REWRITE", None, "-", "-"),
        // Reverted: the response shows what the client sent.
        ("rewrite edns0 local set 0xffee abcd revert", None, "65518=61626364", ""),
        ("rewrite edns0 local set 0xffee new revert", OLD, "65518=6e6577 65001=7a", "65518=6f6c64"),
        (
            "rewrite edns0 local append 0xffee new revert",
            OLD,
            "65518=6f6c64 65001=7a 65518=6e6577",
            "65518=6f6c64",
        ),
        (
            "rewrite continue edns0 local set 0xffee abcd\nrewrite edns0 local replace 0xffee bcde revert",
            None,
            "65518=62636465",
            "65518=61626364",
        ),
        // A rule that changes nothing lets the next one be tried, but an OPT record there is.
        ("rewrite edns0 local replace 1 x\nrewrite name a.test b.test", None, "", ""),
        // Name server identifier: the request's is empty.
        ("rewrite edns0 nsid set", None, "3=", "3="),
        ("rewrite edns0 nsid replace", Some(&[(3, b"x")]), "3=", "3="),
        ("rewrite edns0 nsid replace", None, "", ""),
        ("rewrite edns0 nsid append", Some(&[(3, b"x")]), "3=78 3=", "3=78 3="),
        ("rewrite edns0 nsid set revert", Some(&[(3, b"x")]), "3=", "3=78"),
        ("rewrite edns0 nsid append revert", None, "3=", ""),
        (
            "rewrite edns0 nsid unset",
            Some(&[(3, b"x"), (10, b"cookie!!")]),
            "10=636f6f6b69652121",
            "10=636f6f6b69652121",
        ),
        // Client subnet, which is never echoed: 10.240.0.1 asks.
        ("rewrite edns0 subnet set 24 56", None, "8=000118000af000", ""),
        ("rewrite edns0 subnet set 0 0", None, "8=00010000", ""),
        ("rewrite edns0 subnet set 32 128", None, "8=000120000af00001", ""),
        (
            "rewrite edns0 subnet set 10 0",
            Some(&[(8, SUBNET), (9, b"abcd")]),
            "8=00010a000ac0 9=61626364",
            "9=61626364",
        ),
        ("rewrite edns0 subnet append 24 56", Some(&[(8, SUBNET)]), "8=00010800c0", ""),
        ("rewrite edns0 subnet replace 24 56", None, "", ""),
        ("rewrite edns0 subnet unset", Some(&[(8, SUBNET)]), "", ""),
        // Variables.
        (
            "rewrite edns0 local set 65001 {qname}",
            None,
            "65001=612e746573742e",
            "65001=612e746573742e",
        ),
        ("rewrite edns0 local set 65001 {qtype}", None, "65001=0001", "65001=0001"),
        ("rewrite edns0 local set 65001 {client_ip}", None, "65001=0af00001", "65001=0af00001"),
        ("rewrite edns0 local set 65001 {client_port}", None, "65001=9d14", "65001=9d14"),
        ("rewrite edns0 local set 65001 {protocol}", None, "65001=756470", "65001=756470"),
        ("rewrite edns0 local set 65001 {server_ip}", None, "65001=7f000001", "65001=7f000001"),
        ("rewrite edns0 local set 65001 {server_port}", None, "65001=0035", "65001=0035"),
        (
            "rewrite edns0 local append 65001 {qtype}",
            Some(&[(65001, b"x")]),
            "65001=78",
            "65001=78",
        ),
        (
            "rewrite edns0 local replace 65001 {qtype} revert",
            Some(&[(65001, b"x")]),
            "65001=0001",
            "65001=78",
        ),
        // No plugin provides metadata, so the rule is as if it were not there.
        ("rewrite edns0 local set 65001 {kubernetes/namespace}", None, "-", "-"),
        // The client's own option comes back if any rule of the block names its code.
        (
            "rewrite name x.test y.test\nrewrite name a.test b.test\nrewrite edns0 local unset 0xffee",
            OLD,
            "65518=6f6c64 65001=7a",
            "65518=6f6c64",
        ),
    ];
    for (rules, options, seen, returned) in cases {
        let rules = if *rules == "REWRITE" { "rewrite name a.test b.test" } else { rules };
        for script in [&["answer: @ 60 A 192.0.2.1"], &["failure: SERVFAIL"]] {
            for later in [false, true] {
                let inner = Inner::new(script, later);
                let query = asked(*options);
                let answer = ask(&inner.server(rules), &query);
                let what = format!("{rules} <- {} ({script:?})", shown(query.edns.as_ref()));
                assert_eq!(
                    shown(inner.queries()[0].edns.as_ref()),
                    *seen,
                    "seen further in: {what}"
                );
                assert_eq!(shown(sent(&query, &answer).as_ref()), *returned, "sent: {what}");
            }
        }
    }
}

#[test]
fn a_made_opt_record_is_coredns_s() {
    let inner = Inner::new(&["answer: @ 60 A 192.0.2.1"], false);
    let query = asked(None);
    let answer = ask(&inner.server("rewrite edns0 nsid set"), &query);
    let seen = inner.queries().remove(0).edns.unwrap();
    assert_eq!((seen.udp_size, seen.version, seen.flags), (4096, 0, 0));
    assert_eq!(sent(&query, &answer).unwrap().udp_size, 4096);
}

#[test]
fn an_ipv6_client_s_network_is_as_long_as_it_is_asked_for() {
    let cases = [
        ("2001:db8:1:2:3:4:5:6", "subnet set 24 56", "8=0002380020010db8000100"),
        ("2001:db8:1:ffff:3:4:5:6", "subnet set 24 60", "8=00023c0020010db80001fff0"),
        ("::ffff:192.0.2.200", "subnet set 24 56", "8=00011800c00002"),
        ("2001:db8::1", "local set 65001 {client_ip}", "65001=20010db8000000000000000000000001"),
    ];
    for (client, rule, seen) in cases {
        let inner = Inner::new(&[], false);
        let mut query = asked(None);
        query.peer.set_ip(client.parse().unwrap());
        query.transport = Transport::Tcp;
        ask(&inner.server(&format!("rewrite edns0 {rule}")), &query);
        assert_eq!(shown(inner.queries()[0].edns.as_ref()), seen, "{client}");
    }
}

#[test]
fn an_opt_record_from_further_in_is_turned_back_too() {
    let cases = [
        ("rewrite edns0 local set 0xffee new revert", None, "15=0000"),
        (
            "rewrite edns0 local set 0xffee new revert",
            Some(b"old".as_slice()),
            "65518=6f6c64 15=0000",
        ),
        ("rewrite edns0 local set 0xffee new", None, "65518=6e6577 15=0000"),
    ];
    for (rules, old, returned) in cases {
        let end = scripted(|query: &Query| {
            let mut reply = Reply::to(query, "scripted");
            reply.set_extended_error(query, ExtendedError { code: 0, text: String::new() });
            reply.into()
        });
        let server = configure(".", rules).ok().unwrap().server(vec![end]);
        let options: Vec<(u16, &[u8])> = old.map(|old| (0xffee, old)).into_iter().collect();
        let query = asked(Some(&options));
        assert_eq!(shown(sent(&query, &ask(&server, &query)).as_ref()), returned, "{rules}");
    }
}

#[test]
fn options_that_would_not_fit_a_message_are_left_out() {
    let big = vec![0; 65_000];
    let data = "x".repeat(4096);
    for action in ["append", "set"] {
        let inner = Inner::new(&[], false);
        let query = asked(Some(&[(65001, &big)]));
        ask(&inner.server(&format!("rewrite edns0 local {action} 1 {data}")), &query);
        assert_eq!(inner.queries()[0].edns.as_ref().unwrap().options.len(), 65_004, "{action}");
    }
}
