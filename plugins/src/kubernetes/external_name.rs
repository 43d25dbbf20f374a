//! Services of type ExternalName: a CNAME, and what its target has.
//!
//! ```text
//!  alias -> alias inside the zone -> ... -> addresses inside the zone    answered at once, all or nothing
//!                                       \-> a name elsewhere             asked from the top of the server's chain
//! ```
//!
//! The rules are those of CoreDNS's `plugin.A`: a chain inside the zone that leads to no address is NODATA without the chain; a name
//! elsewhere that cannot be resolved is the chain without an address.

use std::sync::Arc;

use periplus_core::codes::{Rcode, RecordType, flags};
use periplus_core::name::{Name, NameRef};
use periplus_core::plugin::{Next, Outcome};
use periplus_core::query::Query;
use periplus_core::record::{Entry, Owner, RecordSet, Section, target};
use periplus_core::reply::{Answer, Reply};

use super::answers;
use super::finding::{self, Finding};
use super::shared::{Place, Shared};

/// Most aliases that one answer follows inside the zone.
const MOST_ALIASES: usize = 11;

/// Answers an address question for an alias.
pub(super) fn answer(
    shared: &Arc<Shared>,
    query: &Query,
    place: Place<'_>,
    alias: Arc<RecordSet>,
    next: Next<'_>,
) -> Outcome {
    let (chain, outside) = match follow(shared, query, place, alias) {
        Chain::Complete(chain) => return reply(query, chain, 0).into(),
        Chain::Broken => return no_data(shared, query).into(),
        Chain::Unknown => return shared.empty(query, place, Rcode::SERVFAIL).into(),
        Chain::Leaves { chain, target } => (chain, target),
    };
    // As deep as lookups may get, the target counts as not resolvable.
    let Some(followed) = query.follow(outside.as_ref(), query.qtype) else {
        return reply(query, chain, 0).into();
    };
    let mut outcome = next.resolve(&followed);
    outcome.then(shared, query, move |shared, query, answer| {
        let done = match &mut *answer {
            Answer::Reply(inner) => {
                inner.detach(&followed);
                let mut chain = chain;
                chain.append(&mut inner.answer);
                reply(query, chain, inner.flags & flags::TC)
            }
            Answer::Failure(_) => reply(query, chain, 0),
            Answer::Silence => no_data(shared, query),
        };
        *answer = done.into();
    });
    outcome
}

enum Chain {
    /// It ends in addresses.
    Complete(Section),
    /// It ends in nothing or goes round.
    Broken,
    /// It ends in what may be known soon.
    Unknown,
    /// It leads to a name outside the zone.
    Leaves { chain: Section, target: Name },
}

/// Goes from alias to alias as long as they lie inside the zone.
fn follow(shared: &Shared, query: &Query, place: Place<'_>, alias: Arc<RecordSet>) -> Chain {
    let mut chain = Section::new();
    let mut alias = alias;
    let mut at = query.clone();
    loop {
        let Some(target) = alias_target(&alias) else { return Chain::Broken };
        // A name that stands for itself or for one below it goes round for ever.
        if target.is_at_or_below(at.name())
            || chain.len() >= MOST_ALIASES
            || chain.iter().any(|known| known.set == alias)
        {
            return Chain::Broken;
        }
        let owner =
            if chain.is_empty() { Owner::Question } else { Owner::Name(at.spelled().to_name()) };
        chain.push(Entry::of(owner, Arc::clone(&alias)));
        let Some(offset) = target.zone_offset(place.zone.name.as_ref()) else {
            return Chain::Leaves { chain, target: target.to_name() };
        };
        at.set_name(target);
        match answers::find(shared, &at, Place { offset, ..place }) {
            Finding::Alias(next) => alias = next,
            Finding::Records(set) => {
                chain.push(Entry::of(Owner::Name(at.spelled().to_name()), set));
                return Chain::Complete(chain);
            }
            Finding::Reply(mut found) => {
                found.detach(&at);
                chain.append(&mut found.answer);
                return Chain::Complete(chain);
            }
            Finding::NameError | Finding::WronglyDenied if !shared.index.is_synced() => {
                return Chain::Unknown;
            }
            Finding::NoData | Finding::NameError | Finding::WronglyDenied => return Chain::Broken,
        }
    }
}

fn alias_target(alias: &RecordSet) -> Option<NameRef<'_>> {
    target(RecordType::CNAME, alias.rdata().next()?)
}

fn reply(query: &Query, answer: Section, truncated: u16) -> Reply {
    let mut reply = finding::reply(query);
    reply.flags |= truncated;
    reply.answer = answer;
    reply
}

fn no_data(shared: &Shared, query: &Query) -> Reply {
    match shared.place(query.name()) {
        Some(place) => shared.empty(query, place, Rcode::NOERROR),
        None => finding::reply(query),
    }
}
