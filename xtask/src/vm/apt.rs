//! Debian packages without touching what the machine has installed: an apt state of our own, with the mirror
//! that the machine's own apt uses.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::output_of;

const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Packages of some suites.
pub(super) struct Apt {
    folder: PathBuf,
}

impl Apt {
    /// Fetches the lists of the suites; `store` keeps them.
    pub(super) fn open(store: &Path, suites: &[&str]) -> Result<Self, String> {
        let mirror = mirror()?;
        let folder = store.join("apt").join(suites.join("+"));
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(folder.join(part))
                .map_err(|error| format!("failed to make {}: {error}", folder.display()))?;
        }
        let sources: String = suites
            .iter()
            .map(|suite| format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n"))
            .collect();
        fs::write(folder.join("sources.list"), sources)
            .map_err(|error| format!("failed to write a list of sources: {error}"))?;
        let apt = Self { folder };
        output_of(apt.command("apt-get").args(["update", "-qq"]))?;
        Ok(apt)
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let folder = self.folder.display();
        for option in [
            format!("Dir::Etc::sourcelist={folder}/sources.list"),
            "Dir::Etc::sourceparts=-".to_owned(),
            format!("Dir::State::lists={folder}/lists"),
            format!("Dir::Cache={folder}/cache"),
            "APT::Sandbox::User=root".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command.env("DEBIAN_FRONTEND", "noninteractive");
        command
    }

    /// The newest package whose name begins and ends like this.
    pub(super) fn newest(&self, prefix: &str, suffix: &str) -> Result<String, String> {
        let names = output_of(self.command("apt-cache").args(["pkgnames", prefix]))?;
        String::from_utf8_lossy(&names)
            .lines()
            .filter(|name| name.starts_with(prefix) && name.ends_with(suffix))
            .max_by_key(|name| numbers(name))
            .map(str::to_owned)
            .ok_or_else(|| format!("the mirror has no package {prefix}..{suffix}"))
    }

    /// Downloads a package and unpacks it below `into`.
    pub(super) fn unpack(&self, package: &str, into: &Path) -> Result<(), String> {
        let download = into.join("download");
        let _ = fs::remove_dir_all(&download);
        fs::create_dir_all(&download)
            .map_err(|error| format!("failed to make {}: {error}", download.display()))?;
        output_of(
            self.command("apt-get")
                .args(["download", "-qq", package])
                .current_dir(&download),
        )?;
        let archive = fs::read_dir(&download)
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .find(|path| path.extension().is_some_and(|kind| kind == "deb"))
            .ok_or_else(|| format!("apt-get downloaded nothing for {package}"))?;
        output_of(Command::new("dpkg").arg("-x").arg(archive).arg(into))?;
        let _ = fs::remove_dir_all(&download);
        Ok(())
    }

    /// Installs a package on the machine, from the suite given.
    pub(super) fn install(&self, package: &str, suite: &str) -> Result<(), String> {
        let mut command = self.command("apt-get");
        command.args([
            "install",
            "-y",
            "-qq",
            "--no-install-recommends",
            "-t",
            suite,
            package,
        ]);
        output_of(&mut command).map(|_| ())
    }
}

/// The mirror of Debian in the machine's own list of sources.
fn mirror() -> Result<String, String> {
    let mut lists = vec![PathBuf::from("/etc/apt/sources.list")];
    lists.extend(
        fs::read_dir("/etc/apt/sources.list.d")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path()),
    );
    lists
        .iter()
        .filter_map(|list| fs::read_to_string(list).ok())
        .find_map(|text| mirror_in(&text))
        .ok_or_else(|| "apt's sources name no mirror of Debian".to_owned())
}

fn mirror_in(sources: &str) -> Option<String> {
    sources
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with("URIs:") || line.starts_with("deb "))
        .flat_map(str::split_ascii_whitespace)
        .map(|word| word.trim_end_matches('/'))
        .find(|word| word.contains("://") && word.ends_with("/debian"))
        .map(str::to_owned)
}

/// The numbers in a name, by which versions compare.
fn numbers(name: &str) -> Vec<u64> {
    name.split(|character: char| !character.is_ascii_digit())
        .filter_map(|digits| digits.parse().ok())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mirror_is_found_in_both_forms_of_sources() {
        for (text, mirror) in [
            (
                "# http://a.test/debian\nURIs: http://b.test/debian\n",
                Some("http://b.test/debian"),
            ),
            (
                "deb [signed-by=/k] https://c.test/x/debian/ stable main",
                Some("https://c.test/x/debian"),
            ),
            ("URIs: http://b.test/debian-security\n", None),
            ("deb http://d.test/apt sdk main\n", None),
            ("", None),
        ] {
            assert_eq!(mirror_in(text).as_deref(), mirror, "{text}");
        }
    }

    #[test]
    fn versions_compare_by_number() {
        assert!(numbers("linux-image-6.1.0-50-cloud") > numbers("linux-image-6.1.0-9-cloud"));
        assert!(numbers("linux-binary-7.10.1+deb13") > numbers("linux-binary-7.3.4+deb13"));
    }
}
