// SPDX-License-Identifier: MIT OR Apache-2.0
//! Debian's source packages of the kernel, through a private list that is derived from the
//! machine's own sources. Nothing of the system's apt state is read or written but its sources,
//! its keys and its configuration, so this needs no root.

mod sources;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result, bail, ensure};

use super::cache;
use super::version::Linux;
use crate::command::output;

/// The suite that has kernels newer than the release's own.
const BACKPORTS: &str = "trixie-backports";

/// How long what the archive answered is taken for new.
const FRESH: Duration = Duration::from_secs(24 * 60 * 60);

/// Debian's package of a kernel's source.
pub struct Package {
    /// Its name and version as apt writes them, `NAME=VERSION`.
    pub name: String,
    /// The archive in the cache.
    pub archive: PathBuf,
}

/// The newest package, downloaded unless the cache has it. The archive is asked at most once a
/// day; when it does not answer, what the cache has is taken.
pub fn package(linux: Linux) -> Result<Package> {
    let directory = cache::directory("sources")?;
    let _lock = cache::Lock::take(&directory.join("lock"))?;
    let name = format!("linux-source-{linux}");
    let cached = newest(cached(&directory, &name)?)?;
    if let Some(version) = &cached
        && is_fresh(&stamp(&directory, &name))
    {
        return Ok(found(&directory, &name, version));
    }
    match download(&directory, &name) {
        Ok(package) => Ok(package),
        Err(error) => match cached {
            Some(version) => {
                eprintln!("taking {name} {version} from the cache: {error:#}");
                Ok(found(&directory, &name, &version))
            }
            None => Err(error)
                .with_context(|| format!("no {name}; --source DIR takes a tree of your own")),
        },
    }
}

fn found(directory: &Path, name: &str, version: &str) -> Package {
    Package {
        name: format!("{name}={version}"),
        archive: archive(directory, name, version),
    }
}

/// Where an archive lies: `NAME_VERSION.deb`, as a Debian version has no `_`.
fn archive(directory: &Path, name: &str, version: &str) -> PathBuf {
    directory.join(format!("{name}_{version}.deb"))
}

/// The file whose time says when the archive was last asked for a package.
fn stamp(directory: &Path, name: &str) -> PathBuf {
    directory.join(format!("{name}.asked"))
}

fn is_fresh(stamp: &Path) -> bool {
    let age = fs::metadata(stamp)
        .and_then(|metadata| metadata.modified())
        .ok()
        .and_then(|time| SystemTime::now().duration_since(time).ok());
    age.is_some_and(|age| age < FRESH)
}

/// The versions of a package that the cache has.
fn cached(directory: &Path, name: &str) -> Result<Vec<String>> {
    let mut versions = Vec::new();
    for entry in fs::read_dir(directory)? {
        let file = entry?.file_name();
        let file = file.to_string_lossy();
        let version = file
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('_')?.strip_suffix(".deb"));
        versions.extend(version.map(str::to_owned));
    }
    Ok(versions)
}

/// The highest version by Debian's own comparison.
fn newest(versions: Vec<String>) -> Result<Option<String>> {
    let mut newest: Option<String> = None;
    for version in versions {
        let is_newer = match &newest {
            None => true,
            Some(newest) => Command::new("dpkg")
                .args(["--compare-versions", &version, "gt", newest])
                .status()
                .context("cannot run dpkg")?
                .success(),
        };
        if is_newer {
            newest = Some(version);
        }
    }
    Ok(newest)
}

/// Asks the archive for the newest version and downloads it where the cache lacks it. Older ones
/// are removed.
fn download(directory: &Path, name: &str) -> Result<Package> {
    let apt = Apt::new(directory)?;
    eprintln!("asking Debian's archive for {name}");
    let update = output(apt.command("apt-get").args(["-qq", "update"]))?;
    eprint!("{update}");
    let versions = output(apt.command("apt-cache").args(["madison", name]))?;
    let known: Vec<String> = versions
        .lines()
        .filter_map(|line| Some(line.split('|').nth(1)?.trim().to_owned()))
        .collect();
    let Some(version) = newest(known)? else {
        bail!("the archive has no {name} for this release of Debian, nor in {BACKPORTS}");
    };
    let package = found(directory, name, &version);
    if !package.archive.exists() {
        eprintln!("downloading {}", package.name);
        let work = directory.join("download");
        let _gone = fs::remove_dir_all(&work);
        fs::create_dir_all(&work)?;
        let mut command = apt.command("apt-get");
        command.args(["-q", "download", &package.name]);
        let said = output(command.current_dir(&work))?;
        eprint!("{said}");
        let mut files = fs::read_dir(&work)?.filter_map(|entry| Some(entry.ok()?.path()));
        let file = files.next().context("apt-get download left no file")?;
        fs::rename(file, &package.archive)?;
        fs::remove_dir_all(&work)?;
    }
    for old in cached(directory, name)? {
        if old != version {
            fs::remove_file(archive(directory, name, &old))?;
        }
    }
    fs::write(stamp(directory, name), "")?;
    Ok(package)
}

/// apt with lists and a cache of its own.
struct Apt {
    directory: PathBuf,
}

impl Apt {
    fn new(cache: &Path) -> Result<Self> {
        let directory = cache.join("apt");
        for name in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.join(name))?;
        }
        let release = fs::read_to_string("/etc/os-release").context("/etc/os-release")?;
        let codename = release
            .lines()
            .find_map(|line| line.strip_prefix("VERSION_CODENAME="))
            .context("/etc/os-release names no release: not a Debian?")?
            .trim_matches('"');
        let private = sources::derive(&sources::of_the_machine()?, codename, BACKPORTS);
        ensure!(
            !private.is_empty(),
            "this machine's apt sources have no entry for {codename}"
        );
        fs::write(directory.join("debian.sources"), private)?;
        Ok(Self { directory })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let mut set = |key: &str, value: &Path| {
            command.arg("-o").arg(format!("{key}={}", value.display()));
        };
        set(
            "Dir::Etc::sourcelist",
            &self.directory.join("debian.sources"),
        );
        set("Dir::Etc::sourceparts", Path::new("-"));
        set("Dir::State::Lists", &self.directory.join("lists"));
        set("Dir::Cache", &self.directory.join("cache"));
        // The user that root's apt downloads as may not enter our cache.
        set("APT::Sandbox::User", Path::new("root"));
        set("Acquire::Languages", Path::new("none"));
        command
    }
}

#[cfg(test)]
mod tests {
    use super::newest;

    #[test]
    fn versions_are_compared_as_debian_does() {
        let versions = ["6.12.9-1~bpo12+1", "6.12.117-1~deb12u1", "6.12.9-1"];
        let newest = newest(versions.map(str::to_owned).to_vec()).unwrap();
        assert_eq!(newest.as_deref(), Some("6.12.117-1~deb12u1"));
    }
}
