// SPDX-License-Identifier: MIT OR Apache-2.0
//! `libvcpu_rt.a` for programs on glibc: the table and its functions, started by a constructor.
#![no_std]

vcpu_rt_hosted::library!();
