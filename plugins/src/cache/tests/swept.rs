//! Giving memory back.

use std::sync::{Arc, Weak};

use periplus_core::codes::RecordType;

use super::super::item::Item;
use super::super::side::Side;
use super::{NXDOMAIN, SERVFAIL, World, extended_errors, unresolved, with_edns};
use crate::testing::{eventually, lines, replies::reply, run_tasks};

/// Many, and fewer than the default capacity.
const MANY: usize = 8000;
/// More than fit: when they have come, all have made room once.
const FLOOD: usize = 30_000;

/// A source that has an address for each name, for 300 seconds.
fn positive(options: &str) -> World {
    World::new(options, |query| {
        let record = format!("answer: {} 300 IN A 192.0.2.1", query.name());
        reply(query, &["NOERROR qr rd ra", &record]).into()
    })
}

fn fill(world: &World, count: usize) {
    for index in 0..count {
        world.ask(&format!("n{index}.example.org."));
    }
}

/// Looks through all of a side; gives how many parts that took.
fn sweep(world: &World, side: Side) -> usize {
    let mut place = 0;
    for parts in 1..1000 {
        match world.shared.sweep(side, place) {
            Some(next) => place = next,
            None => return parts,
        }
    }
    panic!("the sweep has no end");
}

fn entries(world: &World, side: Side) -> usize {
    world.shared.store.entries(side)
}

#[test]
fn entries_that_can_be_used_stay() {
    for options in ["cache", "cache {\nserve_stale 1h\n}", "cache {\nserve_stale off\n}"] {
        let world = positive(options);
        fill(&world, MANY);
        world.pass(299);
        assert_eq!(sweep(&world, Side::Success), MANY.div_ceil(128), "some at a time");
        assert_eq!(entries(&world, Side::Success), MANY, "{options}");
    }
}

#[test]
fn what_is_over_goes_although_nobody_comes() {
    // (options, seconds after the end of the TTL, what is left)
    let cases = [
        ("cache {\nserve_stale off\n}", 0, 0),
        ("cache {\nserve_stale 1h\n}", 3599, MANY),
        ("cache {\nserve_stale 1h\n}", 3600, 0),
        ("cache", 0, MANY),
        ("cache", 3599, MANY),
        ("cache", 3600, 0),
    ];
    for (options, seconds, left) in cases {
        let world = positive(options);
        fill(&world, MANY);
        world.pass(300 + seconds);
        sweep(&world, Side::Success);
        assert_eq!(entries(&world, Side::Success), left, "{options} {seconds}");
        if left == 0 {
            assert_eq!(world.shared.store.bytes(Side::Success), 0);
        }
    }
}

#[test]
fn server_errors_and_denials_go_too() {
    let world = World::replying("cache", SERVFAIL);
    fill(&world, 100);
    world.pass(5);
    sweep(&world, Side::Denial);
    assert_eq!(entries(&world, Side::Denial), 0, "no error is ever an old answer");
    let world = World::replying("cache", NXDOMAIN);
    fill(&world, MANY);
    world.pass(900);
    sweep(&world, Side::Denial);
    assert_eq!(entries(&world, Side::Denial), MANY);
    world.pass(3600);
    sweep(&world, Side::Denial);
    assert_eq!(entries(&world, Side::Denial), 0);
}

#[test]
fn all_that_is_known_is_answered_while_the_source_is_away_for_an_hour() {
    let world = positive("cache");
    fill(&world, MANY);
    // Some are over before the source fails, some after.
    world.pass(320);
    sweep(&world, Side::Success);
    world.script(|_| unresolved().into());
    for _ in 0..58 {
        world.ask("unknown.example.org.");
        sweep(&world, Side::Success);
        world.pass(60);
    }
    for index in 0..MANY {
        let name = format!("n{index}.example.org.");
        let query = with_edns(world.query(&name, RecordType::A), false);
        let answer = world.answer(&query);
        assert_eq!(extended_errors(&answer), [3], "{name}");
        let expected = format!("answer: {name} 30 IN A 192.0.2.1");
        assert_eq!(lines(&query, &answer)[1], expected);
    }
}

