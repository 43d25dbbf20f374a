use std::sync::Arc;

use periplus_core::corefile::{Diagnostics, Directive, only_once, unknown_property};
use periplus_core::plugin::Plugin;
use periplus_core::setup::{HttpAddress, Setup};

use super::page::ReadyPage;

const DEFAULT_ADDRESS: &str = ":8181";
const PATH: &str = "/ready";

/// Reads `ready [ADDRESS] { monitor until-ready|continuously }`. It adds no link to the chain.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let directive = only_once(setup.directives)?;
    let (address, continuous) = parse(directive)?;
    let instance = &mut *setup.instance;
    instance.readiness.set_continuous(continuous);
    if instance.pages.iter().all(|page| page.path != PATH || page.address != address) {
        let page = ReadyPage::new(Arc::clone(&instance.readiness));
        instance.serve(directive, address, PATH, move || page.content());
    }
    Ok(None)
}

fn parse(directive: &Directive) -> Result<(HttpAddress, bool), Diagnostics> {
    let mut errors = Diagnostics::new();
    let mut words = directive.words();
    let mut address = HttpAddress::parse(DEFAULT_ADDRESS).expect("the default is an address");
    if let Some(word) = words.next() {
        address = errors.take(HttpAddress::read(word)).unwrap_or(address);
    }
    errors.take(words.end());
    let mut continuous = false;
    for line in directive.lines() {
        match line.name.text.as_str() {
            "monitor" => {
                let mut words = line.words();
                let modes = [("until-ready", false), ("continuously", true)];
                continuous = errors.take(words.one_of("a mode", &modes)).unwrap_or_default();
                errors.take(words.end());
            }
            _ => errors.push(unknown_property(&line.name, &["monitor"])),
        }
    }
    errors.into_result((address, continuous))
}
