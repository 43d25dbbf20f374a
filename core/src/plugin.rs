//! The plugin contract: now or later.
//!
//! ```text
//!            +-- handle(query, next) --+
//!            |                         |
//!   outer -> | plugin                  | -> next.run(query) -> inner plugins
//!            |                         |
//!            +-- Outcome --------------+
//!                  Now(answer)     the answer is here: no allocation, no task
//!                  Later(future)   something must be waited for: the transport polls the future
//!                  Shed            the same, but the transport has no time for it
//! ```
//!
//! A plugin answers at once, passes on, or returns a future. What it does to an answer that comes from further in is written
//! once, as a function, and given to [`Outcome::then`], which applies it now or when the future is done. A plugin that does nothing
//! but look at answers on their way out is a [`Filter`]: the chain goes around it on the way in, and any number of them in a row wait
//! for an answer as one.
//!
//! A plugin sees the query as its outer neighbours left it and cannot change it under them: who rewrites a question clones it, asks
//! inward with the clone, and mends the answer on the way out. A plugin may also ask the server from the top of the chain again
//! ([`Next::resolve`]) for another name; the depth of that is bounded by the query itself.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use smallvec::SmallVec;

use crate::query::Query;
use crate::reply::{Answer, Failure, Reply};
use crate::server::{Block, Server};

/// One link of the chain of a server block.
pub trait Plugin: Send + Sync + 'static {
    /// The directive's name.
    fn name(&self) -> &'static str;

    /// Answers, passes on with [`Next::run`], or both.
    fn handle(&self, query: &Query, next: Next<'_>) -> Outcome;

    /// Whether it is a [`Filter`], which is never asked to handle anything.
    fn is_filter(&self) -> bool {
        false
    }

    /// See [`Filter::filter`].
    fn filter(&self, _server: &Server, _query: &Query, _answer: &mut Answer) {}
}

/// A link of the chain that passes every query on as it is, and looks at the answer on its way out.
pub trait Filter: Send + Sync + 'static {
    /// The directive's name.
    fn name(&self) -> &'static str;

    /// Looks at the answer that the plugins further in gave to `query`, and may change it.
    fn filter(&self, server: &Server, query: &Query, answer: &mut Answer);
}

impl<F: Filter> Plugin for F {
    fn name(&self) -> &'static str {
        Filter::name(self)
    }

    fn handle(&self, query: &Query, next: Next<'_>) -> Outcome {
        next.run(query)
    }

    fn is_filter(&self) -> bool {
        true
    }

    fn filter(&self, server: &Server, query: &Query, answer: &mut Answer) {
        Filter::filter(self, server, query, answer);
    }
}

/// The answer, or the way to it.
pub enum Outcome {
    /// It is here.
    Now(Answer),
    /// It has to be waited for.
    Later(Later),
    /// It would have to be waited for, and there is no time for that: see [`Next::may_wait`].
    Shed,
}

/// An answer that has to be waited for, and what will be done to it.
///
/// Plugins pile up their changes here instead of each wrapping the future in one of its own, and share one copy of the query.
pub struct Later {
    future: Pin<Box<dyn Future<Output = Answer> + Send>>,
    /// What the changes are about.
    query: Option<Arc<Query>>,
    changes: SmallVec<[Change; 4]>,
}

type Change = Box<dyn FnOnce(&Query, &mut Answer) + Send>;

impl Later {
    /// Waits for a future.
    pub fn new(future: impl Future<Output = Answer> + Send + 'static) -> Later {
        Later { future: Box::pin(future), query: None, changes: SmallVec::new() }
    }

    /// The same for a future that needs a copy of the query, so that others who need one can share it.
    pub fn about(
        query: Arc<Query>,
        future: impl Future<Output = Answer> + Send + 'static,
    ) -> Later {
        Later { query: Some(query), ..Later::new(future) }
    }

    /// Changes the answer when it is there. The query is copied unless what was done before is about the same one.
    pub fn then(
        &mut self,
        query: &Query,
        change: impl FnOnce(&Query, &mut Answer) + Send + 'static,
    ) {
        self.share(query);
        self.changes.push(Box::new(change));
    }

    /// A copy of the query, shared with what was done before if that is about the same one.
    pub(crate) fn share(&mut self, query: &Query) -> Arc<Query> {
        if let Some(shared) = self.query.as_ref().filter(|shared| ***shared == *query) {
            return Arc::clone(shared);
        }
        if !self.changes.is_empty() {
            let nothing = Later::new(std::future::pending());
            *self = Later::new(std::mem::replace(self, nothing));
        }
        Arc::clone(self.query.insert(Arc::new(query.clone())))
    }
}

impl Future for Later {
    type Output = Answer;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Answer> {
        self.future.as_mut().poll(cx).map(|mut answer| {
            if let Some(query) = self.query.take() {
                for change in std::mem::take(&mut self.changes) {
                    change(&query, &mut answer);
                }
            }
            answer
        })
    }
}

impl Outcome {
    /// Waits for a future.
    pub fn later(future: impl Future<Output = Answer> + Send + 'static) -> Outcome {
        Outcome::Later(Later::new(future))
    }

    /// Changes the answer, whenever it comes. `state` is what the plugin shares between its queries; it and the query are copied only
    /// if the answer comes later.
    ///
    /// An answer that is here is changed where it lies: a chain of ten plugins does not move it ten times.
    pub fn then<S, F>(&mut self, state: &Arc<S>, query: &Query, change: F)
    where
        S: Send + Sync + 'static + ?Sized,
        F: FnOnce(&S, &Query, &mut Answer) + Send + 'static,
    {
        match self {
            Outcome::Now(answer) => change(state, query, answer),
            Outcome::Later(later) => {
                let state = Arc::clone(state);
                later.then(query, move |query, answer| change(&state, query, answer));
            }
            Outcome::Shed => {}
        }
    }

