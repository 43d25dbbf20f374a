use std::sync::Arc;

use periplus_core::name::Name;
use periplus_core::output::Output;
use periplus_core::plugin::Filter;
use periplus_core::query::Query;
use periplus_core::reply::{Answer, Reply, ReplyClass};
use periplus_core::server::Server;

use super::format::{Format, Line};

/// Logs the queries that pass through it.
pub(super) struct Log {
    pub(super) rules: Vec<Rule>,
    pub(super) output: Arc<Output>,
}

/// What is logged, and how, for one name and all below it.
pub(super) struct Rule {
    pub(super) scope: Name,
    pub(super) classes: Classes,
    pub(super) format: Arc<Format>,
}

/// Which classes of replies are logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Classes(pub(super) u8);

impl Classes {
    pub(super) const SUCCESS: Classes = Classes(1);
    pub(super) const DENIAL: Classes = Classes(2);
    pub(super) const ERROR: Classes = Classes(4);
    pub(super) const ALL: Classes = Classes(7);

    fn contain(self, class: ReplyClass) -> bool {
        let one = match class {
            ReplyClass::Success => Classes::SUCCESS,
            ReplyClass::Denial => Classes::DENIAL,
            ReplyClass::Error => Classes::ERROR,
        };
        self.0 & one.0 != 0
    }
}

impl Filter for Log {
    fn name(&self) -> &'static str {
        "log"
    }

    fn filter(&self, _: &Server, query: &Query, answer: &mut Answer) {
        let covers = |rule: &&Rule| query.name().is_at_or_below(rule.scope.as_ref());
        // Later rules are not looked at, even if the class of the first one does not match.
        if let Some(rule) = self.rules.iter().find(covers) {
            self.log(rule, query, answer);
        }
    }
}

impl Log {
    fn log(&self, rule: &Rule, query: &Query, answer: &Answer) {
        let written;
        let reply = match answer {
            Answer::Reply(reply) => Some(reply),
            // The server will write this one.
            Answer::Failure(failure) => {
                let mut reply = Reply::to(query, failure.source);
                reply.rcode = failure.rcode;
                written = reply;
                Some(&written)
            }
            Answer::Silence => None,
        };
        let class = reply.map_or(ReplyClass::Error, |reply| reply.kind(query).class());
        if !rule.classes.contain(class) {
            return;
        }
        let line = Line { query, reply, duration: query.received.elapsed() };
        self.output.line(|text| {
            text.push_str("[INFO] ");
            rule.format.write(&line, text);
        });
    }
}
