//! What holds for every hosts file: asked of random ones by the fuzzer, and by the tests of those that it keeps.

use std::net::IpAddr;

use periplus_core::name::Name;
use periplus_core::record::{address, target};
use periplus_core::zone::Zones;

use super::entries::{BadLine, Entries, Rules};
use super::table::Table;

/// Each line gives its names its address, or is reported.
pub fn holds(file: &[u8]) {
    let text = String::from_utf8_lossy(file);
    let rules = Rules { zones: Zones::new([Name::root()]), reverse: true };
    let mut bad = Vec::new();
    let entries = Entries::read(&text, &rules, |line, reason| bad.push((line, reason)));
    let table = Table::merge(&[&entries], 60);
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or_default();
        let (first, names) = match line.trim().split_once(char::is_whitespace) {
            Some((first, names)) => (first, names),
            None => (line.trim(), ""),
        };
        let reported = bad.iter().find(|(number, _)| *number == index + 1).map(|(_, why)| *why);
        let address: Result<IpAddr, _> = first.split('%').next().unwrap_or_default().parse();
        let Ok(address) = address else {
            assert_eq!(reported, (!first.is_empty()).then_some(BadLine::NotAnAddress), "{line:?}");
            continue;
        };
        let names: Vec<_> = names.split_whitespace().map(Name::parse).collect();
        let all_bad = names.iter().any(Result::is_err);
        let expected = match names.is_empty() {
            true => Some(BadLine::NoName),
            false => all_bad.then_some(BadLine::BadName),
        };
        assert_eq!(reported, expected, "{line:?}");
        for name in names.into_iter().flatten() {
            answers(&table, &name.to_lower(), address.to_canonical());
        }
    }
}

fn answers(table: &Table, name: &Name, expected: IpAddr) {
    if name.as_ref().labels().next() == Some(b"*") {
        return;
    }
    let records = table.records(name.as_ref()).expect("a name of the file has records");
    let set = if expected.is_ipv4() { &records.a } else { &records.aaaa };
    let set = set.as_ref().expect("there are records of the address's family");
    assert!(set.rdata().any(|rdata| address(set.rtype(), rdata) == Some(expected)));
    let names = table.names(expected).expect("an address of the file has names");
    assert!(names.rdata().any(|rdata| target(names.rtype(), rdata) == Some(name.as_ref())));
}

#[test]
fn the_corpus_keeps_to_it() {
    crate::testing::corpus("hosts").iter().for_each(|input| holds(input));
}
