//! Values per worker and collectors.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::*;

#[test]
fn each_worker_has_a_value_of_its_own_and_the_others_share_one() {
    let registry = Registry::new(2);
    let pool = CellPool::new(registry.workers());
    let values = registry.per_worker(AtomicU64::default);
    assert_eq!(values.iter().count(), 0, "values are made when they are needed");
    // Not atomic: it is right only if nobody else writes at the same time.
    let add = |value: &AtomicU64| {
        let before = value.load(Relaxed);
        if before.is_multiple_of(256) {
            std::thread::yield_now();
        }
        value.store(before + 1, Relaxed);
    };
    let start = std::sync::Barrier::new(4);
    let written = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let _cell = claim_cell(&pool);
                start.wait();
                for _ in 0..50_000 {
                    written.fetch_add(u64::from(values.write(add)), Relaxed);
                }
            });
        }
    });
    let found: Vec<u64> = values.iter().map(|value| value.load(Relaxed)).collect();
    assert_eq!(found.len(), 3);
    assert_eq!(found[1..], [50_000, 50_000]);
    assert_eq!(found.iter().sum::<u64>(), written.load(Relaxed));
    assert!(found[0] > 10_000, "only {} of 100,000 got through", found[0]);
}

#[test]
fn a_collector_is_asked_until_it_is_dropped_or_replaced() {
    let registry = Arc::new(Registry::new(1));
    let of = |value: f64| {
        move |collected: &mut Collected| {
            let series =
                [(vec![("n", "z".to_owned())], value), (vec![("n", "\"a\\\n".into())], 2.0)];
            collected.family("m", "Help.", "gauge", series);
            collected.family("nothing", "Help.", "gauge", []);
        }
    };
    let old = registry.collector("c", of(1.0));
    let text = |value: u8| {
        format!("# HELP m Help.\n# TYPE m gauge\nm{{n=\"z\"}} {value}\nm{{n=\"\\\"a\\\\\\n\"}} 2\n")
    };
    assert_eq!(registry.expose(), text(1));
    let new = registry.collector("c", of(3.0));
    drop(old);
    assert_eq!(registry.expose(), text(3));
    let gauges = ["l", "n"].map(|name| registry.gauge(name, "Help.", &[]));
    assert_eq!(gauges.len(), 2);
    let order: Vec<String> = registry
        .expose()
        .lines()
        .filter_map(|line| Some(line.strip_prefix("# TYPE ")?.to_owned()))
        .collect();
    assert_eq!(order, ["l gauge", "m gauge", "n gauge"]);
    drop(new);
    assert!(!registry.expose().contains("# TYPE m "));
}

#[test]
fn of_several_sources_the_worst_counts_while_it_is_there() {
    let registry = Registry::new(1);
    let add = |value: f64| {
        let source = Arc::new(value);
        let weak = Arc::downgrade(&source);
        let value = move || weak.upgrade().map(|value| *value);
        registry.computed_of_all("m", "Help.", "gauge", &[], f64::max, value);
        source
    };
    let value = || registry.expose().lines().find_map(|line| line.strip_prefix("m ")?.parse().ok());
    let (unknown, low) = (add(f64::NAN), add(1.0));
    let high = add(2.0);
    assert_eq!(value(), Some(2.0));
    drop(high);
    assert_eq!(value(), Some(1.0));
    drop(low);
    assert!(value().is_some_and(f64::is_nan));
    drop(unknown);
    assert_eq!(value(), None);
    let _again = add(3.0);
    assert_eq!(value(), Some(3.0));
}
