//! Manifests: what is read from them, and how changes and mistakes in files are met.

use std::fs;
use std::path::Path;

use super::{service, snapshot_of, start, until};

const NAMESPACE: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";

fn service_yaml(name: &str, address: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata:\n  name: {name}\n  namespace: a\nspec:\n  clusterIP: {address}\n  \
         ports:\n  - {{name: http, port: 80}}\n"
    )
}

/// Writes a file that differs from before in its size at least.
fn write(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    fs::write(&beside, text).expect("the folder can be written");
    fs::rename(beside, path).expect("the folder can be written");
}

#[tokio::test]
async fn all_ways_to_write_objects_are_read() {
    let slice = "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: s, namespace: a}\nendpoints: null\n";
    let list = |items: &str| format!("apiVersion: v1\nkind: List\nitems:\n{items}");
    let json = |object: serde_json::Value| object.to_string();
    let one = service("a", "one", "10.0.0.1");
    let own_list = serde_json::json!({
        "apiVersion": "v1", "kind": "ServiceList", "metadata": {"resourceVersion": "7"},
        "items": [{"metadata": {"name": "one", "namespace": "a"}, "spec": {"clusterIP": "10.0.0.1"}}],
    });
    let cases: [(&str, String, &[&str]); 12] = [
        ("x.yaml", NAMESPACE.to_owned(), &["Namespace a"]),
        (
            "x.yml",
            format!("{NAMESPACE}---\n{}---\n---\n{slice}", service_yaml("one", "10.0.0.1")),
            &["Namespace a", "Service a/one", "Slice a/s"],
        ),
        (
            "x.yaml",
            list(
                "- {apiVersion: v1, kind: Namespace, metadata: {name: a}}\n- {apiVersion: v1, kind: Secret}\n",
            ),
            &["Namespace a"],
        ),
        ("x.json", json(one.clone()), &["Namespace a", "Service a/one"]),
        ("x.yaml", json(one.clone()), &["Namespace a", "Service a/one"]),
        (
            "x.json",
            format!("{one}\n{}", service("b", "two", "10.0.0.2")),
            &["Namespace a", "Namespace b", "Service a/one", "Service b/two"],
        ),
        (
            "x.json",
            serde_json::json!({"apiVersion": "v1", "kind": "List", "items": [one]}).to_string(),
            &["Namespace a", "Service a/one"],
        ),
        (
            "x.json",
            serde_json::to_string_pretty(&own_list).unwrap_or_default(),
            &["Namespace a", "Service a/one"],
        ),
        (
            "x.yaml",
            "apiVersion: v1\nkind: Service\nmetadata: {name: one}\n".to_owned(),
            &["Namespace default", "Service default/one"],
        ),
        // The same kind in another group is another kind.
        (
            "x.yaml",
            "apiVersion: serving.knative.dev/v1\nkind: Service\nmetadata: {name: k}\n".to_owned(),
            &[],
        ),
        (
            "x.yaml",
            "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {1: x}\n".to_owned(),
            &[],
        ),
        ("x.yaml", String::new(), &[]),
    ];
    for (name, text, expected) in cases {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        write(&folder.path().join(name), &text);
        for path in [folder.path().to_owned(), folder.path().join(name)] {
            let source = start(snapshot_of(path));
            source.until_synced().await;
            let there: Vec<_> = source.recorder.now().objects.into_keys().collect();
            assert_eq!(there, expected, "{name}: {text}");
            assert!(source.state.remarks().is_empty(), "{:?}", source.state.remarks());
        }
    }
}

