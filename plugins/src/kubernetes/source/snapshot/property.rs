//! What holds for every manifest: asked of random ones by the fuzzer, and by the tests of those that it keeps.

use serde::Deserialize;

use super::read::{ManifestObject, parse};

/// A manifest means the same in JSON and in YAML; an error says where it stands.
pub fn holds(file: &[u8]) {
    let Ok(text) = std::str::from_utf8(file) else { return };
    if let Err(problem) = parse(text) {
        let place = problem.to_string();
        assert!(place.starts_with("line ") || place.starts_with("document "), "{place}");
    }
    let Some(documents) = documents(text) else { return };
    let json: Vec<String> = documents.iter().map(ToString::to_string).collect();
    let Ok(yaml) = documents.iter().map(serde_norway::to_string).collect::<Result<Vec<_>, _>>()
    else {
        return;
    };
    for (json, yaml) in json.iter().zip(&yaml) {
        // An empty object looks the same in both.
        assert_eq!(shown(&format!("---\n{yaml}")), shown(json), "{json}\n{yaml}");
    }
    assert_eq!(shown(&yaml.join("---\n")), shown(&json.join("\n")), "all documents at once");
}

/// What the objects of a manifest are. Errors are worded differently: these stand for one another.
fn shown(text: &str) -> Option<Vec<String>> {
    let shown = |object: &ManifestObject| format!("{object:?}");
    parse(text).ok().map(|objects| objects.iter().map(shown).collect())
}

/// The documents of a manifest as JSON libraries know values; `None` if it is not readable, or has what JSON cannot say.
fn documents(text: &str) -> Option<Vec<serde_json::Value>> {
    let documents: Vec<serde_json::Value> = match text.trim_start().starts_with('{') {
        true => {
            let documents = serde_json::Deserializer::from_str(text).into_iter();
            documents.collect::<Result<_, _>>().ok()?
        }
        false => serde_norway::Deserializer::from_str(text)
            .map(serde_json::Value::deserialize)
            .collect::<Result<_, _>>()
            .ok()?,
    };
    documents.iter().all(serde_json::Value::is_object).then_some(documents)
}

#[test]
fn the_corpus_keeps_to_it() {
    crate::testing::corpus("snapshot").iter().for_each(|input| holds(input));
}
