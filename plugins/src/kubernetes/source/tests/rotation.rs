//! Tokens, authorities and certificates that are replaced while the source runs.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::{RootCertStore, ServerConfig};
use tower::Service as _;

use super::{Running, fast, service, settings, start, start_with, until};
use crate::kubernetes::objects::Resource;
use crate::kubernetes::source::client::{CONNECT_TIMEOUT, sockets};
use crate::kubernetes::source::testing::{Outage, TestApiServer};
use crate::kubernetes::source::token::TokenFile;
use crate::kubernetes::source::{Origin, Timing};

/// A certificate authority.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new(name: &str) -> Authority {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        Authority(CertifiedIssuer::self_signed(params, key).expect("an authority"))
    }

    /// A certificate and its key, in PEM.
    fn sign(&self) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec!["127.0.0.1".to_owned()]).expect("an address");
        (params.signed_by(&key, &self.0).expect("a certificate"), key)
    }

    fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("a good certificate");
        roots
    }

    /// What a server with a certificate of this authority says, to clients with a certificate of another if that matters.
    fn server(&self, clients: Option<&Authority>) -> Arc<ServerConfig> {
        let (certificate, key) = self.sign();
        let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let builder = match clients {
            None => ServerConfig::builder().with_no_client_auth(),
            Some(clients) => ServerConfig::builder().with_client_cert_verifier(
                WebPkiClientVerifier::builder(Arc::new(clients.roots()))
                    .build()
                    .expect("a verifier"),
            ),
        };
        Arc::new(
            builder.with_single_cert(vec![certificate.der().clone()], key).expect("a good key"),
        )
    }
}

/// TLS before the test API server.
struct Front {
    port: u16,
    config: Arc<Mutex<Arc<ServerConfig>>>,
    cut: watch::Sender<()>,
    task: JoinHandle<()>,
}

impl Front {
    async fn start(server: &TestApiServer, config: Arc<ServerConfig>) -> Front {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
        let port = listener.local_addr().expect("a bound socket has an address").port();
        let (config, cut) = (Arc::new(Mutex::new(config)), watch::Sender::new(()));
        let target = server.url().trim_start_matches("http://").to_owned();
        let (shared, cuts) = (Arc::clone(&config), cut.subscribe());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let config = Arc::clone(&shared.lock().unwrap_or_else(PoisonError::into_inner));
                let (target, mut cut) = (target.clone(), cuts.clone());
                cut.mark_unchanged();
                let pass = async move {
                    let mut client = TlsAcceptor::from(config).accept(stream).await?;
                    let mut server = TcpStream::connect(target).await?;
                    tokio::io::copy_bidirectional(&mut client, &mut server).await
                };
                tokio::spawn(async move {
                    tokio::select! { _ = pass => {} _ = cut.changed() => {} }
                });
            }
        });
        Front { port, config, cut, task }
    }

    /// Restarts with other certificates.
    fn restart(&self, config: Arc<ServerConfig>) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = config;
        self.cut.send_replace(());
    }
}

impl Drop for Front {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Replaces all files of a volume at once, as the kubelet does: a new folder, and the link `..data` to it is renamed over the old one.
fn project(volume: &Path, version: &str, files: &[(&str, &str)]) {
    let (folder, link) = (volume.join(format!("..{version}")), volume.join("..data_tmp"));
    std::fs::create_dir(&folder).expect("the volume can be written");
    for (name, content) in files {
        std::fs::write(folder.join(name), content).expect("the volume can be written");
        let outer = volume.join(name);
        if outer.symlink_metadata().is_err() {
            std::os::unix::fs::symlink(Path::new("..data").join(name), outer)
                .expect("a link can be made");
        }
    }
    std::os::unix::fs::symlink(format!("..{version}"), &link).expect("a link can be made");
    std::fs::rename(link, volume.join("..data")).expect("a link can be renamed");
}

/// A kubeconfig with paths beside it.
fn kubeconfig(folder: &Path, url: &str, user: &str) -> Origin {
    let path = folder.join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: '{url}', certificate-authority: ca.crt}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
         users: [{{name: u, user: {{{user}}}}}]\n"
    );
    std::fs::write(&path, text).expect("the folder can be written");
    Origin::Kubeconfig { path, context: None }
}

/// A user of a kubeconfig whose credentials a shell script gives.
fn credentials_of(program: &Path) -> String {
    let program = program.display();
    format!(
        "exec: {{apiVersion: client.authentication.k8s.io/v1, command: sh, args: ['{program}']}}"
    )
}

