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
    // A struct may be written as an array of its fields in JSON, says `serde`.
    if !documents.iter().all(|document| is_shaped("", document)) {
        return;
    }
    let (mut json, mut yaml) = (String::new(), String::new());
    for document in documents {
        let Ok(written) = serde_norway::to_string(&document) else { return };
        json.push_str(&format!("{document}\n"));
        yaml.push_str(&format!("---\n{written}"));
    }
    assert_eq!(shown(&yaml), shown(&json), "{json}{yaml}");
}

/// Whether arrays stand only where the API has them.
fn is_shaped(field: &str, value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Array(items) => {
            matches!(field, "items" | "ports" | "endpoints" | "addresses" | "clusterIPs")
                && items.iter().all(|item| is_shaped("", item))
        }
        serde_json::Value::Object(fields) => {
            fields.iter().all(|(field, value)| is_shaped(field, value))
        }
        _ => true,
    }
}

/// What the objects of a manifest are. Errors are worded differently: these stand for one another.
fn shown(text: &str) -> Option<Vec<String>> {
    let shown = |object: &ManifestObject| format!("{object:?}");
    parse(text).ok().map(|manifest| manifest.objects.iter().map(shown).collect())
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
