//! What goes wrong between the API server and us, and that it comes right again with nothing lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use periplus_core::metrics::Registry;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use super::{
    Recorder, Running, fast, namespace, patient, service, settings, settings_for, start,
    start_with, until,
};
use crate::kubernetes::objects::{Change, Resource};
use crate::kubernetes::source::state::SourceState;
use crate::kubernetes::source::testing::{Fault, TestApiServer, Verb};
use crate::kubernetes::source::{Origin, Sink, run};

fn failure(source: &Running, resource: Resource) -> Option<String> {
    source.state.of(resource).and_then(|state| state.failure()).map(|(text, _)| text)
}

fn failures(source: &Running, server: &TestApiServer, reason: &str) -> f64 {
    let origin = server.url();
    let labels = format!("{{resource=\"services\",reason=\"{reason}\",origin=\"{origin}\"}}");
    source.sample(&format!("periplus_kubernetes_watch_failures_total{labels}")).unwrap_or(f64::NAN)
}

/// Whatever goes wrong with the first list, the source says so, goes on trying, and is complete in the end.
#[tokio::test]
async fn a_first_list_that_fails_is_read_again() {
    let refused = "services is refused by the test";
    let cases = [
        (Fault::Status(401), "unauthorized", format!("401 Unauthorized: {refused}")),
        (Fault::Status(403), "forbidden", format!("403 Forbidden: {refused}")),
        (Fault::Status(429), "too_many_requests", format!("429 Too Many Requests: {refused}")),
        (Fault::Status(500), "server_error", format!("500 Internal Server Error: {refused}")),
        (Fault::Status(503), "server_error", format!("503 Service Unavailable: {refused}")),
        (Fault::NoAnswer, "stalled", "nothing from the API server for 1 s".to_owned()),
        (Fault::Silence, "stalled", "nothing from the API server for 0.5 s".to_owned()),
        (Fault::CutAfter(1500), "cut", "connection lost: ".to_owned()),
        (Fault::EndAfter(1500), "cut", "connection lost: the list ended in its middle".to_owned()),
        (
            Fault::Garbage,
            "malformed",
            "unexpected answer: not a list of objects in JSON".to_owned(),
        ),
    ];
    let cases = cases.map(|(fault, reason, expected)| first_list_fails(fault, reason, expected));
    futures::future::join_all(cases).await;
}

async fn first_list_fails(fault: Fault, reason: &str, expected: String) {
    let server = TestApiServer::start().await;
    for number in 0..20 {
        server.put("services", service("a", &format!("s{number}"), "10.0.0.1"));
    }
    server.fault(Verb::List, "services", 3, fault.clone());
    let timing = if reason == "stalled" { fast() } else { patient() };
    let source = start_with(settings_for(&server), timing);
    until("it is said what fails", || failure(&source, Resource::Services).is_some()).await;
    let text = failure(&source, Resource::Services).unwrap_or_default();
    assert!(text.starts_with(&expected), "{fault:?}: {text}");
    let remark = source
        .state
        .remarks()
        .into_iter()
        .find(|remark| remark.starts_with("services: not synced: "));
    assert!(
        remark.is_some_and(|remark| remark.contains(&expected)),
        "{:?}",
        source.state.remarks()
    );
    source.until_synced().await;
    assert_eq!(source.recorder.now().objects.len(), 20, "{fault:?}");
    assert_eq!(failure(&source, Resource::Services), None, "{fault:?}");
    assert!(failures(&source, &server, reason) >= 1.0, "{fault:?}: {}", source.registry.expose());
}

/// Whatever goes wrong with a watch, what is known stays, and what happens meanwhile is there soon.
#[tokio::test]
async fn a_watch_that_fails_is_replaced() {
    let faults = [
        Fault::Status(401),
        Fault::Status(403),
        Fault::Status(410),
        Fault::Status(500),
        Fault::GoneEvent,
        Fault::NoAnswer,
        Fault::Silence,
        Fault::CutAfter(10),
        Fault::EndAfter(10),
        Fault::Garbage,
    ];
    futures::future::join_all(faults.map(watch_fails)).await;
}

async fn watch_fails(fault: Fault) {
    let server = TestApiServer::start().await;
    server.put("services", service("a", "one", "10.0.0.1"));
    server.put("services", service("a", "two", "10.0.0.2"));
    server.fault(Verb::Watch, "services", 3, fault.clone());
    let source = start(settings_for(&server));
    source.until_synced().await;
    server.delete("services", "a/one");
    server.put("services", service("a", "three", "10.0.0.3"));
    source.until_objects(&["Service a/three", "Service a/two"]).await;
    until("the failure is over", || failure(&source, Resource::Services).is_none()).await;
    let changes = source.recorder.now().changes.len();
    assert!(
        (2..=4).contains(&changes),
        "{fault:?}: nothing is reported twice, but there are {changes} changes"
    );
}

