//! The keys of server blocks and the zones of plugins.

use super::parse;
use crate::corefile::{Key, Scheme, Word, normalize_zone, parse_key};

fn keys(text: &str) -> Result<Vec<Key>, String> {
    let corefile = parse(".").expect("it is good");
    let word = Word { text: text.to_owned(), span: corefile.blocks[0].keys[0].span };
    parse_key(&word, 53).map_err(|error| error.message)
}

#[test]
fn a_key_is_a_scheme_a_zone_and_a_port() {
    let cases = [
        (".", "dns://.:53"),
        (".:53", "dns://.:53"),
        ("dns://.:1053", "dns://.:1053"),
        ("example.org", "dns://example.org.:53"),
        ("EXAMPLE.org.", "dns://example.org.:53"),
        ("tls://example.org", "tls://example.org.:853"),
        ("quic://example.org", "quic://example.org.:853"),
        ("grpc://example.org", "grpc://example.org.:443"),
        ("https://example.org", "https://example.org.:443"),
        ("https3://example.org", "https3://example.org.:443"),
        ("tls://example.org:5553", "tls://example.org.:5553"),
        // What follows the last colon is a port only when it is a number.
        ("example.org:053", "dns://example.org.:53"),
        ("example.org:+53", "dns://example.org.:53"),
        (".:0", "dns://.:0"),
        ("foo:bar:53", "dns://foo:bar.:53"),
        ("foo:bar", "dns://foo:bar.:53"),
        ("foo:53.", "dns://foo:53.:53"),
        ("2001:db8::1", "dns://2001:db8:.:1"),
        ("foo:99999999999999999999", "dns://foo:99999999999999999999.:53"),
        // Names need not be host names.
        ("_srv.x\\.y", "dns://_srv.x\\.y.:53"),
        ("a/b", "dns://a/b.:53"),
        ("10.0.0.0/33", "dns://10.0.0.0/33.:53"),
        ("10.0.0.256/8", "dns://10.0.0.256/8.:53"),
        ("10.0.0.0/", "dns://10.0.0.0/.:53"),
        ("10.0.0.0/+8", "dns://10.0.0.0/+8.:53"),
        ("10.0.0.01/8", "dns://10.0.0.01/8.:53"),
    ];
    for (text, expected) in cases {
        let keys = keys(text).unwrap_or_else(|error| panic!("{text}: {error}"));
        let keys: Vec<String> = keys.iter().map(Key::to_string).collect();
        assert_eq!(keys, [expected], "{text}");
    }
}

#[test]
fn networks_become_reverse_zones() {
    let cases = [
        ("10.0.0.0/8", vec!["10.in-addr.arpa."]),
        ("10.1.2.3/8", vec!["10.in-addr.arpa."]),
        ("10.0.0.0/24", vec!["0.0.10.in-addr.arpa."]),
        ("10.9.3.18/32", vec!["18.3.9.10.in-addr.arpa."]),
        (
            "10.0.0.0/22",
            vec![
                "0.0.10.in-addr.arpa.",
                "1.0.10.in-addr.arpa.",
                "2.0.10.in-addr.arpa.",
                "3.0.10.in-addr.arpa.",
            ],
        ),
        ("10.0.0.131/31", vec!["130.0.0.10.in-addr.arpa.", "131.0.0.10.in-addr.arpa."]),
        ("0.0.0.0/0", vec!["in-addr.arpa."]),
        ("8.8.8.8/0", vec!["in-addr.arpa."]),
        ("2001:db8::/0", vec!["ip6.arpa."]),
        ("2001:db8::/32", vec!["8.b.d.0.1.0.0.2.ip6.arpa."]),
        (
            "2001:db8::/30",
            vec![
                "8.b.d.0.1.0.0.2.ip6.arpa.",
                "9.b.d.0.1.0.0.2.ip6.arpa.",
                "a.b.d.0.1.0.0.2.ip6.arpa.",
                "b.b.d.0.1.0.0.2.ip6.arpa.",
            ],
        ),
        ("fd00:77:30::/127", {
            let low = "0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.3.0.0.7.7.0.0.0.0.d.f.ip6.arpa.";
            let high = "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.3.0.0.7.7.0.0.0.0.d.f.ip6.arpa.";
            vec![low, high]
        }),
    ];
    for (text, expected) in cases {
        let zones: Vec<String> = keys(text).expect(text).into_iter().map(|key| key.zone).collect();
        assert_eq!(zones, expected, "{text}");
        let with_port = keys(&format!("tls://{text}:5353")).expect(text);
        assert!(with_port.iter().all(|key| key.port == 5353 && key.scheme == Scheme::Tls));
        assert_eq!(with_port.len(), expected.len());
        assert_eq!(normalize_zone(text).as_deref(), Ok(&zones[..]), "{text}");
    }
    assert_eq!(keys("128.0.0.0/1").expect("it is a network").len(), 128);
    let all = keys("128.0.0.0/1").expect("it is a network");
    assert_eq!(all[127].zone, "255.in-addr.arpa.");
}

