//! What is asked of an API server, and what becomes of its answers, when all is well.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;

use super::{
    fast, namespace, patient, pod, service, settings_for, start, start_in, start_with, until,
};
use crate::kubernetes::objects::{Change, Resource};
use crate::kubernetes::source::Settings;
use crate::kubernetes::source::testing::{Outage, TestApiServer, Verb};

#[tokio::test]
async fn lists_come_first_and_events_follow() {
    let server = TestApiServer::start().await;
    server.put("namespaces", namespace("a"));
    server.put("services", service("a", "one", "10.0.0.1"));
    let source = start(settings_for(&server));
    source.until_synced().await;
    source.until_objects(&["Namespace a", "Service a/one"]).await;
    let synced = source.recorder.now().synced;
    assert_eq!(synced.len(), 3, "once per kind: {synced:?}");

    server.put("services", service("a", "two", "10.0.0.2"));
    server.put(
        "endpointslices",
        json!({"metadata": {"name": "two-x", "namespace": "a"}, "endpoints": []}),
    );
    source.until_objects(&["Namespace a", "Service a/one", "Service a/two", "Slice a/two-x"]).await;
    server.delete("services", "a/one");
    server.delete("namespaces", "/a");
    source.until_objects(&["Service a/two", "Slice a/two-x"]).await;
    assert!(source.state.remarks().is_empty(), "{:?}", source.state.remarks());
}

#[tokio::test]
async fn selectors_are_left_to_the_server() {
    let server = TestApiServer::start().await;
    server.put("services", service("a", "one", "10.0.0.1"));
    server.put("services", service("a", "two", "10.0.0.2"));
    let mut settings = settings_for(&server);
    settings.labels = Some("tier=two".to_owned());
    settings.namespace_labels = Some("visibility notin (hidden)".to_owned());
    settings.watch_pods = true;
    let source = start(settings);
    source.until_synced().await;
    source.until_objects(&["Service a/two"]).await;
    // The events of what is not selected pass by.
    server.put("services", service("a", "one", "10.0.0.3"));
    let mut relabelled = service("a", "two", "10.0.0.2");
    relabelled["metadata"]["labels"]["tier"] = json!("other");
    server.put("services", relabelled);
    source.until_objects(&[]).await;

    let phases =
        "status.phase%21%3DSucceeded%2Cstatus.phase%21%3DFailed%2Cstatus.phase%21%3DUnknown";
    let list = "resourceVersion=0";
    for expected in [
        format!("/api/v1/namespaces?labelSelector=visibility%20notin%20%28hidden%29&{list}"),
        format!("/api/v1/services?labelSelector=tier%3Dtwo&{list}"),
        format!("/apis/discovery.k8s.io/v1/endpointslices?labelSelector=tier%3Dtwo&{list}"),
        format!("/api/v1/pods?labelSelector=tier%3Dtwo&fieldSelector={phases}&{list}"),
    ] {
        assert!(
            server.requests().contains(&expected),
            "{expected} not in {:#?}",
            server.requests()
        );
    }
    let watches: Vec<_> =
        server.requests().into_iter().filter(|url| url.contains("watch=true")).collect();
    assert!(
        watches.iter().all(|url| url.contains("allowWatchBookmarks=true&timeoutSeconds=")),
        "{watches:#?}"
    );
}

#[tokio::test]
async fn only_what_is_needed_is_watched() {
    let server = TestApiServer::start().await;
    let mut settings = settings_for(&server);
    settings.watch_endpoints = false;
    let source = start(settings);
    source.until_synced().await;
    assert_eq!(server.count(Verb::List, "endpointslices") + server.count(Verb::List, "pods"), 0);
}

#[tokio::test]
async fn an_update_that_changes_nothing_for_dns_is_passed_over() {
    let server = TestApiServer::start().await;
    server.put("services", service("a", "one", "10.0.0.1"));
    let source = start(settings_for(&server));
    source.until_synced().await;
    let mut same = service("a", "one", "10.0.0.1");
    same["metadata"]["annotations"] = json!({"touched": "yes"});
    server.put("services", same);
    server.put("services", service("a", "two", "10.0.0.2"));
    source.until_objects(&["Service a/one", "Service a/two"]).await;
    assert_eq!(source.recorder.now().changes.len(), 2);
}

#[tokio::test]
async fn pods_come_and_go_with_their_addresses() {
    let server = TestApiServer::start().await;
    let mut settings = settings_for(&server);
    settings.watch_pods = true;
    let mut terminating = pod("leaving", "10.1.0.9");
    terminating["metadata"]["deletionTimestamp"] = json!("2026-11-21T01:43:50Z");
    server.put("pods", terminating.clone());
    server.put("pods", pod("running", "10.1.0.1"));
    let source = start(settings);
    source.until_synced().await;
    // A Pod that terminates is not added.
    source.until_objects(&["Pod a/running"]).await;
    // One without an address waits for it.
    let mut pending = pod("new", "");
    pending["status"] = json!({"phase": "Pending"});
    server.put("pods", pending);
    server.put("pods", pod("new", "10.1.0.2"));
    source.until_objects(&["Pod a/new", "Pod a/running"]).await;
    // One that begins to terminate stays, even if its address is taken away, until it is gone.
    terminating["metadata"]["name"] = json!("running");
    terminating["status"]["podIP"] = json!("");
    server.put("pods", terminating);
    // One that has ended leaves the field selector.
    let mut ended = pod("new", "10.1.0.2");
    ended["status"]["phase"] = json!("Succeeded");
    server.put("pods", ended);
    source.until_objects(&["Pod a/running"]).await;
    server.delete("pods", "a/running");
    source.until_objects(&[]).await;
}

