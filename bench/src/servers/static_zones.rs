//! NSD and Knot DNS: the same names from zone files, one server process or worker each, no rate limits.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use super::{Purpose, Recipe};
use crate::Result;
use crate::zone_files::{self, ZONES};

/// NSD in the foreground, as the current user.
pub(super) fn nsd(
    program: PathBuf,
    purpose: &Purpose<'_>,
    dns: SocketAddr,
    directory: &Path,
) -> Result<Recipe> {
    zone_files::write(purpose.cluster, directory)?;
    let folder = directory.display();
    let mut text = format!(
        "server:
  ip-address: {}
  port: {}
  server-count: 1
  username: \"\"
  chroot: \"\"
  zonesdir: \"{folder}\"
  database: \"\"
  pidfile: \"{folder}/nsd.pid\"
  xfrdfile: \"{folder}/xfrd.state\"
  zonelistfile: \"{folder}/zone.list\"
  xfrdir: \"{folder}\"
  rrl-ratelimit: 0
  tcp-count: 100
remote-control:
  control-enable: no
",
        dns.ip(),
        dns.port()
    );
    for (zone, file) in ZONES {
        text.push_str(&format!("zone:\n  name: {zone}\n  zonefile: {file}\n"));
    }
    let path = directory.join("nsd.conf");
    fs::write(&path, text)?;
    Ok(Recipe {
        program,
        arguments: vec!["-d".into(), "-c".into(), path.to_string_lossy().into_owned()],
        environment: Vec::new(),
        ready: None,
    })
}

/// Knot DNS in the foreground, as the current user.
pub(super) fn knot(
    program: PathBuf,
    purpose: &Purpose<'_>,
    dns: SocketAddr,
    directory: &Path,
) -> Result<Recipe> {
    zone_files::write(purpose.cluster, directory)?;
    let folder = directory.display();
    let mut text = format!(
        "server:
  listen: {}@{}
  rundir: \"{folder}\"
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
control:
  listen: \"{folder}/knot.sock\"
database:
  storage: \"{folder}\"
template:
  - id: default
    storage: \"{folder}\"
    zonefile-sync: -1
    journal-content: none
log:
  - target: stderr
    any: warning
zone:
",
        dns.ip(),
        dns.port()
    );
    for (zone, file) in ZONES {
        text.push_str(&format!("  - domain: {zone}\n    file: {file}\n"));
    }
    let path = directory.join("knot.conf");
    fs::write(&path, text)?;
    Ok(Recipe {
        program,
        arguments: vec!["-c".into(), path.to_string_lossy().into_owned()],
        environment: Vec::new(),
        ready: None,
    })
}
