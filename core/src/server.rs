//! From request bytes to response bytes: the one path that every transport calls.
//!
//! ```text
//! bytes -> admit -> dispatch: class, EDNS version, longest zone -> chain -> finish -> bytes
//!                                                                     \-> Waiting (a future) -> finish -> bytes
//! ```
//!
//! A [`Server`] is what listens on one `scheme://host:port`: the server blocks that share it, by zone.

use std::collections::HashMap;
use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::codes::{Class, Rcode, RecordType};
use crate::encode::{Compressor, encode, encode_bad_version, encode_no_question, encode_rejection};
use crate::metrics::Counter;
use crate::name::{MAX_NAME, Name, NameRef};
use crate::output::Output;
use crate::plugin::{Later, Next, Outcome, Plugin};
use crate::query::{Admission, Query, admit};
use crate::reply::{Answer, Failure};

/// One server block's way of answering: its chain of plugins.
pub struct Block {
    chain: Vec<Arc<dyn Plugin>>,
    /// For each place in the chain, and the one after its end: where the first plugin from there on stands that is no filter.
    handlers: Vec<usize>,
}

impl Block {
    /// The plugins, outermost first.
    pub fn new(chain: Vec<Arc<dyn Plugin>>) -> Block {
        let mut handlers = vec![chain.len(); chain.len() + 1];
        for (at, plugin) in chain.iter().enumerate().rev() {
            handlers[at] = if plugin.is_filter() { handlers[at + 1] } else { at };
        }
        Block { chain, handlers }
    }

    /// The plugins, outermost first.
    pub fn chain(&self) -> &[Arc<dyn Plugin>] {
        &self.chain
    }

    /// Where the first plugin stands, from `position` on, that is no filter; past the end when there is none.
    pub(crate) fn handler_from(&self, position: usize) -> usize {
        self.handlers.get(position).copied().unwrap_or(position)
    }

    /// Leads an answer out through some filters.
    pub(crate) fn filter(
        &self,
        filters: Range<usize>,
        server: &Server,
        query: &Query,
        answer: &mut Answer,
    ) {
        for filter in self.chain[filters].iter().rev() {
            filter.filter(server, query, answer);
        }
    }
}

/// The server blocks behind one listen address.
pub struct Server {
    label: Arc<str>,
    zones: HashMap<Name, Vec<Arc<Block>>, foldhash::fast::RandomState>,
    /// The one block there is, if its zone is `.`: what kubeadm configures needs no look-up at all.
    only: Option<Arc<Block>>,
    /// Which wire lengths the zones have: a name's tail of another length needs no look-up.
    lengths: [bool; MAX_NAME + 1],
    any_class: bool,
    fatal_panics: Option<Arc<Output>>,
    panics: Counter,
    dropped: Vec<Arc<dyn ObserveDropped>>,
}

/// Hears of queries that are answered before any chain sees them (zone label `dropped` in the metrics).
pub trait ObserveDropped: Send + Sync {
    /// The server answered `rcode` on its own.
    fn dropped(&self, server: &Server, query: &Query, answer: &Answer);
}

/// What a [`Server`] is made of.
pub struct ServerParts {
    /// `dns://:53`: the metric label `server`.
    pub label: String,
    /// Zone (lower case) and block, in file order.
    pub zones: Vec<(Name, Arc<Block>)>,
    /// Whether classes other than IN reach the chain (some block has `forward` or `chaos`).
    pub any_class: bool,
    /// Given if some block has `debug`: a panic in a plugin ends the process, as operators who look for it want, once all lines are
    /// written here.
    pub fatal_panics: Option<Arc<Output>>,
    /// `coredns_panics_total`.
    pub panics: Counter,
    /// Who counts queries that no chain sees.
    pub dropped: Vec<Arc<dyn ObserveDropped>>,
}

impl Server {
    /// Puts a server together.
    pub fn new(parts: ServerParts) -> Server {
        let mut zones: HashMap<Name, Vec<Arc<Block>>, _> = HashMap::default();
        let mut lengths = [false; MAX_NAME + 1];
        for (zone, block) in parts.zones {
            lengths[zone.as_wire().len()] = true;
            zones.entry(zone).or_default().push(block);
        }
        let only = match zones.get(NameRef::ROOT.as_wire()) {
            Some(blocks) if zones.len() == 1 => blocks.first().cloned(),
            _ => None,
        };
        Server {
            label: parts.label.into(),
            zones,
            only,
            lengths,
            any_class: parts.any_class,
            fatal_panics: parts.fatal_panics,
            panics: parts.panics,
            dropped: parts.dropped,
        }
    }

    /// `scheme://host:port`, the metric label `server`.
    pub fn label(&self) -> &Arc<str> {
        &self.label
    }

    /// Answers one request message. `query` is the caller's to keep and to reuse; its addresses, transport and time must be set. A caller
    /// that has no time to wait says so with `may_wait`.
    pub fn respond(
        self: &Arc<Self>,
        message: &[u8],
        query: &mut Query,
        may_wait: bool,
        compressor: &mut Compressor,
        out: &mut Vec<u8>,
    ) -> Response {
        let start = out.len();
        // A plugin shares only immutable or atomic state between queries, so nothing half-changed is seen after a panic. The
        // response is written inside, so that the answer need not be moved out.
        let answered = catch_unwind(AssertUnwindSafe(|| {
            self.answer(message, query, may_wait, compressor, out)
        }));
        answered.unwrap_or_else(|panic| {
            out.truncate(start);
            encode(query, &self.panicked(query, &*panic), compressor, out);
            Response::Ready
        })
    }

