//! What a reply is to the cache: where it belongs, for how long, and whether it answers the question.

use std::time::Duration;

use periplus_core::codes::{Class, Rcode, RecordType, flags};
use periplus_core::name::NameRef;
use periplus_core::query::Query;
use periplus_core::record::{self, Entry, Owner, Section};
use periplus_core::reply::{Reply, ReplyKind};

use super::settings::Settings;
use super::shape::is_usual;
use super::side::Side;

/// The TTL of a reply that has no record to take one from, and of referrals, as in CoreDNS (`dnsutil.MinimalDefaultTTL`).
const TTL_WITHOUT_RECORDS: u32 = 5;
/// CNAME records that are followed from the question to its answer. A longer chain is passed on but not kept: following it for
/// every reply of a hostile upstream would cost more than asking again.
const LONGEST_CHAIN: usize = 32;

/// The judgement over one reply.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    /// The kind of message, NODATA behind a CNAME told apart (RFC 2308 section 2.2).
    pub(super) kind: ReplyKind,
    /// Whether a record of the type asked for is there, at the end of the CNAME chain.
    pub(super) answering: bool,
    /// The TTL for all its records, in seconds.
    pub(super) ttl: u32,
    /// Where it is kept; `None` when it is not.
    pub(super) side: Option<Side>,
}

/// Judges a reply to `query`.
pub(super) fn judge(settings: &Settings, query: &Query, reply: &Reply) -> Verdict {
    let answering = reply.rcode == Rcode::NOERROR && answers(query, &reply.answer);
    let incomplete = !reply.answer.is_empty() && !answering;
    let kind = match reply.kind(query) {
        ReplyKind::NoError if incomplete && has_soa(reply) => ReplyKind::NoData,
        kind => kind,
    };
    let ttl = ttl(settings, kind, reply);
    let side = match kind {
        // RFC 2308 section 5: a negative answer without SOA has no TTL and should not be cached. A CNAME chain that does
        // not reach the type asked for is one as well.
        ReplyKind::NameError if !has_soa(reply) => None,
        ReplyKind::NoError if incomplete => None,
        ReplyKind::NoError | ReplyKind::Delegation => Some(Side::Success),
        ReplyKind::NameError | ReplyKind::NoData | ReplyKind::ServerError => Some(Side::Denial),
        ReplyKind::Meta | ReplyKind::Update | ReplyKind::OtherError => None,
    };
    // What a client is told that asks otherwise than most, without recursion for one, says of the name only what answers or denies.
    let concerns_all =
        answering || matches!(kind, ReplyKind::NameError | ReplyKind::NoData) || is_usual(query);
    let keeps = |side: &Side| ttl > 0 && concerns_all && !settings.disabled(*side, query.name());
    Verdict { kind, answering, ttl, side: side.filter(|_| !reply.has(flags::TC)).filter(keeps) }
}

/// The TTL alone, for a reply that is not kept whatever it is: cluster answers take this way, and it looks at no more than it must.
pub(super) fn passing_ttl(settings: &Settings, query: &Query, reply: &Reply) -> u32 {
    let is_denial = || has_soa(reply) && !answers(query, &reply.answer);
    let kind = match reply.kind(query) {
        ReplyKind::NoError if !reply.answer.is_empty() && is_denial() => ReplyKind::NoData,
        kind => kind,
    };
    ttl(settings, kind, reply)
}

fn has_soa(reply: &Reply) -> bool {
    reply.authority.iter().any(|entry| entry.rtype() == RecordType::SOA)
}

/// The TTL for all records of a reply of this kind.
fn ttl(settings: &Settings, kind: ReplyKind, reply: &Reply) -> u32 {
    match kind {
        ReplyKind::NameError | ReplyKind::NoData => settings.denial.clamp(minimal_ttl(reply)),
        ReplyKind::ServerError => whole_seconds(settings.servfail),
        ReplyKind::NoError => settings.success.clamp(minimal_ttl(reply)),
        _ => settings.success.clamp(TTL_WITHOUT_RECORDS),
    }
}

impl Verdict {
    /// Whether the reply may take the place of a stale entry: complete, and NOERROR or NXDOMAIN (RFC 8767 section 4).
    pub(super) fn refreshes(&self, settings: &Settings, reply: &Reply) -> bool {
        if reply.has(flags::TC) {
            return false;
        }
        if settings.prefer_positive {
            return self.kind == ReplyKind::NoError && self.answering;
        }
        let unknown =
            matches!(self.kind, ReplyKind::OtherError | ReplyKind::Meta | ReplyKind::Update);
        !unknown && matches!(reply.rcode, Rcode::NOERROR | Rcode::NXDOMAIN)
    }
}

/// The least TTL of all records.
fn minimal_ttl(reply: &Reply) -> u32 {
    let of_section = |section: &Section| section.iter().map(|entry| entry.ttl).min();
    let sections = [&reply.answer, &reply.authority, &reply.additional];
    sections.into_iter().filter_map(of_section).min().unwrap_or(TTL_WITHOUT_RECORDS)
}

fn whole_seconds(duration: Duration) -> u32 {
    u32::try_from(duration.as_secs()).unwrap_or(u32::MAX)
}

/// Whether a non-empty answer section answers the question: a record of its type stands at the end of the CNAME chain that begins at
/// the question's name (RFC 1034 section 3.6.2). A chain that forks or goes round has no end, so that it answers nothing
/// (RFC 2181 section 10.1).
fn answers(query: &Query, answer: &Section) -> bool {
    let is_asked = |entry: &Entry| query.class == Class::ANY || entry.set.class() == query.class;
    let at = |name: NameRef<'_>, entry: &Entry| {
        is_asked(entry) && lower_owner(query, entry).eq_ignore_case(name)
    };
    let asked_type =
        |name| answer.iter().any(|entry| entry.rtype() == query.qtype && at(name, entry));
    let mut name = query.name();
    match query.qtype {
        RecordType::ANY => return answer.iter().any(|entry| at(name, entry)),
        RecordType::CNAME => return matches!(alias(answer, |entry| at(name, entry)), Alias::Of(_)),
        _ if answer.iter().all(|entry| entry.rtype() != RecordType::CNAME) => {
            return asked_type(name);
        }
        _ => {}
    }
    for _ in 0..LONGEST_CHAIN {
        match alias(answer, |entry| at(name, entry)) {
            Alias::Of(target) => name = target,
            Alias::No => return asked_type(name),
            Alias::Ambiguous => return false,
        }
    }
    false
}

/// An entry's owner, in lower case where it is the question's: compared most often, and with that name.
fn lower_owner<'a>(query: &'a Query, entry: &'a Entry) -> NameRef<'a> {
    match &entry.owner {
        Owner::Question => query.name(),
        Owner::QuestionSuffix(offset) => query.name().suffix(usize::from(*offset)),
        Owner::Name(name) => name.as_ref(),
    }
}

/// What the CNAME records at one name say.
enum Alias<'a> {
    No,
    Of(NameRef<'a>),
    Ambiguous,
}

fn alias(answer: &Section, at_name: impl Fn(&Entry) -> bool) -> Alias<'_> {
    let mut found = Alias::No;
    for entry in answer.iter().filter(|entry| entry.rtype() == RecordType::CNAME && at_name(entry))
    {
        for target in entry.set.rdata().filter_map(|rdata| record::target(RecordType::CNAME, rdata))
        {
            match found {
                Alias::Of(other) if !other.eq_ignore_case(target) => return Alias::Ambiguous,
                _ => found = Alias::Of(target),
            }
        }
    }
    found
}
