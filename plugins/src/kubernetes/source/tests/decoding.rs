//! An object as the API writes it, and what is left of it.

use serde_json::json;

use crate::kubernetes::objects::{
    Change, Endpoint, EndpointSlice, ObjectKey, Pod, Port, Resource, Service, ServiceKind,
};
use crate::kubernetes::source::decode::{Decoded, Meaning, decode};
use crate::kubernetes::source::event::{self, Event};

fn key() -> ObjectKey {
    ObjectKey { namespace: "ns".to_owned(), name: "one".to_owned() }
}

fn read(resource: Resource, text: &str) -> Result<Decoded, String> {
    decode(resource, &mut serde_json::Deserializer::from_str(text))
        .map_err(|error| error.to_string())
}

/// An object named `ns/one` with more in it.
fn meaning(resource: Resource, mut object: serde_json::Value) -> Meaning {
    object["metadata"]["name"] = json!("one");
    object["metadata"]["namespace"] = json!("ns");
    object["metadata"]["resourceVersion"] = json!("17");
    object["metadata"]["managedFields"] = json!([{"fieldsV1": {"f:spec": {"f:\"x\\": {}}}}]);
    let decoded = read(resource, &object.to_string()).expect("the object can be read");
    assert_eq!((&decoded.key, decoded.version.as_str()), (&key(), "17"));
    decoded.meaning
}

fn port(name: &str, protocol: &str, port: Option<u16>) -> Port {
    Port { name: name.to_owned(), protocol: protocol.to_owned(), port }
}

#[test]
fn services_keep_their_kind_and_ports() {
    let addresses = |list: &[&str]| {
        ServiceKind::ClusterIp(
            list.iter().map(|text| text.parse().expect("the table has addresses")).collect(),
        )
    };
    let external = |name: &str| ServiceKind::ExternalName(name.to_owned());
    let cases = [
        (
            json!({"clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"]}),
            addresses(&["10.0.0.1", "fd00::1"]),
        ),
        (json!({"type": "NodePort", "clusterIP": "10.0.0.1"}), addresses(&["10.0.0.1"])),
        (json!({"type": "LoadBalancer", "clusterIPs": ["fd00::1"]}), addresses(&["fd00::1"])),
        (json!({"clusterIP": "None", "clusterIPs": ["None"]}), ServiceKind::Headless),
        (json!({"clusterIP": "None"}), ServiceKind::Headless),
        (json!({"clusterIP": "None", "clusterIPs": []}), ServiceKind::Headless),
        // `clusterIPs` decides where both are there.
        (json!({"clusterIP": "None", "clusterIPs": ["10.0.0.1"]}), addresses(&["10.0.0.1"])),
        (json!({"type": "ExternalName", "externalName": "Example.ORG"}), external("Example.ORG")),
        (
            json!({"type": "ExternalName", "externalName": "a.b", "clusterIP": "None"}),
            external("a.b"),
        ),
        (json!({"type": "ExternalName"}), external("")),
        (json!({"type": "ClusterIP", "clusterIP": ""}), addresses(&[])),
        (json!({"clusterIPs": null, "clusterIP": null, "ports": null}), addresses(&[])),
        (json!({"clusterIP": "not an address"}), addresses(&[])),
        // As Go reads it.
        (json!({"clusterIP": "::ffff:10.0.0.1"}), addresses(&["10.0.0.1"])),
        (
            json!({"clusterIPs": ["::ffff:a00:1", "::10.0.0.1"]}),
            addresses(&["10.0.0.1", "::a00:1"]),
        ),
        (json!({}), addresses(&[])),
    ];
    for (spec, kind) in cases {
        let found = meaning(Resource::Services, json!({"spec": spec}));
        let service = Service { key: key(), kind, ports: Vec::new() };
        assert_eq!(found, Meaning::Present(Change::Service(service)), "{spec}");
    }
}

#[test]
fn ports_are_named_in_lower_case_protocols() {
    let ports = json!([
        {"name": "dns", "protocol": "UDP", "port": 53, "targetPort": "dns"},
        {"port": 9, "protocol": "SCTP", "nodePort": 30009},
        {"name": "", "protocol": "", "port": 1},
        {"name": "all", "protocol": null, "port": null},
        {"name": null, "port": 70000},
    ]);
    let expected = vec![
        port("dns", "udp", Some(53)),
        port("", "sctp", Some(9)),
        port("", "tcp", Some(1)),
        port("all", "tcp", None),
        port("", "tcp", None),
    ];
    let Meaning::Present(Change::Service(service)) =
        meaning(Resource::Services, json!({"spec": {"ports": ports}}))
    else {
        panic!("a Service is present");
    };
    assert_eq!(service.ports, expected);
    let Meaning::Present(Change::Slice(slice)) =
        meaning(Resource::EndpointSlices, json!({"ports": ports}))
    else {
        panic!("a slice is present");
    };
    assert_eq!(slice.ports, expected);
}

