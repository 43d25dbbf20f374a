//! The store by itself: bounds, eviction, and many threads at once.

use std::sync::Arc;
use std::time::Instant;

use periplus_core::codes::RecordType;
use periplus_core::query::Query;
use periplus_core::reply::Reply;

use super::super::item::Item;
use super::super::side::Side;
use super::super::store::{Bounds, Store, Worth};
use crate::testing::{query, replies::reply};

fn store(entries: usize, bytes: usize) -> Store {
    Store::new([Bounds { entries, bytes }, Bounds { entries, bytes }])
}

fn numbered(index: usize) -> Query {
    query(&format!("a{index}.example.org."), RecordType::TXT)
}

fn text(query: &Query, length: usize) -> Reply {
    let line = format!("answer: example.org. 60 IN TXT \"{}\"", "x".repeat(length));
    reply(query, &["NOERROR qr", &line])
}

fn insert(store: &Store, query: &Query, reply: &Reply) -> u64 {
    let item = Item::new(reply, 60, true, Instant::now());
    store.insert(store.question(query), Side::Success, Arc::new(item), |_| Worth::Used)
}

fn has(store: &Store, query: &Query) -> bool {
    store.view().find(store.question(query), Side::Success).is_some()
}

#[test]
fn the_number_of_entries_is_bounded() {
    let store = store(10, usize::MAX);
    let evicted: u64 =
        (0..25).map(numbered).map(|query| insert(&store, &query, &text(&query, 1))).sum();
    assert_eq!((store.entries(Side::Success), evicted), (10, 15));
    assert!(has(&store, &numbered(24)), "the newest entry stays");
}

#[test]
fn the_number_of_bytes_is_bounded() {
    let store = store(usize::MAX, 50_000);
    for index in 0..100 {
        insert(&store, &numbered(index), &text(&numbered(index), 4000));
        assert!(store.bytes(Side::Success) <= 50_000);
    }
    assert!(
        (9..=12).contains(&store.entries(Side::Success)),
        "each takes a little over 4,000 bytes"
    );
}

#[test]
fn a_reply_larger_than_the_store_is_not_kept_and_replaces_nothing() {
    let store = store(10, 5_000);
    insert(&store, &numbered(1), &text(&numbered(1), 100));
    insert(&store, &numbered(2), &text(&numbered(2), 100));
    insert(&store, &numbered(1), &text(&numbered(1), 10_000));
    assert!(!has(&store, &numbered(1)), "the older reply would be wrong");
    assert!(has(&store, &numbered(2)));
}

#[test]
fn replacing_and_removing_keep_the_books() {
    let store = store(10, 100_000);
    let query = numbered(1);
    for length in [10, 5000, 20] {
        assert_eq!(insert(&store, &query, &text(&query, length)), 0);
        assert_eq!(store.entries(Side::Success), 1);
    }
    assert!(store.bytes(Side::Success) < 1500);
    for _ in 0..2 {
        store.remove(store.question(&query), Side::Success);
        assert_eq!((store.entries(Side::Success), store.bytes(Side::Success)), (0, 0));
    }
    insert(&store, &query, &text(&query, 10));
    assert_eq!(store.entries(Side::Success), 1);
}

#[test]
fn what_is_asked_for_stays_longer() {
    let store = store(100, usize::MAX);
    for index in 0..1000 {
        insert(&store, &numbered(index), &text(&numbered(index), 1));
        assert!(
            has(&store, &numbered(0)),
            "asked for after every insertion, of which this is {index}"
        );
    }
}

#[test]
fn entries_that_are_over_leave_without_being_asked_for() {
    let store = store(10_000, usize::MAX);
    for index in 0..500 {
        insert(&store, &numbered(index), &text(&numbered(index), 1));
    }
    let over = Instant::now();
    let query = numbered(9999);
    for _ in 0..250 {
        let item = Arc::new(Item::new(&text(&query, 1), 60, true, Instant::now()));
        store.insert(store.question(&query), Side::Success, item, |item| {
            if item.stored < over { Worth::Over } else { Worth::Used }
        });
    }
    assert!(store.entries(Side::Success) <= 2, "two are looked at with each insertion");
}

#[test]
fn readers_and_writers_share_the_store() {
    let store = store(50, 100_000);
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let store = &store;
            scope.spawn(move || {
                for round in 0..2000 {
                    let query = numbered((round * 7 + thread * 13) % 200);
                    match round % 5 {
                        0 => drop(insert(store, &query, &text(&query, round % 300))),
                        1 if thread == 0 => store.remove(store.question(&query), Side::Success),
                        _ => drop(has(store, &query)),
                    }
                }
            });
        }
    });
    assert!(store.entries(Side::Success) <= 50);
    for index in 0..200 {
        store.remove(store.question(&numbered(index)), Side::Success);
    }
    assert_eq!((store.entries(Side::Success), store.bytes(Side::Success)), (0, 0));
}
