//! Lists of zones: which of them a name lies in, and what `fallthrough` covers.

use crate::name::{Name, NameRef};

/// Zones in the order they were written, in lower case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Zones(Vec<Name>);

impl Zones {
    /// Takes the names, folding them to lower case.
    pub fn new(zones: impl IntoIterator<Item = Name>) -> Zones {
        Zones(zones.into_iter().map(|zone| zone.to_lower()).collect())
    }

    /// The longest zone that `name` lies in.
    pub fn longest(&self, name: NameRef<'_>) -> Option<&Name> {
        self.0
            .iter()
            .filter(|zone| name.is_at_or_below(zone.as_ref()))
            .max_by_key(|zone| zone.as_wire().len())
    }

    /// Whether `name` lies in any of the zones.
    pub fn contains(&self, name: NameRef<'_>) -> bool {
        self.0.iter().any(|zone| name.is_at_or_below(zone.as_ref()))
    }

    /// The zones.
    pub fn iter(&self) -> std::slice::Iter<'_, Name> {
        self.0.iter()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// All zones in one text, joined by commas: the metric label `zones` of CoreDNS's `cache`.
    pub fn joined(&self) -> String {
        self.0.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
    }
}

/// Which names a plugin hands on when it has no answer for them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fallthrough {
    /// None: the option is not there.
    #[default]
    Never,
    /// Those in the zones; `fallthrough` alone is the root.
    Zones(Zones),
}

impl Fallthrough {
    /// Whether `name` is handed on.
    pub fn covers(&self, name: NameRef<'_>) -> bool {
        match self {
            Fallthrough::Never => false,
            Fallthrough::Zones(zones) => zones.contains(name),
        }
    }
}
