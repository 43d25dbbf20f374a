use std::sync::Arc;
use std::time::Duration;

use periplus_core::codes::{Class, Rcode, RecordType, flags};
use periplus_core::edns::Edns;
use periplus_core::metrics::{Counter, Registry};
use periplus_core::plugin::Plugin;
use periplus_core::query::{Query, Transport};
use periplus_core::reply::{Answer, Failure, Reply};
use periplus_core::server::{Block, Server, ServerParts};
use periplus_core::zone::Zones;

use super::handler::{Dropped, Prometheus};
use crate::testing::{
    ask, configure, delayed, eventually, name, query, refused, run_tasks, scripted,
};

/// A server for `example.org.` whose `prometheus` counts for the zones `org.` and `example.org.`; what is answered depends on the
/// first label.
fn counted(registry: &Arc<Registry>) -> Arc<Server> {
    let answers = scripted(|query| {
        let first: &[u8] = query.name().labels().next().unwrap_or_default();
        match first {
            b"fails" => Failure::servfail("forward", "no healthy proxies").into(),
            b"later" => delayed(Reply::to(query, "forward").into(), Duration::from_millis(1)),
            b"silent" => Answer::Silence.into(),
            b"odd" => {
                let mut reply = Reply::to(query, "forward");
                reply.rcode = Rcode(3841);
                reply.into()
            }
            _ => Reply::authoritative(query, "kubernetes").into(),
        }
    });
    let zones = Zones::new([name("org."), name("example.org."), name("org.")]);
    let chain: Vec<Arc<dyn Plugin>> = vec![Arc::new(Prometheus::new(registry, &zones)), answers];
    let block = Arc::new(Block::new(chain));
    Arc::new(Server::new(ServerParts {
        label: "dns://:53".into(),
        zones: vec![(name("org."), Arc::clone(&block)), (name("test."), block)],
        any_class: false,
        fatal_panics: None,
        panics: Counter::clone(&registry.counter("coredns_panics_total", "", &[])),
        dropped: vec![Arc::new(Dropped::new(registry))],
    }))
}

/// The lines of the exposition that a question adds, without comments, buckets and sums of durations.
fn added(query: &Query) -> Vec<String> {
    let registry = Arc::new(Registry::new(1));
    ask(&counted(&registry), query);
    let text = registry.expose();
    let wanted = |line: &&str| {
        let uninteresting =
            ["#", "coredns_dns_request_duration_seconds_sum", "coredns_panics_total"];
        !line.contains("_bucket") && !uninteresting.iter().any(|start| line.starts_with(start))
    };
    text.lines().filter(wanted).map(str::to_owned).collect()
}

#[test]
fn a_query_is_counted_by_server_zone_transport_family_and_type() {
    assert_eq!(
        added(&query("www.Example.org.", RecordType::A)),
        [
            r#"coredns_dns_request_duration_seconds_count{server="dns://:53",zone="example.org.",view=""} 1"#,
            r#"coredns_dns_request_size_bytes_sum{server="dns://:53",zone="example.org.",view="",proto="udp"} 33"#,
            r#"coredns_dns_request_size_bytes_count{server="dns://:53",zone="example.org.",view="",proto="udp"} 1"#,
            r#"coredns_dns_requests_total{server="dns://:53",zone="example.org.",view="",proto="udp",family="1",type="A"} 1"#,
            r#"coredns_dns_response_size_bytes_sum{server="dns://:53",zone="example.org.",view="",proto="udp"} 33"#,
            r#"coredns_dns_response_size_bytes_count{server="dns://:53",zone="example.org.",view="",proto="udp"} 1"#,
            r#"coredns_dns_responses_total{server="dns://:53",zone="example.org.",view="",rcode="NOERROR",plugin="kubernetes"} 1"#,
        ]
    );
}

