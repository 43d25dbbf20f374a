//! Corefile text in, settings or an error out.

use super::*;
use crate::kubernetes::shared::PodMode;
use crate::testing::{configure, refused};

#[test]
fn good_directives_are_accepted() {
    let bodies = [
        "snapshot .",
        "snapshot .\npods disabled\nttl 0",
        "snapshot .\npods insecure\nttl 3600 7",
        "snapshot .\npods verified\nendpoint_pod_names\nnamespaces a b\nnamespaces c",
        "snapshot .\nnoendpoints\nignore\nignore empty_service\nfallthrough\nfallthrough in-addr.arpa",
        "snapshot .\nlabels app=web, tier in (a, b)\nnamespace_labels \"visible notin (no)\"",
        "snapshot .\nstartup_timeout 1m30s\napiserver_qps 1.5\napiserver_burst 3\napiserver_max_inflight 0",
        "endpoint http://127.0.0.1:8080",
        "endpoint 127.0.0.1:8080 127.0.0.1:8081",
    ];
    for body in bodies {
        let configured =
            configure(".", &format!("kubernetes cluster.local in-addr.arpa {{\n{body}\n}}"));
        let configured = configured.unwrap_or_else(|error| panic!("{body}: {error}"));
        assert_eq!(configured.plugin.expect("a link of the chain").name(), "kubernetes");
        assert_eq!(configured.instance.preparations.len(), 1);
        let checks = configured.instance.readiness.checks();
        assert_eq!(checks.len(), 1);
        let (name, check) = &checks[0];
        assert_eq!((*name, check().ready), ("kubernetes", false));
        assert!(!check().remarks.is_empty());
    }
}

#[test]
fn without_arguments_the_zones_are_those_of_the_block() {
    let directive = "kubernetes {\nsnapshot .\n}";
    let configured = configure("10.0.0.0/8 cluster.example", directive).expect("a forward zone");
    let server = configured.server(vec![passed_on()]);
    let answer = |name: &str| ask(&server, &query(name, RecordType::SOA)).reply().is_some();
    assert!(answer("cluster.example") && answer("10.in-addr.arpa") && !answer("11.in-addr.arpa"));
}

#[test]
fn bad_options_are_refused() {
    const WRONG_COUNT: &str = "Wrong argument count or unexpected line ending after";
    let table = [
        ("pods", format!("4:1: {WRONG_COUNT} 'pods' (add a mode (disabled, insecure, verified))")),
        ("pods sometimes", "4:6: unexpected 'sometimes'".into()),
        ("pods verified x", format!("4:15: {WRONG_COUNT} 'x' (nothing may follow 'verified' here)")),
        ("ttl", format!("4:1: {WRONG_COUNT} 'ttl' (add a TTL in seconds)")),
        ("ttl 3601", "4:5: 3601 is out of range for a TTL in seconds".into()),
        ("ttl x", "4:5: 'x' is not a TTL in seconds".into()),
        ("namespaces", format!("4:1: {WRONG_COUNT} 'namespaces' (add a namespace)")),
        ("labels", format!("4:1: {WRONG_COUNT} 'labels' (add a label selector)")),
        ("labels a in", "4:1: labels: found \"the end\" in the label selector, want '('".into()),
        ("endpoint_pod_names x", format!("4:20: {WRONG_COUNT} 'x' (nothing may follow 'endpoint_pod_names' here)")),
        ("noendpoints x", format!("4:13: {WRONG_COUNT} 'x' (nothing may follow 'noendpoints' here)")),
        ("endpoint", format!("4:1: {WRONG_COUNT} 'endpoint' (add the API server's URL)")),
        ("tls a b", format!("4:7: {WRONG_COUNT} 'b' (add a CA certificate)")),
        ("kubeconfig", format!("4:1: {WRONG_COUNT} 'kubeconfig' (add a file)")),
        ("snapshot . x", format!("4:12: {WRONG_COUNT} 'x' (nothing may follow '.' here)")),
        ("ignore full_service", "4:8: unexpected 'full_service' (did you mean 'empty_service'?)".into()),
        (
            "startup_timeout 5",
            "4:17: time: missing unit in duration \"5\" (a duration needs a unit: '5s' for seconds, '5m' for minutes)".into(),
        ),
        (
            "apiserver_qps -1",
            "4:15: '-1' is not a number of requests per second (write a number of 0 or more; 0 is no limit)".into(),
        ),
        ("apiserver_burst -1", "4:17: -1 is out of range for a number of requests".into()),
        ("apiserver_max_inflight x", "4:24: 'x' is not a number of requests".into()),
        (
            "zonal",
            "4:1: CoreDNS has the option 'zonal', Periplus has it not yet (remove the option; names that need it do not exist then)"
                .into(),
        ),
        (
            "multicluster cluster.local",
            "4:1: CoreDNS has the option 'multicluster', Periplus has it not yet \
             (remove the option; names that need it do not exist then)"
                .into(),
        ),
        ("podz verified", "4:1: unknown property 'podz' (did you mean 'pods'?)".into()),
    ];
    for (line, error) in table {
        let directive = format!("kubernetes cluster.local {{\nsnapshot .\n{line}\n}}");
        refused(".", &directive, &format!("Corefile:{error}"));
    }
}

