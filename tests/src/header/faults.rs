// SPDX-License-Identifier: MIT OR Apache-2.0
//! The comparison with the crate, and the same comparison fed with faults that it must report.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::{
    Scratch, WARNINGS, available, differences, include_directory, list, run, text,
    unlisted_constants,
};
use crate::case::Case;

type Body = fn() -> Result<(), String>;

const BODIES: [(&str, Body); 7] = [
    ("header_equals_crate", header_equals_crate),
    (
        "list_has_every_constant_of_the_crate",
        list_has_every_constant,
    ),
    ("checker_finds_each_fault", checker_finds_each_fault),
    (
        "checker_finds_an_unlisted_rust_constant",
        checker_finds_unlisted,
    ),
    ("own_assertions_find_a_swap", own_assertions_find_a_swap),
    (
        "document_has_the_table_of_the_crate",
        document_has_the_table,
    ),
    ("example_of_the_document_compiles", example_compiles),
];

/// A case for each.
#[must_use]
pub fn cases() -> Vec<Case> {
    BODIES
        .into_iter()
        .map(|(name, body)| Case::new(name, body).needs(available("gcc")))
        .collect()
}

fn nothing(differences: &[String]) -> Result<(), String> {
    if differences.is_empty() {
        Ok(())
    } else {
        Err(differences.join("\n"))
    }
}

fn header_equals_crate() -> Result<(), String> {
    nothing(&differences(&text()?))
}

/// The Rust modules in one text.
fn crate_text() -> Result<String, String> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../abi/src");
    let files =
        fs::read_dir(&directory).map_err(|error| format!("{}: {error}", directory.display()))?;
    let mut text = String::new();
    for file in files {
        let path = file.map_err(|error| error.to_string())?.path();
        text +=
            &fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(text)
}

fn list_has_every_constant() -> Result<(), String> {
    nothing(&unlisted_constants(&crate_text()?))
}

fn checker_finds_unlisted() -> Result<(), String> {
    let text = crate_text()?;
    let surplus = unlisted_constants(&format!("{text}\npub const SURPLUS: u32 = 1;\n"));
    let lacking = unlisted_constants(&replaced(&text, "pub const MODE_GS: ", "const MODE_GS: ")?);
    if surplus == ["only the crate has SURPLUS"] && lacking == ["only the list has MODE_GS"] {
        return Ok(());
    }
    Err(format!("reported {surplus:?} and {lacking:?}"))
}

/// The text with one place changed; an error when that place is not there exactly once.
fn replaced(text: &str, from: &str, to: &str) -> Result<String, String> {
    if text.matches(from).count() != 1 {
        return Err(format!("`{from}` is not there exactly once"));
    }
    Ok(text.replacen(from, to, 1))
}

/// The header without its own assertions, so that the comparison is what must find the fault.
fn unguarded() -> Result<String, String> {
    let text = text()?;
    Ok(text
        .lines()
        .filter(|line| !line.starts_with("VCPU_ASSERT_"))
        .flat_map(|line| [line, "\n"])
        .collect())
}

/// Text in the header, what it is changed to, and what must be reported.
#[rustfmt::skip]
const FAULTS: &[(&str, &str, &[&str])] = &[
    ("uint32_t node_id;", "uint32_t mm_cid_;", &["only the header has struct vcpu_rseq: mm_cid_", "only the list has struct vcpu_rseq: node_id"]),
    ("0x53053053U", "0x53053054U", &["VCPU_RSEQ_SIG 1392848980"]),
    ("\"VCPU_RT_GS\"", "\"VCPU_RT_SG\"", &["VCPU_TUNABLE_GS VCPU_RT_SG"]),
    ("#define VCPU_MODE_GS 3U", "#define VCPU_MODE_GS 3U\n#define VCPU_MODE_NEW 4U", &["only the header has VCPU_MODE_NEW"]),
    ("uint8_t reserved[56];", "uint64_t surplus; uint8_t reserved[48];", &["only the header has struct vcpu_abi: surplus", "struct vcpu_abi: reserved at 208 size 48"]),
    ("int64_t rseq_offset;", "uint64_t rseq_offset;", &["struct vcpu_abi: rseq_offset at 32 size 8 type uint64_t"]),
    ("int (*fence)(int32_t vcpu);", "int (*fence)(int64_t vcpu);", &["struct vcpu_abi: fence at 96 size 8 type unknown"]),
    ("uint64_t stride;\t/* bytes from", "uint32_t stride;\t/* bytes from", &["struct vcpu_abi: stride at 64 size 4 type uint32_t", "struct vcpu_abi: stride_shift at 68"]),
    ("\tuint8_t end[31];\t/* later fields begin here */\n} __attribute__((__aligned__(32)));", "\tuint8_t end[31];\n};", &["struct vcpu_rseq: size 64 align 8"]),
    ("#define VCPU_MODE_GS 3U", "", &["only the list has VCPU_MODE_GS"]),
];

