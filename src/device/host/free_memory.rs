//! How much memory a program may still take: what the system has, and what its control groups, as containers are made of, leave.

use std::path::Path;

/// Bytes that can be had without swapping; none where the system does not say so in Linux's way.
pub fn free_memory() -> Option<usize> {
    below(Path::new("/"))
}

/// With the system's files under `root`.
fn below(root: &Path) -> Option<usize> {
    let system = field(&read(&root.join("proc/meminfo"))?, "MemAvailable:")? << 10;
    let groups = read(&root.join("proc/self/cgroup")).unwrap_or_default();
    // Version 2 has lines "0::/path", version 1 "number:controllers,separated:/path".
    let left = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        match controllers {
            "" => left(&root.join("sys/fs/cgroup"), path, &VERSION_2),
            _ if controllers.split(',').any(|name| name == "memory") => {
                left(&root.join("sys/fs/cgroup/memory"), path, &VERSION_1)
            }
            _ => None,
        }
    });
    Some(left.fold(system, usize::min))
}

/// Names of a group's files, and of what in its statistics is given back when memory runs short: pages of files nobody uses.
struct Names {
    limit: &'static str,
    usage: &'static str,
    reclaimable: &'static str,
}

const VERSION_1: Names =
    Names { limit: "memory.limit_in_bytes", usage: "memory.usage_in_bytes", reclaimable: "total_inactive_file " };
const VERSION_2: Names = Names { limit: "memory.max", usage: "memory.current", reclaimable: "inactive_file " };

/// What the group at `path`, and those it lies in, leave. Inside a container the path may be that of the outside; the container's own group is then
/// the first.
fn left(mount: &Path, path: &str, names: &Names) -> Option<usize> {
    let of_group = |group: &Path| {
        let folder = mount.join(group);
        // "max" where there is no limit.
        let limit: usize = read(&folder.join(names.limit))?.trim().parse().ok()?;
        let usage: usize = read(&folder.join(names.usage))?.trim().parse().ok()?;
        let reclaimable = read(&folder.join("memory.stat")).and_then(|text| field(&text, names.reclaimable)).unwrap_or(0);
        Some(limit.saturating_sub(usage.saturating_sub(reclaimable)))
    };
    Path::new(path.trim_start_matches('/')).ancestors().filter_map(of_group).min()
}

/// The number behind `name` at the beginning of a line.
fn field(text: &str, name: &str) -> Option<usize> {
    text.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

fn read(path: &Path) -> Option<String> {
    std::fs::read_to_string(path).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEMINFO: &str = "MemTotal:       16000 kB\nMemFree:          100 kB\nMemAvailable:    8000 kB\n";

    /// The answer on a machine with these files.
    fn free(files: &[(&str, &str)]) -> Option<usize> {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        below(root.path())
    }

    #[test]
    fn without_groups_it_is_what_the_system_has() {
        assert_eq!(free(&[]), None);
        assert_eq!(free(&[("proc/meminfo", MEMINFO)]), Some(8000 << 10));
        let unlimited = [("proc/meminfo", MEMINFO), ("proc/self/cgroup", "0::/a\n"), ("sys/fs/cgroup/a/memory.max", "max\n")];
        assert_eq!(free(&unlimited), Some(8000 << 10));
    }

    #[test]
    fn the_narrowest_group_decides() {
        let groups = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "0::/outer/inner\n"),
            ("sys/fs/cgroup/outer/memory.max", "3000000\n"),
            ("sys/fs/cgroup/outer/memory.current", "2000000\n"),
            ("sys/fs/cgroup/outer/memory.stat", "anon 1\ninactive_file 500000\n"),
            ("sys/fs/cgroup/outer/inner/memory.max", "2500000\n"),
            ("sys/fs/cgroup/outer/inner/memory.current", "900000\n"),
        ];
        assert_eq!(free(&groups), Some(1_500_000));
    }

    #[test]
    fn a_container_sees_its_group_at_the_top() {
        let groups = [
            ("proc/meminfo", MEMINFO),
            ("proc/self/cgroup", "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n"),
            ("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000\n"),
            ("sys/fs/cgroup/memory/memory.usage_in_bytes", "1200000\n"),
            ("sys/fs/cgroup/memory/memory.stat", "inactive_file 7\ntotal_inactive_file 400000\n"),
        ];
        assert_eq!(free(&groups), Some(200_000));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_machine_answers() {
        assert!(free_memory().is_some_and(|bytes| bytes > 0));
    }
}
