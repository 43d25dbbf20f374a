use std::sync::Arc;
use std::time::Duration;

use periplus_core::corefile::{Diagnostic, Diagnostics, Directive, Word, shown};
use periplus_core::plugin::Plugin;
use periplus_core::setup::{ReloadInterval, Setup};

const DEFAULT_INTERVAL: Duration = Duration::from_secs(30);
const MIN_INTERVAL: Duration = Duration::from_secs(2);
const DEFAULT_JITTER: Duration = Duration::from_secs(15);
const MIN_JITTER: Duration = Duration::from_secs(1);

/// Reads `reload [INTERVAL [JITTER]]`. There is one setting per process: that of the last block. It adds no link to the chain.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let mut errors = Diagnostics::new();
    for directive in setup.directives {
        if let Some(interval) = errors.take(read(directive)) {
            setup.instance.reload = Some(interval);
        }
    }
    errors.into_result(None)
}

fn read(directive: &Directive) -> Result<ReloadInterval, Diagnostics> {
    let mut errors = Diagnostics::new();
    let mut words = directive.words();
    let interval = words.next().and_then(|word| errors.take(interval(word)));
    let jitter = words.next().and_then(|word| errors.take(jitter(word)));
    errors.take(words.end());
    errors.take(directive.no_body());
    let interval = interval.unwrap_or(DEFAULT_INTERVAL);
    let jitter = jitter.unwrap_or(DEFAULT_JITTER).min(interval / 2);
    errors.into_result(ReloadInterval { interval, jitter })
}

fn interval(word: &Word) -> Result<Duration, Diagnostic> {
    let interval = word.duration()?;
    if interval < MIN_INTERVAL {
        let message = "interval value must be greater or equal to 2s";
        return Err(word.error(format!("{message}, not {}", shown(&word.text))));
    }
    Ok(interval)
}

fn jitter(word: &Word) -> Result<Duration, Diagnostic> {
    let jitter = word.duration()?;
    if !jitter.is_zero() && jitter < MIN_JITTER {
        let message = "jitter value must be 0 or greater or equal to 1s";
        return Err(word.error(format!("{message}, not {}", shown(&word.text))));
    }
    Ok(jitter)
}
