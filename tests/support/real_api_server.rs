//! A real kube-apiserver with its etcd, where this machine has them.
//!
//! The binaries are looked for where the controller world keeps them: in the directory that `KUBEBUILDER_ASSETS` names, else in
//! `/usr/local/kubebuilder/bin`. `setup-envtest use -p path` of controller-runtime puts them there.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Arc, Mutex, Once, Weak};
use std::time::{Duration, Instant};

use base64::Engine;
use http::Method;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};

use super::api::Api;
use super::cluster::objects;
use super::process::Process;
use super::server::free_port;
use super::skip::skipped;

/// How long either program may take to be ready, on a machine that is busy with other tests.
const PATIENCE: Duration = Duration::from_secs(120);
const TOKEN: &str = "token-of-the-tests";

/// A running API server. It ends, and its data with it, when the last test lets go of it.
pub struct RealApiServer {
    /// A client with all rights.
    pub api: Api,
    /// The client configuration for it, as text.
    pub kubeconfig: String,
    /// The port of loopback it listens on.
    pub port: u16,
    filled: Once,
    binaries: PathBuf,
    etcd_port: u16,
    /// `None` while it is stopped. The server goes before what it stores its data in.
    apiserver: Option<Process>,
    etcd: Option<Process>,
    directory: tempfile::TempDir,
}

/// Starting one costs seconds and much memory: tests that run at the same time share it, each with namespaces of its own.
static SHARED: Mutex<Weak<RealApiServer>> = Mutex::new(Weak::new());

impl RealApiServer {
    /// The API server, or `None`, after saying so, if this machine has no binaries.
    pub fn shared(test: &str) -> Option<Arc<RealApiServer>> {
        let binaries = binaries_or_skip(test)?;
        let mut shared = SHARED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(running) = shared.upgrade() {
            return Some(running);
        }
        let started = Arc::new(RealApiServer::start(&binaries));
        *shared = Arc::downgrade(&started);
        Some(started)
    }

    /// One for a test that stops it, or `None`, after saying so, if this machine has no binaries.
    pub fn own(test: &str) -> Option<RealApiServer> {
        binaries_or_skip(test).map(|binaries| RealApiServer::start(&binaries))
    }

    fn start(binaries: &Path) -> RealApiServer {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let path = |name: &str| directory.path().join(name);
        let (etcd_port, port) = (free_port(), free_port());
        let (private, public) = key_pair();
        std::fs::write(path("service-account.key"), private).expect("a file can be written");
        std::fs::write(path("service-account.pub"), public).expect("a file can be written");
        std::fs::write(path("tokens.csv"), format!("{TOKEN},tests,1,\"system:masters\"\n"))
            .expect("a file can be written");
        let etcd = start_etcd(binaries, directory.path(), etcd_port);
        let (apiserver, kubeconfig, api) =
            start_apiserver(binaries, directory.path(), etcd_port, port);
        RealApiServer {
            api,
            kubeconfig,
            port,
            filled: Once::new(),
            binaries: binaries.to_owned(),
            etcd_port,
            apiserver: Some(apiserver),
            etcd: Some(etcd),
            directory,
        }
    }

    /// Creates the objects of the test cluster, once.
    pub fn fill(&self) {
        self.filled.call_once(|| {
            for object in objects() {
                self.api.create(&object);
            }
        });
    }

    /// Stops or continues the API server, as a machine does that hangs.
    pub fn set_frozen(&self, frozen: bool) {
        let process = self.apiserver.as_ref().expect("it runs");
        process.signal(if frozen { "STOP" } else { "CONT" });
    }

    /// Kills the API server.
    pub fn kill(&mut self) {
        self.apiserver = None;
    }

    /// Kills the API server and its etcd.
    pub fn kill_all(&mut self) {
        self.apiserver = None;
        self.etcd = None;
    }

    /// Starts what is killed, and waits until it is ready.
    pub fn restart(&mut self) {
        let directory = self.directory.path();
        if self.etcd.is_none() {
            self.etcd = Some(start_etcd(&self.binaries, directory, self.etcd_port));
        }
        let (apiserver, kubeconfig, api) =
            start_apiserver(&self.binaries, directory, self.etcd_port, self.port);
        (self.apiserver, self.kubeconfig, self.api) = (Some(apiserver), kubeconfig, api);
    }

    /// Copies the data, which nobody may be using.
    pub fn back_up(&self) {
        assert!(self.etcd.is_none(), "etcd writes to its data");
        copy(&self.directory.path().join("etcd"), &self.directory.path().join("backup"));
    }

    /// Puts the copy in the place of the data, which nobody may be using.
    pub fn restore(&self) {
        assert!(self.etcd.is_none(), "etcd writes to its data");
        let data = self.directory.path().join("etcd");
        std::fs::remove_dir_all(&data).expect("the data can be removed");
        copy(&self.directory.path().join("backup"), &data);
    }

    /// Throws the certificate away: it signs another one for itself when it is started.
    pub fn forget_certificate(&self) {
        std::fs::remove_dir_all(self.directory.path().join("certificates"))
            .expect("the certificates can be removed");
    }

    /// The client configuration with another port: that of a relay before this server.
    pub fn kubeconfig_through(&self, port: u16) -> String {
        self.kubeconfig.replace(&format!("127.0.0.1:{}", self.port), &format!("127.0.0.1:{port}"))
    }
}

