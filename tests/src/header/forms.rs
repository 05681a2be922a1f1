// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whether a C consumer finds a runtime, in each link form that the header speaks of: where a
//! weak reference works, where it silently does not, and what helps.

use std::iter;
use std::path::PathBuf;
use std::process::Command;

use super::{Scratch, WARNINGS, available, expect_status, fixture, include_directory, run};
use crate::case::Case;

/// A case for each form.
#[must_use]
pub fn cases() -> Vec<Case> {
    let case = |form: &'static Form| {
        let need = if form.flags.contains("-static") {
            static_libc()
        } else {
            Ok(())
        };
        Case::new(format!("finds_{}", form.name), || finds(form)).needs(need)
    };
    let mut cases: Vec<_> = FORMS.iter().map(case).collect();
    cases.push(Case::new(
        "required_does_not_link_without_the_runtime",
        required_needs_the_runtime,
    ));
    cases
        .into_iter()
        .map(|case| case.needs(available("gcc")))
        .collect()
}

/// A way to build `presence.c`, and the exit status that says what it then finds.
struct Form {
    name: &'static str,
    status: i32,
    /// Flags for the compilation and the link of the consumer.
    flags: &'static str,
    table: Table,
    /// Flags for the compilation of `table.c`.
    table_flags: &'static str,
}

/// Where the table comes from.
#[derive(Clone, Copy)]
enum Table {
    None,
    Object,
    /// An archive that stands after the consumer.
    Archive,
    /// A shared library that the consumer is linked with.
    Shared,
    /// A shared library that only a preload brings.
    Preload,
}

use Table::{Archive, Object, Preload, Shared};

const ABSENT: i32 = 83;
const PRESENT: i32 = 84;

const fn form(
    name: &'static str,
    status: i32,
    flags: &'static str,
    table: Table,
    table_flags: &'static str,
) -> Form {
    Form {
        name,
        status,
        flags,
        table,
        table_flags,
    }
}

#[rustfmt::skip]
static FORMS: [Form; 19] = [
    form("nothing_static", ABSENT, "OPTIONAL -static -no-pie -fno-pie", Table::None, ""),
    form("nothing_static_pie", ABSENT, "OPTIONAL -static-pie -fPIE", Table::None, ""),
    form("nothing_pie", ABSENT, "OPTIONAL -pie -fPIE", Table::None, ""),
    form("nothing_non_pie", ABSENT, "OPTIONAL -no-pie -fno-pie", Table::None, ""),
    form("object_static", PRESENT, "OPTIONAL -static -no-pie -fno-pie", Object, ""),
    form("object_static_pie", PRESENT, "OPTIONAL -static-pie -fPIE", Object, "-fPIE"),
    form("object_required", PRESENT, "REQUIRED -static -no-pie -fno-pie", Object, ""),

    // The table's own words decide too.
    form("unready_table", ABSENT, "OPTIONAL", Object, "-fPIE -DTABLE_SIZE=0"),
    form("cut_table", ABSENT, "REQUIRED", Object, "-fPIE -DTABLE_SIZE=119"),
    form("longer_table", PRESENT, "REQUIRED", Object, "-fPIE -DTABLE_SIZE=128"),
    form("other_major", ABSENT, "REQUIRED", Object, "-fPIE -DTABLE_MAJOR=2"),

    // The pitfalls of weak references that the header names, and their remedies.
    form("archive_weak_pulls_nothing", ABSENT, "OPTIONAL -static", Archive, ""),
    form("archive_with_u", PRESENT, "OPTIONAL -static -Wl,-u,vcpu_abi", Archive, ""),
    form("archive_required", PRESENT, "REQUIRED -static", Archive, ""),
    form("as_needed_drops", ABSENT, "OPTIONAL -pie -fPIE -Wl,--as-needed", Shared, "-fPIC"),
    form("no_as_needed", PRESENT, "OPTIONAL -pie -fPIE -Wl,--no-as-needed", Shared, "-fPIC"),
    form("shared_required", PRESENT, "REQUIRED -no-pie -fno-pie -Wl,--as-needed", Shared, "-fPIC"),
    form("preload_pie", PRESENT, "OPTIONAL -pie -fPIE", Preload, "-fPIC"),
    form("preload_missed_by_non_pie", ABSENT, "OPTIONAL -no-pie -fno-pie", Preload, "-fPIC"),
];

/// The flags of a form: its first word may be the way of reference, without its prefix.
fn words(flags: &'static str) -> impl Iterator<Item = String> {
    flags.split_whitespace().map(|word| match word {
        "OPTIONAL" | "REQUIRED" => format!("-DVCPU_ABI_{word}"),
        _ => word.to_owned(),
    })
}

/// The compiler answers with a bare file name when it has no such file.
fn static_libc() -> Result<(), String> {
    let answer = run(Command::new("gcc").arg("-print-file-name=libc.a"))?;
    if answer.contains('/') {
        Ok(())
    } else {
        Err("no libc.a".into())
    }
}

fn gcc() -> Command {
    let mut command = Command::new("gcc");
    command
        .args(WARNINGS)
        .args(["-std=c99", "-O2", "-I"])
        .arg(include_directory());
    command
}

fn finds(form: &Form) -> Result<(), String> {
    let scratch = Scratch::new()?;
    let program = scratch.path("presence");
    let table = build_table(&scratch, form)?;
    let mut link = gcc();
    link.args(words(form.flags))
        .arg("-o")
        .arg(&program)
        .arg(fixture("presence.c"));
    if let Object | Archive | Shared = form.table {
        link.args(&table);
    }
    run(&mut link)?;
    let mut start = Command::new(program);
    match form.table {
        Shared => _ = start.env("LD_LIBRARY_PATH", scratch.path("")),
        Preload => _ = start.envs(iter::once("LD_PRELOAD").zip(table)),
        Table::None | Object | Archive => {}
    }
    expect_status(&mut start, form.status)
}

/// The file that holds the table, when the form has one.
fn build_table(scratch: &Scratch, form: &Form) -> Result<Option<PathBuf>, String> {
    if let Table::None = form.table {
        return Ok(None);
    }
    let object = scratch.path("table.o");
    run(gcc()
        .args(words(form.table_flags))
        .arg("-c")
        .arg(fixture("table.c"))
        .arg("-o")
        .arg(&object))?;
    let (mut command, file) = match form.table {
        Table::None | Object => return Ok(Some(object)),
        Archive => {
            let mut archive = Command::new("ar");
            archive.arg("rc");
            (archive, scratch.path("libtable.a"))
        }
        Shared | Preload => {
            let mut link = Command::new("gcc");
            link.args(["-shared", "-Wl,-soname,libtable.so", "-o"]);
            (link, scratch.path("libtable.so"))
        }
    };
    run(command.arg(&file).arg(object))?;
    Ok(Some(file))
}

fn required_needs_the_runtime() -> Result<(), String> {
    let scratch = Scratch::new()?;
    let link = run(gcc()
        .arg("-DVCPU_ABI_REQUIRED")
        .arg("-o")
        .arg(scratch.path("presence"))
        .arg(fixture("presence.c")));
    match link {
        Err(message) if message.contains("undefined reference to `vcpu_abi'") => Ok(()),
        Err(message) => Err(format!("the link failed for another reason: {message}")),
        Ok(_) => Err("it linked".into()),
    }
}
