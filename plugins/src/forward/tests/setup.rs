//! Corefile text to settings, or to the exact error.

use crate::testing::{configure, refused};

#[test]
fn all_options_are_accepted() {
    let configured = configure(
        "example.org",
        "forward . 10.0.0.1 dns://10.0.0.2 10.0.0.3:5353 ::1 [2001:db8::1]:53 [2001:db8::2] fe80::1%2 dns.example.net host_1:5300 {
            except a.example.org 10.0.0.0/8
            except b.example.org
            force_tcp
            prefer_udp
            expire 20s
            max_age 1m
            max_idle_conns 5
            read_timeout 1500ms
            max_fails 0
            health_check 5s no_rec domain example.org
            max_connect_attempts 0
            policy round_robin
            max_concurrent 1000
            next NXDOMAIN servfail
            next_on_nodata
            failover REFUSED NOTIMPL BADSIG
            failfast_all_unhealthy_upstreams
            resolver 10.0.0.9 [2001:db8::9]:5353
            source_address 127.0.0.1
            hedge_after 100ms
            randomize_case
        }",
    );
    assert!(configured.is_ok(), "{}", configured.err().unwrap_or_default());
    let configured = configured.unwrap_or_else(|error| panic!("{error}"));
    assert!(configured.block.any_class);
    assert_eq!(configured.instance.tasks.len(), 1);
}

#[test]
fn several_stanzas_are_one_link() {
    let configured = configure(".", "forward a.example 10.0.0.1\nforward . 10.0.0.2");
    assert!(configured.is_ok_and(|configured| configured.plugin.is_some()));
}

#[test]
fn a_resolv_conf_file_is_a_destination() {
    let folder = tempfile::tempdir().unwrap();
    let (full, empty, bad) =
        (folder.path().join("full"), folder.path().join("empty"), folder.path().join("bad"));
    std::fs::write(&full, "nameserver 10.0.0.1\nnameserver fe80::1%2\n").unwrap();
    std::fs::write(&empty, "search example.org\n").unwrap();
    std::fs::write(&bad, "# one\nnameserver dns.example.org\n").unwrap();
    let show = |path: &std::path::Path| path.display().to_string();

    assert!(configure(".", &format!("forward . {}", show(&full))).is_ok());
    assert!(configure(".", &format!("forward . {} 10.0.0.1", show(&empty))).is_ok());
    refused(
        ".",
        &format!("forward . {}", show(&empty)),
        "Corefile:2:11: no valid upstream addresses found (the file names no nameserver)",
    );
    refused(
        ".",
        &format!("forward . {}", show(&bad)),
        &format!(
            "Corefile:2:11: not an IP address or file \"{0}\": {0}:2: nameserver 'dns.example.org' is not an IP address",
            show(&bad)
        ),
    );
    refused(
        ".",
        "forward . /no/such/file",
        "Corefile:2:11: not an IP address or file \"/no/such/file\": open /no/such/file: No such file or directory (os error 2)",
    );
}

