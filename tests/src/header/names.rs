// SPDX-License-Identifier: MIT OR Apache-2.0
//! The names that a source text defines: structures and fields of our own header, constants of
//! the crate. Line parsers for the way these files are written, with no macro inside a body.

/// A structure tag and its field names, in order.
pub type Members = (String, Vec<String>);

/// The structures that a C text defines.
///
/// # Errors
/// When a definition has no end, or a field's name is not understood.
pub fn c_structures(text: &str) -> Result<Vec<Members>, String> {
    let text = without_comments(text);
    let mut structures = Vec::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("\nstruct ") {
        rest = &rest[at + "\nstruct ".len()..];
        let Some((tag, after)) = rest.split_once(" {") else {
            return Err("a structure without a body".into());
        };
        let (body, after) = after
            .split_once('}')
            .ok_or_else(|| format!("struct {tag}: no closing brace"))?;
        let fields = body
            .split(';')
            .map(str::trim)
            .filter(|declaration| !declaration.is_empty())
            .map(field_name)
            .collect::<Result<_, _>>()?;
        structures.push((tag.to_owned(), fields));
        rest = after;
    }
    Ok(structures)
}

/// The name in `int (*alloc)(size_t size)`, `uint8_t end[31]`, `void *first` or `uint32_t flags`.
fn field_name(declaration: &str) -> Result<String, String> {
    let name = match declaration.split_once("(*") {
        Some((_, after)) => after.split(')').next(),
        None => declaration
            .split('[')
            .next()
            .and_then(|before| before.split_whitespace().last())
            .map(|name| name.trim_start_matches('*')),
    };
    name.filter(|name| is_identifier(name))
        .map(str::to_owned)
        .ok_or_else(|| format!("no field name in `{declaration}`"))
}

fn without_comments(text: &str) -> String {
    let mut pieces = text.split("/*");
    let mut result = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        result.push_str(piece.split_once("*/").map_or("", |(_, code)| code));
    }
    result
}

/// The object-like macros with a value that a preprocessor listing (`-dM`) shows under our
/// prefix. An empty one is an include guard or the user's choice.
#[must_use]
pub fn c_constants(listing: &str) -> Vec<String> {
    listing
        .lines()
        .filter_map(|line| line.strip_prefix("#define ")?.split_once(' '))
        .filter(|(name, value)| {
            name.starts_with("VCPU_") && is_identifier(name) && !value.trim().is_empty()
        })
        .map(|(name, _)| name.to_owned())
        .collect()
}

/// The names of the constants that a Rust module exports.
#[must_use]
pub fn rust_constants(text: &str) -> Vec<String> {
    text.lines()
        .filter_map(|line| line.strip_prefix("pub const ")?.split_once(':'))
        .map(|(name, _)| name.to_owned())
        .filter(|name| is_identifier(name))
        .collect()
}

fn is_identifier(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
