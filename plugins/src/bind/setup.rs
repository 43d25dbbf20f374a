use std::net::IpAddr;
use std::sync::Arc;

use periplus_core::corefile::{Diagnostics, Directive, Word, shown, unknown_property};
use periplus_core::interfaces::{InterfaceAddress, interface_addresses};
use periplus_core::plugin::Plugin;
use periplus_core::setup::{BindAddress, Setup};

/// Reads `bind ADDRESS|INTERFACE... { except ADDRESS|INTERFACE... }`, any number of them. It adds no link to the chain.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let mut errors = Diagnostics::new();
    let mut machine = Machine::default();
    let mut bind = Vec::new();
    for directive in setup.directives {
        for address in errors.take(read(directive, &mut machine)).unwrap_or_default() {
            // An interface and one of its addresses may both be named.
            if !bind.iter().any(|bound: &BindAddress| bound.listened() == address.listened()) {
                bind.push(address);
            }
        }
    }
    setup.block.bind = Some(bind);
    errors.into_result(None)
}

/// The addresses of one line.
fn read(directive: &Directive, machine: &mut Machine) -> Result<Vec<BindAddress>, Diagnostics> {
    let mut errors = Diagnostics::new();
    let what = "an address or the name of an interface";
    let words = errors.take(directive.words().required_rest(what)).unwrap_or_default();
    let mut addresses = machine.addresses(words, &mut errors);
    for line in directive.lines() {
        if line.name.text != "except" {
            errors.push(unknown_property(&line.name, &["except"]));
            continue;
        }
        errors.take(line.no_body());
        let words = errors.take(line.words().required_rest(what)).unwrap_or_default();
        let except = machine.addresses(words, &mut errors);
        addresses.retain(|address| !except.contains(address));
    }
    errors.into_result(addresses)
}

/// What is asked of the operating system, and only if a word is no address.
#[derive(Default)]
struct Machine {
    interfaces: Option<Vec<InterfaceAddress>>,
}

impl Machine {
    fn addresses(&mut self, words: &[Word], errors: &mut Diagnostics) -> Vec<BindAddress> {
        let mut addresses = Vec::new();
        for word in words {
            if let Ok(address) = word.text.parse::<IpAddr>() {
                addresses.push(BindAddress::Address(address.to_canonical(), 0));
                continue;
            }
            let before = addresses.len();
            let of_interface =
                self.interfaces().iter().filter(|found| found.interface == word.text);
            addresses
                .extend(of_interface.map(|found| BindAddress::Address(found.address, found.scope)));
            if addresses.len() == before {
                errors.push(self.unknown(word));
            }
        }
        addresses
    }

    fn unknown(&self, word: &Word) -> periplus_core::corefile::Diagnostic {
        let mut names: Vec<&str> =
            self.interfaces.iter().flatten().map(|found| found.interface.as_str()).collect();
        names.dedup();
        let text = shown(&word.text);
        word.error(format!("not a valid IP address or interface name: \"{text}\""))
            .with_note(format!("interfaces with an address here: {}", names.join(", ")))
    }

    fn interfaces(&mut self) -> &[InterfaceAddress] {
        self.interfaces.get_or_insert_with(|| {
            interface_addresses().unwrap_or_else(|error| {
                tracing::warn!("plugin/bind: failed to get interfaces list, cannot bind by interface name: {error}");
                Vec::new()
            })
        })
    }
}
