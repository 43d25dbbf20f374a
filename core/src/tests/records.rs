//! Record sets, their entries, and reverse names.

use std::net::IpAddr;
use std::sync::Arc;

use proptest::prelude::*;

use crate::codes::{Class, RecordType};
use crate::name::Name;
use crate::query::Query;
use crate::record::{
    Entry, Owner, RecordSet, RecordSetBuilder, address, address_of_reverse_name, reverse_name,
    target, txt_rdata,
};

fn name(text: &str) -> Name {
    Name::parse(text).unwrap()
}

#[test]
fn addresses_have_reverse_names() {
    let v6 = "b.a.9.8.7.6.5.0.4.0.0.0.3.0.0.0.2.0.0.0.1.0.0.0.0.0.0.0.1.2.3.4.ip6.arpa.";
    let cases = [("192.0.2.1", "1.2.0.192.in-addr.arpa."), ("4321:0:1:2:3:4:567:89ab", v6)];
    for (text, expected) in cases {
        let address: IpAddr = text.parse().unwrap();
        assert_eq!(reverse_name(address).as_ref().to_string(), expected);
        assert_eq!(address_of_reverse_name(name(&expected.to_uppercase()).as_ref()), Some(address));
    }
}

#[test]
fn what_is_no_whole_reverse_name_has_no_address() {
    let v6 = |labels: usize| format!("{}ip6.arpa.", "0.".repeat(labels));
    let cases = [
        "2.0.192.in-addr.arpa",
        "1.1.2.0.192.in-addr.arpa",
        "256.2.0.192.in-addr.arpa",
        "01.2.0.192.in-addr.arpa",
        "+1.2.0.192.in-addr.arpa",
        r"\..2.0.192.in-addr.arpa",
        "1.2.0.192.in-addr.test",
        "1.2.0.192.in-addr.arpa.test",
        "1.2.0.192",
        "arpa",
        ".",
        &v6(31),
        &v6(33),
        &v6(32).replacen('0', "g", 1),
        &v6(32).replacen('0', "00", 1),
        &format!("{}x.x.x.x.ip6.arpa", "0.".repeat(60)),
    ];
    for text in cases {
        assert_eq!(address_of_reverse_name(name(text).as_ref()), None, "{text}");
    }
    assert_eq!(address_of_reverse_name(name(&v6(32)).as_ref()), Some("::".parse().unwrap()));
}

#[test]
fn a_set_of_addresses_is_of_one_family() {
    let addresses =
        ["192.0.2.1", "2001:db8::1", "192.0.2.2"].map(|text| text.parse::<IpAddr>().unwrap());
    let set = RecordSet::addresses(30, addresses).unwrap();
    assert_eq!(
        (set.rtype(), set.class(), set.ttl(), set.count()),
        (RecordType::A, Class::IN, 30, 2)
    );
    assert_eq!(set.rdata().collect::<Vec<_>>(), [[192, 0, 2, 1], [192, 0, 2, 2]]);
    assert_eq!(set.rdata_length(), 8);
    let set = RecordSet::addresses(30, addresses.into_iter().skip(1)).unwrap();
    assert_eq!((set.rtype(), set.count()), (RecordType::AAAA, 1));
    assert!(RecordSet::addresses(30, []).is_none());
}

#[test]
fn what_fits_no_message_is_left_out_of_a_set() {
    let mut set = RecordSetBuilder::new(RecordType::TXT, 0);
    assert!(set.is_empty());
    set.push(&vec![0; 65_536]);
    assert!(set.is_empty());
    for _ in 0..65_537 {
        set.push(&[]);
    }
    assert_eq!(set.finish().count(), 65_535);
}

#[test]
fn an_entry_sends_its_records_from_the_first_on_around() {
    let set = RecordSet::addresses(
        1,
        ["192.0.2.1", "192.0.2.2", "192.0.2.3"].map(|text| text.parse().unwrap()),
    )
    .unwrap();
    for (first, expected) in [(0, [1, 2, 3]), (1, [2, 3, 1]), (2, [3, 1, 2]), (3, [1, 2, 3])] {
        let entry = Entry { first, ..Entry::of_question(Arc::clone(&set)) };
        assert_eq!(
            entry.rdata().map(|rdata| rdata[3]).collect::<Vec<_>>(),
            expected,
            "first: {first}"
        );
    }
}

#[test]
fn an_entry_is_made_independent_of_its_question() {
    let mut query = Query::empty();
    query.set_name(name("Www.Example.org").as_ref());
    let set = RecordSet::name(RecordType::NS, 5, name("ns").as_ref());
    let cases = [
        (Owner::Question, "Www.Example.org."),
        (Owner::QuestionSuffix(4), "Example.org."),
        (Owner::QuestionSuffix(16), "."),
        (Owner::Name(name("other")), "other."),
    ];
    for (owner, expected) in cases {
        let mut entry = Entry::of(owner, Arc::clone(&set));
        assert_eq!(entry.owner.resolve(&query).to_string(), expected);
        entry.detach(&query);
        assert_eq!(entry.owner, Owner::Name(name(expected)));
    }
}

#[test]
fn rdata_is_read_and_written() {
    let long = txt_rdata(&[b'x'; 300]);
    assert_eq!((long.len(), long[0], long[256]), (302, 255, 45));
    assert_eq!(txt_rdata(b""), [0]);
    assert_eq!(txt_rdata(b"ab"), *b"\x02ab");
    assert_eq!(target(RecordType::SRV, b"\0\0\0\0\0\0\x01a\0").unwrap().to_string(), "a.");
    assert_eq!(target(RecordType::MX, b"\0\0\x01a\0").unwrap().to_string(), "a.");
    assert_eq!(target(RecordType::CNAME, b"\x01a\0x"), None);
    assert_eq!(target(RecordType::SRV, b"\0"), None);
    assert_eq!(target(RecordType::SOA, b"\0\0"), None);
    assert_eq!(target(RecordType::TXT, b"\x01a\0"), None);
    assert_eq!(address(RecordType::A, &[192, 0, 2, 1]), Some("192.0.2.1".parse().unwrap()));
    assert_eq!(address(RecordType::A, &[0; 16]), None);
    assert_eq!(address(RecordType::AAAA, &[0; 16]), Some("::".parse().unwrap()));
    assert_eq!(address(RecordType::TXT, &[0; 4]), None);
}

proptest! {
    #[test]
    fn reverse_names_and_addresses_mean_the_same(address in any::<IpAddr>()) {
        prop_assert_eq!(address_of_reverse_name(reverse_name(address).as_ref()), Some(address));
    }
}
