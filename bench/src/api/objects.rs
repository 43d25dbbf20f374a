//! The cluster as Kubernetes API objects.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::kind::Kind;
use crate::cluster::{Cluster, Pod, SLICE, Service};

const CREATED: &str = "2025-01-01T00:00:00Z";
/// Each object's version: none has changed since the first.
const VERSION: &str = "1000000";

/// Where EndpointSlices are listed.
pub(super) const SLICES: &str = "/apis/discovery.k8s.io/v1/endpointslices";

/// All kinds that a DNS server may ask for.
pub(super) fn kinds(cluster: &Cluster) -> Vec<Kind> {
    vec![
        Kind::new(
            "/api/v1/namespaces",
            "Namespace",
            "v1",
            cluster.namespaces().into_iter().map(namespace),
        ),
        Kind::new("/api/v1/services", "Service", "v1", cluster.services.iter().map(service)),
        Kind::new(
            SLICES,
            "EndpointSlice",
            "discovery.k8s.io/v1",
            cluster.services.iter().flat_map(slices),
        ),
        Kind::new("/api/v1/pods", "Pod", "v1", cluster.pods.iter().map(pod)),
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
    let chunks = service.endpoints.chunks(SLICE).enumerate();
    chunks.map(|(number, endpoints)| slice(service, number, endpoints)).collect()
}

/// One slice of a service.
pub(crate) fn slice(service: &Service, number: usize, endpoints: &[Ipv4Addr]) -> Value {
    let name = format!("{}-{number:05}", service.name);
    let endpoints: Vec<Value> = endpoints
            .iter()
            .map(|address| {
                let pod = service.pod_name(*address);
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
}

/// About as long as a real one of a small Deployment.
fn pod(pod: &Pod) -> Value {
    let Pod { namespace, name, address } = pod;
    let app = name.rsplitn(3, '-').last().unwrap_or_default();
    let condition = |kind: &str| json!({ "type": kind, "status": "True", "lastProbeTime": null, "lastTransitionTime": CREATED, "observedGeneration": 1 });
    let conditions =
        ["PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled"]
            .map(condition);
    json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {
            "name": name, "generateName": format!("{app}-6d5f7c9b8-"), "namespace": namespace, "uid": uid(name),
            "resourceVersion": VERSION, "generation": 1, "creationTimestamp": CREATED,
            "labels": { "app.kubernetes.io/name": app, "app.kubernetes.io/part-of": namespace, "pod-template-hash": "6d5f7c9b8" },
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": format!("{app}-6d5f7c9b8"), "uid": uid(app),
                "controller": true, "blockOwnerDeletion": true,
            }],
            "managedFields": [
                managed("kube-controller-manager", json!({
                    "f:metadata": {
                        "f:generateName": {},
                        "f:labels": { ".": {}, "f:app.kubernetes.io/name": {}, "f:app.kubernetes.io/part-of": {}, "f:pod-template-hash": {} },
                        "f:ownerReferences": { ".": {}, "k:{\"uid\":\"00000000-0000-0000-0000-000000000000\"}": {} },
                    },
                    "f:spec": {
                        "f:containers": { "k:{\"name\":\"app\"}": {
                            ".": {}, "f:image": {}, "f:imagePullPolicy": {}, "f:livenessProbe": {}, "f:name": {}, "f:ports": {},
                            "f:readinessProbe": {}, "f:resources": {}, "f:terminationMessagePath": {}, "f:terminationMessagePolicy": {},
                        } },
                        "f:dnsPolicy": {}, "f:enableServiceLinks": {}, "f:restartPolicy": {}, "f:schedulerName": {},
                        "f:securityContext": {}, "f:terminationGracePeriodSeconds": {},
                    },
                }))[0],
                managed("kubelet", json!({
                    "f:status": {
                        "f:conditions": {
                            "k:{\"type\":\"ContainersReady\"}": { ".": {}, "f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:status": {}, "f:type": {} },
                            "k:{\"type\":\"Initialized\"}": { ".": {}, "f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:status": {}, "f:type": {} },
                            "k:{\"type\":\"Ready\"}": { ".": {}, "f:lastProbeTime": {}, "f:lastTransitionTime": {}, "f:status": {}, "f:type": {} },
                        },
                        "f:containerStatuses": {}, "f:hostIP": {}, "f:hostIPs": {}, "f:phase": {}, "f:podIP": {}, "f:podIPs": {}, "f:startTime": {},
                    },
                }))[0],
            ],
        },
        "spec": {
            "containers": [{
                "name": "app", "image": format!("registry.example.com/{namespace}/{app}:1.4.2"), "imagePullPolicy": "IfNotPresent",
                "ports": [
                    { "name": "http", "containerPort": 8080, "protocol": "TCP" },
                    { "name": "metrics", "containerPort": 9090, "protocol": "TCP" },
                ],
                "env": [{ "name": "POD_NAME", "valueFrom": { "fieldRef": { "apiVersion": "v1", "fieldPath": "metadata.name" } } }],
                "resources": { "limits": { "memory": "256Mi" }, "requests": { "cpu": "100m", "memory": "256Mi" } },
                "livenessProbe": { "httpGet": { "path": "/healthz", "port": "http", "scheme": "HTTP" }, "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3 },
                "readinessProbe": { "httpGet": { "path": "/readyz", "port": "http", "scheme": "HTTP" }, "timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3 },
                "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
                "volumeMounts": [{ "name": "kube-api-access-x7k2p", "readOnly": true, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount" }],
            }],
            "volumes": [{ "name": "kube-api-access-x7k2p", "projected": { "defaultMode": 420, "sources": [
                { "serviceAccountToken": { "expirationSeconds": 3607, "path": "token" } },
                { "configMap": { "name": "kube-root-ca.crt", "items": [{ "key": "ca.crt", "path": "ca.crt" }] } },
            ] } }],
            "restartPolicy": "Always", "terminationGracePeriodSeconds": 30, "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default", "serviceAccount": "default", "nodeName": format!("node-{}", address.octets()[3] % 50),
            "securityContext": {}, "schedulerName": "default-scheduler", "enableServiceLinks": true, "priority": 0, "preemptionPolicy": "PreemptLowerPriority",
            "tolerations": [
                { "key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
                { "key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300 },
            ],
        },
        "status": {
            "observedGeneration": 1, "phase": "Running", "qosClass": "Burstable", "startTime": CREATED,
            "hostIP": "192.168.1.17", "hostIPs": [{ "ip": "192.168.1.17" }],
            "podIP": address.to_string(), "podIPs": [{ "ip": address.to_string() }],
            "conditions": conditions,
            "containerStatuses": [{
                "name": "app", "ready": true, "started": true, "restartCount": 0,
                "image": format!("registry.example.com/{namespace}/{app}:1.4.2"),
                "imageID": format!("registry.example.com/{namespace}/{app}@sha256:8d3c9f8f7a1b9c61c4dd84df0fbb7f9f2f7d6a01b6f2f0c3b1e0d4a5968778695"),
                "containerID": format!("containerd://{0}{0}", uid(name).replace('-', "")),
                "state": { "running": { "startedAt": CREATED } }, "lastState": {},
            }],
        },
    })
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
