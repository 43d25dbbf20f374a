//! The plugins of Periplus, one folder each, and their one order.
//!
//! A plugin folder holds its README, `setup` (its directive read into settings), `handler` (what it does with a query), `metrics`, and
//! tests. No plugin knows another: what two of them need lives in `periplus-core`.

pub mod bind;
pub mod cache;
pub mod cancel;
pub mod debug;
pub mod errors;
pub mod forward;
pub mod health;
pub mod hosts;
pub mod kubernetes;
pub mod loadbalance;
pub mod log;
pub mod r#loop;
pub mod prometheus;
pub mod ready;
pub mod reload;
pub mod rewrite;
pub mod root;
#[cfg(test)]
mod testing;
pub mod top;
pub mod whoami;

use periplus_core::setup::PluginKind;

/// All plugins in the order in which a query passes them, which is also the order of setup (CoreDNS's `plugin.cfg`;
/// `top` is ours).
pub const ORDER: &[PluginKind] = &[
    PluginKind { name: "root", setup: root::setup },
    PluginKind { name: "cancel", setup: cancel::setup },
    PluginKind { name: "reload", setup: reload::setup },
    PluginKind { name: "bind", setup: bind::setup },
    PluginKind { name: "debug", setup: debug::setup },
    PluginKind { name: "ready", setup: ready::setup },
    PluginKind { name: "health", setup: health::setup },
    PluginKind { name: "prometheus", setup: prometheus::setup },
    PluginKind { name: "top", setup: top::setup },
    PluginKind { name: "errors", setup: errors::setup },
    PluginKind { name: "log", setup: log::setup },
    PluginKind { name: "loadbalance", setup: loadbalance::setup },
    PluginKind { name: "rewrite", setup: rewrite::setup },
    PluginKind { name: "cache", setup: cache::setup },
    PluginKind { name: "hosts", setup: hosts::setup },
    PluginKind { name: "kubernetes", setup: kubernetes::setup },
    PluginKind { name: "loop", setup: r#loop::setup },
    PluginKind { name: "forward", setup: forward::setup },
    PluginKind { name: "whoami", setup: whoami::setup },
];
