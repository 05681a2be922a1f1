// SPDX-License-Identifier: MIT OR Apache-2.0
//! The kernel's configuration: fragments on top of allnoconfig, and the check that each line of
//! them came through. Kconfig drops a symbol without a word when a dependency is off.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::version::Selection;
use crate::command::root;

/// The fragments of a kernel, in order: a later one may change what an earlier one says.
pub fn fragments(selection: &Selection) -> Vec<PathBuf> {
    let mut names = vec!["base"];
    if selection.debug {
        names.push("debug");
    }
    let linux = selection.linux;
    let files = names
        .iter()
        .flat_map(|name| [format!("{name}.config"), format!("{name}-{linux}.config")]);
    files
        .map(|file| root().join("kernel/config").join(file))
        .chain(selection.config.clone())
        .collect()
}

/// What is asked of each symbol: the last line about it.
pub struct Requested(BTreeMap<String, String>);

impl Requested {
    /// Reads the fragments.
    pub fn read(fragments: &[PathBuf]) -> Result<Self> {
        let mut requested = Self(BTreeMap::new());
        for path in fragments {
            let text = fs::read_to_string(path)
                .with_context(|| format!("cannot read {}", path.display()))?;
            requested
                .add(&text)
                .with_context(|| format!("{}", path.display()))?;
        }
        Ok(requested)
    }

    fn add(&mut self, fragment: &str) -> Result<()> {
        for line in fragment.lines().filter(|line| !line.is_empty()) {
            match symbol(line) {
                Some(symbol) => {
                    self.0.insert(symbol.to_owned(), line.to_owned());
                }
                None if line.starts_with('#') => {}
                None => bail!("neither a symbol nor a comment: {line}"),
            }
        }
        Ok(())
    }

    /// As one file for `make allnoconfig` with KCONFIG_ALLCONFIG.
    pub fn text(&self) -> String {
        self.0.values().map(|line| format!("{line}\n")).collect()
    }

    /// Fails unless a final .config has every line.
    pub fn verify(&self, config: &str) -> Result<()> {
        let mut lost = Vec::new();
        for (symbol, line) in &self.0 {
            let is_off = line.starts_with('#');
            let final_line = config
                .lines()
                .find(|line| self::symbol(line) == Some(symbol));
            match final_line {
                Some(final_line) if final_line == line => {}
                // A symbol that is not shown at all is off too.
                None if is_off => {}
                found => lost.push(format!("{line} ({})", found.unwrap_or("not there"))),
            }
        }
        if !lost.is_empty() {
            bail!(
                "the kernel's own dependencies changed what kernel/config asks for: {}",
                lost.join(", ")
            );
        }
        Ok(())
    }
}

/// The symbol that a line of a .config sets or unsets.
fn symbol(line: &str) -> Option<&str> {
    let symbol = match line.strip_prefix("# ") {
        Some(rest) => rest.strip_suffix(" is not set")?,
        None => line.split_once('=')?.0,
    };
    symbol.starts_with("CONFIG_").then_some(symbol)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::Requested;

    fn requested(fragment: &str) -> Requested {
        let mut requested = Requested(BTreeMap::new());
        requested.add(fragment).unwrap();
        requested
    }

    #[test]
    fn every_line_must_be_there() {
        let requested = requested("# words\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_N=64\n");
        requested
            .verify("CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_N=64\nCONFIG_C=y\n")
            .unwrap();
        requested.verify("CONFIG_N=64\nCONFIG_A=y\n").unwrap();
        let error = requested
            .verify("# CONFIG_A is not set\nCONFIG_B=y\nCONFIG_AB=y\n")
            .unwrap_err()
            .to_string();
        for lost in [
            "CONFIG_A=y (# CONFIG_A is not set)",
            "# CONFIG_B is not set (CONFIG_B=y)",
            "CONFIG_N=64 (not there)",
        ] {
            assert!(error.contains(lost), "{error}");
        }
    }

    #[test]
    fn the_last_word_counts() {
        let requested = requested("CONFIG_T=60\nCONFIG_T=180\n");
        assert_eq!(requested.text(), "CONFIG_T=180\n");
    }

    #[test]
    fn a_line_that_says_nothing_is_an_error() {
        let mut requested = requested("");
        assert!(requested.add("CONFIG_A y").is_err());
        assert!(requested.add("A=y").is_err());
    }
}
