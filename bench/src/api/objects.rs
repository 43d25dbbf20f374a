//! The cluster as Kubernetes API objects.

use serde_json::{Value, json};

use super::VERSION;
use crate::cluster::{Cluster, SLICE, Service};

const CREATED: &str = "2025-01-01T00:00:00Z";

/// One kind of object: where it is listed and all there are.
pub(super) struct Kind {
    pub(super) path: &'static str,
    pub(super) name: &'static str,
    pub(super) version: &'static str,
    pub(super) items: Vec<String>,
}

/// All kinds that a DNS server may ask for.
pub(super) fn kinds(cluster: &Cluster) -> Vec<Kind> {
    let namespaces =
        cluster.namespaces().into_iter().map(|name| namespace(name).to_string()).collect();
    let services = cluster.services.iter().map(|one| service(one).to_string()).collect();
    let slices = cluster.services.iter().flat_map(slices).map(|slice| slice.to_string()).collect();
    vec![
        Kind { path: "/api/v1/namespaces", name: "Namespace", version: "v1", items: namespaces },
        Kind { path: "/api/v1/services", name: "Service", version: "v1", items: services },
        Kind {
            path: "/apis/discovery.k8s.io/v1/endpointslices",
            name: "EndpointSlice",
            version: "discovery.k8s.io/v1",
            items: slices,
        },
        Kind { path: "/api/v1/pods", name: "Pod", version: "v1", items: Vec::new() },
    ]
}

