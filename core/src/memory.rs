//! How much memory the process may use, as its control group says.
//!
//! What strangers can make the process hold is bounded by shares of this limit, so that a Pod with `limits.memory` sheds load before the kernel
//! ends it. Without a limit the bounds are those that the largest deployments need.

use std::fs;
use std::path::Path;

/// Where control groups are mounted.
const MOUNT: &str = "/sys/fs/cgroup";
/// What the program takes before anybody asks it anything; it cannot be shared out.
const OWN: u64 = 16 << 20;
/// "No limit" is a number of about 2^63 in version 1 of control groups; nobody means it from here on.
const NO_LIMIT: u64 = 1 << 60;

/// The memory that bounds are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    limit: Option<u64>,
}

impl Budget {
    /// A budget of so many bytes; `None`: no limit.
    pub fn new(limit: Option<u64>) -> Budget {
        Budget { limit }
    }

    /// The limit of the control group that the process is in, or of the tightest one around it.
    pub fn of_process() -> Budget {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        Budget::new(limit_of(&groups, |path| fs::read_to_string(Path::new(MOUNT).join(path)).ok()))
    }

    /// The limit in bytes, if there is one.
    pub fn limit(self) -> Option<u64> {
        self.limit
    }

    /// How many things of `size` bytes fit into one of `parts` equal parts of what the limit leaves: no more than `most`, and at least `least`, without
    /// which nothing works.
    pub fn count(self, parts: u64, size: u64, least: usize, most: usize) -> usize {
        let Some(limit) = self.limit else { return most };
        let shared = limit.saturating_sub(OWN);
        usize::try_from(shared / parts / size).map_or(most, |count| count.clamp(least, most))
    }
}

/// The least limit of the groups that `/proc/self/cgroup` names, and of those around them; `read` reads a file below the mount.
fn limit_of(groups: &str, read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let mut least = None;
    for line in groups.lines() {
        let mut fields = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (fields.next(), fields.next()) else { continue };
        // Version 2 has one tree for all controllers, version 1 one for each. In a container the tree may begin at its own group, whatever
        // the path says: the groups around it are asked up to the root of the mount.
        let (tree, file) = match controllers {
            "" => ("", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("memory/", "memory.limit_in_bytes")
            }
            _ => continue,
        };
        let mut group = group.trim_matches('/');
        loop {
            let separator = if group.is_empty() { "" } else { "/" };
            let limit = read(&format!("{tree}{group}{separator}{file}"))
                .and_then(|text| text.trim().parse::<u64>().ok())
                .filter(|limit| *limit < NO_LIMIT);
            least = least.into_iter().chain(limit).min();
            if group.is_empty() {
                break;
            }
            group = group.rsplit_once('/').map_or("", |(parent, _)| parent);
        }
    }
    least
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limit(groups: &str, files: &[(&str, &str)]) -> Option<u64> {
        limit_of(groups, |path| {
            files.iter().find(|(name, _)| *name == path).map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn the_tightest_group_counts() {
        let pod = "0::/kubepods.slice/pod1/container\n";
        let files = [
            ("kubepods.slice/pod1/container/memory.max", "max\n"),
            ("kubepods.slice/pod1/memory.max", "67108864\n"),
            ("kubepods.slice/memory.max", "8589934592\n"),
        ];
        assert_eq!(limit(pod, &files), Some(64 << 20));
        assert_eq!(limit("0::/\n", &[("memory.max", "178257920\n")]), Some(170 << 20));
    }

    #[test]
    fn version_1_names_the_controller() {
        let groups = "5:devices:/a\n4:hugetlb,memory:/docker/abc\n0::/\n";
        let files = [
            ("memory/docker/abc/memory.limit_in_bytes", "9223372036854771712\n"),
            ("memory/memory.limit_in_bytes", "134217728\n"),
            ("devices/a/memory.limit_in_bytes", "1\n"),
        ];
        assert_eq!(limit(groups, &files), Some(128 << 20));
    }

    #[test]
    fn no_limit_is_none() {
        for (groups, files) in [
            ("", vec![]),
            ("0::/\n", vec![("memory.max", "max\n")]),
            ("4:memory:/\n", vec![("memory/memory.limit_in_bytes", "9223372036854771712\n")]),
            ("nonsense", vec![("memory.max", "1\n")]),
        ] {
            assert_eq!(limit(groups, &files), None, "{groups:?}");
        }
    }

    #[test]
    fn shares_stay_within_their_bounds() {
        let budget = |megabytes: u64| Budget::new(Some(megabytes << 20));
        assert_eq!(budget(64).count(4, 2048, 16, 100_000), 6144);
        assert_eq!(budget(0).count(4, 2048, 16, 100_000), 16);
        assert_eq!(budget(1 << 30).count(4, 2048, 16, 100_000), 100_000);
        assert_eq!(Budget::default().count(4, 2048, 16, 100_000), 100_000);
    }
}