#[test]
fn bad_keys_are_refused_with_coredns_texts() {
    let long = "a.".repeat(127) + "b";
    let too_long = "a.".repeat(128) + "b";
    let label = "a".repeat(64);
    let cases = [
        ("example.org:", "expecting data after last colon: \"example.org:\"".to_owned()),
        ("dns://", "expecting data after last colon: \"\"".to_owned()),
        ("2001:db8::", "expecting data after last colon: \"2001:db8::\"".to_owned()),
        (":53", "zone is not a valid domain name: ".to_owned()),
        ("a..b", "zone is not a valid domain name: a..b".to_owned()),
        (".org", "zone is not a valid domain name: .org".to_owned()),
        ("..", "zone is not a valid domain name: ..".to_owned()),
        ("a\\", "zone is not a valid domain name: a\\".to_owned()),
        (&label, format!("zone is not a valid domain name: {label}")),
        (&long, "specified zone is too long: 256 > 255".to_owned()),
        (&too_long, "specified zone is too long: 257 > 255".to_owned()),
        ("::/8", "invalid CIDR ::/8".to_owned()),
        ("0:1::/16", "invalid CIDR 0:1::/16".to_owned()),
        (".:65536", "port 65536 is out of range".to_owned()),
        (".:-1", "port -1 is out of range".to_owned()),
        ("http://example.org", "unknown scheme 'http://'".to_owned()),
        ("TLS://example.org", "unknown scheme 'TLS://'".to_owned()),
    ];
    for (text, expected) in cases {
        assert_eq!(keys(text), Err(expected), "{text}");
    }
}

#[test]
fn bad_keys_come_with_a_way_out() {
    let cases = [
        (":53", "write '.:53' for the root zone"),
        (".org", "did you mean 'org'?"),
        ("TLS://.", "did you mean 'tls'?"),
        ("http://.", "did you mean 'https'?"),
        (".:", "write a zone, and a port after the colon"),
    ];
    for (text, expected) in cases {
        let corefile = parse(&format!("{text}\nx")).expect("the language allows it");
        let error = parse_key(&corefile.blocks[0].keys[0], 53).expect_err(text);
        assert_eq!(error.help.as_deref(), Some(expected), "{text}");
    }
}

#[test]
fn the_default_port_is_for_plain_dns_only() {
    let corefile = parse("a tls://b dns://c d:53\nx").expect("it is good");
    let ports = corefile.blocks[0].keys.iter().flat_map(|key| parse_key(key, 1053));
    let ports: Vec<u16> = ports.flatten().map(|key| key.port).collect();
    assert_eq!(ports, [1053, 853, 1053, 53]);
}

#[test]
fn the_zones_of_plugins_lose_scheme_and_port() {
    let cases = [
        ("Example.ORG", vec!["example.org."]),
        ("tls://example.org:853", vec!["example.org."]),
        ("unix://example.org", vec!["example.org."]),
        ("10.0.0.0/23", vec!["0.0.10.in-addr.arpa.", "1.0.10.in-addr.arpa."]),
        (".", vec!["."]),
    ];
    for (text, expected) in cases {
        let zones = normalize_zone(text).expect(text);
        assert_eq!(zones, expected, "{text}");
    }
    assert!(normalize_zone("a..b").is_err());
    assert!(normalize_zone("").is_err());
}

#[test]
fn schemes_are_what_their_names_say() {
    for (scheme, name, port) in [
        (Scheme::Dns, "dns", 53),
        (Scheme::Tls, "tls", 853),
        (Scheme::Quic, "quic", 853),
        (Scheme::Grpc, "grpc", 443),
        (Scheme::Https, "https", 443),
        (Scheme::Https3, "https3", 443),
    ] {
        assert_eq!((scheme.as_str(), scheme.default_port()), (name, port));
    }
}
