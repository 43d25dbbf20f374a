//! Reading one manifest.

use std::fmt;
use std::path::Path;

use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_norway::Value;

use super::NAMESPACE_LABEL;
use crate::kubernetes::objects::{Change, ObjectKey, Resource};
use crate::kubernetes::source::decode::{Decoded, Meaning, decode, null_is_absent};
use crate::kubernetes::source::selector::Labels;

/// Files that are larger are not read.
const MAX_FILE: u64 = 1 << 30;

/// What a file says.
#[derive(Default)]
pub(super) struct Manifest {
    pub(super) objects: Vec<ManifestObject>,
    /// Whether any document says what kind of object it is: not in a file that is empty or was cut short.
    pub(super) has_kind: bool,
}

/// An object of a manifest.
#[derive(Debug)]
pub(super) struct ManifestObject {
    pub(super) resource: Resource,
    pub(super) labels: Labels,
    pub(super) decoded: Decoded,
}

/// Why a manifest cannot be read.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Problem {
    /// Where: a line, or a document and an object in it.
    place: String,
    cause: String,
}

impl Problem {
    pub(super) fn of_file(cause: String) -> Problem {
        Problem { place: String::new(), cause }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let separator = if self.place.is_empty() { "" } else { ": " };
        write!(f, "{}{separator}{}", self.place, self.cause)
    }
}

/// Reads the objects of a file; kinds that DNS does not use are passed over.
pub(super) fn read(path: &Path) -> Result<Manifest, Problem> {
    let problem = |error: std::io::Error| Problem::of_file(error.to_string());
    let size = std::fs::metadata(path).map_err(problem)?.len();
    if size > MAX_FILE {
        return Err(Problem::of_file(format!("larger than {} MB", MAX_FILE >> 20)));
    }
    let text = std::fs::read_to_string(path).map_err(problem)?;
    parse(&text)
}

/// Reads the objects of a text: JSON if it begins like that, otherwise YAML.
pub(super) fn parse(text: &str) -> Result<Manifest, Problem> {
    let mut manifest = Manifest::default();
    if text.trim_start().starts_with('{') {
        read_json(text, &mut manifest)?
    } else {
        read_yaml(text, &mut manifest)?
    }
    Ok(manifest)
}

/// Objects of a list are decoded one by one, straight from the text.
fn read_json(text: &str, manifest: &mut Manifest) -> Result<(), Problem> {
    let Manifest { objects, has_kind } = manifest;
    #[derive(Deserialize)]
    struct List<'a> {
        #[serde(borrow, default)]
        items: Option<Vec<&'a RawValue>>,
    }
    let line = |part: &str, error: &serde_json::Error| {
        // The error counts lines from where its part begins.
        let start = (part.as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        let before = text
            .as_bytes()
            .get(..start)
            .unwrap_or_default()
            .iter()
            .filter(|&&byte| byte == b'\n')
            .count();
        format!("line {}", before + error.line())
    };
    let fail = |part: &str, error: serde_json::Error| {
        let cause = error.to_string();
        // Its own idea of the line counts from there too.
        let cause =
            cause.rsplit_once(" at line ").map_or(cause.as_str(), |(cause, _)| cause).to_owned();
        Problem { place: line(part, &error), cause }
    };
    for document in serde_json::Deserializer::from_str(text).into_iter::<&RawValue>() {
        let document = document.map_err(|error| fail(text, error))?;
        let error_in = |error| fail(document.get(), error);
        let head = Head::deserialize(document).map_err(error_in)?;
        *has_kind |= !head.kind.is_empty();
        let Some(item_head) = head.of_items() else {
            objects.extend(object(document, head).map_err(error_in)?);
            continue;
        };
        let items = List::deserialize(document).map_err(error_in)?.items;
        for item in items.into_iter().flatten().filter(|item| item.get() != "null") {
            let error_in = |error| fail(item.get(), error);
            let head = Head::deserialize(item).map_err(error_in)?.or(&item_head);
            objects.extend(object(item, head).map_err(error_in)?);
        }
    }
    Ok(())
}

