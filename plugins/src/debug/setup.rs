use std::sync::Arc;

use periplus_core::corefile::Diagnostics;
use periplus_core::plugin::Plugin;
use periplus_core::setup::Setup;

/// Reads `debug`, which has no arguments and no options. It adds no link to the chain.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let mut errors = Diagnostics::new();
    for directive in setup.directives {
        errors.take(directive.no_arguments());
        errors.take(directive.no_body());
    }
    setup.block.debug = true;
    errors.into_result(None)
}
