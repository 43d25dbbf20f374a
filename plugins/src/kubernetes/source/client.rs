//! The HTTP client: what `kube` knows about addresses, credentials and TLS, over connections that notice when nobody is there any more.

use std::time::Duration;

use hyper_timeout::TimeoutConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::GaiResolver;
use hyper_util::rt::TokioExecutor;
use kube::Config;
use kube::client::{Body, ConfigExt as _};
use tower::{BoxError, ServiceBuilder};

use super::Origin;
use super::check::{SettingsError, client_config, tls_cause, wrong};
use super::credentials::Credentials;
use super::token::TokenFile;

/// Until a connection is there, TLS included.
pub(super) const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// Until one of the host's addresses has taken the connection: each has an equal share, so that one which says nothing is no end.
const TCP_TIMEOUT: Duration = Duration::from_millis(3750);
/// A watch is silent for long. After this time without a byte the kernel asks whether the other end is still there,
const KEEPALIVE: Duration = Duration::from_secs(10);
/// this often,
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);
/// and gives the connection up after so many questions without an answer, or at the first that finds [`UNACKNOWLEDGED`] over (tcp(7)).
const KEEPALIVE_PROBES: u32 = 3;
/// Nothing acknowledged for this long ends the connection too (TCP_USER_TIMEOUT); what is sent would else be repeated for a quarter of
/// an hour.
const UNACKNOWLEDGED: Duration = Duration::from_secs(20);
/// A connection that nobody has used for this long is not used again: it may have been forgotten on the way.
const IDLE: Duration = Duration::from_secs(5);

/// A client, which says nothing about who asks, what requests say about that, and the host and port that it talks to. Needs the runtime;
/// reads files, and may run the program that a kubeconfig names.
pub(super) fn client(
    origin: &Origin,
) -> Result<(kube::Client, Credentials, String), SettingsError> {
    let mut config = client_config(origin)?;
    let host = config.cluster_url.authority().map(ToString::to_string).unwrap_or_default();
    let failed = |error: kube::Error| wrong(origin, tls_cause(&error));
    let credentials = match config.auth_info.token_file.take() {
        // It wins over others, as in client-go.
        Some(path) => {
            Credentials::File(TokenFile::open(path.into()).map_err(|cause| wrong(origin, cause))?)
        }
        None => Credentials::of(&config).map_err(failed)?,
    };
    Ok((stack(config).map_err(failed)?, credentials, host))
}

/// The layers that `kube` would put together, without those that log, unpack or try again: when to try again is decided by whoever asks.
fn stack(config: Config) -> Result<kube::Client, kube::Error> {
    if config.proxy_url.is_some() {
        // It says that this build knows no proxies.
        return kube::Client::try_from(config);
    }
    let sockets = sockets(GaiResolver::new());
    let mut connector =
        TimeoutConnector::new(config.rustls_https_connector_with_connector(sockets)?);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    let http: legacy::Client<_, Body> =
        legacy::Builder::new(TokioExecutor::new()).pool_idle_timeout(IDLE).build(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .layer(config.extra_headers_layer()?)
        .map_err(BoxError::from)
        .service(http);
    Ok(kube::Client::new(service, config.default_namespace))
}

/// Connections that notice when nobody is there any more.
pub(super) fn sockets<R>(resolver: R) -> HttpConnector<R> {
    let mut sockets = HttpConnector::new_with_resolver(resolver);
    sockets.enforce_http(false);
    sockets.set_nodelay(true);
    sockets.set_connect_timeout(Some(TCP_TIMEOUT));
    sockets.set_keepalive(Some(KEEPALIVE));
    sockets.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    sockets.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    #[cfg(target_os = "linux")]
    sockets.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
    sockets
}