    /// Goes on from the answer to another outcome, whenever the answer comes.
    pub fn and_then<S, F>(self, state: &Arc<S>, query: &Query, go_on: F) -> Outcome
    where
        S: Send + Sync + 'static + ?Sized,
        F: FnOnce(&Arc<S>, &Query, Answer) -> Outcome + Send + 'static,
    {
        match self {
            Outcome::Now(answer) => go_on(state, query, answer),
            Outcome::Later(future) => {
                let (state, query) = (Arc::clone(state), query.clone());
                Outcome::later(async move {
                    let answer = future.await;
                    go_on(&state, &query, answer).wait().await
                })
            }
            Outcome::Shed => Outcome::Shed,
        }
    }

    /// Waits, if there is anything to wait for.
    pub async fn wait(self) -> Answer {
        match self {
            Outcome::Now(answer) => answer,
            Outcome::Later(future) => future.await,
            Outcome::Shed => Answer::Silence,
        }
    }
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Outcome {
        Outcome::Now(Answer::Reply(reply))
    }
}

impl From<Failure> for Outcome {
    fn from(failure: Failure) -> Outcome {
        Outcome::Now(Answer::Failure(failure))
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Outcome {
        Outcome::Now(answer)
    }
}

/// The rest of the chain, as a plugin sees it.
#[derive(Clone, Copy)]
pub struct Next<'a> {
    server: &'a Arc<Server>,
    block: &'a Arc<Block>,
    position: u32,
    authenticated: bool,
    may_wait: bool,
}

impl<'a> Next<'a> {
    /// The whole chain of a block.
    pub(crate) fn first(
        server: &'a Arc<Server>,
        block: &'a Arc<Block>,
        may_wait: bool,
    ) -> Next<'a> {
        Next { server, block, position: 0, authenticated: false, may_wait }
    }

    /// Passes the query to the next plugin. Without one: SERVFAIL with the cause `no next plugin found`.
    pub fn run(self, query: &Query) -> Outcome {
        let at = self.block.handler_from(self.position as usize);
        let mut outcome = match self.block.chain().get(at) {
            Some(plugin) => plugin.handle(query, Next { position: at as u32 + 1, ..self }),
            None => self.nobody().into(),
        };
        let filters = self.position as usize..at;
        match &mut outcome {
            Outcome::Now(answer) => self.block.filter(filters, self.server, query, answer),
            // Whatever began it, it ends here, and outer plugins need to know of one case only.
            Outcome::Later(_) if !self.may_wait => outcome = Outcome::Shed,
            Outcome::Later(later) if !filters.is_empty() => {
                let (server, block) = (Arc::clone(self.server), Arc::clone(self.block));
                later.then(query, move |query, answer| {
                    block.filter(filters, &server, query, answer);
                });
            }
            Outcome::Later(_) | Outcome::Shed => {}
        }
        outcome
    }

    #[cold]
    fn nobody(self) -> Failure {
        let last = self.block.chain().last().map_or("", |plugin| plugin.name());
        Failure::servfail(last, "no next plugin found")
    }

    /// The name of the plugin that will be asked next, if there is one.
    pub fn next_name(self) -> Option<&'static str> {
        let at = self.block.handler_from(self.position as usize);
        self.block.chain().get(at).map(|plugin| plugin.name())
    }

    /// Asks the same server from its top for another name: zone choice, chain, all of it. Make the query with [`Query::follow`].
    pub fn resolve(self, query: &Query) -> Outcome {
        self.server.dispatch_in_time(query, self.may_wait)
    }

    /// The same, asking other servers whether their data is authenticated (AD, RFC 6840 section 5.7), whatever the query says: it
    /// spares a plugin that keeps answers for all clients a copy of the query.
    pub fn authenticated(self) -> Next<'a> {
        Next { authenticated: true, ..self }
    }

    /// Whether other servers are to be asked for AD although the query may not have it.
    pub fn is_authenticated(self) -> bool {
        self.authenticated
    }

    /// Whether the transport would wait. If not, it is overloaded: who has nothing to say at once gives [`Outcome::Shed`], and a future
    /// becomes that. The chain kept in a future or a task may wait.
    pub fn may_wait(self) -> bool {
        self.may_wait
    }

    /// The listener this query came through.
    pub fn server(self) -> &'a Arc<Server> {
        self.server
    }

    /// The server block that handles the query.
    pub fn block(self) -> &'a Arc<Block> {
        self.block
    }

    /// The same, to be kept in a future.
    pub fn to_owned(self) -> OwnedNext {
        OwnedNext {
            server: Arc::clone(self.server),
            block: Arc::clone(self.block),
            position: self.position,
            authenticated: self.authenticated,
        }
    }
}

/// The rest of the chain, kept in a future.
#[derive(Clone)]
pub struct OwnedNext {
    server: Arc<Server>,
    block: Arc<Block>,
    position: u32,
    authenticated: bool,
}

impl OwnedNext {
    /// Borrows it.
    pub fn borrow(&self) -> Next<'_> {
        Next {
            server: &self.server,
            block: &self.block,
            position: self.position,
            authenticated: self.authenticated,
            may_wait: true,
        }
    }

    /// See [`Next::run`].
    pub fn run(&self, query: &Query) -> Outcome {
        self.borrow().run(query)
    }

    /// See [`Next::resolve`].
    pub fn resolve(&self, query: &Query) -> Outcome {
        self.borrow().resolve(query)
    }
}