#[tokio::test]
async fn running_watches_that_are_cut_go_on_where_they_were() {
    let server = TestApiServer::start().await;
    server.put("services", service("a", "one", "10.0.0.1"));
    let source = start_with(settings_for(&server), patient());
    source.until_synced().await;
    for round in 0..5 {
        let watches = server.count(Verb::Watch, "services");
        server.cut_watches();
        server.put("services", service("a", &format!("s{round}"), "10.0.0.1"));
        let expected = format!("Service a/s{round}");
        until("the change is there", || source.recorder.now().objects.contains_key(&expected))
            .await;
        until("a new watch is running", || server.count(Verb::Watch, "services") > watches).await;
    }
    // The first list, and one because the server may have been restored.
    assert_eq!(server.count(Verb::List, "services"), 2, "{:#?}", server.requests());
    assert_eq!(source.recorder.now().changes.len(), 1 + 5);
}

#[tokio::test]
async fn a_relist_reports_only_differences() {
    let server = TestApiServer::start().await;
    for name in ["gone", "same", "changed"] {
        server.put("services", service("a", name, "10.0.0.1"));
    }
    let source = start(settings_for(&server));
    source.until_synced().await;
    // While no watch can run, things change; then the events of it are lost.
    server.fault(Verb::Watch, "services", 5, Fault::Status(500));
    server.cut_watches();
    server.delete("services", "a/gone");
    server.put("services", service("a", "changed", "10.0.0.2"));
    server.put("services", service("a", "new", "10.0.0.3"));
    server.compact();
    source.until_objects(&["Service a/changed", "Service a/new", "Service a/same"]).await;
    assert_eq!(source.recorder.now().changes.len(), 3 + 3);
    let relist =
        |url: &String| url.contains("/services?resourceVersion=") && url.ends_with("NotOlderThan");
    assert!(server.requests().iter().any(relist), "{:#?}", server.requests());
}

#[tokio::test]
async fn a_relist_that_fails_takes_nothing_away() {
    let server = TestApiServer::start().await;
    for number in 0..20 {
        server.put("services", service("a", &format!("s{number:02}"), "10.0.0.1"));
    }
    let source = start(settings_for(&server));
    source.until_synced().await;
    server.fault(Verb::List, "services", 3, Fault::EndAfter(2000));
    server.fault(Verb::List, "services", 1, Fault::CutAfter(2000));
    server.compact();
    server.delete("services", "a/s19");
    server.fault(Verb::Watch, "services", 1, Fault::GoneEvent);
    server.cut_watches();
    until("the one is gone", || source.recorder.now().objects.len() == 19).await;
    assert!(server.count(Verb::List, "services") >= 6, "{:#?}", server.requests());
    assert_eq!(source.recorder.now().changes.len(), 21);
}

#[tokio::test]
async fn a_list_from_the_store_is_read_page_by_page() {
    let server = TestApiServer::start().await;
    server.set_page(3);
    let source = start(settings_for(&server));
    source.until_synced().await;
    // The list that the watch cache could give fails, so that the store is asked.
    server.fault(Verb::Watch, "services", 1, Fault::GoneEvent);
    server.fault(Verb::List, "services", 1, Fault::Status(504));
    server.cut_watches();
    for number in 0..10 {
        server.put("services", service("a", &format!("s{number}"), "10.0.0.1"));
    }
    until("all are there", || source.recorder.now().objects.len() == 10).await;
    until("there were four pages", || {
        server.requests().iter().filter(|url| url.contains("/services?limit=500")).count() >= 4
    })
    .await;
    // A page that is too old: everything in one piece.
    server.fault(Verb::Watch, "services", 1, Fault::GoneEvent);
    server.fault(Verb::List, "services", 1, Fault::Status(504));
    server.fault(Verb::List, "services", 1, Fault::Status(410));
    server.cut_watches();
    until("the list comes in one piece", || {
        server.requests().iter().any(|url| url.ends_with("/services"))
    })
    .await;
    until("nothing fails any more", || failure(&source, Resource::Services).is_none()).await;
    assert_eq!(source.recorder.now().objects.len(), 10);
    assert!(failures(&source, &server, "expired") >= 2.0);
}

