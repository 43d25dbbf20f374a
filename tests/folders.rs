//! The one list of plugins, the folders and the READMEs agree.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Words of the Corefile that are described like plugins but belong to the language.
const PART_OF_THE_LANGUAGE: &[&str] = &["import"];

/// Plugins that CoreDNS does not have.
const OURS: &[&str] = &["top"];

/// What the tests of all plugins share.
const SHARED_BY_TESTS: &str = "testing";

pub(crate) fn plugins_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("plugins/src")
}

#[test]
fn every_plugin_has_its_folder_and_every_folder_its_plugin() {
    let listed: BTreeSet<String> = periplus_plugins::ORDER
        .iter()
        .map(|kind| kind.name)
        .chain(PART_OF_THE_LANGUAGE.iter().copied())
        .map(str::to_owned)
        .collect();
    let folders: BTreeSet<String> = std::fs::read_dir(plugins_folder())
        .expect("the folder of plugins")
        .map(|entry| entry.expect("an entry"))
        .filter(|entry| entry.path().is_dir())
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| name != SHARED_BY_TESTS)
        .collect();
    assert_eq!(listed, folders);
}

#[test]
fn every_readme_has_the_same_sections() {
    for kind in periplus_plugins::ORDER {
        let path = plugins_folder().join(kind.name).join("README.md");
        let text = std::fs::read_to_string(&path)
            .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(
            text.starts_with(&format!("# {}\n", kind.name)),
            "{}: the title is the plugin's name",
            path.display()
        );
        for section in
            ["## Name", "## Description", "## Syntax", "## Examples", "## Differences from CoreDNS"]
        {
            assert!(
                text.contains(&format!("\n{section}\n")),
                "{} has no section {section:?}",
                path.display()
            );
        }
    }
}

#[test]
fn the_order_is_that_of_coredns() {
    const COREDNS: &[&str] = &[
        "root",
        "metadata",
        "geoip",
        "cancel",
        "proxyproto",
        "quic",
        "grpc_server",
        "https",
        "https3",
        "timeouts",
        "multisocket",
        "reload",
        "nsid",
        "bufsize",
        "bind",
        "debug",
        "trace",
        "ready",
        "health",
        "pprof",
        "shed",
        "prometheus",
        "errors",
        "log",
        "dnstap",
        "local",
        "dns64",
        "any",
        "chaos",
        "loadbalance",
        "tsig",
        "rewrite",
        "autopath",
        "acl",
        "cache",
        "header",
        "dnssec",
        "tls",
        "minimal",
        "template",
        "transfer",
        "hosts",
        "route53",
        "azure",
        "clouddns",
        "k8s_external",
        "kubernetes",
        "file",
        "auto",
        "secondary",
        "etcd",
        "loop",
        "forward",
        "grpc",
        "erratic",
        "whoami",
        "on",
        "sign",
        "view",
        "nomad",
    ];
    let ours: Vec<&str> = periplus_plugins::ORDER
        .iter()
        .map(|kind| kind.name)
        .filter(|name| !OURS.contains(name))
        .collect();
    assert!(OURS.iter().all(|name| !COREDNS.contains(name)));
    let theirs: Vec<&str> = COREDNS.iter().copied().filter(|name| ours.contains(name)).collect();
    assert_eq!(ours, theirs);
    let missing: BTreeSet<&str> =
        COREDNS.iter().copied().filter(|name| !ours.contains(name)).collect();
    let named: BTreeSet<&str> = periplus::cli::missing_plugins().iter().copied().collect();
    assert_eq!(missing, named, "what is missing is named in the error for unknown directives");
}