async fn until_it_fails(source: &Running, with: &str) {
    until(with, || {
        let failure = source.state.of(Resource::Services).and_then(|state| state.failure());
        failure.is_some_and(|(text, _)| text.contains(with))
    })
    .await;
}

async fn until_nothing_fails(source: &Running) {
    until("nothing fails", || source.state.remarks().is_empty()).await;
}

#[tokio::test]
async fn a_token_and_an_authority_of_a_kubeconfig_that_are_replaced_are_read_again() {
    let from_kubeconfig = |folder: &Path, port: u16| {
        kubeconfig(folder, &format!("https://127.0.0.1:{port}"), "tokenFile: token")
    };
    token_and_authority_are_replaced(from_kubeconfig).await;
}

#[tokio::test]
async fn a_service_account_that_is_replaced_is_read_again() {
    let in_cluster = |folder: &Path, port: u16| Origin::InCluster {
        host: Some("127.0.0.1".into()),
        port: Some(port.to_string()),
        service_account: folder.into(),
    };
    token_and_authority_are_replaced(in_cluster).await;
}

/// The server has a certificate of a new authority, and the old token is no good.
async fn token_and_authority_are_replaced(origin: impl Fn(&Path, u16) -> Origin) {
    let volume = tempfile::tempdir().expect("there is room for a folder");
    let (old, new) = (Authority::new("old"), Authority::new("new"));
    project(volume.path(), "1", &[("ca.crt", &old.0.pem()), ("token", "first")]);
    let server = TestApiServer::start().await;
    server.require_token("first");
    server.put("services", service("a", "one", "10.0.0.1"));
    let front = Front::start(&server, old.server(None)).await;
    let source = start(settings(origin(volume.path(), front.port)));
    source.until_synced().await;

    server.require_token("second");
    front.restart(new.server(None));
    server.delete("services", "a/one");
    server.put("services", service("a", "two", "10.0.0.2"));
    until_it_fails(&source, "invalid peer certificate").await;
    assert!(source.recorder.now().objects.keys().eq(["Service a/one"]), "what was known stays");
    // First both authorities, as when one is rotated with care, but not the token yet.
    let both = format!("{}{}", old.0.pem(), new.0.pem());
    project(volume.path(), "2", &[("ca.crt", &both), ("token", "first")]);
    until_it_fails(&source, "401").await;
    assert!(source.recorder.now().objects.keys().eq(["Service a/one"]), "what was known stays");
    project(volume.path(), "3", &[("ca.crt", &new.0.pem()), ("token", "second")]);
    source.until_objects(&["Service a/two"]).await;
    until_nothing_fails(&source).await;

    // The volume is away for a while. What was read of it is good still.
    std::fs::rename(volume.path().join("..data"), volume.path().join("..away")).expect("renamed");
    server.require_token("third");
    front.restart(new.server(None));
    until_it_fails(&source, "401").await;
    server.require_token("second");
    server.put("services", service("a", "three", "10.0.0.3"));
    source.until_objects(&["Service a/three", "Service a/two"]).await;
    // When it is not, the files are looked for until they are there.
    front.restart(old.server(None));
    until_it_fails(&source, "invalid peer certificate").await;
    assert_eq!(source.recorder.now().objects.len(), 2, "what was known stays");
    project(volume.path(), "4", &[("ca.crt", &old.0.pem()), ("token", "second")]);
    server.put("services", service("a", "four", "10.0.0.4"));
    source.until_objects(&["Service a/four", "Service a/three", "Service a/two"]).await;
}

#[tokio::test]
async fn a_client_certificate_that_is_replaced_is_read_again() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let (own, old, new) = (Authority::new("own"), Authority::new("old"), Authority::new("new"));
    let write = |name: &str, content: String| {
        std::fs::write(folder.path().join(name), content).expect("the folder can be written");
    };
    let identity = |authority: &Authority| {
        let (certificate, key) = authority.sign();
        write("client.crt", certificate.pem());
        write("client.key", key.serialize_pem());
    };
    write("ca.crt", own.0.pem());
    identity(&old);
    let server = TestApiServer::start().await;
    server.put("services", service("a", "one", "10.0.0.1"));
    let front = Front::start(&server, own.server(Some(&old))).await;
    let url = format!("https://127.0.0.1:{}", front.port);
    let user = "client-certificate: client.crt, client-key: client.key";
    let source = start(settings(kubeconfig(folder.path(), &url, user)));
    source.until_synced().await;

    front.restart(own.server(Some(&new)));
    server.put("services", service("a", "two", "10.0.0.2"));
    until("it is noticed", || !source.state.remarks().is_empty()).await;
    tokio::time::sleep(fast().backoff_most * 3).await;
    assert!(source.recorder.now().objects.keys().eq(["Service a/one"]), "what was known stays");
    identity(&new);
    source.until_objects(&["Service a/one", "Service a/two"]).await;
    until_nothing_fails(&source).await;
}

