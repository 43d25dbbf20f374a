//! The differences from CoreDNS that are wanted, row by row as DIFFERENCES.md tells them.

use std::collections::BTreeSet;

use periplus_core::codes::RecordType;

use super::questions::Question;
use crate::support::wire::{Record, Wire, first_question, without_serials};

/// A wanted difference. A test fails when one no longer occurs, so that neither this list nor the page goes stale.
pub struct Known {
    /// The number of the row on the page.
    pub row: u8,
    /// Whether a question and the two answers, CoreDNS's first, show it.
    pub shows: fn(&Question, Option<&Wire>, &Wire) -> bool,
}

const NOERROR: u16 = 0;
const FORMERR: u16 = 1;
const NXDOMAIN: u16 = 3;

/// Rows 3, 8, 15 to 17, 28 and K1 to K6 need what a real API server does not have, or what is not compared.
pub const KNOWN: &[Known] = &[
    Known {
        row: 1,
        shows: |question, theirs, ours| {
            denied(theirs, ours) && is_txt(question) && is_structure(question)
        },
    },
    Known {
        row: 2,
        shows: |question, theirs, ours| {
            is_soa(question, theirs) && ours.rcode() == NXDOMAIN && same_zone(theirs, ours)
        },
    },
    Known {
        row: 4,
        shows: |question, theirs, ours| is_soa(question, theirs) && !same_zone(theirs, ours),
    },
    Known {
        row: 5,
        shows: |question, theirs, ours| {
            qtype(question) == Some(RecordType::NS)
                && !is_lower(question)
                && theirs.is_some_and(is_nodata)
                && !ours.answer.is_empty()
        },
    },
    Known {
        row: 6,
        shows: |question, theirs, ours| {
            is_server_in_mixed_case(question, theirs, ours) && is_address(question)
        },
    },
    Known {
        row: 7,
        shows: |question, theirs, ours| {
            is_server_in_mixed_case(question, theirs, ours) && !is_address(question)
        },
    },
    Known {
        row: 9,
        shows: |question, theirs, ours| {
            // With `fallthrough` it is somebody else who has no answer.
            qtype(question) == Some(RecordType::PTR) && theirs.is_none() && ours.answer.is_empty()
        },
    },
    Known {
        row: 10,
        shows: |question, theirs, ours| {
            is_server(question)
                && asked(question).matches("cluster.local.").count() > 1
                && theirs.is_some()
                && ours.rcode() == NXDOMAIN
        },
    },
    Known {
        row: 11,
        shows: |question, theirs, ours| {
            let answered = theirs.is_some_and(|theirs| !theirs.answer.is_empty());
            answered
                && reverse_labels(question).is_some_and(|labels| labels > WHOLE)
                && ours.answer.is_empty()
        },
    },
    Known {
        row: 12,
        shows: |question, _, ours| {
            asked(question).contains("h-fqdn.shop.") && ours.answer.is_empty()
        },
    },
    Known {
        row: 13,
        shows: |question, theirs, ours| {
            let set = |wire: &Wire| wire.additional.iter().cloned().collect::<BTreeSet<Record>>();
            qtype(question) == Some(RecordType::NS)
                && theirs.is_some_and(|theirs| {
                    set(theirs) == set(ours) && theirs.additional.len() > set(theirs).len()
                })
                && ours.additional.len() == set(ours).len()
        },
    },
    Known {
        row: 14,
        shows: |question, theirs, ours| {
            let all_end_with = |wire: &Wire, end: &str| {
                wire.answer.iter().all(|record| record.rdata.ends_with(end))
            };
            qtype(question) == Some(RecordType::PTR)
                && theirs.is_some_and(|theirs| {
                    theirs.answer.len() == ours.answer.len() && all_end_with(theirs, ".arpa.")
                })
                && !ours.answer.is_empty()
                && all_end_with(ours, ".cluster.local.")
        },
    },
    Known {
        row: 18,
        shows: |_, _, ours| ours.answer.iter().any(|record| record.rdata.contains("\\.")),
    },
    Known {
        row: 19,
        shows: |question, theirs, ours| {
            let weighs = |wire: &Wire, start: &str| {
                wire.answer.len() == 1 && wire.answer[0].rdata.starts_with(start)
            };
            asked(question).contains(".pod.")
                && theirs.is_some_and(|theirs| weighs(theirs, "0 50 0 "))
                && weighs(ours, "0 100 0 ")
        },
    },
    Known {
        row: 20,
        shows: |question, theirs, ours| {
            reverse_labels(question).is_some()
                && theirs.is_some_and(|theirs| {
                    same_but_for(theirs, ours, |record| Record { ttl: 0, ..record })
                })
                && ours.answer.iter().chain(&ours.authority).all(|record| record.ttl == 30)
        },
    },
    Known {
        row: 21,
        shows: |question, theirs, ours| {
            let lower = |record: Record| {
                let (owner, rdata) =
                    (record.owner.to_ascii_lowercase(), record.rdata.to_ascii_lowercase());
                Record { owner, rdata, ttl: 0, ..record }
            };
            // How many records are left of an answer that is cut depends on how well names compress.
            let cut = |theirs: &Wire| {
                theirs.is_truncated() && theirs.flags == ours.flags && !is_lower(question)
            };
            theirs.is_some_and(|theirs| cut(theirs) || same_but_for(theirs, ours, lower))
        },
    },
    Known {
        row: 22,
        shows: |question, theirs, ours| {
            let other_class = question.asked().is_some_and(|(_, _, class)| class != 1);
            other_class && theirs.is_some_and(|theirs| theirs.rcode() == ours.rcode())
        },
    },
    Known {
        row: 23,
        shows: |question, theirs, _| {
            opcode(question) == 4 && theirs.is_some() && question.message.len() > 12
        },
    },
    Known {
        row: 24,
        shows: |question, theirs, ours| {
            let refused =
                theirs.is_some_and(|theirs| theirs.rcode() == FORMERR) && ours.rcode() != FORMERR;
            refused
                && question
                    .message
                    .get(6..12)
                    .is_some_and(|counts| counts.iter().any(|count| *count > 0))
        },
    },
    Known {
        row: 25,
        shows: |question, _, _| question.what.contains("an owner that is not the root"),
    },
    Known {
        row: 26,
        shows: |question, theirs, ours| {
            let followed =
                theirs.is_some_and(|theirs| theirs.rcode() != FORMERR) && ours.rcode() == FORMERR;
            followed && question.message.get(12).is_some_and(|length| *length >= 0xc0)
        },
    },
    Known {
        row: 27,
        shows: |question, theirs, ours| {
            let forwarded = Wire::parse(&question.message).is_some_and(|asked| {
                let others = [asked.answer, asked.authority, asked.additional].concat();
                !others.is_empty() && asked.opt.is_none()
            });
            let misread = theirs.is_some_and(|theirs| {
                theirs.rcode() == ours.rcode()
                    && (theirs.opt != ours.opt || theirs.is_truncated() && !ours.is_truncated())
            });
            forwarded && misread
        },
    },
];