#[tokio::test]
async fn changes_in_files_are_reported_as_differences() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let (first, second) = (folder.path().join("1.yaml"), folder.path().join("deep/er/2.yaml"));
    write(&first, &format!("{NAMESPACE}---\n{}", service_yaml("one", "10.0.0.1")));
    let source = start(snapshot_of(folder.path()));
    source.until_objects(&["Namespace a", "Service a/one"]).await;
    fs::create_dir_all(folder.path().join("deep/er")).expect("the folder can be written");
    write(&second, &service_yaml("two", "10.0.0.2"));
    source.until_objects(&["Namespace a", "Service a/one", "Service a/two"]).await;
    write(&first, &format!("{NAMESPACE}---\n{}", service_yaml("three", "10.0.0.33")));
    source.until_objects(&["Namespace a", "Service a/three", "Service a/two"]).await;
    fs::remove_file(&second).expect("the file can be removed");
    source.until_objects(&["Namespace a", "Service a/three"]).await;
    // one, two, three added; one and two gone; the namespace once.
    assert_eq!(source.recorder.now().changes.len(), 6);
}

#[tokio::test]
async fn of_objects_with_one_name_the_last_file_counts() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    write(&folder.path().join("1.yaml"), &service_yaml("one", "10.0.0.1"));
    write(&folder.path().join("2.yaml"), &service_yaml("one", "10.0.0.2"));
    let address = |source: &super::Running| {
        format!("{:?}", source.recorder.now().objects.get("Service a/one"))
    };
    let source = start(snapshot_of(folder.path()));
    source.until_synced().await;
    assert!(address(&source).contains("10.0.0.2"), "{}", address(&source));
    assert_eq!(source.recorder.now().changes.len(), 2, "it does not change back and forth");
    fs::remove_file(folder.path().join("2.yaml")).expect("the file can be removed");
    until("the first is back", || address(&source).contains("10.0.0.1")).await;
}

#[tokio::test]
async fn a_bad_file_keeps_what_it_said_and_is_named() {
    let good = service_yaml("one", "10.0.0.1");
    let cases = [
        (format!("{good}---\nkind: [\n"), "document 2: "),
        (format!("{good}---\nkind: Service\napiVersion: v1\nmetadata: {{name: two}}\nspec: {{ports: 80}}\n"), "document 2 (Service \"two\"): "),
        ("apiVersion: v1\nkind: List\nitems:\n- apiVersion: v1\n  kind: Pod\n  metadata: {}\n".to_owned(), "document 1, item 1 (Pod): metadata.name is missing"),
        ("{\"apiVersion\": \"v1\",\n\"kind\": \"Service\",\n\"metadata\": {\"name\": 1}}".to_owned(), "line 3: "),
        ("{\"kind\": \"List\",\n\"items\": [\n{\"apiVersion\": \"v1\", \"kind\": \"Pod\",\n\n\"metadata\": 3}]}".to_owned(), "line 5: "),
        ("{\"kind\": \"List\",\n\"items\": [".to_owned(), "line 2: "),
        ("just words\n".to_owned(), "document 1: "),
    ];
    for (bad, place) in cases {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let (path, other) = (folder.path().join("1.yaml"), folder.path().join("2.yaml"));
        write(&path, &good);
        let source = start(snapshot_of(folder.path()));
        source.until_objects(&["Namespace a", "Service a/one"]).await;
        write(&path, &bad);
        until("the bad file is named", || !source.state.remarks().is_empty()).await;
        let remarks = source.state.remarks();
        let expected = format!("snapshot {}: {place}", path.display());
        assert!(remarks[0].starts_with(&expected), "{remarks:?} does not start with {expected}");
        // Other files go on.
        write(&other, &service_yaml("other", "10.0.0.9"));
        source.until_objects(&["Namespace a", "Service a/one", "Service a/other"]).await;
        write(&path, &format!("{good}# good again\n"));
        until("all is well", || source.state.remarks().is_empty()).await;
    }
}

#[tokio::test]
async fn a_file_that_was_never_good_holds_readiness_back() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    write(&folder.path().join("1.yaml"), &service_yaml("one", "10.0.0.1"));
    write(&folder.path().join("2.yaml"), "kind: [");
    let source = start(snapshot_of(folder.path()));
    source.until_objects(&["Namespace a", "Service a/one"]).await;
    assert!(!source.state.synced());
    write(&folder.path().join("2.yaml"), &service_yaml("two", "10.0.0.2"));
    source.until_synced().await;
}