/// An etcd that was restored is behind what was seen, and would stay silent.
#[tokio::test]
async fn a_server_that_went_back_is_read_again() {
    let server = TestApiServer::start().await;
    server.send_bookmarks(Some(Duration::from_millis(100)));
    server.put("services", service("a", "kept", "10.0.0.1"));
    server.put("services", service("a", "deleted-later", "10.0.0.2"));
    let backup = server.back_up();
    let source = start(settings_for(&server));
    source.until_synced().await;
    server.delete("services", "a/deleted-later");
    server.put("services", service("a", "created-later", "10.0.0.3"));
    server.put("namespaces", namespace("later"));
    source.until_objects(&["Namespace later", "Service a/created-later", "Service a/kept"]).await;
    server.restore(backup);
    source.until_objects(&["Service a/deleted-later", "Service a/kept"]).await;
    assert!(failures(&source, &server, "went_back") >= 1.0);
    server.put("services", service("a", "new", "10.0.0.4"));
    source.until_objects(&["Service a/deleted-later", "Service a/kept", "Service a/new"]).await;
}

/// Versions of a restored server that has gone on alone say nothing: only a list does.
#[tokio::test]
async fn a_server_that_went_back_and_on_is_read_again() {
    let server = TestApiServer::start().await;
    server.send_bookmarks(Some(Duration::from_millis(100)));
    server.put("services", service("a", "kept", "10.0.0.1"));
    let backup = server.back_up();
    let source = start(settings_for(&server));
    source.until_synced().await;
    server.put("services", service("a", "lost", "10.0.0.2"));
    source.until_objects(&["Service a/kept", "Service a/lost"]).await;
    let mut gone_on = backup.clone();
    gone_on.skip_versions(100);
    server.restore(gone_on);
    source.until_objects(&["Service a/kept"]).await;
}

/// The connection is up, but nothing comes any more.
#[tokio::test]
async fn a_silent_watch_is_replaced() {
    let server = TestApiServer::start().await;
    server.send_bookmarks(Some(Duration::from_millis(100)));
    server.put("services", service("a", "one", "10.0.0.1"));
    let source = start(settings_for(&server));
    source.until_synced().await;
    server.set_black_hole(true);
    server.put("services", service("a", "two", "10.0.0.2"));
    until("it is noticed", || {
        failure(&source, Resource::Services).is_some_and(|text| text.contains("nothing"))
    })
    .await;
    assert_eq!(source.recorder.now().objects.len(), 1, "what was known stays");
    server.set_black_hole(false);
    source.until_objects(&["Service a/one", "Service a/two"]).await;
    assert!(failures(&source, &server, "stalled") >= 1.0);
}

/// Some proxies swallow bookmarks. That is no reason to list again and again.
#[tokio::test]
async fn a_server_without_bookmarks_is_asked_but_not_listed() {
    let server = TestApiServer::start().await;
    server.put("services", service("a", "one", "10.0.0.1"));
    let source = start_with(settings_for(&server), patient());
    source.until_synced().await;
    until("three watches have followed each other", || server.count(Verb::Watch, "services") > 3)
        .await;
    let requests = server.requests();
    assert!(server.count(Verb::Probe, "services") >= 2, "{requests:#?}");
    assert_eq!(server.count(Verb::List, "services"), 1, "{requests:#?}");
    assert!(source.state.of(Resource::Services).is_some_and(|state| state.failure().is_none()));
}

#[tokio::test]
async fn an_outage_is_said_once_and_survived() {
    let server = TestApiServer::start().await;
    server.put("services", service("a", "one", "10.0.0.1"));
    let source = start(settings_for(&server));
    source.until_synced().await;
    drop(server);
    until("it is noticed", || failure(&source, Resource::Services).is_some()).await;
    until("connections are refused", || {
        failure(&source, Resource::Services).is_some_and(|text| text.contains("Connection refused"))
    })
    .await;
    assert!(source.state.synced(), "it stays ready");
    assert_eq!(source.recorder.now().objects.len(), 1, "what was known stays");
    let remarks = source.state.remarks();
    assert!(
        remarks.iter().any(|remark| remark.starts_with("services: request failed: ")),
        "{remarks:?}"
    );
}

#[tokio::test]
async fn an_object_that_cannot_be_read_costs_no_other() {
    let server = TestApiServer::start().await;
    server.put(
        "services",
        json!({"metadata": {"name": "odd", "namespace": "a"}, "spec": {"ports": 80}}),
    );
    server.put("services", service("a", "one", "10.0.0.1"));
    let source = start(settings_for(&server));
    source.until_synced().await;
    source.until_objects(&["Service a/one"]).await;
    server.put("services", json!({"metadata": {"name": "odder", "namespace": "a"}, "spec": []}));
    server.put("services", service("a", "two", "10.0.0.2"));
    source.until_objects(&["Service a/one", "Service a/two"]).await;
}

