//! Control groups with a limit, for one server each.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

const MOUNT: &str = "/sys/fs/cgroup";

/// A group that is removed when it is dropped; its processes must have ended.
pub(crate) struct Group(Vec<PathBuf>);

/// What its processes may use.
#[derive(Clone, Copy, Default)]
pub(crate) struct Limits {
    /// Bytes.
    pub(crate) memory: Option<u64>,
    /// Microseconds of CPU time, and of the period in which they may be used.
    pub(crate) cpu: Option<(u64, u64)>,
}

impl Group {
    /// Makes a group.
    pub(crate) fn new(limits: Limits) -> io::Result<Group> {
        let name = format!("periplus-soak-{}-{}", std::process::id(), fastrand::u32(..));
        let own = fs::read_to_string("/proc/self/cgroup")?;
        let mut group = Group(Vec::new());
        if Path::new(MOUNT).join("cgroup.controllers").exists() {
            let path = own.lines().find_map(|line| line.strip_prefix("0::/")).unwrap_or_default();
            let parent = Path::new(MOUNT).join(path);
            fs::write(parent.join("cgroup.subtree_control"), "+memory +cpu")?;
            let path = group.make(parent.join(&name))?;
            if let Some(memory) = limits.memory {
                fs::write(path.join("memory.max"), memory.to_string())?;
            }
            if let Some(cpu) = limits.cpu {
                group.limit_cpu(cpu)?;
            }
            return Ok(group);
        }
        if let Some(memory) = limits.memory {
            let path = group.make(of_controller(&own, "memory").join(&name))?;
            fs::write(path.join("memory.limit_in_bytes"), memory.to_string())?;
        }
        if let Some(cpu) = limits.cpu {
            group.make(of_controller(&own, "cpu").join(&name))?;
            group.limit_cpu(cpu)?;
        }
        Ok(group)
    }

    /// Another limit for those that have one.
    pub(crate) fn limit_cpu(&self, (quota, period): (u64, u64)) -> io::Result<()> {
        let path = self.0.last().expect("a group has a directory");
        if path.join("cpu.max").exists() {
            return fs::write(path.join("cpu.max"), format!("{quota} {period}"));
        }
        fs::write(path.join("cpu.cfs_period_us"), period.to_string())?;
        fs::write(path.join("cpu.cfs_quota_us"), quota.to_string())
    }

    /// Words of a shell that put it, and what it executes, into the group.
    pub(crate) fn enter(&self) -> String {
        self.0.iter().map(|path| format!("echo $$ > {}/cgroup.procs; ", path.display())).collect()
    }

    fn make(&mut self, path: PathBuf) -> io::Result<PathBuf> {
        fs::create_dir(&path)?;
        self.0.push(path.clone());
        Ok(path)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for path in &self.0 {
            // A group is busy until its last process has been waited for.
            for _ in 0..100 {
                if fs::remove_dir(path).is_ok() {
                    break;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
    }
}

/// This process's group in the tree of a controller (version 1).
fn of_controller(groups: &str, controller: &str) -> PathBuf {
    let group = groups.lines().find_map(|line| {
        let mut fields = line.splitn(3, ':').skip(1);
        fields.next()?.split(',').any(|name| name == controller).then_some(())?;
        fields.next()
    });
    Path::new(MOUNT).join(controller).join(group.unwrap_or_default().trim_start_matches('/'))
}
