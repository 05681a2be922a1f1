// SPDX-License-Identifier: MIT OR Apache-2.0
//! What a guest's console tells: how it ended, and what its kernel complained about.

/// How the guest ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The status of its first process, as a shell tells it: 128 and the number for a signal.
    Status(u8),
    /// The kernel gave up, with these words.
    Panic(String),
    /// The console ends without any of these.
    Nothing,
}

/// The lines of the end that an error shows.
const TAIL: usize = 25;

/// The words with which /init tells its result; any other status is a failure as well.
const STATUS: &str = "guest: exit status ";

/// Words in the kernel's own messages that are never right.
const COMPLAINTS: [&str; 22] = [
    "WARNING: ",
    "BUG: ",
    "BUG at ",
    "Oops",
    "KASAN: ",
    "UBSAN: ",
    "Call Trace:",
    "Kernel panic",
    "stack-protector:",
    "double fault",
    "scheduling while atomic",
    "sleeping function called",
    "suspicious RCU usage",
    "detected stalls",
    "self-detected stall",
    "possible recursive locking",
    "possible circular locking",
    "inconsistent lock state",
    "bad unlock balance",
    "held lock freed",
    "blocked for more than",
    "unchecked MSR access",
];

/// How the guest ended.
pub fn verdict(console: &str) -> Verdict {
    let mut verdict = Verdict::Nothing;
    for line in console.lines() {
        if let Some(status) = line.strip_prefix(STATUS) {
            verdict = Verdict::Status(status.trim().parse().unwrap_or(u8::MAX));
            continue;
        }
        let Some(message) = message(line) else {
            continue;
        };
        if let Some((_, reason)) = message.split_once("Kernel panic - not syncing: ") {
            let killed = reason.strip_prefix("Attempted to kill init! exitcode=0x");
            let status = killed
                .and_then(|code| u32::from_str_radix(code.trim(), 16).ok())
                .map(shell_status);
            // When /init has told its result, its end is no longer the way to tell it.
            return match (status, &verdict) {
                (Some(status), Verdict::Nothing) => Verdict::Status(status),
                _ => Verdict::Panic(reason.to_owned()),
            };
        }
        if message.starts_with("reboot: Power down") && verdict == Verdict::Nothing {
            verdict = Verdict::Status(0);
        }
    }
    verdict
}

/// A shell's view of a wait status.
fn shell_status(code: u32) -> u8 {
    let signal = code & 0x7f;
    let status = if signal == 0 {
        code >> 8 & 0xff
    } else {
        128 + signal
    };
    u8::try_from(status).unwrap_or(u8::MAX)
}

/// The kernel's complaints, each as the line it starts with.
pub fn complaints(console: &str) -> Vec<String> {
    let messages = without_fair_server(console.lines().filter_map(message).collect());
    messages
        .into_iter()
        .filter(|message| COMPLAINTS.iter().any(|words| message.contains(words)))
        .map(str::to_owned)
        .collect()
}

/// What ended a boot that has nothing to do with the kernel under test.
///
/// - Until version 8.1, what one of QEMU's threads translates while another one changes it may stay as
///   it was. The kernel flips static keys by a breakpoint that is there for a moment, and meets it
///   later, when it has no handler for it any more.
/// - `identify_cpu()` clears the features of the first processor before it reads them, LA57 among them.
///   KASAN goes by that bit, and takes a good address for a bad one in an interrupt at that moment.
pub fn accident(console: &str) -> Option<&'static str> {
    let has = |test: fn(&str) -> bool| console.lines().filter_map(message).any(test);
    if has(|it| it.starts_with("Oops: int3: ")) {
        Some("QEMU lost a change of the kernel's text")
    } else if has(|it| it.starts_with("BUG: KASAN: wild-memory-access in "))
        && has(|it| it.starts_with("RIP: 0010:identify_cpu+"))
    {
        Some("KASAN was asked while the processor's features were cleared")
    } else {
        None
    }
}

/// Messages without the one warning that is known of a stock kernel. 6.12 counts the fair server of a
/// CPU, which lends starving tasks the time of a deadline task, among the tasks that run there, and
/// complains about it when the CPU goes offline meanwhile: two tasks, of which it can show only the
/// stopper. A busy host is enough for that. 7.3 does not count it any more.
fn without_fair_server(mut messages: Vec<&str>) -> Vec<&str> {
    let mut start = 0;
    while let Some(found) = position(&messages, start, |it| {
        it == "Dying CPU not properly vacated!"
    }) {
        start = found + 1;
        let end = position(&messages, start, |it| it.starts_with("---[ end trace"));
        let Some(end) = end else { break };
        let listed = |index: usize| messages.get(index).copied().unwrap_or_default();
        if listed(end + 1).ends_with(" enqueued tasks (2 total):")
            && listed(end + 2).contains("name: migration/")
            && !listed(end + 3).starts_with("\tpid: ")
        {
            messages.drain(found..=end);
        }
    }
    messages
}

fn position(messages: &[&str], start: usize, is_it: impl Fn(&str) -> bool) -> Option<usize> {
    let found = messages[start..].iter().position(|message| is_it(message));
    found.map(|index| start + index)
}

/// The last lines.
pub fn tail(console: &str) -> String {
    let lines: Vec<&str> = console.lines().collect();
    lines[lines.len().saturating_sub(TAIL)..].join("\n")
}

