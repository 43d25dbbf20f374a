//! `forward` against scripted upstreams over real sockets.

mod exchange;
mod failover;
mod health;
mod hedging;
mod hosts;
mod in_time;
mod limits;
mod setup;
mod spelling;
mod stanzas;

use std::sync::Arc;

use periplus_core::codes::RecordType;
use periplus_core::query::{Query, Transport};
use periplus_core::reply::Answer;
use periplus_core::server::Server;

use super::testing::ScriptedUpstream;
use crate::testing::{
    Configured, Tasks, answer_lines, ask, configure, passed_on, query, run_tasks,
};

/// Nobody is asked once more, and nobody given up, because the machine stands still for a moment.
const PATIENT: &str = "hedge_after 0s\nread_timeout 30s";

/// A server with `forward` and, behind it, a plugin that answers NOTIMP.
struct Fixture {
    server: Arc<Server>,
    configured: Configured,
    _tasks: Tasks,
}

impl Fixture {
    /// A server block with these directives; `{1}`, `{2}`, ... stand for the addresses of upstreams.
    fn new(directives: &str, upstreams: &[std::net::SocketAddr]) -> Fixture {
        let mut text = directives.to_owned();
        for (index, address) in upstreams.iter().enumerate() {
            text = text.replace(&format!("{{{}}}", index + 1), &address.to_string());
        }
        let mut configured = configure(".", &text).unwrap_or_else(|error| panic!("{error}"));
        let tasks = run_tasks(&mut configured.instance);
        Fixture { server: configured.server(vec![passed_on()]), configured, _tasks: tasks }
    }

    /// One upstream and these options.
    fn with_options(options: &str, upstream: &ScriptedUpstream) -> Fixture {
        Fixture::new(&format!("forward . {{1}} {{\n{options}\n}}"), &[upstream.address])
    }

    /// Asks for the address of a name over UDP: response code, flags and records.
    fn lines(&self, name: &str) -> Vec<String> {
        answer_lines(&self.server, &query(name, RecordType::A))
    }

    /// The last number of the address in the answer, or the response code.
    fn short(&self, name: &str) -> String {
        short(&self.lines(name))
    }

    fn ask(&self, query: &Query) -> Answer {
        ask(&self.server, query)
    }

    /// The text of the failure, for the operator.
    fn failure(&self, query: &Query) -> String {
        cause(&self.ask(query))
    }

    /// The sum of all series of a metric, found by how their lines begin.
    fn metric(&self, beginning: &str) -> f64 {
        let text = self.configured.instance.metrics.expose();
        let lines = text.lines().filter(|line| line.starts_with(beginning));
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    }
}

fn cause(answer: &Answer) -> String {
    let Answer::Failure(failure) = answer else { panic!("no failure: {answer:?}") };
    failure.cause.as_ref().expect("a cause").to_string()
}

fn short(lines: &[String]) -> String {
    match lines.iter().find_map(|line| line.rsplit_once("192.0.2.")) {
        Some((_, last)) => last.to_owned(),
        None => lines[0].split(' ').next().unwrap_or_default().to_owned(),
    }
}

/// The same question over TCP.
fn over_tcp(mut query: Query) -> Query {
    query.transport = Transport::Tcp;
    query
}

/// With this clock nothing takes time but what waits for a timer.
fn with_paused_clock<F: Future>(future: F) -> F::Output {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build();
    runtime.expect("a runtime can be started").block_on(future)
}