#[test]
fn bad_words_are_refused_with_what_is_allowed() {
    let cases = [
        (
            "forward",
            "Corefile:2:1: Wrong argument count or unexpected line ending after 'forward' (add the zone to forward)",
        ),
        (
            "forward .",
            "Corefile:2:9: Wrong argument count or unexpected line ending after '.' (add an address, a host name or a file to forward to)",
        ),
        ("forward a..b 10.0.0.1", "Corefile:2:9: unable to normalize 'a..b'"),
        (
            "forward . 10.0.0.300",
            "Corefile:2:11: not an IP address, file, or valid domain: \"10.0.0.300\" (write an address such as 10.0.0.10, 10.0.0.10:5353 or [2001:db8::1]:53, or a file such as /etc/resolv.conf)",
        ),
        ("forward . 10.0.0.1:0", "Corefile:2:11: '0' is not a port"),
        ("forward . 10.0.0.1:dns", "Corefile:2:11: 'dns' is not a port"),
        (
            "forward . 10.0.0.1%eth0",
            "Corefile:2:11: not an IP address, file, or valid domain: \"10.0.0.1%eth0\" (write an address such as 10.0.0.10, 10.0.0.10:5353 or [2001:db8::1]:53, or a file such as /etc/resolv.conf)",
        ),
        ("forward . dns://", "Corefile:2:11: invalid address: \"dns://\""),
        (
            "forward . tls://9.9.9.9",
            "Corefile:2:11: 'tls://' upstreams are in CoreDNS, but Periplus does not have them yet (plain DNS over UDP and TCP is there: write the address without a scheme)",
        ),
        (
            "forward . https://9.9.9.9",
            "Corefile:2:11: 'https://' upstreams are in CoreDNS, but Periplus does not have them yet (plain DNS over UDP and TCP is there: write the address without a scheme)",
        ),
        (
            "forward . grpc://9.9.9.9",
            "Corefile:2:11: 'grpc' is not supported as a destination protocol in forward: grpc://9.9.9.9",
        ),
        (
            "forward . http://9.9.9.9",
            "Corefile:2:11: 'http' is not supported as a destination protocol in forward",
        ),
        (
            "forward . 10.0.0.1 {\nexcept\n}",
            "Corefile:3:1: Wrong argument count or unexpected line ending after 'except' (add a name)",
        ),
        (
            "forward . 10.0.0.1 {\nforce_tcp yes\n}",
            "Corefile:3:11: Wrong argument count or unexpected line ending after 'yes' (nothing may follow 'force_tcp' here)",
        ),
        (
            "forward . 10.0.0.1 {\nprefer_udp yes\n}",
            "Corefile:3:12: Wrong argument count or unexpected line ending after 'yes' (nothing may follow 'prefer_udp' here)",
        ),
        (
            "forward . 10.0.0.1 {\nexpire -1s\n}",
            "Corefile:3:8: negative duration \"-1s\" (a duration may not be negative)",
        ),
        (
            "forward . 10.0.0.1 {\nexpire 10\n}",
            "Corefile:3:8: time: missing unit in duration \"10\" (a duration needs a unit: '10s' for seconds, '10m' for minutes)",
        ),
        (
            "forward . 10.0.0.1 {\nmax_age 5s\n}",
            "Corefile:3:9: max_age (5s) must not be less than expire (10s)",
        ),
        (
            "forward . 10.0.0.1 {\nmax_idle_conns -1\n}",
            "Corefile:3:16: -1 is out of range for a number of connections",
        ),
        (
            "forward . 10.0.0.1 {\nread_timeout 0s\n}",
            "Corefile:3:14: read_timeout must be positive: 0s",
        ),
        (
            "forward . 10.0.0.1 {\nmax_fails -1\n}",
            "Corefile:3:11: -1 is out of range for a number of failed probes",
        ),
        (
            "forward . 10.0.0.1 {\nhealth_check\n}",
            "Corefile:3:1: Wrong argument count or unexpected line ending after 'health_check' (add a duration)",
        ),
        (
            "forward . 10.0.0.1 {\nhealth_check 1s no_rek\n}",
            "Corefile:3:17: health_check: unknown option no_rek (did you mean 'no_rec'?)",
        ),
        (
            "forward . 10.0.0.1 {\nhealth_check 1s domain\n}",
            "Corefile:3:17: Wrong argument count or unexpected line ending after 'domain' (add a domain name)",
        ),
        (
            "forward . 10.0.0.1 {\nhealth_check 1s domain a..b\n}",
            "Corefile:3:24: health_check: invalid domain name a..b",
        ),
        (
            "forward . 10.0.0.1 {\nmax_connect_attempts many\n}",
            "Corefile:3:22: 'many' is not a number of attempts",
        ),
        (
            "forward . 10.0.0.1 {\npolicy round_robbin\n}",
            "Corefile:3:8: unknown policy 'round_robbin' (did you mean 'round_robin'?)",
        ),
        (
            "forward . 10.0.0.1 {\nmax_concurrent -5\n}",
            "Corefile:3:16: -5 is out of range for a number of queries",
        ),
        (
            "forward . 10.0.0.1 {\nnext\n}",
            "Corefile:3:1: Wrong argument count or unexpected line ending after 'next' (add a response code)",
        ),
        ("forward . 10.0.0.1 {\nnext NXDOMIAN\n}", "Corefile:3:6: NXDOMIAN is not a valid rcode"),
        (
            "forward . 10.0.0.1 {\nfailover NOERROR\n}",
            "Corefile:3:10: NoError cannot be used in failover",
        ),
        ("forward . 10.0.0.1 {\nfailover WRONG\n}", "Corefile:3:10: WRONG is not a valid rcode"),
        (
            "forward . 10.0.0.1 {\nresolver dns.example.org\n}",
            "Corefile:3:10: resolver must be an IP address or IP:port: \"dns.example.org\"",
        ),
        ("forward . 10.0.0.1 {\nsource_address eth0\n}", "Corefile:3:16: invalid IP address: eth0"),
        (
            "forward . 10.0.0.1 {\nhedge_after\n}",
            "Corefile:3:1: Wrong argument count or unexpected line ending after 'hedge_after' (add a duration)",
        ),
        (
            "forward . 10.0.0.1 {\nrandomize_case on\n}",
            "Corefile:3:16: Wrong argument count or unexpected line ending after 'on' (nothing may follow 'randomize_case' here)",
        ),
        (
            "forward . 10.0.0.1 {\ntls\n}",
            "Corefile:3:1: 'tls' is an option of CoreDNS's forward that Periplus does not have yet",
        ),
        (
            "forward . 10.0.0.1 {\ntls_servername dns.quad9.net\n}",
            "Corefile:3:1: 'tls_servername' is an option of CoreDNS's forward that Periplus does not have yet",
        ),
        (
            "forward . 10.0.0.1 {\ndoh_method GET\n}",
            "Corefile:3:1: 'doh_method' is an option of CoreDNS's forward that Periplus does not have yet",
        ),
        (
            "forward . 10.0.0.1 {\nmax_fail 3\n}",
            "Corefile:3:1: unknown property 'max_fail' (did you mean 'max_fails'?)",
        ),
        (
            "forward . 10.0.0.1 {\nforce_tcp {\nyes\n}\n}",
            "Corefile:3:11: Unexpected token '{' after 'force_tcp' ('force_tcp' takes no block)",
        ),
    ];
    for (directives, expected) in cases {
        refused(".", directives, expected);
    }
}

#[test]
fn more_than_fifteen_destinations_are_refused_and_a_file_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resolv.conf");
    std::fs::write(&file, (0..20).map(|n| format!("nameserver 10.0.1.{n}\n")).collect::<String>())
        .unwrap();
    let addresses = |count| (1..=count).map(|n| format!(" 10.0.0.{n}")).collect::<String>();
    assert!(configure(".", &format!("forward . {}{}", file.display(), addresses(14))).is_ok());
    refused(
        ".",
        &format!("forward .{}", addresses(16)),
        "Corefile:2:152: more than 15 TOs configured: 16",
    );
}

#[test]
fn all_errors_of_a_block_come_at_once() {
    let Err(error) = configure(
        ".",
        "forward . tls://1.1.1.1 {\nmax_fails x\n}\nforward . 1.1.1.1 {\npolicy y\n}",
    ) else {
        panic!("accepted")
    };
    assert_eq!(error.lines().count(), 3, "{error}");
}
