// SPDX-License-Identifier: MIT OR Apache-2.0
//! Transparent huge pages, switched on for a test.

use std::fs;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

/// `always [madvise] never`: the chosen one in brackets (Documentation/admin-guide/mm/transhuge.rst).
const ENABLED: &str = "/sys/kernel/mm/transparent_hugepage/enabled";

/// Huge pages wherever they fit, until this is dropped.
pub struct HugePages {
    before: String,
    _alone: MutexGuard<'static, ()>,
}

impl HugePages {
    /// The error is the reason to skip: no huge pages in this kernel, or not root.
    pub fn always() -> Result<Self, String> {
        static ALONE: Mutex<()> = Mutex::new(());
        let alone = ALONE.lock().map_err(|error| error.to_string())?;
        let before = chosen()?;
        fs::write(ENABLED, "always").map_err(|error| format!("{ENABLED}: {error}"))?;
        Ok(Self {
            before,
            _alone: alone,
        })
    }

    /// Whether [`HugePages::always`] has a chance here.
    pub fn possible() -> Result<(), String> {
        chosen()?;
        fs::OpenOptions::new()
            .write(true)
            .open(Path::new(ENABLED))
            .map(drop)
            .map_err(|error| format!("{ENABLED}: {error}"))
    }
}

fn chosen() -> Result<String, String> {
    let text = fs::read_to_string(ENABLED).map_err(|error| format!("{ENABLED}: {error}"))?;
    let chosen = text.split(['[', ']']).nth(1);
    chosen
        .map(str::to_owned)
        .ok_or_else(|| format!("{ENABLED} has nothing in brackets"))
}

impl Drop for HugePages {
    fn drop(&mut self) {
        fs::write(ENABLED, &self.before).expect("it was written before");
    }
}
