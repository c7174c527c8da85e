//! Finds out about containers that processes of the tree run in.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use agentsight_model::Container;
use agentsight_probe::cgroup;
use agentsight_session::container;
use serde_json::Value;

/// Cgroups that are remembered. Beyond it they are looked at again.
const MAX_CGROUPS: usize = 4096;
/// Longest file of a runtime that is read.
const MAX_CONFIG_BYTES: u64 = 4 << 20;

/// Cgroups that were looked at.
#[derive(Default)]
pub(crate) struct Containers {
    known: HashSet<u64>,
}

impl Containers {
    /// The container of a cgroup that was not seen before; `None` for others, and for those that are none.
    pub(crate) fn find(&mut self, cgroup: u64) -> Option<Container> {
        if cgroup == 0 || self.known.contains(&cgroup) {
            return None;
        }
        if self.known.len() >= MAX_CGROUPS {
            self.known.clear();
        }
        self.known.insert(cgroup);
        let mut found = container::of_cgroup(&cgroup::path_of(cgroup)?)?;
        found.cgroup = cgroup;
        for path in configs(&found.id) {
            if let Some(config) = read(&path) {
                container::describe(&mut found, &config);
            }
        }
        Some(found)
    }
}

/// Where runtimes keep what a container is made of. `id` is 64 hexadecimal digits.
fn configs(id: &str) -> Vec<PathBuf> {
    let mut paths = vec![
        PathBuf::from(format!("/var/lib/docker/containers/{id}/config.v2.json")),
        PathBuf::from(format!(
            "/run/containers/storage/overlay-containers/{id}/userdata/config.json"
        )),
        PathBuf::from(format!(
            "/var/lib/containers/storage/overlay-containers/{id}/userdata/config.json"
        )),
    ];
    for namespace in ["k8s.io", "default", "moby"] {
        paths.push(PathBuf::from(format!(
            "/run/containerd/io.containerd.runtime.v2.task/{namespace}/{id}/config.json"
        )));
    }
    paths
}

fn read(path: &PathBuf) -> Option<Value> {
    let file = File::open(path).ok()?;
    let mut text = Vec::new();
    file.take(MAX_CONFIG_BYTES).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}