#[tokio::test]
async fn a_watch_goes_on_from_its_bookmark_without_a_list() {
    let server = TestApiServer::start().await;
    server.send_bookmarks(Some(Duration::from_millis(100)));
    let source = start_with(settings_for(&server), patient());
    source.until_synced().await;
    // Other kinds move the version on; this one hears of it by bookmarks only.
    server.put("services", service("a", "one", "10.0.0.1"));
    until("three watches have followed each other", || server.count(Verb::Watch, "namespaces") > 3)
        .await;
    assert_eq!(server.count(Verb::List, "namespaces"), 1);
    let watches: Vec<_> =
        server.requests().into_iter().filter(|url| url.contains("/namespaces?watch")).collect();
    assert!(watches[0].ends_with("&resourceVersion=1000"), "{watches:#?}");
    assert!(watches[3].ends_with("&resourceVersion=1001"), "{watches:#?}");
    assert!(source.state.of(Resource::Namespaces).and_then(|state| state.age()).is_some());
}

#[tokio::test]
async fn metrics_tell_of_requests_and_watches() {
    let server = TestApiServer::start().await;
    server.put("services", service("a", "one", "10.0.0.1"));
    let source = start_with(settings_for(&server), patient());
    source.until_synced().await;
    until("the watches are running", || server.count(Verb::Watch, "services") > 0).await;
    let (origin, host) = (server.url(), server.url().trim_start_matches("http://").to_owned());
    let requests = format!(
        "coredns_kubernetes_rest_client_requests_total{{code=\"200\",method=\"GET\",host=\"{host}\"}}"
    );
    until("the requests are counted", || {
        source.sample(&requests).is_some_and(|count| count >= 4.0)
    })
    .await;
    for name in ["request", "rate_limiter"] {
        let count = format!(
            "coredns_kubernetes_rest_client_{name}_duration_seconds_count{{verb=\"GET\",host=\"{host}\"}}"
        );
        assert!(
            source.sample(&count).is_some_and(|count| count >= 4.0),
            "{}",
            source.registry.expose()
        );
    }
    let of_services = format!("{{resource=\"services\",origin=\"{origin}\"}}");
    assert_eq!(source.sample(&format!("periplus_kubernetes_synced{of_services}")), Some(1.0));
    assert_eq!(source.sample(&format!("periplus_kubernetes_failing{of_services}")), Some(0.0));
    assert_eq!(source.sample(&format!("periplus_kubernetes_lists_total{of_services}")), Some(1.0));
    assert!(
        source
            .sample(&format!("periplus_kubernetes_watch_age_seconds{of_services}"))
            .is_some_and(|age| age >= 0.0)
    );
}

#[tokio::test]
async fn sources_of_one_origin_have_their_series_in_common() {
    let server = TestApiServer::start().await;
    server.put("services", service("a", "one", "10.0.0.1"));
    let first = start(settings_for(&server));
    first.until_synced().await;
    let registry = Arc::clone(&first.registry);
    let sample = |what: &str| {
        let labels = format!("{{resource=\"services\",origin=\"{}\"}}", server.url());
        let line = format!("periplus_kubernetes_{what}{labels} ");
        registry.expose().lines().find_map(|it| it.strip_prefix(&line)?.parse::<f64>().ok())
    };
    let age = || sample("watch_age_seconds");
    assert_eq!((sample("synced"), sample("failing")), (Some(1.0), Some(0.0)));
    // As a reload that needs other data, and does not get them.
    server.set_outage(Some(Outage::Refused));
    let other = Settings { labels: Some("tier=one".into()), ..settings_for(&server) };
    let second = start_in(Arc::clone(&registry), other, fast());
    until("the worse one counts", || sample("synced") == Some(0.0)).await;
    until("both fail", || sample("failing") == Some(1.0)).await;
    assert!(age().is_some_and(|age| age >= 0.0));
    drop(second);
    until("the first is alone", || sample("synced") == Some(1.0)).await;
    assert!(age().is_some_and(|age| age >= 0.0));
    server.set_outage(None);
    until("it works again", || sample("failing") == Some(0.0)).await;
    drop(first);
    until("the last one has taken its series along", || sample("synced").is_none()).await;
}

#[tokio::test]
async fn requests_say_who_asks_and_accept_json() {
    let server = TestApiServer::start().await;
    let source = start(settings_for(&server));
    source.until_synced().await;
    let agents = server.agents();
    assert!(
        agents.iter().all(|agent| agent == concat!("Periplus/", env!("CARGO_PKG_VERSION"))),
        "{agents:?}"
    );
}

#[tokio::test]
async fn a_sink_that_panics_costs_one_change() {
    struct Fragile(super::Recorder);
    impl crate::kubernetes::source::Sink for Fragile {
        fn apply(&self, change: Change) {
            assert!(
                !matches!(&change, Change::Service(service) if service.key.name == "bad"),
                "as the test wants"
            );
            self.0.apply(change);
        }
        fn synced(&self, _: Resource) {}
    }
    use std::sync::Arc;
    let server = TestApiServer::start().await;
    for name in ["bad", "good"] {
        server.put("services", service("a", name, "10.0.0.1"));
    }
    let sink = Arc::new(Fragile(super::Recorder::default()));
    let settings = settings_for(&server);
    let state =
        super::SourceState::new("test".to_owned(), &settings.resources(), Duration::from_secs(1));
    let registry = Arc::new(periplus_core::metrics::Registry::new(1));
    let stop = tokio_util::sync::CancellationToken::new();
    let task = super::run(
        settings,
        super::fast(),
        Arc::clone(&sink),
        Arc::new(state),
        registry,
        stop.clone(),
    );
    let _stop = stop.drop_guard();
    tokio::spawn(task);
    until("the good one is there", || sink.0.now().objects.contains_key("Service a/good")).await;
}
