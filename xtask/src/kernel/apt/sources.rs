// SPDX-License-Identifier: MIT OR Apache-2.0
//! From the machine's apt sources to our own: the entries of its Debian release, and one of them
//! once more for the backports suite. The archive's address and key stay those of the machine.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The address, the suites, the components, and what else an entry says (`Signed-By: ...`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    uris: String,
    suites: Vec<String>,
    components: String,
    options: Vec<(String, String)>,
}

/// All entries for binary packages that apt reads on this machine.
pub fn of_the_machine() -> Result<Vec<Entry>> {
    let etc = Path::new("/etc/apt");
    let mut files: Vec<PathBuf> = vec![etc.join("sources.list")];
    if let Ok(parts) = fs::read_dir(etc.join("sources.list.d")) {
        files.extend(parts.filter_map(|entry| Some(entry.ok()?.path())));
    }
    files.sort();
    let mut entries = Vec::new();
    for file in files.iter().filter(|file| file.is_file()) {
        let read = || fs::read_to_string(file).with_context(|| format!("{}", file.display()));
        match file.extension().and_then(|extension| extension.to_str()) {
            Some("sources") => entries.extend(stanzas(&read()?)),
            Some("list") => entries.extend(read()?.lines().filter_map(line)),
            _ => {}
        }
    }
    Ok(entries)
}

/// Our list, in the deb822 format: the release's own suites, and the backports suite at the
/// address of the first entry that has the release itself.
pub fn derive(machine: &[Entry], release: &str, backports: &str) -> String {
    let of_release = |suite: &String| {
        let rest = suite.strip_prefix(release);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['-', '/']))
    };
    let mut entries: Vec<Entry> = machine.to_vec();
    for entry in &mut entries {
        entry.suites.retain(of_release);
    }
    entries.retain(|entry| !entry.suites.is_empty());
    let has = |suite: &str| {
        let suite = suite.to_owned();
        entries
            .iter()
            .find(move |entry| entry.suites.contains(&suite))
    };
    if has(backports).is_none()
        && let Some(main) = has(release)
    {
        entries.push(Entry {
            suites: vec![backports.to_owned()],
            ..main.clone()
        });
    }
    entries
        .iter()
        .map(Entry::stanza)
        .collect::<Vec<_>>()
        .join("\n")
}

impl Entry {
    fn stanza(&self) -> String {
        let mut text = format!(
            "Types: deb\nURIs: {}\nSuites: {}\n",
            self.uris,
            self.suites.join(" ")
        );
        if !self.components.is_empty() {
            text += &format!("Components: {}\n", self.components);
        }
        for (name, value) in &self.options {
            text += &format!("{name}: {value}\n");
        }
        text
    }
}

/// The entries of a `.sources` file (deb822, sources.list(5)).
fn stanzas(text: &str) -> Vec<Entry> {
    // A comment may stand inside a stanza, where an empty line would end it.
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let mut entries = Vec::new();
    let mut fields: Vec<(String, String)> = Vec::new();
    for line in lines.chain([""]) {
        if line.trim().is_empty() {
            entries.extend(entry(std::mem::take(&mut fields)));
        } else if line.starts_with([' ', '\t']) {
            // A key may be written into the entry itself, over several lines.
            if let Some((_, value)) = fields.last_mut() {
                value.push('\n');
                value.push_str(line);
            }
        } else if let Some((name, value)) = line.split_once(':') {
            fields.push((name.trim().to_owned(), value.trim().to_owned()));
        }
    }
    entries
}

/// The entry of one stanza's fields, when it is enabled and for binary packages.
fn entry(mut fields: Vec<(String, String)>) -> Option<Entry> {
    let mut take = |wanted: &str| {
        let place = fields
            .iter()
            .position(|(name, _)| name.eq_ignore_ascii_case(wanted))?;
        Some(fields.remove(place).1)
    };
    let types = take("Types")?;
    let enabled = take("Enabled").is_none_or(|value| value != "no");
    let entry = Entry {
        uris: take("URIs")?,
        suites: words(&take("Suites")?),
        components: take("Components").unwrap_or_default(),
        options: Vec::new(),
    };
    (enabled && words(&types).iter().any(|word| word == "deb")).then_some(Entry {
        options: fields,
        ..entry
    })
}