/// CoreDNS denies the name, Periplus only the type.
fn denied(theirs: Option<&Wire>, ours: &Wire) -> bool {
    theirs.is_some_and(|theirs| theirs.rcode() == NXDOMAIN && theirs.authority.len() == 1)
        && is_nodata(ours)
}

fn is_txt(question: &Question) -> bool {
    qtype(question) == Some(RecordType::TXT)
}

/// CoreDNS has the SOA question answered by the zone's own record in the authority section.
fn is_soa(question: &Question, theirs: Option<&Wire>) -> bool {
    qtype(question) == Some(RecordType::SOA) && theirs.is_some_and(is_nodata)
}

fn same_zone(theirs: Option<&Wire>, ours: &Wire) -> bool {
    let zone = |wire: &Wire| wire.authority.first().map(|record| record.owner.clone());
    theirs.is_some_and(|theirs| zone(theirs) == zone(ours))
}

/// `Z`, `svc.Z`, `pod.Z`, `N.svc.Z` or `N.pod.Z`.
fn is_structure(question: &Question) -> bool {
    let name = asked(question);
    let Some(left) = name.strip_suffix("cluster.local.") else { return name.ends_with(".arpa.") };
    left.is_empty()
        || matches!(
            left.trim_end_matches('.').rsplit('.').collect::<Vec<_>>()[..],
            ["svc" | "pod"] | ["svc" | "pod", _]
        )
}

/// `ns.dns` and something.
fn is_server(question: &Question) -> bool {
    asked(question).starts_with("ns.dns.")
}

fn is_server_in_mixed_case(question: &Question, theirs: Option<&Wire>, ours: &Wire) -> bool {
    let denied = theirs.filter(|theirs| theirs.rcode() == NXDOMAIN);
    // CoreDNS's cache gives the denial for one spelling to all of them.
    let is_spelled = |record: &Record| record.owner != record.owner.to_ascii_lowercase();
    let kept = denied.is_some_and(|theirs| theirs.authority.iter().any(is_spelled));
    denied.is_some()
        && is_server(question)
        && (kept || !is_lower(question))
        && ours.rcode() == NOERROR
}

fn is_address(question: &Question) -> bool {
    matches!(qtype(question), Some(RecordType::A | RecordType::AAAA))
}

/// Whether no letter is in upper case.
fn is_lower(question: &Question) -> bool {
    first_question(&question.message).is_some_and(|(name, _, _)| name == asked(question))
}

/// As [`reverse_labels`] gives it for the name of an address.
const WHOLE: usize = 100;

/// How much of an address a reverse name has, in hundredths.
fn reverse_labels(question: &Question) -> Option<usize> {
    let name = asked(question);
    let labels = |zone: &str, whole: usize| {
        let left = name.strip_suffix(zone)?;
        Some(left.matches('.').count() * WHOLE / whole)
    };
    labels("in-addr.arpa.", 4).or_else(|| labels("ip6.arpa.", 32))
}

/// The name in lower case.
fn asked(question: &Question) -> String {
    question.asked().map_or_else(String::new, |(name, _, _)| name)
}

fn qtype(question: &Question) -> Option<RecordType> {
    question.asked().map(|(_, qtype, _)| qtype)
}

fn opcode(question: &Question) -> u8 {
    question.message.get(2).map_or(0, |octet| octet >> 3 & 15)
}

fn is_nodata(wire: &Wire) -> bool {
    wire.rcode() == NOERROR && wire.answer.is_empty() && wire.authority.len() == 1
}

/// Whether flags and OPT are the same, and answer and authority once each record is changed so.
fn same_but_for(theirs: &Wire, ours: &Wire, change: impl Fn(Record) -> Record) -> bool {
    let changed = |records: &[Record]| {
        let mut records: Vec<Record> = without_serials(records).into_iter().map(&change).collect();
        records.sort();
        records
    };
    (theirs.flags, &theirs.opt) == (ours.flags, &ours.opt)
        && changed(&theirs.answer) == changed(&ours.answer)
        && changed(&theirs.authority) == changed(&ours.authority)
        && theirs.answer.len() + theirs.authority.len() > 0
}