/// Credentials of a program are asked for again when they are no good, but not with each try.
#[tokio::test]
async fn credentials_are_read_again_at_a_bounded_rate() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let (runs, token) = (folder.path().join("runs"), folder.path().join("token"));
    std::fs::write(&token, "first").expect("the folder can be written");
    std::fs::write(folder.path().join("ca.crt"), Authority::new("own").0.pem())
        .expect("the folder can be written");
    let script = format!(
        "echo run >> {}; echo '{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"'$(cat {})'\"}}}}'",
        runs.display(),
        token.display()
    );
    let program = folder.path().join("program");
    std::fs::write(&program, script).expect("the folder can be written");
    let user = credentials_of(&program);
    let server = TestApiServer::start().await;
    server.require_token("first");
    server.put("services", service("a", "one", "10.0.0.1"));
    let timing = Timing { client_pause: Duration::from_secs(2), ..fast() };
    let source = start_with(settings(kubeconfig(folder.path(), &server.url(), &user)), timing);
    source.until_synced().await;
    let count = || std::fs::read_to_string(&runs).unwrap_or_default().lines().count();
    let one_client = count();
    assert!(one_client > 0, "the program was run");

    server.require_token("second");
    server.cut_watches();
    let begun = std::time::Instant::now();
    until("there were a hundred tries", || server.requests().len() > 100).await;
    let most = begun.elapsed().as_secs() / 2 + 3;
    assert!(count() as u64 <= most * one_client as u64, "{} runs for {most} clients", count());
    std::fs::write(&token, "second").expect("the folder can be written");
    server.put("services", service("a", "two", "10.0.0.2"));
    source.until_objects(&["Service a/one", "Service a/two"]).await;
}

/// Where nothing comes for long, the kernel asks whether somebody is there.
#[tokio::test]
async fn connections_are_kept_alive() {
    let server = TestApiServer::start().await;
    let source =
        start_with(settings(Origin::Endpoint { url: server.url(), tls: None }), Timing::default());
    source.until_synced().await;
    let port: u16 =
        server.url().rsplit(':').next().and_then(|port| port.parse().ok()).expect("a port");
    let timers = || -> Vec<(String, f64)> {
        // `sl local_address rem_address st tx_queue:rx_queue tr:tm->when ...`, numbers in hexadecimal, time in hundredths of a second
        // (Documentation/networking/proc_net_tcp.rst).
        let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has this table");
        let lines = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        lines
            .filter(|line| line[2].ends_with(&format!(":{port:04X}")) && line[3] == "01")
            .filter_map(|line| {
                let (timer, time) = line[5].split_once(':')?;
                Some((timer.to_owned(), f64::from(u32::from_str_radix(time, 16).ok()?) / 100.0))
            })
            .collect()
    };
    // 02 is the keep-alive timer.
    until("three watches have a keep-alive timer of 10 s", || {
        let timers = timers();
        timers.len() == 3 && timers.iter().all(|(timer, time)| timer == "02" && *time <= 10.5)
    })
    .await;
}

/// As most files end, and as `kubectl create token > FILE` writes it.
#[tokio::test]
async fn a_token_file_may_end_in_a_newline() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    for (name, content) in [("token", " first\r\n\n"), ("ca.crt", &Authority::new("own").0.pem())] {
        std::fs::write(folder.path().join(name), content).expect("the folder can be written");
    }
    let server = TestApiServer::start().await;
    server.require_token("first");
    let source = start(settings(kubeconfig(folder.path(), &server.url(), "tokenFile: token")));
    source.until_synced().await;
    // It wins over an inline token, as in client-go.
    let user = "tokenFile: token, token: second";
    let source = start(settings(kubeconfig(folder.path(), &server.url(), user)));
    source.until_synced().await;
}