/// The entry of a line `deb [option=value ...] URI SUITE COMPONENT ...`.
fn line(line: &str) -> Option<Entry> {
    let rest = line.split('#').next()?.trim().strip_prefix("deb")?;
    let rest = rest
        .starts_with(char::is_whitespace)
        .then(|| rest.trim_start())?;
    let (options, rest) = match rest.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => ("", rest),
    };
    let mut words = words(rest).into_iter();
    let option = |word: &str| {
        let (name, value) = word.split_once('=')?;
        Some((long_name(name)?.to_owned(), value.replace(',', " ")))
    };
    Some(Entry {
        uris: words.next()?,
        suites: vec![words.next()?],
        components: words.collect::<Vec<_>>().join(" "),
        options: options.split_whitespace().filter_map(option).collect(),
    })
}

/// The deb822 name of a one-line option; only these matter for finding and trusting an archive.
fn long_name(option: &str) -> Option<&'static str> {
    match option {
        "signed-by" => Some("Signed-By"),
        "arch" => Some("Architectures"),
        "trusted" => Some("Trusted"),
        "check-valid-until" => Some("Check-Valid-Until"),
        _ => None,
    }
}

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::{derive, line, stanzas};

    const KEY: &str = "/usr/share/keyrings/archive.gpg";

    #[test]
    fn deb822() {
        let text = format!(
            "Types: deb deb-src\n# a comment\nURIs: http://archive.invalid/debian\n\
             Suites: bookworm bookworm-updates unrelated\nComponents: main\nSigned-By: {KEY}\n\n\
             Types: deb\nURIs: http://other.invalid\nSuites: nodistro\nComponents: main\n\n\
             Enabled: no\nTypes: deb\nURIs: http://off.invalid\nSuites: bookworm\n"
        );
        let expected = format!(
            "Types: deb\nURIs: http://archive.invalid/debian\n\
             Suites: bookworm bookworm-updates\nComponents: main\nSigned-By: {KEY}\n\n\
             Types: deb\nURIs: http://archive.invalid/debian\n\
             Suites: trixie-backports\nComponents: main\nSigned-By: {KEY}\n"
        );
        let machine = stanzas(&text);
        assert_eq!(derive(&machine, "bookworm", "trixie-backports"), expected);
    }

    #[test]
    fn a_key_inside_the_entry_keeps_its_lines() {
        let text = "Types: deb\nURIs: http://a.invalid\nSuites: trixie\nSigned-By:\n -----BEGIN\n .\n abc\n -----END\n";
        let derived = derive(&stanzas(text), "trixie", "trixie-backports");
        let key = "Signed-By: \n -----BEGIN\n .\n abc\n -----END\n";
        assert_eq!(derived.matches(key).count(), 2, "{derived}");
    }

    #[test]
    fn one_line_entries() {
        let machine: Vec<_> = [
            "# deb http://comment.invalid bookworm main",
            "deb-src http://archive.invalid/debian bookworm main",
            "deb [arch=amd64 signed-by=/k.gpg] http://archive.invalid/debian bookworm main contrib # c",
            "deb http://archive.invalid/security bookworm-security main",
            "deb http://other.invalid sdk-bookworm main",
        ]
        .into_iter()
        .filter_map(line)
        .collect();
        let options = "Architectures: amd64\nSigned-By: /k.gpg\n";
        let expected = format!(
            "Types: deb\nURIs: http://archive.invalid/debian\nSuites: bookworm\nComponents: main contrib\n{options}\n\
             Types: deb\nURIs: http://archive.invalid/security\nSuites: bookworm-security\nComponents: main\n\n\
             Types: deb\nURIs: http://archive.invalid/debian\nSuites: trixie-backports\nComponents: main contrib\n{options}"
        );
        assert_eq!(derive(&machine, "bookworm", "trixie-backports"), expected);
    }

    #[test]
    fn backports_of_the_machine_are_not_named_twice() {
        let machine: Vec<_> = [
            "deb http://a.invalid trixie main",
            "deb http://a.invalid trixie-backports main",
        ]
        .into_iter()
        .filter_map(line)
        .collect();
        let derived = derive(&machine, "trixie", "trixie-backports");
        assert_eq!(derived.matches("trixie-backports").count(), 1, "{derived}");
    }
}
