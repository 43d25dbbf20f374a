//! Settings that cannot work are found before anything is started.

use std::fs;
use std::path::PathBuf;

use super::{settings, snapshot_of};
use crate::kubernetes::source::check::{check, in_cluster};
use crate::kubernetes::source::{Origin, Tls};

const GOOD: &str = "current-context: c\n\
    clusters: [{name: c, cluster: {server: 'https://127.0.0.1:6443', insecure-skip-tls-verify: true}}]\n\
    contexts: [{name: c, context: {cluster: c, user: u}}, {name: broken, context: {cluster: missing}}]\n\
    users: [{name: u, user: {token: t}}]\n";

#[test]
fn mistakes_in_a_kubeconfig_name_the_file_and_the_cause() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let path = folder.path().join("config");
    let certificate =
        GOOD.replace("insecure-skip-tls-verify: true", "certificate-authority: ca.crt");
    let garbage =
        GOOD.replace("insecure-skip-tls-verify: true", "certificate-authority-data: Z2FyYmFnZQ==");
    let token = GOOD.replace("token: t", "tokenFile: token");
    let ca = folder.path().join("ca.crt");
    let cases = [
        (GOOD, None, Ok(())),
        (GOOD, Some("c"), Ok(())),
        (GOOD, Some("d"), Err("no context \"d\"; there is c, broken".to_owned())),
        (GOOD, Some("broken"), Err("failed to load the cluster of context: missing".to_owned())),
        ("", None, Err("failed to determine current context".to_owned())),
        ("clusters: [", None, Err("failed to parse kubeconfig YAML".to_owned())),
        (
            certificate.as_str(),
            None,
            Err(format!("failed to load certificate authority: failed to read file '{ca:?}'")),
        ),
        (
            garbage.as_str(),
            None,
            Err("the certificate authority's file has no certificate".to_owned()),
        ),
        (
            token.as_str(),
            None,
            Err(format!("{}: No such file", folder.path().join("token").display())),
        ),
    ];
    for (text, context, expected) in cases {
        fs::write(&path, text).expect("the folder can be written");
        let origin = Origin::Kubeconfig { path: path.clone(), context: context.map(str::to_owned) };
        let found = check(&settings(origin)).map_err(|error| error.to_string());
        match (found, expected) {
            (Ok(()), Ok(())) => {}
            (Err(found), Err(expected)) => {
                let expected = format!("kubeconfig {}: {expected}", path.display());
                assert!(found.starts_with(&expected), "{found:?} does not start with {expected:?}");
            }
            (found, expected) => panic!("{text} with {context:?}: {found:?}, not {expected:?}"),
        }
    }
    let missing = folder.path().join("missing");
    let found = check(&settings(Origin::Kubeconfig { path: missing.clone(), context: None }));
    let expected =
        format!("kubeconfig {0}: {0}: No such file or directory (os error 2)", missing.display());
    assert_eq!(found.map_err(|error| error.to_string()), Err(expected));
}

#[test]
fn endpoints_are_urls_or_hosts() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let missing = folder.path().join("cert.pem");
    let tls = Tls { certificate: missing.clone(), key: PathBuf::new(), authority: PathBuf::new() };
    let wanted = "want http://HOST:PORT or https://HOST:PORT".to_owned();
    let cases = [
        ("http://127.0.0.1:8080", None, Ok(())),
        ("https://[::1]:6443", None, Ok(())),
        ("localhost:8080", None, Ok(())),
        ("ftp://127.0.0.1", None, Err(format!("endpoint ftp://127.0.0.1: {wanted}"))),
        (
            "127.0.0.1:1",
            Some(tls),
            Err(format!(
                "endpoint 127.0.0.1:1: {}: No such file or directory (os error 2)",
                missing.display()
            )),
        ),
    ];
    for (url, tls, expected) in cases {
        let origin = Origin::Endpoint { url: url.to_owned(), tls };
        assert_eq!(check(&settings(origin)).map_err(|error| error.to_string()), expected, "{url}");
    }
    for url in ["", "http://", "http://a b", "://"] {
        assert!(
            check(&settings(Origin::Endpoint { url: url.to_owned(), tls: None })).is_err(),
            "{url:?}"
        );
    }
}

#[test]
fn a_service_account_is_a_token_and_an_authority() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let (ca, token) = (folder.path().join("ca.crt"), folder.path().join("token"));
    let make = |host: &str| in_cluster(host, "443", folder.path());
    assert_eq!(
        make("10.96.0.1").err(),
        Some(format!("{}: No such file or directory (os error 2)", ca.display()))
    );
    fs::write(&ca, "").expect("the folder can be written");
    assert_eq!(
        make("10.96.0.1").err(),
        Some(format!("{}: No such file or directory (os error 2)", token.display()))
    );
    fs::write(&token, "t").expect("the folder can be written");
    for (host, url) in
        [("10.96.0.1", "https://10.96.0.1:443/"), ("fd00::1", "https://[fd00::1]:443/")]
    {
        let config = make(host).expect("all files are there");
        assert_eq!(config.cluster_url.to_string(), url);
        assert_eq!(config.root_cert_file.as_ref(), Some(&ca));
        assert_eq!(config.auth_info.token_file.as_deref(), token.to_str());
    }
}

#[test]
fn selectors_and_snapshots_are_checked() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let good = snapshot_of(folder.path());
    assert_eq!(check(&good), Ok(()));
    let mut bad = good.clone();
    bad.labels = Some("a >".to_owned());
    let expected = "labels: found \">\" in the label selector, want one of =, ==, !=, in, notin";
    assert_eq!(check(&bad).map_err(|error| error.to_string()), Err(expected.to_owned()));
    let mut bad = good;
    bad.namespace_labels = Some("a in".to_owned());
    let expected = "namespace_labels: found \"the end\" in the label selector, want '('";
    assert_eq!(check(&bad).map_err(|error| error.to_string()), Err(expected.to_owned()));
    let missing = folder.path().join("missing");
    let expected =
        format!("snapshot {}: No such file or directory (os error 2)", missing.display());
    assert_eq!(check(&snapshot_of(missing)).map_err(|error| error.to_string()), Err(expected));
}

#[test]
fn a_token_file_has_a_token() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let (path, token) = (folder.path().join("config"), folder.path().join("token"));
    fs::write(&path, GOOD.replace("token: t", "tokenFile: token")).expect("a folder");
    let cases: [(&[u8], Option<&str>); 6] = [
        (b"t", None),
        (b"\n t\r\n", None),
        (b"", Some("there is no token in it")),
        (b" \n", Some("there is no token in it")),
        (b"a\nb", Some("what is in it is no token: failed to parse header value")),
        (b"\xff", Some("stream did not contain valid UTF-8")),
    ];
    for (content, expected) in cases {
        fs::write(&token, content).expect("the folder can be written");
        let origin = Origin::Kubeconfig { path: path.clone(), context: None };
        let expected = expected.map_or(Ok(()), |cause| {
            Err(format!("kubeconfig {}: {}: {cause}", path.display(), token.display()))
        });
        assert_eq!(check(&settings(origin)).map_err(|error| error.to_string()), expected);
    }
}
