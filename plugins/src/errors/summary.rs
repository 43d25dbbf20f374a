use std::sync::Arc;

use periplus_core::corefile::print_go_duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::consolidate::Pattern;
use super::handler::Shared;

/// Writes summaries as periods end, and what is pending when the instance stops.
pub(super) async fn summarize(shared: Arc<Shared>, stop: CancellationToken) {
    let consolidation = &shared.consolidation;
    let summary = |pattern: &Pattern, count: u64| {
        let period = print_go_duration(pattern.period);
        shared.line(
            pattern.level,
            format_args!("{count} errors like '{}' occurred in last {period}", pattern.regex),
        );
    };
    loop {
        let next = consolidation.end_periods(Some(Instant::now()), summary);
        let period_ends = async {
            match next {
                Some(end) => tokio::time::sleep_until(end).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = period_ends => {}
            () = consolidation.begins() => {}
            () = stop.cancelled() => break,
        }
    }
    // From here on errors are logged one by one. One that is being counted at this moment may stay unreported.
    consolidation.stop(summary);
}
