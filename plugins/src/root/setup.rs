use std::io;
use std::sync::Arc;

use periplus_core::corefile::{Diagnostics, shown};
use periplus_core::plugin::Plugin;
use periplus_core::setup::Setup;

/// Reads `root PATH`; the last one counts. It adds no link to the chain.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let mut errors = Diagnostics::new();
    let mut last = None;
    for directive in setup.directives {
        let mut words = directive.words();
        last = errors.take(words.required("a path")).or(last);
        errors.take(words.end());
    }
    if let Some(word) = last {
        let root = setup.instance.directory.join(&word.text);
        match std::fs::metadata(&root) {
            // It may come later.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!("plugin/root: Root path does not exist: {}", shown(&word.text));
            }
            Err(error) => {
                let path = shown(&word.text);
                errors.push(word.error(format!("unable to access root path '{path}': {error}")));
            }
            Ok(_) => {}
        }
        setup.block.root = root;
    }
    errors.into_result(None)
}
