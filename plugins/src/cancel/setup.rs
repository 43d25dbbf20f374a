use std::ops::Bound;
use std::sync::Arc;
use std::time::Duration;

use periplus_core::corefile::{Diagnostics, Directive};
use periplus_core::plugin::Plugin;
use periplus_core::setup::Setup;

use super::handler::Cancel;

/// A moment more than the five seconds after which most clients ask again.
const DEFAULT: Duration = Duration::from_millis(5001);

/// Reads `cancel [DURATION]`; the last one counts.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let mut errors = Diagnostics::new();
    let mut after = DEFAULT;
    for directive in setup.directives {
        errors.take(directive.no_body());
        after = errors.take(read(directive)).unwrap_or(after);
    }
    errors.into_result(Some(Arc::new(Cancel { after }) as Arc<dyn Plugin>))
}

fn read(directive: &Directive) -> Result<Duration, Diagnostics> {
    let mut words = directive.words();
    let after = match words.peek() {
        None => DEFAULT,
        Some(_) => {
            words.duration("a duration", (Bound::Excluded(Duration::ZERO), Bound::Unbounded))?
        }
    };
    words.end()?;
    Ok(after)
}
