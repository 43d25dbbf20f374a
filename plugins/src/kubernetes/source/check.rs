//! Settings that cannot work, found before anything is started; and the client's configuration that comes from good ones.

use std::fmt;
use std::path::{Path, PathBuf};

use http::header::{HeaderValue, USER_AGENT};
use kube::Config;
use kube::client::ConfigExt as _;
use kube::config::{
    AuthInfo, Cluster, Context, Kubeconfig, NamedAuthInfo, NamedCluster, NamedContext,
};

use super::failure::with_causes;
use super::selector::{Selector, SelectorError};
use super::token::TokenFile;
use super::{Origin, Settings, Tls};

const AGENT: &str = concat!("Periplus/", env!("CARGO_PKG_VERSION"));

/// Why settings cannot work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SettingsError {
    /// No API server is configured, and this is no Pod of a cluster.
    NotInCluster {
        /// What is missing.
        cause: String,
    },
    /// A kubeconfig or a file that it names cannot be used.
    Kubeconfig {
        /// The kubeconfig.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
    /// `endpoint` or `tls` cannot be used.
    Endpoint {
        /// The endpoint as written.
        url: String,
        /// What is wrong with it.
        cause: String,
    },
    /// A label selector cannot be read.
    Selector {
        /// The option that it stands in.
        option: &'static str,
        /// What is wrong with it.
        cause: SelectorError,
    },
    /// A snapshot cannot be opened.
    Snapshot {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it.
        cause: String,
    },
}

impl fmt::Display for SettingsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SettingsError::NotInCluster { cause } => {
                write!(
                    f,
                    "no in-cluster configuration: {cause} (outside a cluster add kubeconfig FILE, endpoint URL or snapshot PATH)"
                )
            }
            SettingsError::Kubeconfig { path, cause } => {
                write!(f, "kubeconfig {}: {cause}", path.display())
            }
            SettingsError::Endpoint { url, cause } => write!(f, "endpoint {url}: {cause}"),
            SettingsError::Selector { option, cause } => write!(f, "{option}: {cause}"),
            SettingsError::Snapshot { path, cause } => {
                write!(f, "snapshot {}: {cause}", path.display())
            }
        }
    }
}

impl std::error::Error for SettingsError {}

/// Checks settings without network: files, certificates, context, selectors. Objects of a snapshot are not read.
pub fn check(settings: &Settings) -> Result<(), SettingsError> {
    for (option, text) in
        [("labels", &settings.labels), ("namespace_labels", &settings.namespace_labels)]
    {
        let selector = text.as_deref().map(Selector::parse).transpose();
        selector.map_err(|cause| SettingsError::Selector { option, cause })?;
    }
    if let Origin::Snapshot(path) = &settings.origin {
        let metadata = std::fs::metadata(path).and_then(|metadata| match metadata.is_dir() {
            true => std::fs::read_dir(path).map(drop),
            false => std::fs::File::open(path).map(drop),
        });
        return metadata.map_err(|error| SettingsError::Snapshot {
            path: path.clone(),
            cause: error.to_string(),
        });
    }
    let config = client_config(&settings.origin)?;
    // Reads certificates and keys, which is otherwise left to the first connection. A program that gives credentials is not run.
    let tls = match config.auth_info.exec {
        Some(_) => Ok(()),
        None => config.rustls_client_config().map(drop).map_err(|error| tls_cause(&error)),
    };
    let token =
        config.auth_info.token_file.map_or(Ok(()), |path| TokenFile::open(path.into()).map(drop));
    tls.and(token).map_err(|cause| wrong(&settings.origin, cause))
}

/// What the client needs to reach the API server.
pub(super) fn client_config(origin: &Origin) -> Result<Config, SettingsError> {
    let mut config = match origin {
        Origin::InCluster { host, port, service_account } => {
            let told = |value: &Option<String>, name: &str| {
                value.clone().ok_or_else(|| format!("{name} is not set"))
            };
            told(host, "KUBERNETES_SERVICE_HOST").and_then(|host| {
                let port = told(port, "KUBERNETES_SERVICE_PORT")?;
                in_cluster(&host, &port, service_account)
            })
        }
        Origin::Kubeconfig { path, context } => kubeconfig(path, context.as_deref()),
        Origin::Endpoint { url, tls } => endpoint(url, tls.as_ref()),
        Origin::Snapshot(_) => Err("a snapshot has no API server".to_owned()),
    }
    .map_err(|cause| wrong(origin, cause))?;
    let secure = config.cluster_url.scheme_str() == Some("https") && !config.accept_invalid_certs;
    if secure && config.root_cert.as_ref().is_some_and(Vec::is_empty) {
        return Err(wrong(
            origin,
            "the certificate authority's file has no certificate".to_owned(),
        ));
    }
    config.headers.push((USER_AGENT, HeaderValue::from_static(AGENT)));
    Ok(config)
}

