//! Lists of zones.

use crate::name::Name;
use crate::zone::{Fallthrough, Zones};

fn zones(texts: &[&str]) -> Zones {
    Zones::new(texts.iter().map(|text| Name::parse(text).unwrap()))
}

#[test]
fn the_longest_zone_wins_wherever_it_stands() {
    let cases: &[(&[&str], &str, Option<&str>)] = &[
        (&["org", "Example.org"], "www.EXAMPLE.org", Some("example.org.")),
        (&["example.org", "org"], "www.example.org", Some("example.org.")),
        (&["example.org", "org"], "myexample.org", Some("org.")),
        (&["example.org"], "org", None),
        (&[".", "org"], "net", Some(".")),
        (&["."], ".", Some(".")),
        (&[], "org", None),
    ];
    for (list, name, expected) in cases {
        let (list, name) = (zones(list), Name::parse(name).unwrap());
        let found = list.longest(name.as_ref()).map(ToString::to_string);
        assert_eq!(found.as_deref(), *expected, "{name} in {list:?}");
        assert_eq!(list.contains(name.as_ref()), expected.is_some(), "{name} in {list:?}");
    }
}

#[test]
fn zones_are_counted_and_joined_in_order() {
    let list = zones(&["B.org", "a.org", "."]);
    assert_eq!((list.len(), list.is_empty()), (3, false));
    assert_eq!(list.joined(), "b.org.,a.org.,.");
    assert_eq!(zones(&[]).joined(), "");
}

#[test]
fn names_fall_through_in_the_zones_given() {
    let name = Name::parse("www.example.org").unwrap();
    let cases = [
        (Fallthrough::default(), false),
        (Fallthrough::Zones(zones(&["."])), true),
        (Fallthrough::Zones(zones(&["example.org", "net"])), true),
        (Fallthrough::Zones(zones(&["net"])), false),
        (Fallthrough::Zones(zones(&[])), false),
    ];
    for (fallthrough, expected) in cases {
        assert_eq!(fallthrough.covers(name.as_ref()), expected, "{fallthrough:?}");
    }
}