    fn answer(
        self: &Arc<Self>,
        message: &[u8],
        query: &mut Query,
        may_wait: bool,
        compressor: &mut Compressor,
        out: &mut Vec<u8>,
    ) -> Response {
        match admit(message, query) {
            Admission::Query => {}
            Admission::Drop => return Response::Silence,
            Admission::Reject { rcode, question } => {
                encode_rejection(query, rcode, question, out);
                return Response::Ready;
            }
            Admission::NoQuestion => {
                self.without_chain(query, Rcode::SERVFAIL);
                encode_no_question(query, out);
                return Response::Ready;
            }
        }
        if query.edns.as_ref().is_some_and(|edns| edns.version != 0) && self.admits_class(query) {
            encode_bad_version(query, out);
            return Response::Ready;
        }
        match self.dispatch_in_time(query, may_wait) {
            Outcome::Now(answer) => {
                if encode(query, &answer, compressor, out) {
                    Response::Ready
                } else {
                    Response::Silence
                }
            }
            Outcome::Later(mut future) => {
                let (server, query) = (Arc::clone(self), future.share(query));
                Response::Later(Waiting { server, query, future })
            }
            Outcome::Shed => Response::Shed,
        }
    }

    /// Runs the chain for a query from a client or from a plugin that asks again.
    pub fn dispatch(self: &Arc<Self>, query: &Query) -> Outcome {
        self.dispatch_in_time(query, true)
    }

    /// The same; without `may_wait` there is no time to wait for the answer, and no outcome is [`Outcome::Later`].
    pub fn dispatch_in_time(self: &Arc<Self>, query: &Query, may_wait: bool) -> Outcome {
        if !self.admits_class(query) {
            return self.refuse(query);
        }
        match self.block_for(query) {
            Some(block) if !block.chain.is_empty() => Next::first(self, block, may_wait).run(query),
            _ => self.refuse(query),
        }
    }

    fn admits_class(&self, query: &Query) -> bool {
        query.class == Class::IN || self.any_class
    }

    fn refuse(&self, query: &Query) -> Outcome {
        Outcome::Now(self.without_chain(query, Rcode::REFUSED))
    }

    fn panicked(&self, query: &Query, panic: &(dyn std::any::Any + Send)) -> Answer {
        let what = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("unknown");
        if let Some(output) = &self.fatal_panics {
            tracing::error!("Panic in server: \"{}\" {what}", self.label);
            output.close();
            // Go's code for it.
            std::process::exit(2);
        }
        tracing::error!("Recovered from panic in server: \"{}\" {what}", self.label);
        self.panics.add(1);
        self.without_chain(query, Rcode::SERVFAIL)
    }

    /// The answer to what no chain answers.
    fn without_chain(&self, query: &Query, rcode: Rcode) -> Answer {
        let answer = Answer::Failure(Failure::silent(rcode, ""));
        for observer in &self.dropped {
            observer.dropped(self, query, &answer);
        }
        answer
    }

    /// The block with the longest zone that the name lies in; for DS, which belongs to the parent side of a cut, the shortest one
    /// that is not the root (as CoreDNS does).
    fn block_for(&self, query: &Query) -> Option<&Arc<Block>> {
        if self.only.is_some() {
            return self.only.as_ref();
        }
        let mut found = None;
        let mut name = Some(query.name());
        while let Some(zone) = name.filter(|zone| !zone.is_root()) {
            if let Some(block) = self.blocks_of(zone) {
                found = Some(block);
                if query.qtype != RecordType::DS {
                    return found;
                }
            }
            name = zone.parent();
        }
        found.or_else(|| self.blocks_of(NameRef::ROOT))
    }

    fn blocks_of(&self, zone: NameRef<'_>) -> Option<&Arc<Block>> {
        if !self.lengths[zone.len()] {
            return None;
        }
        self.zones.get(zone.as_wire())?.first()
    }
}

/// What became of a request message.
pub enum Response {
    /// The response was appended to the caller's buffer.
    Ready,
    /// Nothing is to be sent.
    Silence,
    /// The response has to be waited for.
    Later(Waiting),
    /// It would have to be, and the caller has no time.
    Shed,
}

/// A query whose answer has to be waited for.
pub struct Waiting {
    server: Arc<Server>,
    query: Arc<Query>,
    future: Later,
}

impl Waiting {
    /// Polls for the answer; give it to [`Waiting::encode`]. Not to be polled again after it.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Answer> {
        let future = Pin::new(&mut self.future);
        catch_unwind(AssertUnwindSafe(|| future.poll(cx)))
            .unwrap_or_else(|panic| Poll::Ready(self.server.panicked(&self.query, &*panic)))
    }

    /// Waits for the answer.
    pub async fn answer(&mut self) -> Answer {
        std::future::poll_fn(|cx| self.poll(cx)).await
    }

    /// Appends the response; `false`: none is due. As in [`Server::respond`], a panic costs this answer and no other.
    pub fn encode(&self, answer: &Answer, compressor: &mut Compressor, out: &mut Vec<u8>) -> bool {
        let start = out.len();
        let encoded =
            catch_unwind(AssertUnwindSafe(|| encode(&self.query, answer, compressor, out)));
        encoded.unwrap_or_else(|panic| {
            out.truncate(start);
            encode(&self.query, &self.server.panicked(&self.query, &*panic), compressor, out)
        })
    }

    /// The question that waits.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// Since when it waits.
    pub fn received(&self) -> Instant {
        self.query.received
    }
}
