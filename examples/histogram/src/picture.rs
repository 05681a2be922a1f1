// SPDX-License-Identifier: MIT OR Apache-2.0
//! The histogram as text.

use crate::output::say;

/// Byte values in a row.
const ROW: usize = 8;
/// Characters of the longest bar.
const WIDTH: u64 = BAR.len() as u64;
const BAR: &str = "################################################";

/// Prints a bar for each 8 byte values, in proportion to the longest.
pub fn print(counts: &[u64; 256]) {
    let sum = |row: &[u64]| row.iter().sum::<u64>();
    let longest = counts.chunks(ROW).map(sum).fold(1, u64::max);
    for (index, row) in counts.chunks(ROW).enumerate() {
        let count = sum(row);
        let length = count.saturating_mul(WIDTH).div_ceil(longest);
        let bar = BAR.get(..length as usize).unwrap_or(BAR);
        let first = index * ROW;
        let last = first + ROW - 1;
        say!("{first:02x}-{last:02x} {count:>14} {bar}");
    }
}