#[test]
fn a_flood_leaves_nothing_behind_but_what_came_after_it() {
    let world = positive("cache");
    fill(&world, FLOOD);
    assert_eq!(entries(&world, Side::Success), 10_000);
    world.pass(11);
    for index in 0..100 {
        world.ask(&format!("after{index}.example.org."));
    }
    world.pass(300);
    // While the source fails nothing leaves that fits.
    world.script(|_| unresolved().into());
    world.ask("unknown.example.org.");
    sweep(&world, Side::Success);
    assert_eq!(entries(&world, Side::Success), 10_000);
    world.pass(30);
    sweep(&world, Side::Success);
    assert_eq!(entries(&world, Side::Success), 100);
}

#[test]
fn more_names_than_fit_are_no_flood_if_they_come_slowly() {
    let world = positive("cache");
    for index in 0..FLOOD {
        if index % 200 == 0 {
            world.pass(1);
        }
        world.ask(&format!("n{index}.example.org."));
    }
    world.pass(300);
    sweep(&world, Side::Success);
    assert_eq!(entries(&world, Side::Success), 10_000);
}

#[test]
fn old_answers_make_room_before_those_in_use() {
    let world = positive("cache");
    fill(&world, 5000);
    world.pass(300);
    for index in 0..5000 {
        world.ask(&format!("new{index}.example.org."));
    }
    for index in 0..2000 {
        world.ask(&format!("newer{index}.example.org."));
    }
    assert_eq!(entries(&world, Side::Success), 10_000);
    assert_eq!(world.metric("coredns_cache_evictions_total", Some("success")), 0.0);
}

#[test]
fn what_was_asked_for_again_outlives_a_flood() {
    let world = positive("cache");
    fill(&world, FLOOD);
    let again: Vec<String> =
        (FLOOD - 100..FLOOD).map(|index| format!("n{index}.example.org.")).collect();
    again.iter().for_each(|name| drop(world.ask(name)));
    world.pass(300);
    sweep(&world, Side::Success);
    assert_eq!(entries(&world, Side::Success), again.len());
    let view = world.shared.store.view();
    for name in &again {
        let query = world.query(name, RecordType::A);
        assert!(view.find(world.shared.store.question(&query), Side::Success).is_some(), "{name}");
    }
}

#[test]
fn memory_goes_back_and_the_store_is_as_good_as_before() {
    let world = positive("cache {\nserve_stale off\n}");
    fill(&world, MANY);
    let items: Vec<Weak<Item>> = (0..MANY)
        .filter_map(|index| {
            let query = world.query(&format!("n{index}.example.org."), RecordType::A);
            let question = world.shared.store.question(&query);
            world.shared.store.view().find(question, Side::Success).map(Arc::downgrade)
        })
        .collect();
    assert_eq!(items.len(), MANY);
    world.pass(300);
    sweep(&world, Side::Success);
    // The map frees in batches.
    let held = items.iter().filter(|item| item.strong_count() > 0).count();
    assert!(held < 200, "{held} of {MANY} are still held");
    fill(&world, 10);
    fill(&world, 10);
    assert_eq!((entries(&world, Side::Success), world.asked()), (10, MANY + 10));
}

#[test]
fn a_task_of_the_instance_does_it() {
    let mut world = positive("cache {\nserve_stale off\n}");
    fill(&world, MANY);
    world.pass(300);
    let tasks = run_tasks(&mut world.instance);
    eventually("all has left and the gauge says so", || {
        world.metric("coredns_cache_entries", Some("success")) == 0.0
    });
    assert_eq!(entries(&world, Side::Success), 0);
    tasks.stop();
}
