//! The differences from CoreDNS that are wanted, row by row as DIFFERENCES.md tells them.

use std::collections::BTreeSet;

use periplus_core::codes::RecordType;

use super::questions::Question;
use crate::support::wire::{Record, Wire};

/// A wanted difference. A test fails when one no longer occurs, so that neither this list nor the page goes stale.
pub struct Known {
    /// The first column of the page.
    pub told: &'static str,
    /// Whether a question and the two answers, CoreDNS's first, show it.
    pub shows: fn(&Question, Option<&Wire>, &Wire) -> bool,
}

const NOERROR: u16 = 0;
const FORMERR: u16 = 1;
const NXDOMAIN: u16 = 3;
const AA: u16 = 0x0400;

pub const KNOWN: &[Known] = &[
    Known {
        told: "SOA of a name that does not exist",
        shows: |question, theirs, ours| {
            let denied = ours.rcode() == NXDOMAIN || ours.flags & AA == 0;
            qtype(question) == Some(RecordType::SOA) && theirs.is_some_and(is_nodata) && denied
        },
    },
    Known {
        told: "A name that has other types, or names below it",
        shows: |_, theirs, ours| {
            theirs.is_some_and(|theirs| theirs.rcode() == NXDOMAIN && theirs.authority.len() == 1)
                && is_nodata(ours)
        },
    },
    Known {
        told: "NS and the addresses of the DNS service, asked in mixed case",
        shows: |question, theirs, ours| {
            let name = asked(question).unwrap_or_default();
            let apex = name.starts_with("ns.dns.") || qtype(question) == Some(RecordType::NS);
            apex && theirs.is_some_and(|theirs| theirs.answer.is_empty()) && !ours.answer.is_empty()
        },
    },
    Known {
        told: "Addresses beside NS",
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
        told: "PTR of an endpoint in a slice of no service",
        shows: |question, theirs, ours| {
            qtype(question) == Some(RecordType::PTR) && theirs.is_none() && ours.rcode() == NXDOMAIN
        },
    },
    Known {
        told: "Slices of address type FQDN",
        shows: |question, _, ours| {
            asked(question).is_some_and(|name| name.contains("h-fqdn.shop."))
                && ours.answer.is_empty()
        },
    },
    Known {
        told: "SRV of two pods with one address",
        shows: |question, theirs, ours| {
            qtype(question) == Some(RecordType::SRV)
                && asked(question).is_some_and(|name| name.contains(".pod."))
                && theirs.is_some_and(|theirs| {
                    theirs.answer.len() == 1 && theirs.answer[0].rdata.starts_with("0 50 0 ")
                })
                && ours.answer.len() == 1
                && ours.answer[0].rdata.starts_with("0 100 0 ")
        },
    },
    Known {
        told: "Names of pods with dots, as names of endpoints",
        shows: |_, _, ours| ours.answer.iter().any(|record| record.rdata.contains("\\.")),
    },
    Known {
        told: "TTL of PTR records with `cache`",
        shows: |question, theirs, ours| {
            qtype(question) == Some(RecordType::PTR)
                && theirs.is_some_and(|theirs| {
                    same_but_for(theirs, ours, |record| Record { ttl: 0, ..record })
                })
                && ours.answer.iter().all(|record| record.ttl == 30)
        },
    },
    Known {
        told: "Spelling of names in a kept answer",
        shows: |_, theirs, ours| {
            let lower = |record: Record| Record {
                owner: record.owner.to_ascii_lowercase(),
                ttl: 0,
                ..record
            };
            theirs.is_some_and(|theirs| same_but_for(theirs, ours, lower))
        },
    },
    Known {
        told: "Questions of another class with `cache`",
        shows: |question, theirs, ours| {
            question.asked().is_some_and(|(_, _, class)| class != 1)
                && theirs.is_some_and(|theirs| theirs.rcode() == ours.rcode())
        },
    },
    Known {
        told: "NOTIFY with `cache`",
        shows: |question, theirs, _| {
            opcode(question) == 4 && theirs.is_some() && question.message.len() > 12
        },
    },
    Known {
        told: "Contents of records in a request",
        shows: |question, theirs, ours| {
            theirs.is_some_and(|theirs| theirs.rcode() == FORMERR)
                && ours.rcode() != FORMERR
                && question
                    .message
                    .get(6..12)
                    .is_some_and(|counts| counts.iter().any(|count| *count > 0))
        },
    },
    Known {
        told: "OPT with an owner other than the root",
        shows: |question, _, _| question.what.contains("an owner that is not the root"),
    },
    Known {
        told: "Compression pointers in the question",
        shows: |question, theirs, ours| {
            theirs.is_some_and(|theirs| theirs.rcode() != FORMERR)
                && ours.rcode() == FORMERR
                && question.message.get(12).is_some_and(|length| *length >= 0xc0)
        },
    },
];

fn asked(question: &Question) -> Option<String> {
    question.asked().map(|(name, _, _)| name)
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

/// Whether answer and authority are the same once each record is changed so.
fn same_but_for(theirs: &Wire, ours: &Wire, change: impl Fn(Record) -> Record) -> bool {
    let changed = |records: &[Record]| {
        let mut records: Vec<Record> = records.iter().cloned().map(&change).collect();
        records.sort();
        records
    };
    theirs.rcode() == ours.rcode()
        && changed(&theirs.answer) == changed(&ours.answer)
        && changed(&theirs.authority) == changed(&ours.authority)
        && theirs.answer.len() + theirs.authority.len() > 0
}
