//! Placeholder.

pub mod objects;
pub mod source;

use std::sync::Arc;

use periplus_core::corefile::Diagnostics;
use periplus_core::plugin::Plugin;
use periplus_core::setup::Setup;

/// Placeholder.
pub fn setup(_setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    Ok(None)
}
