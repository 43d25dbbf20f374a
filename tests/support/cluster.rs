//! The cluster of the tests, described once and brought into every kind of source: a folder of manifests, an API server.

use serde_json::{Map, Value, json};

/// Every object, in an order in which an API server takes them.
pub fn objects() -> Vec<Value> {
    parse(include_str!("../data/cluster/objects.txt"))
}

/// The namespaces that an API server makes by itself; a folder of manifests must name them.
pub fn built_in_namespaces() -> Vec<Value> {
    ["default", "kube-system"].iter().map(|name| namespace(name, &[])).collect()
}

/// Several objects as one manifest.
pub fn manifest(objects: &[Value]) -> String {
    json!({ "apiVersion": "v1", "kind": "List", "items": objects }).to_string()
}

/// Reads objects, one a line; the file itself describes the language.
pub fn parse(text: &str) -> Vec<Value> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default().trim());
    lines.filter(|line| !line.is_empty()).map(object).collect()
}

fn object(line: &str) -> Value {
    let (head, endpoints) =
        line.split_once('|').map_or((line, None), |(head, endpoints)| (head, Some(endpoints)));
    let words: Vec<&str> = head.split_whitespace().collect();
    match words.as_slice() {
        ["namespace", name, labels @ ..] => namespace(name, labels),
        ["service", name, addresses, rest @ ..] => {
            let addresses: Vec<&str> = addresses.split(',').collect();
            let families: Vec<&str> = addresses.iter().map(|address| family(address)).collect();
            service(
                name,
                json!({ "clusterIP": addresses[0], "clusterIPs": addresses }),
                &families,
                rest,
            )
        }
        ["headless", name, families, rest @ ..] => {
            let families: Vec<&str> = families.split(',').collect();
            service(name, json!({ "clusterIP": "None", "clusterIPs": ["None"] }), &families, rest)
        }
        ["external", name, target, rest @ ..] => {
            service(name, json!({ "type": "ExternalName", "externalName": target }), &[], rest)
        }
        ["slice", name, service, family, ports @ ..] => {
            slice(name, service, family, ports, endpoints)
        }
        ["pod", name, addresses, rest @ ..] => pod(name, addresses, rest),
        _ => panic!("no object: {line}"),
    }
}

fn namespace(name: &str, labels: &[&str]) -> Value {
    json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name, "labels": fields(labels) } })
}

fn service(name: &str, mut spec: Value, families: &[&str], rest: &[&str]) -> Value {
    let (extra, ports): (Vec<&str>, Vec<&str>) = rest.iter().partition(|word| word.contains('='));
    if !ports.is_empty() {
        spec["ports"] = ports.iter().map(|text| port(text)).collect();
    }
    if !families.is_empty() {
        spec["ipFamilies"] = json!(families);
        spec["ipFamilyPolicy"] =
            json!(if families.len() > 1 { "RequireDualStack" } else { "SingleStack" });
    }
    for (field, value) in fields(&extra) {
        spec[field.as_str()] = if field == "externalIPs" { json!([value]) } else { value };
    }
    json!({ "apiVersion": "v1", "kind": "Service", "metadata": metadata(name), "spec": spec })
}

fn slice(
    name: &str,
    service: &str,
    family: &str,
    ports: &[&str],
    endpoints: Option<&str>,
) -> Value {
    let mut metadata = metadata(name);
    if service != "-" {
        metadata["labels"] = json!({ "kubernetes.io/service-name": service });
    }
    // A slice's port without a name has the empty one.
    let ports: Vec<Value> = ports.iter().map(|text| named(port(text))).collect();
    let endpoints: Vec<Value> = endpoints
        .into_iter()
        .flat_map(|endpoints| endpoints.split('|'))
        .flat_map(expand)
        .map(|text| endpoint(&text))
        .collect();
    json!({
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": metadata,
        "addressType": family, "ports": ports, "endpoints": endpoints,
    })
}

fn named(mut port: Value) -> Value {
    if port.get("name").is_none() {
        port["name"] = json!("");
    }
    port
}

/// `NAME:NUMBER/PROTOCOL`.
fn port(text: &str) -> Value {
    let (name, rest) = text.split_once(':').unwrap_or_else(|| panic!("no port: {text}"));
    let (number, protocol) = rest.split_once('/').unwrap_or_else(|| panic!("no port: {text}"));
    let mut port = Map::new();
    if !name.is_empty() {
        port.insert("name".to_owned(), json!(name));
    }
    if let Ok(number) = number.parse::<u16>() {
        port.insert("port".to_owned(), json!(number));
    }
    if !protocol.is_empty() {
        port.insert("protocol".to_owned(), json!(protocol));
    }
    Value::Object(port)
}

/// `{1..9}` makes nine texts, in which `{}` is the number too.
pub fn expand(text: &str) -> Vec<String> {
    let Some((before, after)) = text.split_once('{').filter(|(_, after)| !after.starts_with('}'))
    else {
        return vec![text.to_owned()];
    };
    let (range, after) = after.split_once('}').expect("a closing brace");
    let (first, last) = range.split_once("..").expect("a range");
    let (first, last): (u32, u32) =
        (first.parse().expect("a number"), last.parse().expect("a number"));
    (first..=last)
        .map(|number| format!("{before}{number}{}", after.replace("{}", &number.to_string())))
        .collect()
}

fn endpoint(text: &str) -> Value {
    let words: Vec<&str> = text.split_whitespace().collect();
    let mut endpoint = json!({ "addresses": [words[0]] });
    for (field, value) in fields(&words[1..]) {
        match field.as_str() {
            "host" => endpoint["hostname"] = value,
            "pod" => endpoint["targetRef"] = json!({ "kind": "Pod", "name": value }),
            "ready" => endpoint["conditions"] = json!({ "ready": value }),
            "zone" => endpoint["zone"] = value,
            _ => panic!("no field of an endpoint: {field}"),
        }
    }
    endpoint
}

fn pod(name: &str, addresses: &str, rest: &[&str]) -> Value {
    let mut fields = fields(rest);
    let mut status = json!({ "phase": fields.remove("phase").unwrap_or(json!("Running")) });
    if addresses != "-" {
        let addresses: Vec<&str> = addresses.split(',').collect();
        status["podIP"] = json!(addresses[0]);
        status["podIPs"] = addresses.iter().map(|address| json!({ "ip": address })).collect();
    }
    let mut spec = json!({ "containers": [{ "name": "main", "image": "example.invalid/main" }] });
    for (field, value) in fields {
        spec[field.as_str()] = value;
    }
    json!({ "apiVersion": "v1", "kind": "Pod", "metadata": metadata(name), "spec": spec, "status": status })
}

/// `NAMESPACE/NAME`.
fn metadata(name: &str) -> Value {
    let (namespace, name) = name.split_once('/').unwrap_or_else(|| panic!("no namespace: {name}"));
    json!({ "namespace": namespace, "name": name })
}

/// `FIELD=VALUE` words; `true` and `false` are not texts.
fn fields(words: &[&str]) -> Map<String, Value> {
    let pairs =
        words.iter().map(|word| word.split_once('=').unwrap_or_else(|| panic!("no field: {word}")));
    pairs
        .map(|(field, value)| {
            (field.to_owned(), value.parse::<bool>().map_or(json!(value), Value::Bool))
        })
        .collect()
}

fn family(address: &str) -> &'static str {
    if address.contains(':') { "IPv6" } else { "IPv4" }
}