#[tokio::test]
async fn a_snapshot_that_disappears_stays_in_force() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let path = folder.path().join("x.yaml");
    write(&path, &service_yaml("one", "10.0.0.1"));
    let source = start(snapshot_of(&path));
    source.until_synced().await;
    fs::remove_file(&path).expect("the file can be removed");
    until("it is noticed", || !source.state.remarks().is_empty()).await;
    assert!(source.state.remarks()[0].contains("No such file"), "{:?}", source.state.remarks());
    assert_eq!(source.recorder.now().objects.len(), 2);
    write(&path, &service_yaml("two", "10.0.0.2"));
    source.until_objects(&["Namespace a", "Service a/two"]).await;
    assert!(source.state.remarks().is_empty());
}

#[tokio::test]
async fn an_empty_folder_is_an_empty_cluster() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    write(&folder.path().join("notes.txt"), "not a manifest");
    let source = start(snapshot_of(folder.path()));
    source.until_synced().await;
    assert!(source.recorder.now().objects.is_empty());
}

/// The kubelet changes a mounted ConfigMap by one symbolic link; sizes and times may stay as they were.
#[cfg(unix)]
#[tokio::test]
async fn a_mounted_config_map_is_followed() {
    use std::os::unix::fs::symlink;
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let root = folder.path();
    for (version, address) in [("..1", "10.0.0.1"), ("..2", "10.0.0.2")] {
        fs::create_dir(root.join(version)).expect("the folder can be written");
        write(&root.join(version).join("x.yaml"), &service_yaml("one", address));
    }
    let modified = fs::metadata(root.join("..1/x.yaml"))
        .and_then(|it| it.modified())
        .expect("the file has a time");
    let file = fs::File::options()
        .write(true)
        .open(root.join("..2/x.yaml"))
        .expect("the file can be opened");
    file.set_modified(modified).expect("the file can be touched");
    symlink("..1", root.join("..data")).expect("links can be made");
    symlink("..data/x.yaml", root.join("x.yaml")).expect("links can be made");
    let source = start(snapshot_of(root));
    source.until_objects(&["Namespace a", "Service a/one"]).await;
    symlink("..2", root.join("..new")).expect("links can be made");
    fs::rename(root.join("..new"), root.join("..data")).expect("links can be moved");
    until("the new version is there", || {
        format!("{:?}", source.recorder.now().objects.get("Service a/one")).contains("10.0.0.2")
    })
    .await;
}

#[tokio::test]
async fn selectors_hold_for_manifests_too() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let object = |kind: &str, name: &str, labels: &str| {
        format!(
            "apiVersion: v1\nkind: {kind}\nmetadata: {{name: {name}, namespace: a, labels: {{{labels}}}}}\n---\n"
        )
    };
    let text = [
        object("Namespace", "a", "visibility: hidden"),
        object("Namespace", "b", ""),
        object("Service", "one", "tier: web"),
        object("Service", "two", ""),
    ];
    write(&folder.path().join("x.yaml"), &text.concat());
    let mut settings = snapshot_of(folder.path());
    settings.labels = Some("tier in (web)".to_owned());
    settings.namespace_labels = Some("visibility notin (hidden)".to_owned());
    let source = start(settings.clone());
    source.until_objects(&["Namespace b", "Service a/one"]).await;
    // The label that the API server gives to every Namespace.
    settings.namespace_labels = Some("kubernetes.io/metadata.name=a".to_owned());
    let source = start(settings);
    source.until_objects(&["Namespace a", "Service a/one"]).await;
}