#[test]
fn label_values_follow_the_query_and_the_answer() {
    type Change = fn(&mut Query);
    let cases: &[(&str, RecordType, Change, &[&str])] = &[
        (
            "a.org.",
            RecordType::AAAA,
            |query| {
                query.transport = Transport::Tcp;
                query.peer = "[2001:db8::1]:1".parse().unwrap();
            },
            &[r#"zone="org.""#, r#"proto="tcp",family="2",type="AAAA""#],
        ),
        (
            "a.test.",
            RecordType::CAA,
            |query| query.peer = "[::ffff:192.0.2.1]:1".parse().unwrap(),
            &[r#"zone=".""#, r#"family="1",type="other""#],
        ),
        (
            "a.org.",
            RecordType::IXFR,
            |query| query.edns = Some(Edns { flags: flags::DO, ..Edns::default() }),
            &[
                r#"type="IXFR""#,
                r#"coredns_dns_do_requests_total{server="dns://:53",zone="org.",view=""} 1"#,
            ],
        ),
        (
            "fails.org.",
            RecordType::A,
            |_| {},
            &[
                r#"rcode="SERVFAIL",plugin="forward""#,
                r#"coredns_dns_response_size_bytes_sum{server="dns://:53",zone="org.",view="",proto="udp"} 0"#,
            ],
        ),
        ("later.org.", RecordType::A, |_| {}, &[r#"rcode="NOERROR",plugin="forward""#]),
        ("silent.org.", RecordType::A, |_| {}, &[r#"rcode="NOERROR",plugin="""#]),
        ("odd.org.", RecordType::A, |_| {}, &[r#"rcode="RCODE3841",plugin="forward""#]),
        // Refused before any chain.
        (
            "a.example.net.",
            RecordType::A,
            |_| {},
            &[
                r#"zone="dropped",view="",proto="udp",family="1",type="A"} 1"#,
                r#"zone="dropped",view="",rcode="REFUSED",plugin=""} 1"#,
                r#"coredns_dns_response_size_bytes_sum{server="dns://:53",zone="dropped",view="",proto="udp"} 31"#,
            ],
        ),
        (
            "a.org.",
            RecordType::A,
            |query| query.class = Class::CH,
            &[r#"zone="dropped",view="",rcode="REFUSED",plugin=""} 1"#],
        ),
    ];
    for (qname, qtype, change, expected) in cases {
        let mut query = query(qname, *qtype);
        change(&mut query);
        let text = added(&query).join("\n");
        for part in *expected {
            assert!(text.contains(part), "{qname} {qtype}: no {part} in\n{text}");
        }
    }
}

#[test]
fn the_same_labels_add_up_and_others_get_their_own_series() {
    let registry = Arc::new(Registry::new(1));
    let server = counted(&registry);
    for (qname, times) in [("a.org.", 3), ("fails.org.", 2), ("odd.org.", 2)] {
        for _ in 0..times {
            ask(&server, &query(qname, RecordType::A));
        }
    }
    let text = registry.expose();
    for line in [
        r#"coredns_dns_requests_total{server="dns://:53",zone="org.",view="",proto="udp",family="1",type="A"} 7"#,
        r#"coredns_dns_responses_total{server="dns://:53",zone="org.",view="",rcode="NOERROR",plugin="kubernetes"} 3"#,
        r#"coredns_dns_responses_total{server="dns://:53",zone="org.",view="",rcode="SERVFAIL",plugin="forward"} 2"#,
        r#"coredns_dns_responses_total{server="dns://:53",zone="org.",view="",rcode="RCODE3841",plugin="forward"} 2"#,
        r#"coredns_dns_request_duration_seconds_bucket{server="dns://:53",zone="org.",view="",le="8.192"} 7"#,
    ] {
        assert!(text.contains(&format!("{line}\n")), "no {line} in\n{text}");
    }
}

#[test]
fn the_metrics_are_those_of_coredns() {
    let registry = Arc::new(Registry::new(1));
    let server = counted(&registry);
    let mut signed = query("a.org.", RecordType::A);
    signed.edns = Some(Edns { flags: flags::DO, ..Edns::default() });
    ask(&server, &signed);
    super::setup::build_info(&registry);
    let expected = [
        ("coredns_build_info", "gauge"),
        ("coredns_dns_do_requests_total", "counter"),
        ("coredns_dns_request_duration_seconds", "histogram"),
        ("coredns_dns_request_size_bytes", "histogram"),
        ("coredns_dns_requests_total", "counter"),
        ("coredns_dns_response_size_bytes", "histogram"),
        ("coredns_dns_responses_total", "counter"),
        ("coredns_panics_total", "counter"),
    ];
    let text = registry.expose();
    let types: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    assert_eq!(types, expected.map(|(name, kind)| format!("{name} {kind}")));
}

#[test]
fn the_process_shows_its_use_of_the_machine() {
    if !std::path::Path::new("/proc/self/stat").exists() {
        return;
    }
    let registry = Registry::new(1);
    super::process::register(&registry);
    let text = registry.expose();
    let value = |name: &str| -> f64 {
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix(name))
            .unwrap_or_else(|| panic!("no {name}"));
        line.trim().parse().unwrap()
    };
    for name in [
        "process_max_fds",
        "process_open_fds",
        "process_resident_memory_bytes",
        "process_virtual_memory_bytes",
        "process_start_time_seconds",
    ] {
        assert!(value(name) > 0.0, "{name}");
    }
    assert!(value("process_cpu_seconds_total") >= 0.0);
    assert!(value("process_resident_memory_bytes") <= value("process_virtual_memory_bytes"));
}

#[test]
fn the_first_block_registers_what_belongs_to_the_instance() {
    let mut configured =
        configure("example.org:1053 a.org:53", "prometheus\nhealth\nlog\nwhoami").unwrap();
    assert_eq!(configured.instance.dropped.len(), 1);
    let page = configured.instance.pages.remove(0);
    assert_eq!((page.address.to_string().as_str(), page.path), ("localhost:9153", "/metrics"));

    let tasks = run_tasks(&mut configured.instance);
    let enabled = |name: &str, value: u8| {
        format!(
            "coredns_plugin_enabled{{server=\"dns://:1053\",zone=\"example.org.\",view=\"\",name=\"{name}\"}} {value}\n"
        )
    };
    eventually("all plugins with a handler are shown", || {
        let text = (page.content)().body;
        ["prometheus", "log", "whoami"].iter().all(|name| text.contains(&enabled(name, 1)))
    });
    let content = (page.content)();
    assert_eq!((content.status, content.content_type), (200, Registry::CONTENT_TYPE));
    assert_eq!(content.body.matches("coredns_plugin_enabled{").count(), 3);
    assert!(content.body.contains("coredns_build_info{version="));

    tasks.stop();
    assert!((page.content)().body.contains(&enabled("log", 0)));
}

#[test]
fn the_directive_is_read_or_refused() {
    for accepted in ["prometheus", "prometheus :9153", "prometheus [::1]:1 {\nruntime_metrics\n}"] {
        assert!(configure(".", accepted).unwrap().plugin.is_some(), "{accepted}");
    }
    let cases = [
        (
            "prometheus 9153",
            "Corefile:2:12: '9153' is not an address to listen on (write host:port, [v6]:port or :port; the host is an IP address or localhost)",
        ),
        (
            "prometheus :1 :2",
            "Corefile:2:15: Wrong argument count or unexpected line ending after ':2' (nothing may follow ':1' here)",
        ),
        (
            "prometheus\nprometheus :1",
            "Corefile:3:1: this plugin can only be used once per Server Block",
        ),
        (
            "prometheus {\nruntime_metrics all\n}",
            "Corefile:3:17: Wrong argument count or unexpected line ending after 'all' (nothing may follow 'runtime_metrics' here)",
        ),
        (
            "prometheus {\ntls web.yaml\nruntime_metric\n}",
            "Corefile:3:1: 'tls' is not supported yet: /metrics is served over plain HTTP (remove the option, and let a proxy in front of the address speak TLS)\n\
             Corefile:4:1: unknown property 'runtime_metric' (did you mean 'runtime_metrics'?)",
        ),
    ];
    for (directives, expected) in cases {
        refused(".", directives, expected);
    }
}
