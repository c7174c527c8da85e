//! Which container a process is in, by the path of its cgroup and by what the runtime keeps about it.
//!
//! No runtime is asked: the names of cgroups say which container it is, and the runtimes' own files say what
//! runs in it.

use agentsight_model::Container;
use serde_json::Value;

/// Hexadecimal digits of a container's id.
const ID_DIGITS: usize = 64;

/// Names of cgroups of containers, as systemd and the runtimes make them: what comes before the id.
const PREFIXES: &[(&str, &str)] = &[
    ("docker-", "docker"),
    ("cri-containerd-", "containerd"),
    ("crio-", "cri-o"),
    ("libpod-", "podman"),
    ("nerdctl-", "containerd"),
];

/// Folders of cgroups of containers where systemd is not in charge.
const FOLDERS: &[(&str, &str)] = &[
    ("docker", "docker"),
    ("libpod_parent", "podman"),
    ("default", "containerd"),
];

/// The container whose cgroup this is, or is below. The innermost one, where one runs in another.
#[must_use]
pub fn of_cgroup(path: &str) -> Option<Container> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    let (index, runtime, id) = parts.iter().enumerate().rev().find_map(|(index, part)| {
        named(part, parts.get(index.wrapping_sub(1)).copied())
            .map(|(runtime, id)| (index, runtime, id))
    })?;
    let pod_uid = parts
        .get(..index)
        .unwrap_or_default()
        .iter()
        .rev()
        .find_map(|part| pod_of(part));
    Some(Container {
        id: id.to_owned(),
        runtime: runtime.to_owned(),
        pod_uid,
        ..Container::default()
    })
}

fn is_id(text: &str) -> bool {
    text.len() == ID_DIGITS && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn named<'a>(part: &'a str, parent: Option<&str>) -> Option<(&'static str, &'a str)> {
    let bare = part.strip_suffix(".scope").unwrap_or(part);
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = bare.strip_prefix(prefix).filter(|id| is_id(id)) {
            return Some((runtime, id));
        }
    }
    if !is_id(bare) {
        return None;
    }
    let folder = parent.unwrap_or_default();
    let known = FOLDERS.iter().find(|(name, _)| *name == folder);
    if let Some((_, runtime)) = known {
        return Some((runtime, bare));
    }
    pod_of(folder).map(|_| ("kubernetes", bare))
}

/// The uid in `kubepods-burstable-pod1234_5678.slice` or `pod1234-5678`.
fn pod_of(part: &str) -> Option<String> {
    let bare = part.strip_suffix(".slice").unwrap_or(part);
    let (_, uid) = bare.rsplit_once("pod")?;
    let uid = uid.replace('_', "-");
    let is_uid = uid.len() >= 32
        && uid
            .bytes()
            .all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    is_uid.then_some(uid)
}

/// Takes what a runtime's file says about the container: the OCI `config.json` of containerd and CRI-O, or
/// Docker's `config.v2.json`.
pub fn describe(container: &mut Container, config: &Value) {
    let text = |pointer: &str| {
        config
            .pointer(pointer)
            .and_then(Value::as_str)
            .filter(|text| !text.is_empty())
            .map(str::to_owned)
    };
    let annotation = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| Some(config.get("annotations")?.get(name)?.as_str()?.to_owned()))
    };
    let set = |slot: &mut Option<String>, value: Option<String>| {
        if slot.is_none() {
            *slot = value;
        }
    };
    set(
        &mut container.image,
        text("/Config/Image").or_else(|| {
            annotation(&[
                "io.kubernetes.cri.image-name",
                "io.kubernetes.cri-o.ImageName",
                "org.opencontainers.image.ref.name",
            ])
        }),
    );
    set(
        &mut container.name,
        text("/Name")
            .map(|name| name.trim_start_matches('/').to_owned())
            .or_else(|| {
                annotation(&[
                    "io.kubernetes.cri.container-name",
                    "io.kubernetes.container.name",
                    "nerdctl/name",
                ])
            }),
    );
    set(
        &mut container.pod_name,
        annotation(&["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"]),
    );
    set(
        &mut container.pod_namespace,
        annotation(&[
            "io.kubernetes.cri.sandbox-namespace",
            "io.kubernetes.pod.namespace",
        ]),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";
    const OTHER: &str = "fedcba9876543210fedcba9876543210fedcba9876543210fedcba9876543210";

    #[test]
    fn containers_are_known_by_the_names_of_their_cgroups() {
        for (path, runtime, pod) in [
            (format!("/system.slice/docker-{ID}.scope"), "docker", None),
            (format!("/docker/{ID}"), "docker", None),
            (format!("/docker/{ID}/init"), "docker", None),
            (
                format!("/machine.slice/libpod-{ID}.scope/container"),
                "podman",
                None,
            ),
            (
                format!(
                    "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-\
                     pod11111111_2222_3333_4444_555555555555.slice/cri-containerd-{ID}.scope"
                ),
                "containerd",
                Some("11111111-2222-3333-4444-555555555555"),
            ),
            (
                format!("/kubepods/besteffort/pod11111111-2222-3333-4444-555555555555/{ID}"),
                "kubernetes",
                Some("11111111-2222-3333-4444-555555555555"),
            ),
            (
                format!("/docker/{OTHER}/system.slice/docker-{ID}.scope"),
                "docker",
                None,
            ),
        ] {
            let container = of_cgroup(&path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(container.id, ID, "{path}");
            assert_eq!(container.runtime, runtime, "{path}");
            assert_eq!(container.pod_uid.as_deref(), pod, "{path}");
        }
    }

    #[test]
    fn other_cgroups_are_none() {
        for path in [
            "/",
            "",
            "/user.slice/user-1000.slice/session-2.scope",
            "/docker/0123",
            &format!("/somewhere/{ID}"),
            "/system.slice/docker-zz.scope",
        ] {
            assert_eq!(of_cgroup(path), None, "{path}");
        }
    }

    #[test]
    fn runtimes_files_name_image_and_pod() {
        let mut container = Container::default();
        describe(
            &mut container,
            &serde_json::json!({"annotations": {
                "io.kubernetes.cri.image-name": "registry.test/agent:1",
                "io.kubernetes.cri.container-name": "agent",
                "io.kubernetes.cri.sandbox-name": "agent-0",
                "io.kubernetes.cri.sandbox-namespace": "lab",
            }}),
        );
        assert_eq!(container.image.as_deref(), Some("registry.test/agent:1"));
        assert_eq!(container.name.as_deref(), Some("agent"));
        assert_eq!(container.pod_name.as_deref(), Some("agent-0"));
        assert_eq!(container.pod_namespace.as_deref(), Some("lab"));

        let mut container = Container::default();
        describe(
            &mut container,
            &serde_json::json!({"Name": "/quiet_fox", "Config": {"Image": "node:24"}}),
        );
        assert_eq!(container.image.as_deref(), Some("node:24"));
        assert_eq!(container.name.as_deref(), Some("quiet_fox"));
        describe(&mut container, &serde_json::json!([1, null]));
        assert_eq!(container.name.as_deref(), Some("quiet_fox"));
    }
}