#[tokio::test]
async fn pods_of_manifests_run_and_have_addresses() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let pod = |name: &str, status: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: {name}, namespace: a}}\nstatus: {{{status}}}\n---\n"
        )
    };
    let text = [
        pod("running", "phase: Running, podIP: 10.1.0.1"),
        pod("pending", "phase: Pending"),
        pod("ended", "phase: Succeeded, podIP: 10.1.0.2"),
    ];
    write(&folder.path().join("x.yaml"), &text.concat());
    let mut settings = snapshot_of(folder.path());
    settings.watch_pods = true;
    let source = start(settings);
    source.until_synced().await;
    source.until_objects(&["Namespace a", "Pod a/running"]).await;
}

/// Whoever writes a file in place empties it first, and may fail after that.
#[tokio::test]
async fn a_file_without_a_manifest_takes_nothing_away() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let path = folder.path().join("x.yaml");
    write(&path, &service_yaml("one", "10.0.0.1"));
    let source = start(snapshot_of(&path));
    source.until_objects(&["Namespace a", "Service a/one"]).await;
    let cut = "apiVersion: v1\nitems:\n- apiVersion: v1\n  kind: Service\n";
    for nothing in ["", "# nothing yet\n", "---\n---\n\n", cut] {
        write(&path, nothing);
        until("it is named", || !source.state.remarks().is_empty()).await;
        let expected = format!("snapshot {}: no manifest in it any more", path.display());
        assert_eq!(source.state.remarks(), [expected]);
        assert_eq!(source.recorder.now().changes.len(), 2, "after {nothing:?}");
        write(&path, &service_yaml("one", "10.0.0.1"));
        until("all is well", || source.state.remarks().is_empty()).await;
    }
    // What says that there is nothing is believed.
    write(&path, "apiVersion: v1\nkind: List\nitems: []\n");
    source.until_objects(&[]).await;
}

/// Only a file that is not there is gone.
#[cfg(unix)]
#[tokio::test]
async fn a_file_that_cannot_be_looked_at_stays_in_force() {
    let folder = tempfile::tempdir().expect("there is room for a folder");
    let path = folder.path().join("x.yaml");
    write(&path, &service_yaml("one", "10.0.0.1"));
    let source = start(snapshot_of(folder.path()));
    source.until_synced().await;
    fs::remove_file(&path).expect("the file can be removed");
    std::os::unix::fs::symlink("x.yaml", &path).expect("links can be made");
    until("it is noticed", || !source.state.remarks().is_empty()).await;
    let remarks = source.state.remarks();
    let expected = format!("snapshot {}: Too many levels of symbolic links", path.display());
    assert!(remarks[0].starts_with(&expected), "{remarks:?}");
    assert_eq!(source.recorder.now().objects.len(), 2);
    fs::remove_file(&path).expect("the link can be removed");
    // A link that leads nowhere is no file either.
    std::os::unix::fs::symlink("nowhere", &path).expect("links can be made");
    source.until_objects(&[]).await;
    assert!(source.state.remarks().is_empty());
}

#[tokio::test]
async fn the_last_file_counts_where_it_takes_a_name_away() {
    let pod = |phase: &str, labels: &str| {
        format!(
            "apiVersion: v1\nkind: Pod\nmetadata: {{name: p, namespace: a, labels: {{{labels}}}}}\n\
             status: {{phase: {phase}, podIP: 10.1.0.1}}\n"
        )
    };
    for last in [pod("Succeeded", "tier: web"), pod("Running", "")] {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        write(&folder.path().join("1.yaml"), &pod("Running", "tier: web"));
        write(&folder.path().join("2.yaml"), &last);
        let mut settings = snapshot_of(folder.path());
        settings.watch_pods = true;
        settings.labels = Some("tier=web".to_owned());
        let source = start(settings);
        source.until_synced().await;
        assert!(source.recorder.now().objects.keys().eq(["Namespace a"]), "{last}");
        fs::remove_file(folder.path().join("2.yaml")).expect("the file can be removed");
        source.until_objects(&["Namespace a", "Pod a/p"]).await;
    }
}
