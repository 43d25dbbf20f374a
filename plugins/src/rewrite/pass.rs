//! One query's way through the rules.

use std::sync::Arc;

use periplus_core::edns::Edns;
use periplus_core::name::{Name, NameBuf, NameRef};
use periplus_core::query::Query;
use smallvec::SmallVec;

use super::pattern::{LazyText, Matcher, NotAName, Rewriter};

/// A query while rules are tried on it. Nothing is copied until a rule changes something.
pub(super) struct Pass<'a> {
    outer: &'a Query,
    /// The local option codes of all rules: they come back in the response.
    local_codes: &'a Arc<[u16]>,
    inner: Option<Query>,
    text: LazyText,
    edns_changed: bool,
    mends: Mends,
}

/// What has to be done to the response, in the order in which the rules applied.
pub(super) type Mends = SmallVec<[Mend; 2]>;

/// The response side of a rule that applied.
pub(super) struct Mend {
    /// Index of the rule.
    pub(super) rule: usize,
    /// What the rule changed in the request.
    pub(super) undo: Undo,
}

/// A change of the request that is turned back in the response.
pub(super) enum Undo {
    Nothing,
    /// `original` was asked for, and `rewritten` in its place.
    Name {
        rewritten: Name,
        original: Name,
    },
    /// An option was added.
    OptionAdded(u16),
    /// An option had this data before.
    OptionReplaced(u16, Vec<u8>),
}

/// What comes out of the rules.
pub(super) struct Passed {
    /// The question to ask further in, if it is not the client's own.
    pub(super) inner: Option<Query>,
    /// Whether the EDNS part differs from the client's.
    pub(super) edns_changed: bool,
    pub(super) mends: Mends,
    /// Whether a rule said stop.
    pub(super) stopped: bool,
}

impl<'a> Pass<'a> {
    pub(super) fn new(outer: &'a Query, local_codes: &'a Arc<[u16]>) -> Pass<'a> {
        let mut pass = Pass {
            outer,
            local_codes,
            inner: None,
            text: LazyText::default(),
            edns_changed: false,
            mends: SmallVec::new(),
        };
        let echoed = |edns: &Edns| edns.options().any(|(code, _)| local_codes.contains(&code));
        if !local_codes.is_empty() && outer.edns.as_ref().is_some_and(echoed) {
            pass.edns_mut();
        }
        pass
    }

    /// The query as the rules have left it so far.
    pub(super) fn query(&self) -> &Query {
        self.inner.as_ref().unwrap_or(self.outer)
    }

    /// The same, to change; not its name, for which there is [`Pass::rename`].
    pub(super) fn query_mut(&mut self) -> &mut Query {
        self.inner.get_or_insert_with(|| self.outer.clone())
    }

    /// The EDNS part, to change. A request without one is given CoreDNS's: 4096 bytes, no flags.
    pub(super) fn edns_mut(&mut self) -> &mut Edns {
        self.edns_changed = true;
        let local_codes = self.local_codes;
        let edns =
            self.query_mut().edns.get_or_insert_with(|| Edns { udp_size: 4096, ..Edns::default() });
        edns.also_echoed.get_or_insert_with(|| Arc::clone(local_codes));
        edns
    }

    pub(super) fn matches(&mut self, matcher: &Matcher) -> bool {
        let query = self.inner.as_ref().unwrap_or(self.outer);
        matcher.matches(query.name(), &mut self.text)
    }

    pub(super) fn rewritten(&mut self, rewriter: &Rewriter) -> Option<Result<NameBuf, NotAName>> {
        let query = self.inner.as_ref().unwrap_or(self.outer);
        rewriter.rewrite(query.name(), &mut self.text)
    }

    pub(super) fn rename(&mut self, name: NameRef<'_>) {
        self.query_mut().set_name(name);
        self.text.forget();
    }

    /// Notes that the response needs the rule's attention.
    pub(super) fn mend_later(&mut self, rule: usize, undo: Undo) {
        self.mends.push(Mend { rule, undo });
    }

    /// Whether question and answer are to pass as they are.
    pub(super) fn is_untouched(&self) -> bool {
        self.inner.is_none() && self.mends.is_empty()
    }

    pub(super) fn finish(self, stopped: bool) -> Passed {
        Passed { inner: self.inner, edns_changed: self.edns_changed, mends: self.mends, stopped }
    }
}