#[test]
fn slices_keep_endpoints_that_are_ready_or_do_not_say() {
    let slice = |endpoints: serde_json::Value| match meaning(
        Resource::EndpointSlices,
        json!({"addressType": "IPv4", "endpoints": endpoints, "ports": null}),
    ) {
        Meaning::Present(Change::Slice(slice)) => slice.endpoints,
        other => panic!("not a slice: {other:?}"),
    };
    let endpoint = |addresses: &[&str], hostname: &str, pod_name: &str| Endpoint {
        addresses: addresses
            .iter()
            .map(|text| text.parse().expect("the table has addresses"))
            .collect(),
        hostname: hostname.to_owned(),
        pod_name: pod_name.to_owned(),
    };
    let long = "p".repeat(64);
    let longest = "p".repeat(63);
    let cases = [
        (json!(null), vec![]),
        (json!([]), vec![]),
        (
            json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": true}}]),
            vec![endpoint(&["10.0.0.1"], "", "")],
        ),
        (
            json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": false, "serving": true}}]),
            vec![],
        ),
        (
            json!([{"addresses": ["10.0.0.1"], "conditions": {"ready": null}}]),
            vec![endpoint(&["10.0.0.1"], "", "")],
        ),
        (
            json!([{"addresses": ["10.0.0.1"], "conditions": {}}]),
            vec![endpoint(&["10.0.0.1"], "", "")],
        ),
        (
            json!([{"addresses": ["10.0.0.1"], "conditions": null}]),
            vec![endpoint(&["10.0.0.1"], "", "")],
        ),
        (
            json!([{"addresses": ["10.0.0.1", "10.0.0.2"]}]),
            vec![endpoint(&["10.0.0.1", "10.0.0.2"], "", "")],
        ),
        (
            json!([{"addresses": ["fd00::1"], "hostname": "h", "nodeName": "n", "zone": "z"}]),
            vec![endpoint(&["fd00::1"], "h", "")],
        ),
        (
            json!([{"addresses": ["10.0.0.1"], "targetRef": {"kind": "Pod", "name": "p-0"}}]),
            vec![endpoint(&["10.0.0.1"], "", "p-0")],
        ),
        (
            json!([{"addresses": ["10.0.0.1"], "targetRef": {"name": longest}}]),
            vec![endpoint(&["10.0.0.1"], "", &longest)],
        ),
        (
            json!([{"addresses": ["10.0.0.1"], "targetRef": {"name": long}}]),
            vec![endpoint(&["10.0.0.1"], "", "")],
        ),
        // addressType FQDN: nothing that A or AAAA could say.
        (json!([{"addresses": ["db.example.org"]}]), vec![endpoint(&[], "", "")]),
        (
            json!([{"addresses": ["::ffff:10.0.0.1", "fd00::1"]}]),
            vec![endpoint(&["10.0.0.1", "fd00::1"], "", "")],
        ),
    ];
    for (endpoints, expected) in cases {
        assert_eq!(slice(endpoints.clone()), expected, "{endpoints}");
    }
}

#[test]
fn slices_name_their_service_and_when_they_changed() {
    let annotation = "endpoints.kubernetes.io/last-change-trigger-time";
    let cases = [
        (json!({}), None, None),
        (json!({"labels": null, "annotations": null}), None, None),
        (json!({"labels": {"app": "x"}, "annotations": {"other": "y"}}), None, None),
        (json!({"labels": {"kubernetes.io/service-name": "web"}}), Some("web"), None),
        (
            json!({"annotations": {annotation: "2026-11-21T01:43:50Z"}}),
            None,
            Some(1_795_225_430_000_000_000),
        ),
        (
            json!({"annotations": {annotation: "2026-11-21T01:43:50.000000001Z"}}),
            None,
            Some(1_795_225_430_000_000_001),
        ),
        (
            json!({"annotations": {annotation: "2026-11-21T03:43:50+02:00"}}),
            None,
            Some(1_795_225_430_000_000_000),
        ),
        (json!({"annotations": {annotation: "yesterday"}}), None, None),
    ];
    for (metadata, service, last_change) in cases {
        let expected = EndpointSlice {
            key: key(),
            service: service.map(str::to_owned),
            endpoints: Vec::new(),
            ports: Vec::new(),
            last_change,
        };
        let found = meaning(Resource::EndpointSlices, json!({"metadata": metadata}));
        assert_eq!(found, Meaning::Present(Change::Slice(expected)), "{metadata}");
    }
}

