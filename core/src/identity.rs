//! Who has an address: what plugins that know the cluster tell those that only see clients.
//!
//! ```text
//! somebody asks (a scrape): addresses -> Identities -> each plugin that knows some -> addresses with their namespaces
//! ```
//!
//! No query asks here: an answer may take a walk through everything that is known.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// Addresses in question, those of IPv4 as such and never mapped into IPv6, and who has them.
pub type Holders = HashMap<IpAddr, Holder, foldhash::fast::RandomState>;

/// Who has an address.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Holder {
    /// Nobody who is known.
    #[default]
    Unknown,
    /// Pods of one Kubernetes namespace.
    Namespace(Arc<str>),
    /// Pods of several, as on the host's network: nobody in particular.
    Several,
}

impl Holder {
    /// Notes that a Pod of a namespace has the address.
    pub fn add(&mut self, namespace: &Arc<str>) {
        match self {
            Holder::Unknown => *self = Holder::Namespace(Arc::clone(namespace)),
            Holder::Namespace(known) if known != namespace => *self = Holder::Several,
            Holder::Namespace(_) | Holder::Several => {}
        }
    }

    /// The one namespace, if there is one.
    pub fn namespace(&self) -> Option<&Arc<str>> {
        match self {
            Holder::Namespace(namespace) => Some(namespace),
            Holder::Unknown | Holder::Several => None,
        }
    }
}

/// All who know addresses, in one configuration.
#[derive(Default)]
pub struct Identities(Mutex<Vec<Tell>>);

type Tell = Arc<dyn Fn(&mut Holders) + Send + Sync>;

impl Identities {
    /// Adds somebody who knows addresses: `tell` calls [`Holder::add`] for those in question that it knows.
    pub fn add(&self, tell: impl Fn(&mut Holders) + Send + Sync + 'static) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::new(tell));
    }

    /// Asks everybody who has these addresses.
    pub fn holders(&self, addresses: impl IntoIterator<Item = IpAddr>) -> Holders {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut holders = Holders::default();
        if !all.is_empty() {
            holders.extend(addresses.into_iter().map(|address| (address, Holder::Unknown)));
        }
        all.iter().for_each(|tell| tell(&mut holders));
        holders
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_a_namespace_if_all_who_know_it_say_the_same() {
        let cases: [(&[&str], Holder); 4] = [
            (&[], Holder::Unknown),
            (&["shop"], Holder::Namespace("shop".into())),
            (&["shop", "shop"], Holder::Namespace("shop".into())),
            (&["shop", "web", "shop"], Holder::Several),
        ];
        let address = IpAddr::from([10, 0, 0, 1]);
        for (told, expected) in cases {
            let identities = Identities::default();
            for namespace in told {
                let namespace: Arc<str> = (*namespace).into();
                identities.add(move |holders| {
                    holders.values_mut().for_each(|holder| holder.add(&namespace));
                });
            }
            let holder = identities.holders([address]).remove(&address).unwrap_or_default();
            assert_eq!(holder, expected, "{told:?}");
        }
    }
}