#[test]
fn directives_that_contradict_themselves_are_refused() {
    let table = [
        (
            "snapshot .\nnamespaces a\nnamespace_labels b",
            "2:1: namespaces and namespace_labels cannot both be set (remove one of them)",
        ),
        (
            "snapshot .\nkubeconfig x",
            "2:1: a snapshot has no API server (remove snapshot, or remove endpoint, tls and kubeconfig)",
        ),
        (
            "snapshot .\ntls a b c",
            "2:1: a snapshot has no API server (remove snapshot, or remove endpoint, tls and kubeconfig)",
        ),
        (
            "kubeconfig a b c",
            "3:16: Wrong argument count or unexpected line ending after 'c' (nothing may follow 'b' here)",
        ),
        (
            "kubeconfig /nowhere",
            "3:1: kubeconfig /nowhere: /nowhere: No such file or directory (os error 2)",
        ),
        ("snapshot /nowhere", "3:1: snapshot /nowhere: No such file or directory (os error 2)"),
        ("endpoint ftp://x", "3:1: endpoint ftp://x: want http://HOST:PORT or https://HOST:PORT"),
        (
            "ttl x\npods x\nsnapshot .",
            "3:5: 'x' is not a TTL in seconds\nCorefile:4:6: unexpected 'x'",
        ),
    ];
    for (body, error) in table {
        refused(
            ".",
            &format!("kubernetes cluster.local {{\n{body}\n}}"),
            &format!("Corefile:{error}"),
        );
    }
}

#[test]
fn zones_must_hold_a_forward_one() {
    let error = "non-reverse zone name must be used (add the cluster's domain to the zones, for example cluster.local)";
    refused("10.0.0.0/8", "kubernetes {\nsnapshot .\n}", &format!("Corefile:2:1: {error}"));
    refused(".", "kubernetes 10.0.0.0/8 {\nsnapshot .\n}", &format!("Corefile:2:1: {error}"));
    // CoreDNS takes the names of the reverse trees for forward ones.
    assert!(configure("in-addr.arpa ip6.arpa", "kubernetes {\nsnapshot .\n}").is_ok());
}

#[test]
fn a_second_stanza_is_refused() {
    let stanza = "kubernetes a {\nsnapshot .\n}\n";
    refused(
        ".",
        &stanza.repeat(2),
        "Corefile:5:1: this plugin can only be used once per Server Block",
    );
}

#[test]
fn only_options_that_change_the_data_ask_for_other_data() {
    let name = options().name_of_data();
    let same = [
        Options { startup_timeout: Duration::from_secs(60), ..options() },
        Options { pods: PodMode::Insecure, ..options() },
        Options { zones: vec![super::name("foo.test.")], ..options() },
    ];
    assert!(same.iter().all(|options| options.name_of_data() == name));
    let other = [
        Options { ttl: 6, ..options() },
        Options { qps: 1.0, ..options() },
        Options { pods: PodMode::Verified, ..options() },
        Options { endpoint_pod_names: true, ..options() },
        Options { endpoint: Some("http://127.0.0.1:1".into()), ..options() },
    ];
    assert!(other.iter().all(|options| options.name_of_data() != name));
}