#[tokio::test(start_paused = true)]
async fn a_token_file_is_read_each_minute() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let path = folder.path().join("token");
    std::fs::write(&path, "first\n").expect("the folder can be written");
    let mut file = TokenFile::open(path.clone()).expect("there is a token");
    let minute = Duration::from_secs(60);
    for (content, at_once, later) in [
        ("second\n", "Bearer first", "Bearer second"),
        // While it is being written.
        ("", "Bearer second", "Bearer second"),
        ("third", "Bearer second", "Bearer third"),
    ] {
        std::fs::write(&path, content).expect("the folder can be written");
        assert_eq!(file.header(), at_once);
        tokio::time::advance(minute).await;
        assert_eq!(file.header(), later);
    }
    std::fs::remove_file(&path).expect("it is there");
    tokio::time::advance(minute).await;
    assert_eq!(file.header(), "Bearer third");
}

/// Programs that write their number to a file and sleep; they end with the value.
struct Sleepers(std::path::PathBuf);

impl Sleepers {
    fn numbers(&self) -> Vec<String> {
        let text = std::fs::read_to_string(&self.0).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn end(&self) {
        let numbers = self.numbers();
        if !numbers.is_empty() {
            let _ = std::process::Command::new("kill").arg("-9").args(numbers).status();
            // Their numbers may be others' from now on.
            let _ = std::fs::remove_file(&self.0);
        }
    }
}

impl Drop for Sleepers {
    fn drop(&mut self) {
        self.end();
    }
}

/// A program that gives credentials, or sleeps where there is a file.
#[tokio::test]
async fn a_program_that_hangs_stops_nothing() {
    program_hangs("", 1).await;
}

/// What ends soon is asked for again with each request, and once more for a new client.
#[tokio::test]
async fn a_program_that_hangs_when_credentials_end_stops_nothing() {
    program_hangs(r#", "expirationTimestamp": "2020-01-01T00:00:00Z""#, 2).await;
}

async fn program_hangs(expiration: &str, most: usize) {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let write = |name: &str, content: &str| {
        std::fs::write(folder.path().join(name), content).expect("the folder can be written");
    };
    let (hang, program) = (folder.path().join("hang"), folder.path().join("program"));
    let sleepers = Sleepers(folder.path().join("sleepers"));
    let script = format!(
        "if test -e {}; then echo $$ >> {}; exec sleep 3600; fi\n\
         echo '{{\"apiVersion\":\"client.authentication.k8s.io/v1\",\"kind\":\"ExecCredential\",\"status\":{{\"token\":\"first\"{expiration}}}}}'",
        hang.display(),
        sleepers.0.display()
    );
    write("program", &script);
    write("ca.crt", &Authority::new("own").0.pem());
    let user = credentials_of(&program);
    let server = TestApiServer::start().await;
    server.require_token("first");
    server.put("services", service("a", "one", "10.0.0.1"));
    let source = start(settings(kubeconfig(folder.path(), &server.url(), &user)));
    source.until_synced().await;

    write("hang", "");
    server.set_outage(Some(Outage::Refused));
    until("the program is asked", || !sleepers.numbers().is_empty()).await;
    server.set_outage(None);
    server.put("services", service("a", "two", "10.0.0.2"));
    source.until_objects(&["Service a/one", "Service a/two"]).await;
    // It is not asked again while it has not answered, whatever happens.
    server.require_token("second");
    server.cut_watches();
    let before = server.requests().len();
    until("there were many tries", || server.requests().len() > before + 30).await;
    assert!(sleepers.numbers().len() <= most, "{:?}", sleepers.numbers());
    // Once it has, it is.
    std::fs::remove_file(&hang).expect("the file is there");
    write("program", &script.replace("first", "second"));
    sleepers.end();
    server.put("services", service("a", "three", "10.0.0.3"));
    source.until_objects(&["Service a/one", "Service a/three", "Service a/two"]).await;
}

/// A host has several addresses, and who listens at one of them takes no connection.
#[tokio::test]
async fn an_address_that_says_nothing_is_passed_over() {
    let socket = TcpSocket::new_v4().expect("there is a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("loopback has a free port");
    let silent = socket.listen(1).expect("a bound socket can listen");
    let silent = silent.local_addr().expect("a bound socket has an address");
    let mut waiting = Vec::new();
    while let Ok(stream) = std::net::TcpStream::connect_timeout(&silent, Duration::from_millis(300))
    {
        waiting.push(stream);
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback has a free port");
    let good = listener.local_addr().expect("a bound socket has an address");
    let resolver =
        tower::service_fn(
            move |_| async move { Ok::<_, std::io::Error>([silent, good].into_iter()) },
        );
    let mut sockets = sockets(resolver);
    let connected = timeout(CONNECT_TIMEOUT, sockets.call("http://api/".parse().expect("a URL")));
    let stream = connected.await.expect("in time").expect("the second one takes it");
    assert_eq!(stream.inner().peer_addr().ok(), Some(good));
}
