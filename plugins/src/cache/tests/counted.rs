//! Metrics.

use super::{NXDOMAIN, POSITIVE, World};

#[test]
fn requests_hits_misses_and_entries_are_counted_by_type() {
    let world = World::replying("cache 60 example.org example.net", POSITIVE);
    world.ask("example.org.");
    world.ask("example.org.");
    world.ask("example.org.");
    world.reply_with(NXDOMAIN);
    world.ask("none.example.net.");
    world.ask("none.example.net.");
    let expected = [
        ("coredns_cache_requests_total", None, 5.0),
        ("coredns_cache_misses_total", None, 2.0),
        ("coredns_cache_hits_total", Some("success"), 2.0),
        ("coredns_cache_hits_total", Some("denial"), 1.0),
        ("coredns_cache_entries", Some("success"), 1.0),
        ("coredns_cache_entries", Some("denial"), 1.0),
        ("coredns_cache_drops_total", None, 0.0),
        ("coredns_cache_prefetch_total", None, 0.0),
        ("coredns_cache_served_stale_total", None, 0.0),
        ("coredns_cache_evictions_total", Some("success"), 0.0),
        ("coredns_cache_evictions_total", Some("denial"), 0.0),
    ];
    for (name, side, value) in expected {
        assert_eq!(world.metric(name, side), value, "{name} {side:?}");
    }
}

#[test]
fn metrics_have_the_names_that_dashboards_know() {
    let world = World::replying("cache", POSITIVE);
    let names: Vec<_> = world.instance.metrics.names();
    assert_eq!(
        names,
        [
            "coredns_cache_drops_total",
            "coredns_cache_entries",
            "coredns_cache_evictions_total",
            "coredns_cache_hits_total",
            "coredns_cache_misses_total",
            "coredns_cache_prefetch_total",
            "coredns_cache_requests_total",
            "coredns_cache_served_stale_total",
        ]
    );
}

#[test]
fn a_zone_that_is_never_kept_counts_as_missed() {
    let world = World::replying("cache {\ndisable success\ndisable denial\n}", POSITIVE);
    world.ask("example.org.");
    world.ask("example.org.");
    assert_eq!(world.metric("coredns_cache_requests_total", None), 2.0);
    assert_eq!(world.metric("coredns_cache_misses_total", None), 2.0);
}

#[test]
fn evictions_are_counted() {
    let world = World::replying("cache {\nsuccess 1\n}", &["NOERROR qr rd ra"]);
    for index in 0..1030 {
        world.ask(&format!("a{index}.example.org."));
    }
    assert_eq!(world.metric("coredns_cache_entries", Some("success")), 1024.0);
    assert_eq!(world.metric("coredns_cache_evictions_total", Some("success")), 6.0);
}