#[test]
fn pods_count_while_they_run_and_have_an_address() {
    let present = |address: &str| {
        let address = address.parse().expect("the table has addresses");
        Meaning::Present(Change::Pod(Pod { key: key(), address }))
    };
    let cases = [
        (
            json!({"status": {"phase": "Running", "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}]}}),
            present("10.1.0.1"),
        ),
        (json!({"status": {"phase": "Pending", "podIP": "fd00::1"}}), present("fd00::1")),
        (json!({"status": {"podIP": "10.1.0.1"}}), present("10.1.0.1")),
        (json!({"status": {"podIP": "::ffff:10.1.0.1"}}), present("10.1.0.1")),
        (json!({"status": {"phase": "Pending"}}), Meaning::Nameless),
        (json!({"status": {"phase": "Pending", "podIP": ""}}), Meaning::Nameless),
        (json!({}), Meaning::Nameless),
        (json!({"status": {"phase": "Succeeded", "podIP": "10.1.0.1"}}), Meaning::Nameless),
        (json!({"status": {"phase": "Failed", "podIP": "10.1.0.1"}}), Meaning::Nameless),
        (json!({"status": {"phase": "Unknown", "podIP": "10.1.0.1"}}), Meaning::Nameless),
        (
            json!({"metadata": {"deletionTimestamp": null}, "status": {"podIP": "10.1.0.1"}}),
            present("10.1.0.1"),
        ),
        (
            json!({"metadata": {"deletionTimestamp": "2026-11-21T01:43:50Z"}, "status": {"podIP": "10.1.0.1"}}),
            Meaning::Unchanged,
        ),
    ];
    for (object, expected) in cases {
        assert_eq!(meaning(Resource::Pods, object.clone()), expected, "{object}");
    }
}

#[test]
fn namespaces_are_their_names() {
    let decoded = read(
        Resource::Namespaces,
        r#"{"metadata":{"name":"one","resourceVersion":"3"},"spec":{}}"#,
    );
    let key = ObjectKey { namespace: String::new(), name: "one".to_owned() };
    let meaning = Meaning::Present(Change::Namespace("one".to_owned()));
    assert_eq!(decoded, Ok(Decoded { key, version: "3".to_owned(), meaning }));
}

#[test]
fn what_is_no_object_is_an_error() {
    for text in [
        "",
        "[]",
        "null",
        "{}",
        r#"{"metadata":[]}"#,
        r#"{"metadata":{"name":1}}"#,
        r#"{"metadata":{}"#,
    ] {
        for resource in
            [Resource::Services, Resource::EndpointSlices, Resource::Namespaces, Resource::Pods]
        {
            assert!(read(resource, text).is_err(), "{text:?} was read as {resource:?}");
        }
    }
}

#[test]
fn events_are_read_in_one_go_when_they_are_as_usual() {
    let object = r#"{"metadata":{"name":"n","resourceVersion":"7"}}"#;
    let read = |line: &str| event::read(Resource::Namespaces, line.as_bytes()).ok();
    let decoded = Decoded {
        key: ObjectKey { namespace: String::new(), name: "n".into() },
        version: "7".into(),
        meaning: Meaning::Present(Change::Namespace("n".into())),
    };
    let seen = || Some(Event::Seen(decoded.clone()));
    for (line, wanted) in [
        (format!(r#"{{"type":"ADDED","object":{object}}}"#), seen()),
        (format!(r#" {{ "type" : "MODIFIED", "object" : {object}, "more": [1] }} "#), seen()),
        (format!(r#"{{"type":"DELETED","object":{object}}}"#), Some(Event::Gone(decoded.clone()))),
        // Each of these deserves a second look.
        (format!(r#"{{"type":"BOOKMARK","object":{object}}}"#), None),
        (format!(r#"{{"object":{object},"type":"ADDED"}}"#), None),
        (format!(r#"{{"type":"ADDED","object":{object}"#), None),
        (format!(r#"{{"type":"ADDED","object":{object}}}{{}}"#), None),
        (r#"{"type":"ADDED","object":7}"#.to_owned(), None),
        (r#"{"type":"ADDED"}"#.to_owned(), None),
        ("[]".to_owned(), None),
    ] {
        assert_eq!(read(&line), wanted, "{line}");
    }
}
