use std::path::Path;

use crate::testing::{configure, refused};

#[test]
fn the_last_path_counts_and_a_relative_one_begins_in_the_working_directory() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cases = [
        ("root /tmp", Path::new("/tmp").to_owned()),
        ("root src", directory.join("src")),
        ("root /tmp\nroot .", directory.join(".")),
        ("root /surely/missing", Path::new("/surely/missing").to_owned()),
    ];
    for (directives, expected) in cases {
        let configured = configure(".", directives).unwrap();
        assert!(configured.plugin.is_none());
        assert_eq!(configured.block.root, expected, "{directives}");
        assert_eq!(configured.block.path("zone"), expected.join("zone"));
    }
}

#[test]
fn one_path_is_needed_and_must_be_accessible() {
    refused(
        ".",
        "root",
        "Corefile:2:1: Wrong argument count or unexpected line ending after 'root' (add a path)",
    );
    refused(
        ".",
        "root /tmp and",
        "Corefile:2:11: Wrong argument count or unexpected line ending after 'and' (nothing may follow '/tmp' here)",
    );
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml/below");
    let error = configure(".", &format!("root {file}")).err().unwrap();
    let expected = format!("Corefile:2:6: unable to access root path '{file}': ");
    assert!(error.starts_with(&expected), "{error}");
}
