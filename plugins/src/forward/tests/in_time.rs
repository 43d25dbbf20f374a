//! The end of all that is done for one client, wherever it has got to by then.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use periplus_core::codes::{Rcode, RecordType};
use periplus_core::exchange::{Endpoint, Event, Exchanger, Fault, FaultKind, Ticket, Times, offer};
use periplus_core::plugin::{Next, Outcome};
use periplus_core::query::Query;
use periplus_core::reply::Answer;

use super::super::testing::ScriptedUpstream;
use super::{Fixture, cause, with_paused_clock};
use crate::testing::{Scripted, eventually, name, query, server};

const TOO_LATE: &str = "no time is left to ask an upstream server";

#[test]
fn names_that_are_looked_up_one_after_another_share_the_client_s_patience() {
    let upstream = ScriptedUpstream::silent();
    let fixture = Fixture::new("forward . {1}", &[upstream.address]);
    let names = ["one.example.", "two.example.", "three.example."];
    // As `rewrite` does it, each from the question before.
    let one_by_one = Scripted("one by one", move |query: &Query, next: Next<'_>| {
        let (mut query, next) = (query.clone(), next.to_owned());
        Outcome::later(async move {
            let mut answer = Answer::Silence;
            for followed in names {
                query = query.follow(name(followed).as_ref(), RecordType::A).expect("not too deep");
                answer = next.run(&query).wait().await;
            }
            answer
        })
    });
    let forward = fixture.configured.plugin.clone().expect("a link of the chain");
    let server = server(vec![Arc::new(one_by_one), forward]);
    let asked = query("example.org.", RecordType::A);
    let (answer, took) = with_paused_clock(async {
        let begun = tokio::time::Instant::now();
        let answer = server.dispatch(&asked).wait().await;
        (answer, begun.elapsed())
    });
    assert_eq!((answer.rcode(), cause(&answer).as_str()), (Some(Rcode::SERVFAIL), TOO_LATE));
    assert!(took < Duration::from_millis(4600), "{took:?}");
    eventually("the second one is asked for", || upstream.count(names[1]) > 0);
    assert_eq!(upstream.count(names[2]), 0);
}

/// A worker whose exchanges all fail.
#[derive(Default)]
struct Failing(RefCell<Vec<Instant>>);

impl Exchanger for Failing {
    fn start(&self, _: &Arc<Endpoint>, _: &[u8], times: Times) -> Result<(Ticket, bool), Fault> {
        self.0.borrow_mut().push(times.deadline);
        Ok((Ticket { exchanger: 0, slot: 0, generation: 0 }, false))
    }

    fn poll(
        &self,
        _: Ticket,
        _: &Waker,
        _: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Poll<Result<Event, Fault>> {
        Poll::Ready(Err(FaultKind::TimedOut.into()))
    }

    fn end(&self, _: Ticket) {}
}

#[test]
fn an_exchange_of_a_worker_ends_before_the_client_gives_up_however_late_it_begins() {
    let fixture = Fixture::new("forward . {1}", &[ScriptedUpstream::silent().address]);
    for (waited, is_asked) in [(0, true), (3000, true), (4450, false), (9000, false)] {
        let worker = Rc::new(Failing::default());
        let asked = query("example.org.", RecordType::A);
        let answer = with_paused_clock(async {
            tokio::time::advance(Duration::from_millis(waited)).await;
            offer(Some(Rc::clone(&worker) as Rc<_>));
            let answer = fixture.server.dispatch(&asked).wait().await;
            offer(None);
            answer
        });
        assert_eq!(cause(&answer) != TOO_LATE, is_asked, "after {waited} ms");
        let deadlines = worker.0.take();
        assert_eq!(!deadlines.is_empty(), is_asked, "after {waited} ms");
        let end = asked.received + Duration::from_millis(4500);
        assert!(deadlines.iter().all(|deadline| *deadline <= end), "after {waited} ms");
    }
}