fn checker_finds_each_fault() -> Result<(), String> {
    let good = unguarded()?;
    nothing(&differences(&good))?;
    let mut headers = vec![(
        swapped(&good)?,
        &[
            "struct vcpu_rseq: node_id at 24",
            "struct vcpu_rseq: mm_cid at 20",
        ][..],
    )];
    for (from, to, reports) in FAULTS {
        headers.push((replaced(&good, from, to)?, reports));
    }
    for (bad, reports) in headers {
        let found = differences(&bad).join("\n");
        for report in reports {
            if !found.contains(report) {
                return Err(format!("`{report}` is not in the report:\n{found}"));
            }
        }
    }
    Ok(())
}

/// Exchanges two fields of equal type.
fn swapped(text: &str) -> Result<String, String> {
    let text = replaced(text, "uint32_t node_id;", "uint32_t swap;")?;
    let text = replaced(&text, "uint32_t mm_cid;", "uint32_t node_id;")?;
    replaced(&text, "uint32_t swap;", "uint32_t mm_cid;")
}

fn own_assertions_find_a_swap() -> Result<(), String> {
    let scratch = Scratch::new()?;
    let path = scratch.write("vcpu_rt.h", &swapped(&text()?)?)?;
    for language in [
        ["-xc", "-std=c99"],
        ["-xc", "-std=c11"],
        ["-xc++", "-std=c++11"],
    ] {
        match run(Command::new("gcc")
            .args(language)
            .arg("-fsyntax-only")
            .arg(&path))
        {
            Err(message) if message.contains("vcpu_rseq_mm_cid") => {}
            other => return Err(format!("{language:?}: {other:?}")),
        }
    }
    Ok(())
}

fn document() -> Result<String, String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/abi.md");
    fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))
}

/// Offsets and names of the fields, as the rows of the section on version 1.1 have them.
fn document_has_the_table() -> Result<(), String> {
    let document = document()?;
    let section = document
        .split("\n## ")
        .find(|section| section.starts_with("Version 1.1"));
    let rows = section
        .unwrap_or_default()
        .split("\n### ")
        .next()
        .unwrap_or_default();
    let documented: Vec<_> = rows
        .lines()
        .filter_map(|line| {
            let cells: Vec<_> = line.split('|').map(str::trim).collect();
            let [_, offset, _, field, ..] = cells[..] else {
                return None;
            };
            Some((
                offset.parse::<usize>().ok()?,
                field.trim_matches('`').to_owned(),
            ))
        })
        .collect();
    let table = list::structures()
        .into_iter()
        .find(|structure| structure.c_name == "vcpu_abi");
    let expected: Vec<_> = table
        .into_iter()
        .flat_map(|table| table.fields)
        .map(|field| (field.offset, field.name.to_owned()))
        .collect();
    if documented == expected && !expected.is_empty() {
        return Ok(());
    }
    Err(format!(
        "the document has {documented:?}, the crate {expected:?}"
    ))
}

fn example_compiles() -> Result<(), String> {
    let document = document()?;
    let example = document
        .split("\n```c\n")
        .nth(1)
        .and_then(|rest| rest.split("```").next());
    let scratch = Scratch::new()?;
    let path = scratch.write("example.c", example.ok_or("no example in C")?)?;
    // Nothing calls the functions of an example.
    run(Command::new("gcc")
        .args(WARNINGS)
        .args(["-Wno-unused-function", "-std=c99", "-fsyntax-only", "-I"])
        .arg(include_directory())
        .arg(path))
    .map(drop)
}
