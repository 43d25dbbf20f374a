//! What a response becomes on its way out.
//!
//! Rules act in the reverse of the order in which they applied to the question. Records are shared with other answers: what
//! changes is the entry beside them (owner, TTL), and a set is made anew only when a name inside its RDATA changes.

use std::ops::Range;
use std::sync::Arc;

use periplus_core::codes::RecordType;
use periplus_core::name::{NameBuf, NameRef, wire_length};
use periplus_core::query::Query;
use periplus_core::record::{Entry, Owner, RecordSet, RecordSetBuilder};
use periplus_core::reply::Reply;
use smallvec::SmallVec;

use super::edns::{restore_options, restore_options_of_reply};
use super::pass::{Mend, Passed, Undo};
use super::rule::{Action, Part, Rule, restored};

/// Which entries of the answer section the rules have to do with, after CNAMEs were followed.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Followed {
    /// The last entry of the original answer; what follows it came, mended already, from a lookup.
    pub(super) entry: usize,
    /// How many mends are left to be done to the value of that entry.
    pub(super) mends_left: usize,
}

/// Mends the reply to the question that was asked further in, so that it becomes one to `outer`.
pub(super) fn mend(
    rules: &[Rule],
    outer: &Query,
    passed: &Passed,
    followed: Option<Followed>,
    reply: &mut Reply,
) {
    let inner = passed.inner.as_ref().unwrap_or(outer);
    let mender = Mender { rules, outer, inner };
    let mends = passed.mends.as_slice();
    mend_rcode(rules, mends, reply);
    for (index, entry) in reply.answer.iter_mut().enumerate() {
        match followed {
            Some(followed) if index > followed.entry => {}
            Some(followed) if index == followed.entry => {
                mender.entry(entry, mends, &mends[..followed.mends_left])
            }
            _ => mender.entry(entry, mends, mends),
        }
    }
    for entry in reply.authority.iter_mut().chain(&mut reply.additional) {
        mender.entry(entry, mends, mends);
    }
    if let Some(opt) = &mut reply.opt {
        restore_options_of_reply(opt, mends);
    }
    if passed.edns_changed {
        let mut edns = reply.request_edns.take().or_else(|| inner.edns.clone().map(Box::new));
        if let Some(edns) = &mut edns {
            restore_options(edns, mends);
        }
        reply.request_edns = edns;
    }
}

/// CoreDNS applies the rules to the response code once for each record, so that rules may go on where others have ended.
fn mend_rcode(rules: &[Rule], mends: &[Mend], reply: &mut Reply) {
    let records: usize = reply.entries().map(|entry| entry.set.count()).sum();
    let records = records + usize::from(reply.opt.is_some());
    for _ in 0..records.max(1) {
        let before = reply.rcode;
        for mend in mends.iter().rev() {
            if let Action::Rcode { from, to, .. } = rules[mend.rule].action
                && reply.rcode == from
            {
                reply.rcode = to;
            }
        }
        if reply.rcode == before {
            return;
        }
    }
}

/// What the change of one entry needs to know.
struct Mender<'a> {
    rules: &'a [Rule],
    outer: &'a Query,
    inner: &'a Query,
}

