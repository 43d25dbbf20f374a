//! Snippets and imported files.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

use super::{dump, errors, loader, model};
use crate::corefile::Failed;

#[test]
fn snippets_are_read_where_they_are_imported() {
    let cases = [
        ("(s) {\n x 1\n y\n}\n. {\n a\n import s\n b\n}", "[.] {[a] [x][1] [y] [b]}"),
        ("(s) { x }\n. {\n import s\n import s\n}", "[.] {[x] [x]}"),
        ("(s) {\n}\n. {\n import s\n}", "[.] {}"),
        ("(s) {\n x 1\n}\n. {\n a {\n import s\n b\n }\n}", "[.] {[a] {[x][1] [b]}}"),
        ("(s) {\n a.org {\n x\n }\n}\nimport s\nb.org {\n}", "[a.org] {[x]}; [b.org] {}"),
        ("(s) {\n a.org\n}\nimport s\n{\n x\n}", "[a.org] {[x]}"),
        ("(s) {\n b.org\n}\na.org,\nimport s\n{\n x\n}", "[a.org][b.org] {[x]}"),
        // Snippets in snippets, and snippets that define snippets.
        ("(a) {\n x\n}\n(b) {\n import a\n y\n}\n. {\n import b\n}", "[.] {[x] [y]}"),
        ("(a) {\n (b) {\n x\n }\n}\nimport a\n. {\n import b\n}", "[.] {[x]}"),
        // Names may come from the environment, at both ends.
        ("({$ZONE}) {\n x\n}\n. {\n import {$ZONE}\n}", "[.] {[x]}"),
        // A snippet that is never imported is never read.
        ("(a) {\n {$SELF}\n import nothing\n}\n. {\n}", "[.] {}"),
    ];
    for (text, expected) in cases {
        assert_eq!(model(text), expected, "{text:?}");
    }
}

#[test]
fn errors_in_a_snippet_point_into_the_snippet() {
    assert_eq!(
        errors("(a) {\n x\n y {\n {\n }\n }\n}\n. {\n import a\n}"),
        "Corefile:4:2: Unexpected token '{' (remove this block)"
    );
}

/// A directory with files, and the model of its `Corefile` or the errors.
fn load(files: &[(&str, &str)]) -> Result<String, String> {
    let directory = TempDir::new().expect("a temporary directory");
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("it has a parent")).expect("a directory");
        match name.strip_suffix('/') {
            Some(_) => fs::create_dir_all(path).expect("a directory"),
            None => fs::write(path, text).expect("a file"),
        }
    }
    let directory = directory.path().canonicalize().expect("it exists");
    let place = |text: String| text.replace(&*directory.to_string_lossy(), "DIR");
    match loader().load(&directory.join("Corefile")) {
        Ok(corefile) => {
            let warnings = corefile.warnings.render_lines(&corefile.sources);
            Ok(place(dump(&corefile) + if warnings.is_empty() { "" } else { "\n" } + &warnings))
        }
        Err(Failed { diagnostics, sources, .. }) => Err(place(diagnostics.render_lines(&sources))),
    }
}

#[test]
fn files_are_read_where_they_are_imported() {
    let cases: [(&[(&str, &str)], &str); 14] = [
        (
            &[("Corefile", ". {\n import a\n y\n}"), ("a", "x 1\nz {\n b\n}")],
            "[.] {[x][1] [z] {[b]} [y]}",
        ),
        (
            &[("Corefile", "import a\nimport a\n. {\n}"), ("a", "a.org {\n x\n}\n")],
            "[a.org] {[x]}; [a.org] {[x]}; [.] {}",
        ),
        // Snippets of a file are known afterwards, and win over files.
        (
            &[("Corefile", "import a\n. {\n import s\n}"), ("a", "(s) {\n x\n}"), ("s", "y")],
            "[.] {[x]}",
        ),
        // Relative to the file that imports.
        (
            &[
                ("Corefile", "import d/a\n"),
                ("d/a", ". {\n import b\n import ../c\n}"),
                ("d/b", "x"),
                ("b", "wrong"),
                ("c", "y"),
            ],
            "[.] {[x] [y]}",
        ),
        (
            &[
                ("Corefile", "import d/s\n. {\n import s\n}"),
                ("d/s", "(s) {\n import b\n}"),
                ("d/b", "x"),
                ("b", "wrong"),
            ],
            "[.] {[x]}",
        ),
        // Patterns, in lexical order, hidden files included.
        (
            &[
                ("Corefile", ". {\n import d/*.conf\n}"),
                ("d/b.conf", "b"),
                ("d/a.conf", "a"),
                ("d/c.txt", "c"),
                ("d/.h.conf", "h"),
            ],
            "[.] {[h] [a] [b]}",
        ),
        (
            &[
                ("Corefile", ". {\n import d?/x\n}"),
                ("d1/x", "a"),
                ("d2/x", "b"),
                ("d22/x", "c"),
                ("d3/y", "d"),
            ],
            "[.] {[a] [b]}",
        ),
        (
            &[("Corefile", ". {\n import d*/?\n}"), ("d1/x", "a"), ("d2/y", "b"), ("d3/zz", "c")],
            "[.] {[a] [b]}",
        ),
        (&[("Corefile", ". {\n import a\\*b\n}"), ("a*b", "x"), ("a\\xb", "y")], "[.] {[x]}"),
        (
            &[("Corefile", ". {\n x\n import nothing*\n}")],
            "[.] {[x]}\nDIR/Corefile:3:9: No files matching import glob pattern: nothing*",
        ),
        // Pieces of blocks.
        (
            &[("Corefile", "import head\n x\n}"), ("head", "a.org {\n y {\n z\n}\n")],
            "[a.org] {[y] {[z]} [x]}",
        ),
        (
            &[
                ("Corefile", "import d/*\n"),
                ("d/1", ". {\n x {\n"),
                ("d/2", "y\n"),
                ("d/3", "}\n}"),
            ],
            "[.] {[x] {[y]}}",
        ),
        (
            &[("Corefile", "import empty\n. {\n import empty\n x\n}"), ("empty", "# nothing\n")],
            "[.] {[x]}",
        ),
        (&[("Corefile", ". {\n import {$ZONE}.conf\n}"), ("example.org.conf", "x")], "[.] {[x]}"),
    ];
    for (files, expected) in cases {
        assert_eq!(load(files).as_deref(), Ok(expected), "{files:?}");
    }
}

