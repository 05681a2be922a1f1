// SPDX-License-Identifier: MIT OR Apache-2.0
//! The key of a built kernel: a hash over everything that it is made from.

use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

/// Takes in one part after the other; each has a name and its length, so that no two different
/// lists of parts are the same bytes.
#[derive(Default)]
pub struct Key(Sha256);

impl Key {
    /// Takes in a part.
    pub fn part(&mut self, name: &str, content: impl AsRef<[u8]>) {
        let content = content.as_ref();
        self.0.update((name.len() as u64).to_le_bytes());
        self.0.update(name);
        self.0.update((content.len() as u64).to_le_bytes());
        self.0.update(content);
    }

    /// Takes in a file by its name (not its path) and content.
    pub fn file(&mut self, path: &Path) -> Result<()> {
        let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let name = path.file_name().unwrap_or_default();
        self.part(&name.to_string_lossy(), content);
        Ok(())
    }

    /// Takes in all that is below a directory, whatever order it lists its entries in.
    pub fn directory(&mut self, root: &Path) -> Result<()> {
        self.below(root, root)
            .with_context(|| format!("cannot read {}", root.display()))
    }

    fn below(&mut self, root: &Path, directory: &Path) -> io::Result<()> {
        let mut entries = fs::read_dir(directory)?
            .map(|entry| Ok(entry?.path()))
            .collect::<io::Result<Vec<_>>>()?;
        entries.sort();
        for path in entries {
            let name = path.strip_prefix(root).expect("it is below the root");
            let name = name.to_string_lossy();
            let metadata = fs::symlink_metadata(&path)?;
            if metadata.is_dir() {
                self.part(&name, "directory");
                self.below(root, &path)?;
            } else if metadata.is_symlink() {
                self.part(&name, fs::read_link(&path)?.as_os_str().as_bytes());
            } else {
                let executable = metadata.permissions().mode() & 0o111 != 0;
                let mut content = Sha256::new();
                io::copy(&mut File::open(&path)?, &mut content)?;
                self.part(&name, content.finalize());
                self.part("executable", [u8::from(executable)]);
            }
        }
        Ok(())
    }

    /// The first 16 hexadecimal digits of the hash.
    pub fn finish(self) -> String {
        let hash = self.0.finalize();
        hash.iter()
            .take(8)
            .map(|byte| format!("{byte:02x}"))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::Key;

    fn key(parts: &[(&str, &str)]) -> String {
        let mut key = Key::default();
        for (name, content) in parts {
            key.part(name, content);
        }
        key.finish()
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let one = key(&[("a", "bc"), ("d", "")]);
        assert_eq!(one, key(&[("a", "bc"), ("d", "")]));
        assert_eq!(one.len(), 16);
        for other in [
            key(&[("ab", "c"), ("d", "")]),
            key(&[("a", "bcd"), ("", "")]),
            key(&[("d", ""), ("a", "bc")]),
            key(&[("a", "bc")]),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn a_directory_is_its_content() {
        let root = std::env::temp_dir().join(format!("vcpu-rt-key.{}", std::process::id()));
        fs::create_dir_all(root.join("sub")).unwrap();
        let file = root.join("sub/file");
        fs::write(&file, "one").unwrap();
        let key = || {
            let mut key = Key::default();
            key.directory(&root).unwrap();
            key.finish()
        };
        let first = key();
        assert_eq!(first, key());
        fs::write(&file, "two").unwrap();
        let second = key();
        assert_ne!(first, second);
        fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
        assert_ne!(second, key());
        fs::remove_dir_all(root).unwrap();
    }
}