/// A token that was replaced is read again at the first 401, not a minute later.
#[tokio::test]
async fn a_new_token_is_used_at_once() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let (token, kubeconfig) = (folder.path().join("token"), folder.path().join("kubeconfig"));
    std::fs::write(&token, "first").expect("the folder can be written");
    let server = TestApiServer::start().await;
    server.require_token("first");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: '{}'}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
         users: [{{name: u, user: {{tokenFile: token}}}}]\n",
        server.url()
    );
    std::fs::write(&kubeconfig, text).expect("the folder can be written");
    let source = start(settings(Origin::Kubeconfig { path: kubeconfig, context: None }));
    source.until_synced().await;

    server.require_token("second");
    server.cut_watches();
    until("it is noticed", || {
        failure(&source, Resource::Services).is_some_and(|text| text.contains("401"))
    })
    .await;
    std::fs::write(&token, "second").expect("the folder can be written");
    server.put("services", service("a", "one", "10.0.0.1"));
    let start = Instant::now();
    source.until_objects(&["Service a/one"]).await;
    assert!(start.elapsed() < Duration::from_secs(8), "it took {:?}", start.elapsed());
    until("the failure is over", || failure(&source, Resource::Services).is_none()).await;
}

/// Settings that were fine at the start and break later are an outage like any other.
#[tokio::test]
async fn a_kubeconfig_that_comes_later_is_found() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let path = folder.path().join("kubeconfig");
    let server = TestApiServer::start().await;
    let source = start(settings(Origin::Kubeconfig { path: path.clone(), context: None }));
    until("it is noticed", || failure(&source, Resource::Services).is_some()).await;
    let text = failure(&source, Resource::Services).unwrap_or_default();
    assert!(text.starts_with(&format!("kubeconfig {}: ", path.display())), "{text}");
    let text = format!(
        "current-context: c\nclusters: [{{name: c, cluster: {{server: '{}'}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c}}}}]\n",
        server.url()
    );
    std::fs::write(&path, text).expect("the folder can be written");
    source.until_synced().await;
}

/// What takes a server too long as a whole is asked for in pages.
#[tokio::test]
async fn a_first_list_that_takes_too_long_is_read_in_pages() {
    let cases = [
        (Fault::NoAnswer, "limit=500"),
        (Fault::Silence, "limit=500"),
        (Fault::Status(504), "limit=500"),
        (Fault::Status(503), "resourceVersion=0"),
        (Fault::CutAfter(10), "resourceVersion=0"),
    ];
    futures::future::join_all(cases.map(|(fault, second)| async move {
        let server = TestApiServer::start().await;
        server.put("services", service("a", "one", "10.0.0.1"));
        server.fault(Verb::List, "services", 1, fault.clone());
        let source = start(settings_for(&server));
        source.until_synced().await;
        let requests = server.requests();
        let queries = requests.iter().filter_map(|url| url.strip_prefix("/api/v1/services?"));
        let lists: Vec<_> = queries.filter(|query| !query.contains("watch=true")).collect();
        assert_eq!(lists, ["resourceVersion=0", second], "{fault:?}");
    }))
    .await;
}

/// A sink that fails when it is told for the first time that all is there.
#[derive(Default)]
struct Startled {
    recorder: Recorder,
    calm: AtomicBool,
}

impl Sink for Startled {
    fn apply(&self, change: Change) {
        self.recorder.apply(change);
    }

    fn synced(&self, resource: Resource) {
        if resource == Resource::Services {
            assert!(self.calm.swap(true, Ordering::Relaxed), "a panic of the test");
        }
        self.recorder.synced(resource);
    }
}

#[tokio::test]
async fn a_panic_ends_no_kind_of_object() {
    let server = TestApiServer::start().await;
    server.put("services", service("a", "one", "10.0.0.1"));
    let (settings, sink) = (settings_for(&server), Arc::new(Startled::default()));
    let state = SourceState::new(server.url(), &settings.resources(), fast().stale_after());
    let (state, stop) = (Arc::new(state), CancellationToken::new());
    let (shared, registry) = (Arc::clone(&state), Arc::new(Registry::new(1)));
    let _stop = stop.clone().drop_guard();
    tokio::spawn(run(settings, fast(), Arc::clone(&sink), shared, registry, stop));
    let synced = || sink.recorder.now().synced.contains(&Resource::Services);
    until("it is told again", synced).await;
    server.delete("services", "a/one");
    until("what is gone is gone", || sink.recorder.now().objects.is_empty()).await;
    assert!(state.synced());
}
