//! The order of a section, and turning it.

use std::ops::Range;

use periplus_core::codes::RecordType;
use periplus_core::record::{Entry, Section};

/// CNAMEs, everything else, addresses, MX; addresses and MX records shuffled, each group for itself.
///
/// Every record of a group is as likely to come first as any other. After the first one, a set keeps its order, turned: CoreDNS
/// shuffles single records, which clients that take the first address or all of them cannot tell apart.
pub(super) fn round_robin(section: &mut Section) {
    match section.as_mut_slice() {
        [] => {}
        [only] => {
            if is_address(only) || only.rtype() == RecordType::MX {
                turn(only);
            }
        }
        _ => {
            let groups = group(section);
            shuffle(&mut section[groups.addresses]);
            shuffle(&mut section[groups.mx]);
        }
    }
}

/// Where the groups of a section stand.
pub(super) struct Groups {
    pub(super) addresses: Range<usize>,
    pub(super) mx: Range<usize>,
}

/// Sorts a section into its groups; the order within each stays.
pub(super) fn group(section: &mut Section) -> Groups {
    let place = |entry: &Entry| match entry.rtype() {
        RecordType::CNAME => 0_u8,
        RecordType::A | RecordType::AAAA => 2,
        RecordType::MX => 3,
        _ => 1,
    };
    // Nearly always they stand like that already.
    if !section.is_sorted_by_key(place) {
        section.sort_by_key(place);
    }
    let addresses = section.partition_point(|entry| place(entry) < 2);
    let mx = section.partition_point(|entry| place(entry) < 3);
    Groups { addresses: addresses..mx, mx: mx..section.len() }
}

/// Whether the records are addresses.
pub(super) fn is_address(entry: &Entry) -> bool {
    matches!(entry.rtype(), RecordType::A | RecordType::AAAA)
}

/// Sends record `index`, counted over all sets of the group, first.
pub(super) fn bring_to_front(group: &mut [Entry], index: usize) {
    let mut index = index;
    for place in 0..group.len() {
        let count = group[place].set.count();
        if index < count {
            group.swap(0, place);
            group[0].first = index as u16;
            return;
        }
        index -= count;
    }
}

/// How many records a group has.
pub(super) fn records(group: &[Entry]) -> usize {
    group.iter().map(|entry| entry.set.count()).sum()
}

/// Shuffles a group: any record is as likely to come first as any other.
pub(super) fn shuffle(group: &mut [Entry]) {
    match group {
        [] => {}
        [only] => turn(only),
        _ => {
            bring_to_front(group, fastrand::usize(..records(group).max(1)));
            let others = &mut group[1..];
            fastrand::shuffle(others);
            others.iter_mut().for_each(turn);
        }
    }
}

fn turn(entry: &mut Entry) {
    let count = entry.set.count();
    if count > 1 {
        entry.first = fastrand::usize(..count) as u16;
    }
}
