// SPDX-License-Identifier: MIT OR Apache-2.0
//! Writes an initramfs: a cpio archive in the "newc" format, which is what the kernel unpacks
//! (Linux `Documentation/driver-api/early-userspace/buffer-format.rst`).

/// An archive under construction.
#[derive(Default)]
pub struct Initramfs {
    bytes: Vec<u8>,
    entries: u32,
}

const DIRECTORY: u32 = 0o040_755;
const EXECUTABLE: u32 = 0o100_755;
const FILE: u32 = 0o100_644;
const CHARACTER_DEVICE: u32 = 0o020_600;

impl Initramfs {
    /// Appends a directory.
    pub fn directory(mut self, name: &str) -> Self {
        self.entry(name, DIRECTORY, (0, 0), &[]);
        self
    }

    /// Appends an executable file.
    pub fn executable(mut self, name: &str, contents: &[u8]) -> Self {
        self.entry(name, EXECUTABLE, (0, 0), contents);
        self
    }

    /// Appends a file that is data.
    pub fn file(mut self, name: &str, contents: &[u8]) -> Self {
        self.entry(name, FILE, (0, 0), contents);
        self
    }

    /// Appends a character device by its major and minor number.
    pub fn device(mut self, name: &str, major: u32, minor: u32) -> Self {
        self.entry(name, CHARACTER_DEVICE, (major, minor), &[]);
        self
    }

    /// The finished archive.
    pub fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, (0, 0), &[]);
        self.bytes
    }

    /// The header is the magic number and 13 numbers of eight hexadecimal digits; the name and
    /// the contents after it are each padded to four bytes.
    fn entry(&mut self, name: &str, mode: u32, device: (u32, u32), contents: &[u8]) {
        self.entries += 1;
        let size = u32::try_from(contents.len()).expect("a program is below 4 GiB");
        let name_size = u32::try_from(name.len() + 1).expect("names are short");
        // inode, mode, owner, group, links, time, size, device of the file, device of the node,
        // name size, checksum (none in this format).
        let numbers = [
            self.entries,
            mode,
            0,
            0,
            1,
            0,
            size,
            0,
            0,
            device.0,
            device.1,
            name_size,
            0,
        ];
        self.bytes.extend_from_slice(b"070701");
        for number in numbers {
            self.bytes
                .extend_from_slice(format!("{number:08x}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(contents);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}