/// All objects as one `v1.List`, as `kubectl get -o json` prints it.
pub(crate) fn list(cluster: &Cluster) -> Value {
    let mut items: Vec<Value> = cluster.namespaces().into_iter().map(namespace).collect();
    items.extend(cluster.services.iter().map(service));
    items.extend(cluster.services.iter().flat_map(slices));
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

/// What clients ask before they list.
pub(super) fn discovery(path: &str) -> Option<&'static str> {
    match path {
        "/version" => Some(r#"{"major":"1","minor":"33","gitVersion":"v1.33.0"}"#),
        "/apis/discovery.k8s.io/v1" => Some(
            r#"{"kind":"APIResourceList","apiVersion":"v1","groupVersion":"discovery.k8s.io/v1","resources":[{"name":"endpointslices","singularName":"endpointslice","namespaced":true,"kind":"EndpointSlice","verbs":["get","list","watch"]}]}"#,
        ),
        _ => None,
    }
}

/// An error as the API server words it.
pub(super) fn status(code: u16, reason: &str, message: &str) -> String {
    json!({ "kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "code": code, "message": message })
        .to_string()
}

fn namespace(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Namespace",
        "metadata": {
            "name": name, "uid": uid(name), "resourceVersion": VERSION, "creationTimestamp": CREATED,
            "labels": { "kubernetes.io/metadata.name": name },
            "managedFields": managed("kubectl", json!({ "f:metadata": { "f:labels": { ".": {}, "f:kubernetes.io/metadata.name": {} } } })),
        },
        "spec": { "finalizers": ["kubernetes"] },
        "status": { "phase": "Active" },
    })
}

fn service(service: &Service) -> Value {
    let address = service.address.map_or_else(|| "None".to_owned(), |address| address.to_string());
    json!({
        "apiVersion": "v1", "kind": "Service",
        "metadata": {
            "name": service.name, "namespace": service.namespace, "uid": uid(&service.domain()), "resourceVersion": VERSION,
            "creationTimestamp": CREATED,
            "labels": { "app.kubernetes.io/name": service.name, "app.kubernetes.io/part-of": service.namespace },
            "managedFields": managed("kubectl-client-side-apply", json!({
                "f:metadata": { "f:labels": { ".": {}, "f:app.kubernetes.io/name": {}, "f:app.kubernetes.io/part-of": {} } },
                "f:spec": {
                    "f:internalTrafficPolicy": {},
                    "f:ports": {
                        ".": {},
                        "k:{\"port\":80,\"protocol\":\"TCP\"}": { ".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {} },
                        "k:{\"port\":9090,\"protocol\":\"TCP\"}": { ".": {}, "f:name": {}, "f:port": {}, "f:protocol": {}, "f:targetPort": {} },
                    },
                    "f:selector": {}, "f:sessionAffinity": {}, "f:type": {},
                },
            })),
        },
        "spec": {
            "type": "ClusterIP", "clusterIP": address, "clusterIPs": [address],
            "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack", "internalTrafficPolicy": "Cluster", "sessionAffinity": "None",
            "selector": { "app.kubernetes.io/name": service.name },
            "ports": [
                { "name": "http", "protocol": "TCP", "port": 80, "targetPort": 8080 },
                { "name": "metrics", "protocol": "TCP", "port": 9090, "targetPort": "metrics" },
            ],
        },
        "status": { "loadBalancer": {} },
    })
}

fn slices(service: &Service) -> Vec<Value> {
    service.endpoints.chunks(SLICE).enumerate().map(|(number, endpoints)| {
        let name = format!("{}-{number:05}", service.name);
        let endpoints: Vec<Value> = endpoints
            .iter()
            .map(|address| {
                let pod = format!("{}-6d5f7c9b8-{:05x}", service.name, u32::from(*address) & 0xf_ffff);
                json!({
                    "addresses": [address.to_string()],
                    "conditions": { "ready": true, "serving": true, "terminating": false },
                    "nodeName": format!("node-{}", address.octets()[3] % 50),
                    "targetRef": { "kind": "Pod", "namespace": service.namespace, "name": pod, "uid": uid(&pod) },
                    "zone": "zone-a",
                })
            })
            .collect();
        json!({
            "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "addressType": "IPv4",
            "metadata": {
                "name": name, "generateName": format!("{}-", service.name), "namespace": service.namespace,
                "uid": uid(&format!("{name}.{}", service.namespace)), "resourceVersion": VERSION, "generation": 3,
                "creationTimestamp": CREATED,
                "annotations": { "endpoints.kubernetes.io/last-change-trigger-time": CREATED },
                "labels": {
                    "app.kubernetes.io/name": service.name,
                    "endpointslice.kubernetes.io/managed-by": "endpointslice-controller.k8s.io",
                    "kubernetes.io/service-name": service.name,
                },
                "ownerReferences": [{
                    "apiVersion": "v1", "kind": "Service", "name": service.name, "uid": uid(&service.domain()),
                    "controller": true, "blockOwnerDeletion": true,
                }],
                "managedFields": managed("kube-controller-manager", json!({
                    "f:addressType": {}, "f:endpoints": {},
                    "f:metadata": {
                        "f:annotations": { ".": {}, "f:endpoints.kubernetes.io/last-change-trigger-time": {} },
                        "f:generateName": {},
                        "f:labels": { ".": {}, "f:endpointslice.kubernetes.io/managed-by": {}, "f:kubernetes.io/service-name": {} },
                        "f:ownerReferences": { ".": {}, "k:{\"uid\":\"00000000-0000-0000-0000-000000000000\"}": {} },
                    },
                    "f:ports": {},
                })),
            },
            "endpoints": endpoints,
            "ports": [
                { "name": "http", "protocol": "TCP", "port": 8080 },
                { "name": "metrics", "protocol": "TCP", "port": 9090 },
            ],
        })
    }).collect()
}

fn managed(manager: &str, fields: Value) -> Value {
    json!([{
        "manager": manager, "operation": "Update", "apiVersion": "v1", "time": CREATED, "fieldsType": "FieldsV1", "fieldsV1": fields,
    }])
}

/// Something of a uid's length that differs between objects.
fn uid(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    });
    format!("{:08x}-0000-4000-8000-{:012x}", hash >> 32, hash & 0xffff_ffff_ffff)
}
