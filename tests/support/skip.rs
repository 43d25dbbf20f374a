//! What a machine has not got, told aloud.

use std::io::Write as _;

/// Says that a test, or a part of it, is not run. The test harness keeps to itself what the macros write when a test passes, so it goes past
/// them.
pub fn skipped(what: &str) {
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {what} ***\n");
}
