use std::sync::Arc;
use std::time::Duration;

use periplus_core::corefile::{Diagnostics, Directive, unknown_property};
use periplus_core::liveness::Liveness;
use periplus_core::plugin::Plugin;
use periplus_core::setup::{HttpAddress, PageContent, Setup};

use super::self_check::{PATH, SelfCheck};

const DEFAULT_ADDRESS: &str = ":8080";

/// Reads `health [ADDRESS] { lameduck DURATION }`. It adds no link to the chain.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let mut errors = Diagnostics::new();
    for directive in setup.directives {
        let Some((address, lameduck)) = errors.take(parse(directive)) else { continue };
        let instance = &mut *setup.instance;
        instance.lameduck = instance.lameduck.max(lameduck);
        if instance.pages.iter().any(|page| page.path == PATH && page.address == address) {
            continue;
        }
        // Whoever chose port 0 does not know where to ask either.
        if address.port != 0 {
            let check = SelfCheck::new(&address, &instance.metrics);
            instance.spawn("health", move |stop| check.run(stop));
        }
        let liveness = Arc::clone(&instance.liveness);
        instance.serve(directive, address, PATH, move || page(&liveness));
    }
    errors.into_result(None)
}

/// `OK`, or what is wrong, one line each.
fn page(liveness: &Liveness) -> PageContent {
    let troubles = liveness.troubles();
    match troubles.is_empty() {
        true => PageContent::text(200, "OK"),
        false => PageContent::text(503, troubles.join("\n")),
    }
}

fn parse(directive: &Directive) -> Result<(HttpAddress, Duration), Diagnostics> {
    let mut errors = Diagnostics::new();
    let mut words = directive.words();
    let mut address = HttpAddress::parse(DEFAULT_ADDRESS).expect("the default is an address");
    if let Some(word) = words.next() {
        address = errors.take(HttpAddress::read(word)).unwrap_or(address);
    }
    errors.take(words.end());
    let mut lameduck = Duration::ZERO;
    for line in directive.lines() {
        match line.name.text.as_str() {
            "lameduck" => {
                let mut words = line.words();
                lameduck = errors.take(words.duration("a duration", ..)).unwrap_or_default();
                errors.take(words.end());
            }
            _ => errors.push(unknown_property(&line.name, &["lameduck"])),
        }
    }
    errors.into_result((address, lameduck))
}
