//! The tables of the scenarios with many objects, many changes or several workers.

use std::fmt::Write as _;

use super::{Report, Turn};
use crate::churn::Churn;
use crate::latency::Latency;
use crate::relist::Relist;
use crate::workers::Workers;

impl Report {
    /// What relists took, and what was noticed of them.
    pub(super) fn relists(&self, scenario: &str) -> String {
        let mut text = "\n| server | relists | longest s | CPU s each | RSS before MB | RSS after MB | peak MB | peak / RSS before | quiet p50 / p99 µs (load late) | during a relist | wrong or unanswered |\n|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|\n".to_owned();
        for result in self.of(scenario) {
            let median = |of: fn(&Relist) -> f64| result.median(|turn| of_some(&turn.relist, of));
            let _ = writeln!(
                text,
                "| {} | {:.0} | {:.2} | {:.2} | {:.1} | {:.1} | {:.1} | {:.2} | {} | {} | {:.0} of {:.0} |",
                result.server,
                median(|one| f64::from(one.relists)),
                median(|one| one.seconds),
                median(|one| one.cpu),
                median(|one| one.before as f64) / 1e6,
                median(|one| one.after as f64) / 1e6,
                median(|one| one.peak as f64) / 1e6,
                median(|one| one.peak as f64 / one.before.max(1) as f64),
                latency(|of| result.median(|turn| of_some(&turn.relist, |one| of(&one.quiet)))),
                latency(|of| result.median(|turn| of_some(&turn.relist, |one| of(&one.during)))),
                sum(&result.turns, |turn| turn.relist.map(|one| one.wrong + one.lost)),
                sum(&result.turns, |turn| turn.relist.map(|one| one.asked)),
            );
        }
        text
    }

    /// What updates cost, and how soon they show.
    pub(super) fn churns(&self, scenario: &str) -> String {
        let mut text = "\n| server | CPU µs/update | shown after p50 / p99 / most ms | not shown | wrong in the end | p50 / p99 µs without updates (load late) | with updates |\n|---|---:|---:|---:|---:|---:|---:|\n".to_owned();
        for result in self.of(scenario) {
            let median = |of: fn(&Churn) -> f64| result.median(|turn| of_some(&turn.churn, of));
            let _ = writeln!(
                text,
                "| {} | {:.1} | {:.2} / {:.2} / {:.2} | {:.0} of {:.0} | {:.0} | {} | {} |",
                result.server,
                median(|one| one.cpu),
                median(|one| one.visible_p50) / 1e3,
                median(|one| one.visible_p99) / 1e3,
                median(|one| one.visible_most) / 1e3,
                sum(&result.turns, |turn| turn.churn.map(|one| one.unseen)),
                sum(&result.turns, |turn| turn.churn.map(|one| one.watched)),
                sum(&result.turns, |turn| turn.churn.map(|one| one.wrong)),
                latency(|of| result.median(|turn| of_some(&turn.churn, |one| of(&one.quiet)))),
                latency(|of| result.median(|turn| of_some(&turn.churn, |one| of(&one.during)))),
            );
        }
        text
    }

    /// Two workers against one.
    pub(super) fn workers(&self, scenario: &str) -> String {
        let mut text = "\n| server | CPU µs/query, 1 worker | 2 workers | ratio | gain with 2 CPUs | qps, 1 worker | 2 workers, one beside the load | wrong or unanswered |\n|---|---:|---:|---:|---:|---:|---:|---:|\n".to_owned();
        for result in self.of(scenario) {
            let median = |of: fn(&Workers) -> f64| result.median(|turn| of_some(&turn.workers, of));
            let _ = writeln!(
                text,
                "| {} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} | {:.0} | {:.0} |",
                result.server,
                median(|one| one.one),
                median(|one| one.two),
                median(|one| one.two / one.one),
                median(Workers::gain),
                median(|one| one.one_qps),
                median(|one| one.two_qps),
                sum(&result.turns, |turn| turn.workers.map(|one| one.wrong + one.lost)),
            );
        }
        text
    }
}

fn of_some<T>(value: &Option<T>, of: impl Fn(&T) -> f64) -> f64 {
    value.as_ref().map_or(f64::NAN, of)
}

fn sum(turns: &[Turn], of: impl Fn(&Turn) -> Option<u64>) -> f64 {
    turns.iter().filter_map(of).sum::<u64>() as f64
}

/// `p50 / p99 (late)`, given how to take a median of one of them.
fn latency(median: impl Fn(fn(&Latency) -> f64) -> f64) -> String {
    format!("{:.0} / {:.0} ({:.0})", median(|l| l.p50), median(|l| l.p99), median(|l| l.late_p99))
}
