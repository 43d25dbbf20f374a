use std::sync::Arc;

use periplus_core::corefile::Diagnostics;
use periplus_core::plugin::Plugin;
use periplus_core::setup::Setup;

use super::Whoami;

/// Reads `whoami`, which has no arguments and no options.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    for directive in setup.directives {
        directive.no_arguments()?;
        directive.no_body()?;
    }
    Ok(Some(Arc::new(Whoami)))
}