#[test]
fn imports_that_fail_say_which_file_is_wrong() {
    let cases: [(&[(&str, &str)], &str); 7] = [
        (
            &[("Corefile", ". {\n import a\n import b\n}"), ("b", "x }\n")],
            "DIR/Corefile:2:9: File to import not found: a\n\
             DIR/b:1:3: Unexpected '}' because no matching opening brace \
             (put the '}' on a line of its own)\n\
             DIR/Corefile:4:1: this '}' has no opening brace and is ignored",
        ),
        (
            &[("Corefile", ". {\n import d\n}"), ("d/", "")],
            "DIR/Corefile:2:9: Could not import DIR/d: is a directory",
        ),
        (
            &[("Corefile", ". {\n import *\n}"), ("a/x", "")],
            "DIR/Corefile:2:9: file DIR/Corefile imports itself, directly or through other files\n\
             DIR/Corefile:2:9: Could not import DIR/a: is a directory",
        ),
        (
            &[("Corefile", "import Corefile")],
            "DIR/Corefile:1:8: file DIR/Corefile imports itself, directly or through other files",
        ),
        (
            &[("Corefile", "import a"), ("a", "import b"), ("b", "import a\nimport ./a")],
            "DIR/b:1:8: file DIR/a imports itself, directly or through other files\n\
             DIR/b:2:8: file DIR/a imports itself, directly or through other files",
        ),
        (
            &[("Corefile", ". {\n import d/x\n}"), ("d/x", "import y")],
            "DIR/d/x:1:8: File to import not found: y",
        ),
        (&[("Corefile", ". {\n import a\n"), ("a", "x {\n y\n")], "DIR/a:2:2: Unexpected EOF"),
    ];
    for (files, expected) in cases {
        assert_eq!(load(files).as_ref().map_err(String::as_str), Err(expected), "{files:?}");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let failed = loader().load(Path::new("/nowhere/Corefile")).expect_err("it does not exist");
    assert_eq!(failed.to_string(), "error: open /nowhere/Corefile: no such file or directory");
    let directory = TempDir::new().expect("a temporary directory");
    let failed = loader().load(directory.path()).expect_err("it is a directory");
    assert!(failed.to_string().ends_with("is a directory"), "{failed}");
    let large = directory.path().join("large");
    fs::write(&large, "#".repeat(17 * 1024 * 1024)).expect("a file");
    let failed = loader().load(&large).expect_err("it is too large");
    assert!(failed.to_string().ends_with("larger than 16 MiB"), "{failed}");
}

#[test]
fn bytes_that_are_no_text_do_not_keep_a_server_from_starting() {
    let directory = TempDir::new().expect("a temporary directory");
    let path = directory.path().join("Corefile");
    fs::write(&path, b"# \xff\xfe\n. {\n x \xc3\n}").expect("a file");
    let corefile = loader().load(&path).expect("it is good");
    assert_eq!(dump(&corefile), "[.] {[x][\u{fffd}]}");
}

#[test]
fn the_files_and_patterns_read_are_known() {
    let directory = TempDir::new().expect("a temporary directory");
    let directory = directory.path();
    for (name, text) in [("Corefile", "import d/*\nimport a\nimport a"), ("d/x", ""), ("a", "")] {
        fs::create_dir_all(directory.join("d")).expect("a directory");
        fs::write(directory.join(name), text).expect("a file");
    }
    let corefile = loader().load(&directory.join("Corefile")).expect("it is good");
    assert_eq!(corefile.inputs.files, [directory.join("d/x"), directory.join("a")]);
    assert_eq!(corefile.inputs.globs, [directory.join("d/*")]);
}

#[test]
fn snippets_that_multiply_end_at_a_limit() {
    let mut text = "(s0) {\n x\n}\n".to_owned();
    for level in 1..=20 {
        let import = format!(" import s{}\n", level - 1).repeat(2);
        text.push_str(&format!("(s{level}) {{\n{import}}}\n"));
    }
    text.push_str(". {\n import s20\n}\n");
    let errors = errors(&text);
    assert!(errors.starts_with("Corefile:5:9: maximum snippet import depth (10000) exceeded"));
    // The words of few but large snippets end at a limit of their own.
    let words = "x\n".repeat(10_000);
    let imports = " import s\n".repeat(200);
    let errors = super::errors(&format!("(s) {{\n{words}}}\n. {{\n{imports}}}\n"));
    assert!(errors.contains("too large when its imports are in place"), "{errors}");
}