/// The text of a message of the kernel: what follows `[   12.345678] `. It may stand behind the
/// beginning of a line that a program was writing.
fn message(line: &str) -> Option<&str> {
    line.match_indices('[').find_map(|(start, _)| {
        let (stamp, text) = line[start + 1..].split_once("] ")?;
        let (seconds, fraction) = stamp.trim_start().split_once('.')?;
        let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        (is_number(seconds) && fraction.len() == 6 && is_number(fraction)).then_some(text)
    })
}

#[cfg(test)]
mod tests {
    use super::{Verdict, accident, complaints, tail, verdict};

    const PANIC: &str = "[    1.234567] Kernel panic - not syncing: ";

    #[test]
    fn the_status_that_init_tells() {
        let console =
            "== a\n-- a: passed\nguest: exit status 0\n[   12.000000] reboot: Power down\n";
        assert_eq!(verdict(console), Verdict::Status(0));
        assert_eq!(verdict("guest: exit status 1\n"), Verdict::Status(1));
        assert_eq!(verdict("guest: exit status what\n"), Verdict::Status(255));
        assert_eq!(verdict("it said guest: exit status 0\n"), Verdict::Nothing);
    }

    #[test]
    fn the_status_of_an_init_that_ends() {
        for (code, status) in [
            ("00000700", 7),
            ("00000000", 0),
            ("0000000b", 139),
            ("0000008b", 139),
        ] {
            let console = format!("hello\n{PANIC}Attempted to kill init! exitcode=0x{code}\n");
            assert_eq!(verdict(&console), Verdict::Status(status), "{code}");
        }
    }

    #[test]
    fn a_power_off_is_success_and_silence_is_not() {
        assert_eq!(
            verdict("[    2.000001] reboot: Power down"),
            Verdict::Status(0)
        );
        assert_eq!(
            verdict("[    2.000001] reboot: Restarting system"),
            Verdict::Nothing
        );
        assert_eq!(verdict("reboot: Power down"), Verdict::Nothing);
        assert_eq!(verdict(""), Verdict::Nothing);
    }

    #[test]
    fn any_other_panic_is_one() {
        let oom = format!("{PANIC}Out of memory\n");
        assert_eq!(verdict(&oom), Verdict::Panic("Out of memory".into()));
        let late =
            format!("guest: exit status 0\n{PANIC}Attempted to kill init! exitcode=0x00000000\n");
        assert!(matches!(verdict(&late), Verdict::Panic(_)));
    }

    #[test]
    fn complaints_are_the_kernels_own_words() {
        let console = "\
            WARNING: of a program\n\
            [    0.100000] tsc: a calm message\n\
            [    0.200000] WARNING: CPU: 1 PID: 7 at kernel/sched/core.c:5 f+0x1/0x2\n\
            half a line[    0.300000] BUG: KASAN: slab-use-after-free in f\n\
            [x] BUG: not a time\n";
        assert_eq!(
            complaints(console),
            [
                "WARNING: CPU: 1 PID: 7 at kernel/sched/core.c:5 f+0x1/0x2",
                "BUG: KASAN: slab-use-after-free in f",
            ]
        );
    }

    #[test]
    fn a_breakpoint_is_told_from_other_ends() {
        let oops = |what| format!("[    1.251384] Oops: {what}: 0000 [#1] SMP\n");
        assert!(accident(&oops("int3")).is_some_and(|it| it.starts_with("QEMU")));
        assert_eq!(accident(&oops("general protection fault")), None);
        assert_eq!(accident("Oops: int3: of a program\n"), None);
    }

    #[test]
    fn an_interrupt_of_identify_cpu_is_told_from_other_reports() {
        let report = |what, place| {
            let what =
                format!("[    0.004410] BUG: KASAN: {what} in do_raw_spin_lock+0x10f/0x240\n");
            what + &format!("[    0.004888] RIP: 0010:{place}+0x275/0x14e0\n")
        };
        let wild = "wild-memory-access";
        let found = accident(&report(wild, "identify_cpu"));
        assert!(found.is_some_and(|it| it.starts_with("KASAN")));
        assert_eq!(accident(&report(wild, "rest_init")), None);
        assert_eq!(
            accident(&report("slab-use-after-free", "identify_cpu")),
            None
        );
    }

    #[test]
    fn only_the_fair_server_is_no_task() {
        let report = |tasks: &str, more: &str| {
            let lines = [
                "Dying CPU not properly vacated!",
                "WARNING: CPU: 6 PID: 45 at kernel/sched/core.c:8365 sched_cpu_dying+0x74/0x1a0",
                "Call Trace:",
                "---[ end trace 0000000000000000 ]---",
                &format!("CPU6 enqueued tasks ({tasks} total):"),
                "\tpid: 45, name: migration/6",
                more,
            ];
            lines
                .map(|line| format!("[  186.985048] {line}\n"))
                .concat()
        };
        assert_eq!(complaints(&report("2", "x")), [""; 0]);
        assert_eq!(complaints(&report("3", "x")).len(), 2);
        assert_eq!(complaints(&report("2", "\tpid: 50, name: lost")).len(), 2);
        let both = report("2", "x") + &report("3", "x") + &report("2", "BUG: it");
        assert_eq!(complaints(&both).len(), 3);
    }

    #[test]
    fn the_tail_is_the_end() {
        let console: String = (0..100).map(|line| format!("{line}\n")).collect();
        assert!(tail(&console).starts_with("75\n") && tail(&console).ends_with("\n99"));
        assert_eq!(tail("one"), "one");
    }
}
