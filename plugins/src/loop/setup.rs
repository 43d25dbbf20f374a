//! `loop` takes no argument and no option.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use periplus_core::corefile::{Diagnostics, Scheme, only_once};
use periplus_core::name::Name;
use periplus_core::plugin::Plugin;
use periplus_core::setup::{BindAddress, ListenAddress, ReadinessState, Setup};

use super::handler::Loop;
use super::metrics;
use super::probe::{PACE, watch};
use super::state::State;

/// Reads the directive.
pub fn setup(setup: &mut Setup<'_>) -> Result<Option<Arc<dyn Plugin>>, Diagnostics> {
    let directive = only_once(setup.directives)?;
    directive.no_arguments()?;
    directive.no_body()?;

    let zone = setup.block.zones.first().cloned().unwrap_or_else(Name::root);
    let gauge = metrics::detected(&setup.instance.metrics, &zone.to_string());
    // The probe is plain DNS.
    let listener =
        setup.block.listeners().into_iter().find(|address| address.scheme == Scheme::Dns);
    let state =
        Arc::new(State::new(zone, listener.as_ref().map_or_else(String::new, shown), gauge));
    if let Some(listener) = listener {
        let (state, address) = (Arc::clone(&state), probed(&listener));
        setup.instance.spawn("loop", move |stop| async move {
            stop.run_until_cancelled(watch(state, address, PACE)).await;
        });
    }
    setup.instance.readiness.add(super::NAME, {
        let state = Arc::clone(&state);
        move || readiness(&state)
    });
    Ok(Some(Arc::new(Loop(state))))
}

/// A loop does not make the server unready: what it answers itself, it answers well.
fn readiness(state: &State) -> ReadinessState {
    let remark =
        || format!("forwarding loop detected for zone \"{}\": nothing is forwarded", state.zone);
    ReadinessState { ready: true, remarks: state.is_looping().then(remark).into_iter().collect() }
}

/// Where the probe is sent: the wildcard is reached over the loopback.
fn probed(listener: &ListenAddress) -> SocketAddr {
    match listener.host {
        BindAddress::Wildcard => SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listener.port),
        BindAddress::Address(IpAddr::V4(address), _) if address.is_unspecified() => {
            SocketAddr::new(Ipv4Addr::LOCALHOST.into(), listener.port)
        }
        BindAddress::Address(IpAddr::V6(address), _) if address.is_unspecified() => {
            SocketAddr::new(Ipv6Addr::LOCALHOST.into(), listener.port)
        }
        BindAddress::Address(..) => listener.socket_address(),
    }
}

/// The address as CoreDNS writes it: without a host for the wildcard.
fn shown(listener: &ListenAddress) -> String {
    match listener.host {
        BindAddress::Wildcard => format!(":{}", listener.port),
        BindAddress::Address(..) => listener.socket_address().to_string(),
    }
}
