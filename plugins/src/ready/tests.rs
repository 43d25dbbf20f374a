use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use periplus_core::setup::{Instance, ReadinessState};

use crate::testing::{configure, refused};

/// A plugin whose readiness the test decides.
fn add(instance: &Instance, plugin: &'static str) -> Arc<AtomicBool> {
    let ready = Arc::new(AtomicBool::new(false));
    let asked = Arc::clone(&ready);
    instance.readiness.add(plugin, move || ReadinessState {
        ready: asked.load(Ordering::Relaxed),
        remarks: Vec::new(),
    });
    ready
}

fn page(instance: &Instance) -> (u16, String) {
    let content = (instance.pages[0].content)();
    (content.status, content.body)
}

fn ok() -> (u16, String) {
    (200, "OK".to_owned())
}

fn unready(names: &str) -> (u16, String) {
    (503, names.to_owned())
}

#[test]
fn without_anybody_to_ask_the_process_is_ready() {
    let configured = configure(".", "ready").unwrap();
    assert!(configured.plugin.is_none());
    let instance = configured.instance;
    assert_eq!(
        (instance.pages[0].address.to_string().as_str(), instance.pages[0].path),
        (":8181", "/ready")
    );
    assert_eq!(page(&instance), ok());
}

#[test]
fn the_names_of_plugins_that_are_not_ready_are_sorted_and_listed_once() {
    let instance = configure(".", "ready").unwrap().instance;
    let plugins = ["nomad", "kubernetes", "erratic", "kubernetes"].map(|name| add(&instance, name));
    assert_eq!(page(&instance), unready("erratic,kubernetes,nomad"));
    plugins[2].store(true, Ordering::Relaxed);
    assert_eq!(page(&instance), unready("kubernetes,nomad"));
    // One of two blocks with the same plugin.
    plugins[1].store(true, Ordering::Relaxed);
    plugins[0].store(true, Ordering::Relaxed);
    assert_eq!(page(&instance), unready("kubernetes"));
    plugins[3].store(true, Ordering::Relaxed);
    assert_eq!(page(&instance), ok());
}

#[test]
fn the_monitor_mode_decides_whether_ready_once_is_ready_for_ever() {
    let cases = [
        ("ready", ok()),
        ("ready {\nmonitor until-ready\n}", ok()),
        ("ready {\nmonitor continuously\n}", unready("kubernetes")),
    ];
    for (directives, after_loss) in cases {
        let instance = configure(".", directives).unwrap().instance;
        let ready = add(&instance, "kubernetes");
        assert_eq!(page(&instance), unready("kubernetes"), "{directives}");
        ready.store(true, Ordering::Relaxed);
        assert_eq!(page(&instance), ok(), "{directives}");
        ready.store(false, Ordering::Relaxed);
        assert_eq!(page(&instance), after_loss, "{directives}");
    }
}

#[test]
fn remarks_of_ready_plugins_follow_ok() {
    let instance = configure(".", "ready").unwrap().instance;
    let state = Arc::new(Mutex::new(ReadinessState::default()));
    let said = Arc::clone(&state);
    instance.readiness.add("kubernetes", move || said.lock().unwrap().clone());
    let remarks = vec!["services: 90s old".to_owned(), "pods: 12s old".to_owned()];
    *state.lock().unwrap() = ReadinessState { ready: false, remarks: remarks.clone() };
    assert_eq!(page(&instance), unready("kubernetes"));
    *state.lock().unwrap() = ReadinessState { ready: true, remarks };
    assert_eq!(page(&instance), (200, "OK\nservices: 90s old\npods: 12s old".to_owned()));
}

#[test]
fn a_process_that_stops_is_not_ready() {
    let instance = configure(".", "ready").unwrap().instance;
    instance.readiness.stop();
    assert_eq!(page(&instance), unready("Shutting down"));
}

#[test]
fn the_directive_is_read_or_refused() {
    let cases = [
        (
            "ready 8181",
            "Corefile:2:7: '8181' is not an address to listen on (write host:port, [v6]:port or :port; the host is an IP address or localhost)",
        ),
        ("ready\nready :1", "Corefile:3:1: this plugin can only be used once per Server Block"),
        (
            "ready :1 :2 {\nmonitor sometimes\nmonitors\n}",
            "Corefile:2:10: Wrong argument count or unexpected line ending after ':2' (nothing may follow ':1' here)\n\
             Corefile:3:9: unexpected 'sometimes'\n\
             Corefile:4:1: unknown property 'monitors' (did you mean 'monitor'?)",
        ),
    ];
    for (directives, expected) in cases {
        refused(".", directives, expected);
    }
}