fn start_etcd(binaries: &Path, directory: &Path, etcd_port: u16) -> Process {
    let path = |name: &str| directory.join(name);
    let etcd_url = format!("http://127.0.0.1:{etcd_port}");
    let mut etcd = Process::start(
        Command::new(binaries.join("etcd"))
            .arg(option("data-dir", path("etcd")))
            .arg(option("listen-client-urls", &etcd_url))
            .arg(option("advertise-client-urls", &etcd_url))
            .arg("--listen-peer-urls=http://127.0.0.1:0"),
        &path("etcd.log"),
    );
    wait_for("etcd", &mut etcd, || std::net::TcpStream::connect(("127.0.0.1", etcd_port)).is_ok());
    etcd
}

/// The process, the client configuration for it, and a client.
fn start_apiserver(
    binaries: &Path,
    directory: &Path,
    etcd_port: u16,
    port: u16,
) -> (Process, String, Api) {
    let path = |name: &str| directory.join(name);
    let etcd_url = format!("http://127.0.0.1:{etcd_port}");
    let mut apiserver = Process::start(
        Command::new(binaries.join("kube-apiserver"))
            .arg(option("etcd-servers", &etcd_url))
            .arg("--bind-address=127.0.0.1")
            .arg(option("secure-port", port.to_string()))
            // Loopback may not be advertised; nobody connects there.
            .arg("--advertise-address=203.0.113.10")
            .arg("--endpoint-reconciler-type=none")
            // It signs a certificate for itself in here.
            .arg(option("cert-dir", path("certificates")))
            .arg(option("token-auth-file", path("tokens.csv")))
            .arg("--authorization-mode=AlwaysAllow")
            .arg("--service-account-issuer=https://kubernetes.default.svc.cluster.local")
            .arg(option("service-account-key-file", path("service-account.pub")))
            .arg(option("service-account-signing-key-file", path("service-account.key")))
            .arg("--service-cluster-ip-range=10.96.0.0/12,fd00:10:96::/112")
            // Pods of the tests name no service account.
            .arg("--disable-admission-plugins=ServiceAccount"),
        &path("kube-apiserver.log"),
    );
    let certificate = path("certificates").join("apiserver.crt");
    wait_for("kube-apiserver's certificate", &mut apiserver, || certificate.is_file());
    let kubeconfig = kubeconfig(port, &std::fs::read(&certificate).expect("a certificate"));
    let api = Api::new(&kubeconfig);
    wait_for("kube-apiserver", &mut apiserver, || api.text(Method::GET, "/readyz", None).is_ok());
    (apiserver, kubeconfig, api)
}

fn binaries_or_skip(test: &str) -> Option<PathBuf> {
    let found = binaries();
    if found.is_none() {
        skipped(&format!(
            "{test}: no etcd and kube-apiserver in KUBEBUILDER_ASSETS or /usr/local/kubebuilder/bin"
        ));
    }
    found
}

fn binaries() -> Option<PathBuf> {
    let named = std::env::var_os("KUBEBUILDER_ASSETS").map(PathBuf::from);
    let usual = PathBuf::from("/usr/local/kubebuilder/bin");
    let complete =
        |path: &PathBuf| path.join("etcd").is_file() && path.join("kube-apiserver").is_file();
    named.into_iter().chain([usual]).find(complete)
}

/// Copies a folder.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir(to).expect("a folder can be made");
    for entry in std::fs::read_dir(from).expect("a folder can be read") {
        let entry = entry.expect("a folder can be read");
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        match from.is_dir() {
            true => copy(&from, &to),
            false => drop(std::fs::copy(&from, &to).expect("a file can be copied")),
        }
    }
}

fn option(name: &str, value: impl AsRef<std::ffi::OsStr>) -> std::ffi::OsString {
    let mut option = std::ffi::OsString::from(format!("--{name}="));
    option.push(value);
    option
}

/// A key to sign service accounts' tokens with, and its public half. Nobody checks a token here, but the API server does not start
/// without.
fn key_pair() -> (String, String) {
    let random = ring::rand::SystemRandom::new();
    let private =
        EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).expect("a key");
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, private.as_ref(), &random)
        .expect("a good key");
    let public = [P256_PUBLIC_KEY, pair.public_key().as_ref()].concat();
    (pem("PRIVATE KEY", private.as_ref()), pem("PUBLIC KEY", &public))
}

/// What stands before the point in a public key on the curve P-256 (RFC 5480, Section 2).
const P256_PUBLIC_KEY: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a,
    0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

fn pem(label: &str, data: &[u8]) -> String {
    let text = base64::engine::general_purpose::STANDARD.encode(data);
    let lines: Vec<&str> = text
        .as_bytes()
        .chunks(64)
        .map(|line| std::str::from_utf8(line).expect("base64 is ASCII"))
        .collect();
    format!("-----BEGIN {label}-----\n{}\n-----END {label}-----\n", lines.join("\n"))
}

fn kubeconfig(port: u16, certificate: &[u8]) -> String {
    let authority = base64::engine::general_purpose::STANDARD.encode(certificate);
    format!(
        "apiVersion: v1
kind: Config
clusters:
- name: tests
  cluster: {{server: 'https://127.0.0.1:{port}', certificate-authority-data: '{authority}'}}
users:
- name: tests
  user: {{token: {TOKEN}}}
contexts:
- name: tests
  context: {{cluster: tests, user: tests}}
current-context: tests
"
    )
}

fn wait_for(what: &str, process: &mut Process, ready: impl Fn() -> bool) {
    let begun = Instant::now();
    while !ready() {
        assert!(process.is_running(), "{what} ended:\n{}", process.last_words());
        assert!(
            begun.elapsed() < PATIENCE,
            "{what} is not ready after {PATIENCE:?}:\n{}",
            process.last_words()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
}