fn read_yaml(text: &str, manifest: &mut Manifest) -> Result<(), Problem> {
    let Manifest { objects, has_kind } = manifest;
    for (number, document) in serde_norway::Deserializer::from_str(text).enumerate() {
        let place = format!("document {}", number + 1);
        let fail =
            |error: serde_norway::Error| Problem { place: place.clone(), cause: error.to_string() };
        let document = Value::deserialize(document).map_err(fail)?;
        if document.is_null() {
            continue;
        }
        let head = Head::deserialize(&document).map_err(fail)?;
        *has_kind |= !head.kind.is_empty();
        let Some(item_head) = head.of_items() else {
            let kind = head.kind.clone();
            objects.extend(
                object(&document, head)
                    .map_err(|error| in_object(&place, &kind, &document, &error))?,
            );
            continue;
        };
        let items = match document.get("items") {
            None | Some(Value::Null) => &[][..],
            Some(Value::Sequence(items)) => items,
            Some(_) => return Err(Problem { place, cause: "items: expected a list".to_owned() }),
        };
        for (number, item) in items.iter().enumerate().filter(|(_, item)| !item.is_null()) {
            let place = format!("{place}, item {}", number + 1);
            let fail = |error: serde_norway::Error| Problem {
                place: place.clone(),
                cause: error.to_string(),
            };
            let head = Head::deserialize(item).map_err(fail)?.or(&item_head);
            let kind = head.kind.clone();
            objects.extend(
                object(item, head).map_err(|error| in_object(&place, &kind, item, &error))?,
            );
        }
    }
    Ok(())
}

/// A tree has no lines any more; kind and name lead to the place.
fn in_object(place: &str, kind: &str, object: &Value, error: &serde_norway::Error) -> Problem {
    let name =
        object.get("metadata").and_then(|metadata| metadata.get("name")).and_then(Value::as_str);
    let name = name.map(|name| format!(" {name:?}")).unwrap_or_default();
    Problem { place: format!("{place} ({kind}{name})"), cause: error.to_string() }
}

/// What kind of object it is.
#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Head {
    #[serde(default, deserialize_with = "null_is_absent")]
    api_version: String,
    #[serde(default, deserialize_with = "null_is_absent")]
    kind: String,
}

impl Head {
    /// If this is a list: what its items are, where they do not say so themselves (the API's own lists).
    fn of_items(&self) -> Option<Head> {
        let kind = self.kind.strip_suffix("List")?.to_owned();
        Some(Head { api_version: self.api_version.clone(), kind })
    }

    fn or(self, list: &Head) -> Head {
        if self.kind.is_empty() { list.clone() } else { self }
    }

    fn resource(&self) -> Option<Resource> {
        match (self.api_version.as_str(), self.kind.as_str()) {
            ("v1", "Service") => Some(Resource::Services),
            ("v1", "Namespace") => Some(Resource::Namespaces),
            ("v1", "Pod") => Some(Resource::Pods),
            ("discovery.k8s.io/v1", "EndpointSlice") => Some(Resource::EndpointSlices),
            _ => None,
        }
    }
}

/// Reads one object, if it is one that DNS uses.
fn object<'de, D>(input: D, head: Head) -> Result<Option<ManifestObject>, D::Error>
where
    D: Deserializer<'de> + Copy,
{
    #[derive(Deserialize)]
    struct Labelled {
        metadata: LabelledMetadata,
    }
    #[derive(Deserialize)]
    struct LabelledMetadata {
        #[serde(default)]
        labels: Option<Labels>,
    }
    let Some(resource) = head.resource() else { return Ok(None) };
    let mut labels = Labelled::deserialize(input)?.metadata.labels.unwrap_or_default();
    let mut decoded = decode(resource, input)?;
    if decoded.key.name.is_empty() {
        return Err(serde::de::Error::custom("metadata.name is missing"));
    }
    if resource == Resource::Namespaces {
        labels.entry(NAMESPACE_LABEL.to_owned()).or_insert_with(|| decoded.key.name.clone());
    } else if decoded.key.namespace.is_empty() {
        set_namespace(&mut decoded, "default");
    }
    Ok(Some(ManifestObject { resource, labels, decoded }))
}

/// An object without a namespace is in the namespace `default`, as when it is applied.
fn set_namespace(decoded: &mut Decoded, namespace: &str) {
    let set = |key: &mut ObjectKey| namespace.clone_into(&mut key.namespace);
    set(&mut decoded.key);
    match &mut decoded.meaning {
        Meaning::Present(Change::Service(service)) => set(&mut service.key),
        Meaning::Present(Change::Slice(slice)) => set(&mut slice.key),
        Meaning::Present(Change::Pod(pod)) => set(&mut pod.key),
        _ => {}
    }
}
