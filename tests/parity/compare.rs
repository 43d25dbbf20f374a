//! What counts as the same answer.

use crate::support::wire::{Record, Wire, without_serials};

/// How far two servers may be apart that count down the same TTL.
const TOLERANCE: u32 = 1;
/// How far they may be apart with a cache that keeps for this long: one of them may have asked again a moment before.
const KEPT: u32 = 30;

/// In which way two answers differ; `None` if they do not.
///
/// Compared are the flags, the RCODE, the bytes of the question, OPT with its options, and each section as a multiset of records.
/// Not compared are the id (the caller has), the order of records, compression, and the serial number of SOA records.
pub fn difference(theirs: Option<&[u8]>, ours: Option<&[u8]>, cached: bool) -> Option<String> {
    let (theirs, ours) = match (theirs, ours) {
        (None, None) => return None,
        (Some(_), None) => return Some("no answer".to_owned()),
        (None, Some(_)) => return Some("an answer where CoreDNS gives none".to_owned()),
        (Some(theirs), Some(ours)) => (theirs, ours),
    };
    let (Some(theirs), Some(ours)) = (Wire::parse(theirs), Wire::parse(ours)) else {
        return (theirs != ours).then(|| "other bytes".to_owned());
    };
    if theirs.rcode() != ours.rcode() {
        return Some(format!("rcode {} for {}", ours.rcode(), theirs.rcode()));
    }
    if theirs.flags != ours.flags {
        return Some(format!("flags {:04x} for {:04x}", ours.flags, theirs.flags));
    }
    if theirs.question != ours.question {
        return Some("question".to_owned());
    }
    if theirs.opt != ours.opt {
        return Some("OPT".to_owned());
    }
    let sections = [
        ("answer", &theirs.answer, &ours.answer),
        ("authority", &theirs.authority, &ours.authority),
        ("additional", &theirs.additional, &ours.additional),
    ];
    for (name, theirs_of, ours_of) in sections {
        let differs = if theirs.is_truncated() {
            // Which records are left depends on their order, which is not compared.
            theirs_of.len() != ours_of.len()
        } else {
            !same_records(theirs_of, ours_of, cached)
        };
        if differs {
            return Some(format!("{name} section"));
        }
    }
    None
}

fn same_records(theirs: &[Record], ours: &[Record], cached: bool) -> bool {
    let tolerance = match theirs.iter().any(is_from_upstream) {
        true if cached => KEPT,
        true => TOLERANCE,
        false => 0,
    };
    let by_data = |records: &[Record]| {
        let mut records = without_serials(records);
        records.sort_by(|a, b| {
            (&a.owner, a.rtype, &a.rdata, a.ttl).cmp(&(&b.owner, b.rtype, &b.rdata, b.ttl))
        });
        records
    };
    let alike = |theirs: &Record, ours: &Record| {
        let but_for_ttl = Record { ttl: ours.ttl, ..theirs.clone() };
        but_for_ttl == *ours && theirs.ttl.abs_diff(ours.ttl) <= tolerance
    };
    theirs.len() == ours.len()
        && by_data(theirs).iter().zip(by_data(ours)).all(|(theirs, ours)| alike(theirs, &ours))
}

/// Whether a record is, or leads to, one of the upstream server. The cluster's own records count down nowhere.
pub fn is_from_upstream(record: &Record) -> bool {
    let is_ours = |name: &str| {
        let name = name.to_ascii_lowercase();
        name.ends_with("cluster.local.") || name.ends_with(".arpa.")
    };
    !is_ours(&record.owner) || record.rdata.ends_with(".test.") || record.rdata.ends_with("www.")
}

#[cfg(test)]
mod tests {
    use super::difference;
    use crate::support::client::question;

    /// A positive answer to `www. A` with these records; each is a TTL and the last byte of the address.
    fn answer(flags: u16, records: &[(u32, u8)]) -> Vec<u8> {
        let mut message = question(7, "www", 1, None);
        message[2..4].copy_from_slice(&flags.to_be_bytes());
        message[7] = u8::try_from(records.len()).expect("few records");
        for (ttl, last) in records {
            message.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1]);
            message.extend_from_slice(&ttl.to_be_bytes());
            message.extend_from_slice(&[0, 4, 192, 0, 2, *last]);
        }
        message
    }

    #[test]
    fn order_and_a_second_of_a_cached_ttl_do_not_count_and_everything_else_does() {
        let base = answer(0x8180, &[(60, 1), (60, 2)]);
        let same = [answer(0x8180, &[(60, 2), (60, 1)]), answer(0x8180, &[(59, 1), (60, 2)])];
        let other = [
            answer(0x8580, &[(60, 1), (60, 2)]),
            answer(0x8183, &[(60, 1), (60, 2)]),
            answer(0x8180, &[(60, 1)]),
            answer(0x8180, &[(60, 1), (60, 1)]),
            answer(0x8180, &[(60, 1), (60, 3)]),
            answer(0x8180, &[(58, 1), (60, 2)]),
        ];
        for message in &same {
            assert_eq!(difference(Some(&base), Some(message), false), None);
        }
        for message in &other {
            assert!(difference(Some(&base), Some(message), false).is_some(), "{message:02x?}");
        }
        assert!(
            difference(Some(&base), None, false).is_some()
                && difference(None, Some(&base), false).is_some()
        );
        assert_eq!(difference(None, None, false), None);
    }

    #[test]
    fn of_a_cut_answer_only_the_number_of_records_counts() {
        let base = answer(0x8380, &[(60, 1), (60, 2)]);
        assert_eq!(
            difference(Some(&base), Some(&answer(0x8380, &[(60, 3), (60, 4)])), false),
            None
        );
        assert!(difference(Some(&base), Some(&answer(0x8380, &[(60, 1)])), false).is_some());
    }
}
