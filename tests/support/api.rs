//! A small client of the Kubernetes API: objects go in and out as JSON.

use http::{Method, Request};
use kube::config::{KubeConfigOptions, Kubeconfig};
use serde_json::Value;
use tokio::runtime::{Builder, Runtime};

use super::test_api_server::collection;

/// A connection to an API server.
pub struct Api {
    client: kube::Client,
    runtime: Runtime,
}

impl Api {
    /// Connects as the kubeconfig says.
    pub fn new(kubeconfig: &str) -> Api {
        let runtime =
            Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let client = runtime.block_on(async {
            let kubeconfig = Kubeconfig::from_yaml(kubeconfig).expect("a kubeconfig");
            let config =
                kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
                    .await;
            kube::Client::try_from(config.expect("a complete kubeconfig")).expect("a client")
        });
        Api { client, runtime }
    }

    /// One request; the answer's text.
    pub fn text(&self, method: Method, path: &str, body: Option<&Value>) -> Result<String, String> {
        let content = body.map(Value::to_string).unwrap_or_default().into_bytes();
        let kind = match method {
            Method::PATCH => "application/merge-patch+json",
            _ => "application/json",
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", kind)
            .body(content)
            .expect("a request");
        self.runtime
            .block_on(self.client.request_text(request))
            .map_err(|error| format!("{path}: {error}"))
    }

    /// Creates an object, its status too where it has one.
    pub fn create(&self, object: &Value) {
        let folder = folder(object);
        self.text(Method::POST, &folder, Some(object))
            .unwrap_or_else(|error| panic!("{error}\n{object}"));
        if let Some(status) = object.get("status") {
            let path = format!("{folder}/{}/status", name(object));
            self.text(Method::PATCH, &path, Some(&serde_json::json!({ "status": status })))
                .unwrap_or_else(|error| panic!("{error}\n{object}"));
        }
    }

    /// Changes fields of an object: a JSON merge patch (RFC 7396).
    pub fn change(&self, object: &Value, patch: &Value) {
        let path = format!("{}/{}", folder(object), name(object));
        self.text(Method::PATCH, &path, Some(patch))
            .unwrap_or_else(|error| panic!("{error}\n{patch}"));
    }

    /// Deletes an object at once.
    pub fn delete(&self, object: &Value) {
        let path = format!("{}/{}?gracePeriodSeconds=0", folder(object), name(object));
        self.text(Method::DELETE, &path, None).unwrap_or_else(|error| panic!("{error}"));
    }
}

fn name(object: &Value) -> &str {
    object["metadata"]["name"].as_str().expect("an object has a name")
}

/// Where objects of this kind live.
fn folder(object: &Value) -> String {
    let version = match object["apiVersion"].as_str() {
        Some("v1") => "/api/v1".to_owned(),
        Some(group) => format!("/apis/{group}"),
        None => panic!("an object has a version"),
    };
    let plural = collection(object);
    match object["metadata"]["namespace"].as_str() {
        Some(namespace) => format!("{version}/namespaces/{namespace}/{plural}"),
        None => format!("{version}/{plural}"),
    }
}
