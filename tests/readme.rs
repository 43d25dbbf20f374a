//! Every Corefile in the documentation starts.

use std::path::{Path, PathBuf};

use crate::folders::plugins_folder;
use crate::support::server::{TestServer, free_port};

#[test]
fn every_snippet_of_every_readme_starts() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages: Vec<PathBuf> =
        ["README.md", "DIFFERENCES.md"].iter().map(|page| root.join(page)).collect();
    for entry in std::fs::read_dir(plugins_folder()).expect("the folder of plugins") {
        let page = entry.expect("an entry").path().join("README.md");
        if page.is_file() {
            pages.push(page);
        }
    }
    let mut started = 0;
    for page in pages {
        let text = std::fs::read_to_string(&page)
            .unwrap_or_else(|error| panic!("{}: {error}", page.display()));
        for (line, snippet) in snippets(&text) {
            let corefile = on_free_ports(&snippet);
            if let Err(error) = TestServer::try_start(&corefile, &[]) {
                panic!("{}:{line}: {error}\n{snippet}", page.display());
            }
            started += 1;
        }
    }
    assert!(started >= 20, "only {started} snippets were found");
}

#[test]
fn the_example_configurations_start() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for path in ["Corefile.example", "examples/demo/Corefile"] {
        let text = std::fs::read_to_string(root.join(path)).expect("an example");
        let text = text.replace("examples/demo", &root.join("examples/demo").to_string_lossy());
        if let Err(error) = TestServer::try_start(&on_free_ports(&text), &[]) {
            panic!("{path}: {error}");
        }
    }
}

/// The blocks marked `corefile`, each with the line it begins on.
fn snippets(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        match &mut open {
            None if line.trim() == "```corefile" => open = Some((index + 2, String::new())),
            None => {}
            Some(_) if line.trim() == "```" => found.extend(open.take()),
            Some((_, snippet)) => {
                snippet.push_str(line);
                snippet.push('\n');
            }
        }
    }
    found
}

/// The same Corefile with every port it would listen on replaced by a free one, without addresses of other machines to bind.
fn on_free_ports(corefile: &str) -> String {
    let mut depth = 0;
    let mut lines = Vec::new();
    for line in corefile.lines() {
        let words: Vec<&str> =
            line.split('#').next().unwrap_or_default().split_whitespace().collect();
        let mut line = line.to_owned();
        let key_line = depth == 0 && words.last() == Some(&"{") && !words[0].starts_with('(');
        if key_line {
            let keys = words[..words.len() - 1].iter().map(|key| key_on_free_port(key));
            line = format!("{} {{", keys.collect::<Vec<_>>().join(" "));
        } else if let [directive @ ("health" | "ready" | "prometheus"), rest @ ..] =
            words.as_slice()
            && depth == 1
        {
            let tail = if rest.contains(&"{") { " {" } else { "" };
            line = format!("{directive} 127.0.0.1:{}{tail}", free_port());
        } else if let ["bind", ..] = words.as_slice()
            && depth == 1
        {
            let tail = if words.contains(&"{") { " {" } else { "" };
            line = format!("bind 127.0.0.1{tail}");
        }
        depth += words.iter().filter(|word| **word == "{").count();
        depth = depth.saturating_sub(words.iter().filter(|word| **word == "}").count());
        lines.push(line);
    }
    lines.join("\n")
}

fn key_on_free_port(key: &str) -> String {
    let (key, comma) = key.strip_suffix(',').map_or((key, ""), |key| (key, ","));
    let zone = match key.rsplit_once(':') {
        Some((zone, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => zone,
        _ => key,
    };
    // Keys without a port share the default one, and several blocks may share a port: the zone tells them apart.
    format!("{zone}:PORT{comma}")
}

#[test]
fn the_tests_that_the_security_page_names_exist() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("SECURITY.md")).expect("the page");
    let mut found = 0;
    let rows = page.lines().skip_while(|line| !line.starts_with("| Flaw |")).skip(2);
    for line in rows.take_while(|line| line.starts_with('|')) {
        let cell = line.trim_end_matches(['|', ' ']).rsplit('|').next().expect("a last column");
        for part in cell.split(';') {
            let mut quoted = part.split('`').skip(1).step_by(2);
            let file = quoted.next().expect("a file");
            let text = std::fs::read_to_string(root.join(file));
            let text = text.unwrap_or_else(|error| panic!("{file}: {error}"));
            for name in quoted {
                assert!(text.contains(&format!("fn {name}()")), "{file} has no test {name}");
                found += 1;
            }
        }
    }
    assert!(found >= 20, "only {found} tests were found");
}