impl Mender<'_> {
    fn entry(&self, entry: &mut Entry, mends: &[Mend], value_mends: &[Mend]) {
        self.ttl(entry, mends);
        if let Some(set) = self.values(&entry.set, value_mends) {
            entry.set = set;
        }
        match renamed(self.rules, mends, Part::Owner, entry.owner.resolve(self.inner)) {
            Some(name) => entry.owner = self.owner(name.as_ref()),
            None if self.inner.spelled() != self.outer.spelled() => entry.detach(self.inner),
            None => {}
        }
    }

    fn ttl(&self, entry: &mut Entry, mends: &[Mend]) {
        for mend in mends.iter().rev() {
            if let Action::Ttl { least, most, .. } = self.rules[mend.rule].action {
                entry.ttl = entry.ttl.clamp(least, most);
            }
        }
    }

    /// The owner in the reply to the client; its own question's name where possible, which costs nothing to write.
    fn owner(&self, name: NameRef<'_>) -> Owner {
        let question = self.outer.spelled();
        match question.zone_offset(name) {
            Some(0) if question == name => Owner::Question,
            Some(offset) if question.suffix(offset) == name => Owner::QuestionSuffix(offset as u8),
            _ => Owner::Name(name.to_name()),
        }
    }

    /// The set with its names changed; `None` when nothing changes.
    fn values(&self, set: &RecordSet, mends: &[Mend]) -> Option<Arc<RecordSet>> {
        if !renames(self.rules, mends, Part::Value) {
            return None;
        }
        let mut changed: Option<RecordSetBuilder> = None;
        for (index, rdata) in set.rdata().enumerate() {
            let new = self.value(set.rtype(), rdata, mends);
            if new.is_some() && changed.is_none() {
                let mut builder = RecordSetBuilder::new(set.rtype(), set.ttl()).class(set.class());
                set.rdata().take(index).for_each(|rdata| builder.push(rdata));
                changed = Some(builder);
            }
            if let Some(builder) = &mut changed {
                builder.push(new.as_deref().unwrap_or(rdata));
            }
        }
        changed.map(RecordSetBuilder::finish)
    }

    fn value(
        &self,
        rtype: RecordType,
        rdata: &[u8],
        mends: &[Mend],
    ) -> Option<SmallVec<[u8; 512]>> {
        let place = value_place(rtype, rdata)?;
        let name = NameRef::from_wire(&rdata[place.clone()])?;
        let new = renamed(self.rules, mends, Part::Value, name)?;
        let mut changed = SmallVec::from_slice(&rdata[..place.start]);
        changed.extend_from_slice(new.as_ref().as_wire());
        changed.extend_from_slice(&rdata[place.end..]);
        Some(changed)
    }
}

/// The name after all mends in reverse order; `None` when none of them is meant.
pub(super) fn renamed(
    rules: &[Rule],
    mends: &[Mend],
    part: Part,
    name: NameRef<'_>,
) -> Option<NameBuf> {
    let mut current: Option<NameBuf> = None;
    for mend in mends.iter().rev() {
        let Action::Name(rule) = &rules[mend.rule].action else { continue };
        for answer in rule.answers.iter().rev().filter(|answer| answer.part == part) {
            let name = current.as_ref().map_or(name, NameBuf::as_ref);
            current = answer.renamer.renamed(name).or(current);
        }
        if let Undo::Name { rewritten, original } = &mend.undo {
            let name = current.as_ref().map_or(name, NameBuf::as_ref);
            current = restored(name, rewritten, original).or(current);
        }
    }
    current
}

/// Whether any of the mends can change names in this part of a record.
fn renames(rules: &[Rule], mends: &[Mend], part: Part) -> bool {
    mends.iter().any(|mend| match &rules[mend.rule].action {
        Action::Name(rule) => rule.restore || rule.answers.iter().any(|answer| answer.part == part),
        _ => false,
    })
}

/// Where the name stands that CoreDNS takes for the value of a record; of an SOA it is the primary name server.
fn value_place(rtype: RecordType, rdata: &[u8]) -> Option<Range<usize>> {
    let start = match rtype {
        RecordType::CNAME
        | RecordType::DNAME
        | RecordType::NS
        | RecordType::PTR
        | RecordType::SOA => 0,
        RecordType::MX => 2,
        RecordType::SRV => 6,
        RecordType::NAPTR => naptr_replacement(rdata)?,
        _ => return None,
    };
    Some(start..start + wire_length(rdata.get(start..)?)?)
}

/// Order, preference, then flags, services and expression, each with its length before it (RFC 3403 section 4.1).
fn naptr_replacement(rdata: &[u8]) -> Option<usize> {
    let mut at = 4;
    for _ in 0..3 {
        at += 1 + usize::from(*rdata.get(at)?);
    }
    Some(at)
}
