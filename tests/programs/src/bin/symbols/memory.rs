// SPDX-License-Identifier: MIT OR Apache-2.0
//! The memory functions.

use crate::c;

/// The contract in a few bytes; `tests/tests/memory/` goes through sizes and alignments.
pub unsafe fn memory(symbol: &str) {
    let mut bytes = *b"0123456789abcdef";
    let start = bytes.as_mut_ptr();
    // SAFETY: see `main`; all ranges are within the array.
    unsafe {
        match symbol {
            "memcpy" => {
                assert_eq!(c::memcpy(start, start.add(8), 8), start);
                assert_eq!(&bytes, b"89abcdef89abcdef");
            }
            "memmove" => {
                assert_eq!(c::memmove(start.add(2), start, 14), start.add(2));
                assert_eq!(&bytes, b"010123456789abcd");
            }
            "memset" => {
                assert_eq!(c::memset(start.add(1), 0x1_78, 3), start.add(1));
                assert_eq!(&bytes, b"0xxx456789abcdef");
            }
            "memcmp" => {
                assert_eq!(c::memcmp(start, b"0123z".as_ptr(), 4), 0);
                assert!(c::memcmp(start, b"0123z".as_ptr(), 5) < 0);
                assert!(
                    c::memcmp(b"\xff".as_ptr(), b"\x01".as_ptr(), 1) > 0,
                    "unsigned"
                );
            }
            "bcmp" => {
                assert_eq!(c::bcmp(start, b"0123z".as_ptr(), 4), 0);
                assert_ne!(c::bcmp(start, b"0123z".as_ptr(), 5), 0);
            }
            "strlen" => assert_eq!(c::strlen(c"seventeen letters".as_ptr().cast()), 17),
            other => panic!("{other} has no check"),
        }
    }
}
