//! A zone that the plugin answers for, with its SOA record.

use std::sync::Arc;

use arc_swap::ArcSwap;
use periplus_core::codes::RecordType;
use periplus_core::name::{Name, NameBuf, NameRef};
use periplus_core::query::Query;
use periplus_core::record::{Entry, Owner, RecordSet, Soa};

/// Most seconds that an SOA record lives (CoreDNS's `plugin.SOA`).
const MAX_SOA_TTL: u32 = 300;

/// A zone of the plugin.
pub(super) struct ServedZone {
    /// Its name in lower case.
    pub(super) name: Name,
    /// Whether it lies in `in-addr.arpa` or `ip6.arpa`.
    pub(super) is_reverse: bool,
    ttl: u32,
    soa: ArcSwap<NumberedSoa>,
}

/// The SOA record with the serial it was made for.
struct NumberedSoa {
    serial: u32,
    set: Arc<RecordSet>,
}

impl ServedZone {
    pub(super) fn new(name: Name, ttl: u32) -> ServedZone {
        let soa = NumberedSoa { serial: 0, set: soa(name.as_ref(), 0, ttl) };
        ServedZone {
            is_reverse: is_reverse(name.as_ref()),
            ttl,
            soa: ArcSwap::from_pointee(soa),
            name,
        }
    }

    /// The SOA record for the reply to a name whose zone part begins at byte `offset`.
    pub(super) fn soa(&self, query: &Query, offset: usize, serial: u32) -> Entry {
        let spelled = query.spelled().suffix(offset);
        let set = if spelled == self.name.as_ref() {
            let known = self.soa.load();
            if known.serial == serial { Arc::clone(&known.set) } else { self.renew(serial) }
        } else {
            // CoreDNS makes the names in the record from the question's spelling.
            soa(spelled, serial, self.ttl)
        };
        Entry::of(Owner::QuestionSuffix(offset as u8), set)
    }

    /// Readers that come here at the same time all do the work, at most once in a second.
    fn renew(&self, serial: u32) -> Arc<RecordSet> {
        let set = soa(self.name.as_ref(), serial, self.ttl);
        self.soa.store(Arc::new(NumberedSoa { serial, set: Arc::clone(&set) }));
        set
    }
}

fn soa(zone: NameRef<'_>, serial: u32, ttl: u32) -> Arc<RecordSet> {
    let below = |labels: &[&[u8]]| below(labels, zone);
    let (mname, rname) = (below(&[b"ns", b"dns"]), below(&[b"hostmaster"]));
    let soa = Soa {
        mname: mname.as_ref().map_or(zone, NameBuf::as_ref),
        rname: rname.as_ref().map_or(zone, NameBuf::as_ref),
        serial,
        refresh: 7200,
        retry: 1800,
        expire: 86400,
        minimum: ttl,
    };
    RecordSet::one(RecordType::SOA, ttl.min(MAX_SOA_TTL), &soa.rdata())
}

/// A name made of labels and a tail; `None` when it would be too long.
pub(super) fn below<'a>(
    labels: impl IntoIterator<Item = &'a (impl AsRef<[u8]> + ?Sized + 'a)>,
    tail: NameRef<'_>,
) -> Option<NameBuf> {
    let mut name = NameBuf::ROOT;
    for label in labels {
        name.push_label(label.as_ref()).ok()?;
    }
    name.push_name(tail).ok()?;
    Some(name)
}

/// Whether a zone lies in one of the reverse trees.
pub(super) fn is_reverse(zone: NameRef<'_>) -> bool {
    let trees: [&[u8]; 2] = [b"\x07in-addr\x04arpa\0", b"\x03ip6\x04arpa\0"];
    trees.into_iter().filter_map(NameRef::from_wire).any(|tree| zone.is_at_or_below(tree))
}
