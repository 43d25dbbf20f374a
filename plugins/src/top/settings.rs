use std::time::Duration;

/// What the directive says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) window: Duration,
    /// How many entries the lists have; 0: there is no such list.
    pub(super) clients: usize,
    pub(super) names: usize,
    pub(super) nxdomain: usize,
    pub(super) namespaces: usize,
}
