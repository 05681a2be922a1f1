// SPDX-License-Identifier: MIT OR Apache-2.0
//! The commands that the README tells a reader to type must work.

use std::fs;

use anyhow::{Result, ensure};

use crate::command::root;

/// Not run: the one that we are, what it runs anyway, and what only a quiet machine can judge.
const LEFT_OUT: [&str; 3] = [
    "cargo xtask test",
    "cargo xtask kernel test",
    "cargo xtask bench",
];

/// The lines of the README's `sh` blocks, without what is left out.
pub fn commands() -> Result<Vec<String>> {
    let commands = parse(&fs::read_to_string(root().join("README.md"))?);
    ensure!(
        !commands.is_empty(),
        "README.md has no command in a block marked sh"
    );
    Ok(commands
        .into_iter()
        .filter(|line| !LEFT_OUT.iter().any(|start| line.starts_with(start)))
        .collect())
}

fn parse(text: &str) -> Vec<String> {
    let mut commands = Vec::new();
    let mut inside = false;
    for line in text.lines() {
        if let Some(language) = line.strip_prefix("```") {
            inside = language == "sh";
        } else if inside && !line.is_empty() && !line.starts_with('#') {
            commands.push(line.to_owned());
        }
    }
    commands
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_the_commands_of_sh_blocks() {
        let text = "```sh\n# a comment\ncargo xtask demo\n```\ntext\n```rust\nlet x;\n```\n";
        assert_eq!(super::parse(text), ["cargo xtask demo"]);
    }
}
