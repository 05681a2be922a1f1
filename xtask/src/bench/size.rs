// SPDX-License-Identifier: MIT OR Apache-2.0
//! The sizes of the smallest program and of the main job, in the profile made for size.

use std::fs;

use anyhow::Result;

use super::Row;
use crate::program::{Form, Profile, build};

/// hello_bytes and histogram_bytes.
pub fn rows() -> Result<[Row; 2]> {
    Ok([
        Row::count("hello_bytes", bytes("hello")?, "bytes", 8192),
        Row::count("histogram_bytes", bytes("histogram")?, "bytes", 49152),
    ])
}

fn bytes(program: &str) -> Result<u64> {
    Ok(fs::metadata(build(program, Form::Static, Profile::Small)?)?.len())
}
