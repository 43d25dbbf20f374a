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
        "Corefile:2:11: no valid upstream addresses found (the file names no nameserver)\n",
    );
    refused(
        ".",
        &format!("forward . {}", show(&bad)),
        &format!(
            "Corefile:2:11: not an IP address or file \"{0}\": {0}:2: nameserver 'dns.example.org' is not an IP address\n",
            show(&bad)
        ),
    );
    refused(
        ".",
        "forward . /no/such/file",
        "Corefile:2:11: not an IP address or file \"/no/such/file\": open /no/such/file: No such file or directory (os error 2)\n",
    );
}

#[test]
fn bad_words_are_refused_with_what_is_allowed() {
    let cases = [
        ("forward", ""),
        ("forward .", ""),
        ("forward a..b 10.0.0.1", ""),
        ("forward . 10.0.0.300", ""),
        ("forward . 10.0.0.1:0", ""),
        ("forward . 10.0.0.1:dns", ""),
        ("forward . 10.0.0.1%eth0", ""),
        ("forward . dns://", ""),
        ("forward . tls://9.9.9.9", ""),
        ("forward . https://9.9.9.9", ""),
        ("forward . grpc://9.9.9.9", ""),
        ("forward . http://9.9.9.9", ""),
        ("forward . 10.0.0.1 {\nexcept\n}", ""),
        ("forward . 10.0.0.1 {\nforce_tcp yes\n}", ""),
        ("forward . 10.0.0.1 {\nprefer_udp yes\n}", ""),
        ("forward . 10.0.0.1 {\nexpire -1s\n}", ""),
        ("forward . 10.0.0.1 {\nexpire 10\n}", ""),
        ("forward . 10.0.0.1 {\nmax_age 5s\n}", ""),
        ("forward . 10.0.0.1 {\nmax_idle_conns -1\n}", ""),
        ("forward . 10.0.0.1 {\nread_timeout 0s\n}", ""),
        ("forward . 10.0.0.1 {\nmax_fails -1\n}", ""),
        ("forward . 10.0.0.1 {\nhealth_check\n}", ""),
        ("forward . 10.0.0.1 {\nhealth_check 1s no_rek\n}", ""),
        ("forward . 10.0.0.1 {\nhealth_check 1s domain\n}", ""),
        ("forward . 10.0.0.1 {\nhealth_check 1s domain a..b\n}", ""),
        ("forward . 10.0.0.1 {\nmax_connect_attempts many\n}", ""),
        ("forward . 10.0.0.1 {\npolicy round_robbin\n}", ""),
        ("forward . 10.0.0.1 {\nmax_concurrent -5\n}", ""),
        ("forward . 10.0.0.1 {\nnext\n}", ""),
        ("forward . 10.0.0.1 {\nnext NXDOMIAN\n}", ""),
        ("forward . 10.0.0.1 {\nfailover NOERROR\n}", ""),
        ("forward . 10.0.0.1 {\nfailover WRONG\n}", ""),
        ("forward . 10.0.0.1 {\nresolver dns.example.org\n}", ""),
        ("forward . 10.0.0.1 {\nsource_address eth0\n}", ""),
        ("forward . 10.0.0.1 {\ntls\n}", ""),
        ("forward . 10.0.0.1 {\ntls_servername dns.quad9.net\n}", ""),
        ("forward . 10.0.0.1 {\ndoh_method GET\n}", ""),
        ("forward . 10.0.0.1 {\nmax_fail 3\n}", ""),
        ("forward . 10.0.0.1 {\nforce_tcp {\nyes\n}\n}", ""),
    ];
    for (directives, expected) in cases {
        refused(".", directives, expected);
    }
}

#[test]
fn more_than_fifteen_destinations_are_refused_and_a_file_counts_once() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("resolv.conf");
    std::fs::write(&file, (0..20).map(|n| format!("nameserver 10.0.1.{n}\n")).collect::<String>()).unwrap();
    let addresses = |count| (1..=count).map(|n| format!(" 10.0.0.{n}")).collect::<String>();
    assert!(configure(".", &format!("forward . {}{}", file.display(), addresses(14))).is_ok());
    refused(
        ".",
        &format!("forward .{}", addresses(16)),
        "Corefile:2:147: more than 15 TOs configured: 16\n",
    );
}

#[test]
fn all_errors_of_a_block_come_at_once() {
    let Err(error) = configure(".", "forward . tls://1.1.1.1 {\nmax_fails x\n}\nforward . 1.1.1.1 {\npolicy y\n}")
    else {
        panic!("accepted")
    };
    assert_eq!(error.lines().count(), 3, "{error}");
}