/// rustls takes version 3 only, where Go's TLS takes version 1 too; its own words do not say that.
pub(super) fn tls_cause(error: &kube::Error) -> String {
    let text = with_causes(error);
    if text.contains("invalid private key") && text.contains("UnsupportedCertVersion") {
        return "the client certificate is of X.509 version 1, want version 3".to_owned();
    }
    text
}

pub(super) fn wrong(origin: &Origin, cause: String) -> SettingsError {
    match origin {
        Origin::InCluster { .. } => SettingsError::NotInCluster { cause },
        Origin::Kubeconfig { path, .. } => SettingsError::Kubeconfig { path: path.clone(), cause },
        Origin::Endpoint { url, .. } => SettingsError::Endpoint { url: url.clone(), cause },
        Origin::Snapshot(path) => SettingsError::Snapshot { path: path.clone(), cause },
    }
}

/// The service account of a Pod. `folder` has its token and the certificate authority.
pub(super) fn in_cluster(host: &str, port: &str, folder: &Path) -> Result<Config, String> {
    let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
    let (authority, token) = (folder.join("ca.crt"), folder.join("token"));
    readable(&authority)?;
    readable(&token)?;
    let user = AuthInfo { token_file: Some(text(&token)), ..AuthInfo::default() };
    let mut config = single(format!("https://{host}:{port}"), Some(text(&authority)), user)?;
    // Read again about once a minute, as the token is.
    config.root_cert_file = Some(authority);
    Ok(config)
}

fn kubeconfig(path: &Path, context: Option<&str>) -> Result<Config, String> {
    // `kube` would name the file once more.
    readable(path)?;
    let mut file = Kubeconfig::read_from(path).map_err(|error| with_causes(&error))?;
    if let Some(context) = context {
        file.current_context = Some(context.to_owned());
    }
    if let Some(context) = &file.current_context
        && !file.contexts.iter().any(|known| known.name == *context)
    {
        let known: Vec<_> = file.contexts.iter().map(|context| context.name.as_str()).collect();
        return Err(format!("no context {context:?}; there is {}", known.join(", ")));
    }
    let proxied = file
        .clusters
        .iter()
        .any(|named| named.cluster.as_ref().is_some_and(|it| it.proxy_url.is_some()));
    let mut config = Config::try_from(file).map_err(|error| with_causes(&error))?;
    if !proxied {
        // HTTPS_PROXY of the environment is not meant for the API server.
        config.proxy_url = None;
    }
    Ok(config)
}

fn endpoint(url: &str, tls: Option<&Tls>) -> Result<Config, String> {
    let file = |path: &PathBuf| {
        let given = !path.as_os_str().is_empty();
        if given { readable(path).map(|()| Some(text(path))) } else { Ok(None) }
    };
    let (certificate, key, authority) = match tls {
        Some(tls) => (file(&tls.certificate)?, file(&tls.key)?, file(&tls.authority)?),
        None => (None, None, None),
    };
    let scheme = match tls {
        _ if url.contains("://") => "",
        Some(_) => "https://",
        None => "http://",
    };
    let user = AuthInfo { client_certificate: certificate, client_key: key, ..AuthInfo::default() };
    single(format!("{scheme}{url}"), authority, user)
}

/// The configuration that a kubeconfig with just this would give.
fn single(server: String, authority: Option<String>, user: AuthInfo) -> Result<Config, String> {
    let name = || "periplus".to_owned();
    let cluster =
        Cluster { server: Some(server), certificate_authority: authority, ..Cluster::default() };
    let context = Context { cluster: name(), user: Some(name()), ..Context::default() };
    let file = Kubeconfig {
        clusters: vec![NamedCluster {
            name: name(),
            cluster: Some(cluster),
            ..NamedCluster::default()
        }],
        contexts: vec![NamedContext {
            name: name(),
            context: Some(context),
            ..NamedContext::default()
        }],
        auth_infos: vec![NamedAuthInfo {
            name: name(),
            auth_info: Some(user),
            ..NamedAuthInfo::default()
        }],
        current_context: Some(name()),
        ..Kubeconfig::default()
    };
    let mut config = Config::try_from(file).map_err(|error| with_causes(&error))?;
    let host = config.cluster_url.host().filter(|host| !host.is_empty());
    if host.is_none() || !matches!(config.cluster_url.scheme_str(), Some("http" | "https")) {
        return Err("want http://HOST:PORT or https://HOST:PORT".to_owned());
    }
    config.proxy_url = None;
    if config.cluster_url.scheme_str() == Some("http") {
        // Otherwise the certificates of the system are read, which an image may not have.
        config.root_cert.get_or_insert_default();
    }
    Ok(config)
}

fn readable(path: &Path) -> Result<(), String> {
    std::fs::File::open(path).map(drop).map_err(|error| format!("{}: {error}", path.display()))
}

fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}
