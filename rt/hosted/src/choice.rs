// SPDX-License-Identifier: MIT OR Apache-2.0
//! Whose registration: what is tried, in which order. The table is in `docs/hosted.md`.
#![forbid(unsafe_code)]

use vcpu_core::tunables::RseqChoice;

/// One way to come to a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// Use the C library's.
    Adopt,
    /// Register every thread.
    Own,
    /// The same, after the C library's registration was undone.
    TakeOver,
}

/// What there is.
#[derive(Clone, Copy, Debug, Default)]
pub struct Situation {
    /// The main thread is registered, where `__rseq_offset` says.
    pub is_active: bool,
    /// Others find our own area by `__rseq_offset`.
    pub is_announced: bool,
    /// The library was loaded with the program, before ld.so in the order of lookups: nobody has used the C
    /// library's registration yet and nobody will find it, and nothing has asked for locked memory (mlockall).
    pub comes_first: bool,
    /// The object that the runtime is in can be unloaded, and threads that are registered would be left with addresses
    /// in it.
    pub can_be_unloaded: bool,
}

/// The ways to try, one after the other.
pub fn ways(choice: RseqChoice, situation: Situation) -> &'static [Way] {
    match (choice, situation.is_active) {
        _ if situation.can_be_unloaded => &[],
        (RseqChoice::Off, _) => &[],
        (RseqChoice::Adopt, false) => &[],
        (RseqChoice::Auto | RseqChoice::Adopt, true) => &[Way::Adopt],
        (RseqChoice::Auto, false) if !situation.is_announced => &[],
        (RseqChoice::Auto | RseqChoice::Own, false) => &[Way::Own],
        (RseqChoice::Own, true) if situation.comes_first => &[Way::TakeOver, Way::Adopt],
        (RseqChoice::Own, true) => &[Way::Adopt],
    }
}

/// Why the active registration is not taken over although the user says `own`, where that is known beforehand.
pub fn not_taken_over(choice: RseqChoice, situation: Situation) -> Option<&'static str> {
    match choice {
        RseqChoice::Own if situation.is_active && !situation.comes_first => {
            // Others would find ours, so it is the library that can, at its time.
            Some(if situation.is_announced {
                "too late, the program runs"
            } else {
                "needs libvcpu_rt.so from the program's start on"
            })
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(choice: RseqChoice, active: bool, announced: bool, take: bool) -> &'static [Way] {
        ways(
            choice,
            Situation {
                is_active: active,
                is_announced: announced,
                comes_first: take,
                can_be_unloaded: false,
            },
        )
    }

    #[test]
    fn an_owner_that_nobody_finds_is_asked_for_by_name() {
        assert_eq!(of(RseqChoice::Auto, false, false, false), []);
        assert_eq!(of(RseqChoice::Auto, false, true, false), [Way::Own]);
        assert_eq!(of(RseqChoice::Own, false, false, false), [Way::Own]);
    }

    #[test]
    fn an_active_registration_is_taken_over_by_request_only() {
        for take in [false, true] {
            assert_eq!(of(RseqChoice::Auto, true, true, take), [Way::Adopt]);
            assert_eq!(of(RseqChoice::Adopt, true, true, take), [Way::Adopt]);
        }
        let both = [Way::TakeOver, Way::Adopt];
        assert_eq!(of(RseqChoice::Own, true, true, true), both);
        assert_eq!(of(RseqChoice::Own, true, true, false), [Way::Adopt]);
    }

    #[test]
    fn what_can_be_unloaded_registers_nobody() {
        for choice in [RseqChoice::Auto, RseqChoice::Own, RseqChoice::Adopt] {
            for is_active in [false, true] {
                let situation = Situation {
                    is_active,
                    can_be_unloaded: true,
                    ..Situation::default()
                };
                assert_eq!(ways(choice, situation), []);
            }
        }
    }

    #[test]
    fn who_asked_to_take_over_and_cannot_is_told_why() {
        let situation = |is_active, is_announced, comes_first| Situation {
            is_active,
            is_announced,
            comes_first,
            can_be_unloaded: false,
        };
        let why = |choice, situation| not_taken_over(choice, situation).unwrap_or("");
        let own = RseqChoice::Own;
        assert!(why(own, situation(true, true, false)).contains("too late"));
        assert!(why(own, situation(true, false, false)).contains("libvcpu_rt.so"));
        assert_eq!(why(own, situation(true, true, true)), "");
        assert_eq!(why(own, situation(false, false, false)), "");
        assert_eq!(why(RseqChoice::Auto, situation(true, true, false)), "");
    }

    #[test]
    fn off_and_nothing_to_adopt() {
        assert_eq!(of(RseqChoice::Off, true, true, true), []);
        assert_eq!(of(RseqChoice::Adopt, false, true, true), []);
    }
}
