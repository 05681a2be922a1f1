// SPDX-License-Identifier: MIT OR Apache-2.0
//! The macro that makes a crate a program.

/// Makes `$main` the program's main function and the runtime its start: `entry!(main);`.
///
/// `$main` is a `fn()` whose result is a [`Termination`](crate::process::Termination): nothing, or
/// an `i32`, the exit status. `entry!(main, min_stride = BYTES);` raises the stride to what the
/// program needs.
///
/// `entry!(main, table = if_referenced);`, with or without `min_stride` before it, leaves the ABI
/// table, the areas and their start out of a program in which nothing refers to them: no object of
/// the link to the table or one of its functions, and no Rust code to areas or to the number of
/// vCPUs. Where something does, all of it is there as without this word. In a static program nobody
/// else can reach the table, but a debugger or a tracer looks for it.
///
/// It defines, except in a test build: `_start`, `__libc_start_main` and `main` for the linker's
/// crt1.o; the panic handler; the memory functions that compiled code calls; `__stack_chk_fail`,
/// `_Unwind_Resume` and `rust_eh_personality`; `environ`; the ABI table `vcpu_abi`, the functions
/// behind it, and `__rseq_offset`, `__rseq_size` and `__rseq_flags`.
#[macro_export]
macro_rules! entry {
    ($main:path $(, min_stride = $min_stride:expr)?) => {
        $crate::__entry!($main, { 0 $(+ $min_stride)? });

        // The start refers to the table, whether another object does or not.
        #[cfg(not(test))]
        const __VCPU_RT_KEEP_TABLE: bool = true;
    };
    ($main:path $(, min_stride = $min_stride:expr)?, table = if_referenced) => {
        $crate::__entry!($main, { 0 $(+ $min_stride)? });

        #[cfg(not(test))]
        const __VCPU_RT_KEEP_TABLE: bool = false;
    };
}

/// What every form of [`entry!`] defines.
#[doc(hidden)]
#[macro_export]
macro_rules! __entry {
    ($main:path, $min_stride:expr) => {
        /// The program's main, its result made an exit status. Never part of the start: what the compiler
        /// takes for a constant in user code (the access mode) is written there.
        #[cfg(not(test))]
        #[inline(never)]
        fn __vcpu_rt_main() -> i32 {
            $crate::process::Termination::report($main())
        }

        #[cfg(not(test))]
        const __VCPU_RT_MIN_STRIDE: u64 = $min_stride;

        /// What the linker, C objects and compiled code look for by name.
        #[cfg(not(test))]
        mod __vcpu_rt_program {
            use ::core::ffi::{c_char, c_int, c_void};

            use $crate::abi::VcpuAbi;
            use $crate::hook::Hook;
            use $crate::start::{Exported, Program};
            use $crate::tunables::Tunables;

            $crate::__start_functions!(boot);
            $crate::__vcpu_rt_memory_functions!("");

            // RELRO, which the start makes read-only, covers .data.rel.ro.
            #[unsafe(no_mangle)]
            #[unsafe(link_section = ".data.rel.ro.vcpu_abi")]
            static vcpu_abi: Exported<VcpuAbi> = Exported::new($crate::table::absent(
                vcpu_alloc,
                vcpu_thread_register,
                vcpu_thread_unregister,
            ));
            #[unsafe(no_mangle)]
            #[unsafe(link_section = ".data.rel.ro.vcpu_rseq")]
            static __rseq_offset: Exported<isize> =
                Exported::new($crate::abi::RSEQ_OFFSET as isize);
            #[unsafe(no_mangle)]
            #[unsafe(link_section = ".data.rel.ro.vcpu_rseq")]
            static __rseq_size: Exported<u32> = Exported::new(0);
            // Always 0, as in glibc.
            #[unsafe(no_mangle)]
            #[unsafe(link_section = ".data.rel.ro.vcpu_rseq")]
            static __rseq_flags: Exported<u32> = Exported::new(0);
            #[unsafe(no_mangle)]
            static environ: Exported<*const *const c_char> = Exported::new(::core::ptr::null());

            /// Fills the table where the program has one: `vcpu_alloc`, which the table refers
            /// to, keeps this.
            #[unsafe(link_section = "vcpu_rt_start")]
            static FILL_TABLE: Hook = Hook {
                start: fill_table,
                // There is nothing to say that the areas do not.
                describe: |_| {},
            };

            unsafe fn fill_table(tunables: &Tunables, min_stride: u64) {
                // SAFETY: the start runs hooks when it may be called, and the table is writable.
                unsafe {
                    $crate::areas::start(tunables, min_stride);
                    $crate::table::fill(&mut *vcpu_abi.get(), $crate::found());
                }
            }

            /// Called by the entry functions, on the initial stack.
            unsafe extern "C" fn boot(
                stack: *const usize,
                load_base: usize,
                unsupported: u32,
                room: usize,
            ) -> ! {
                if super::__VCPU_RT_KEEP_TABLE {
                    FILL_TABLE.keep();
                }
                let program = Program {
                    main: super::__vcpu_rt_main,
                    min_stride: super::__VCPU_RT_MIN_STRIDE,
                    rseq_size: &__rseq_size,
                    environ: &environ,
                };
                // SAFETY: called once, first of all, with what the entry functions found.
                unsafe { $crate::start::run(stack, load_base, unsupported, room, &program) }
            }

            /// See `vcpu_abi::AllocFn`.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn vcpu_alloc(
                size: usize,
                align: usize,
                object: *mut *mut c_void,
            ) -> c_int {
                FILL_TABLE.keep();
                // SAFETY: by the caller's word.
                unsafe { $crate::table::alloc(size, align, object) }
            }

            /// See `vcpu_abi::FreeFn`.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn vcpu_free(object: *mut c_void, size: usize) -> c_int {
                // SAFETY: by the caller's word.
                unsafe { $crate::table::free(object, size) }
            }

            /// See `vcpu_abi::FenceFn`.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn vcpu_fence(vcpu: i32) -> c_int {
                // SAFETY: no duties.
                unsafe { $crate::table::fence(vcpu) }
            }

            /// See `vcpu_abi::ThreadFn`.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn vcpu_thread_register() -> c_int {
                $crate::table::status($crate::thread::register())
            }

            /// See `vcpu_abi::ThreadFn`.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn vcpu_thread_unregister() -> c_int {
                $crate::table::status($crate::thread::unregister())
            }

            $crate::__vcpu_data_functions!();

            #[unsafe(no_mangle)]
            extern "C" fn __stack_chk_fail() -> ! {
                $crate::panic::stack_smashed()
            }

            #[unsafe(no_mangle)]
            extern "C" fn _Unwind_Resume() -> ! {
                $crate::panic::unwind_resume()
            }

            /// The precompiled core refers to it; nothing unwinds, so nobody calls it.
            #[unsafe(no_mangle)]
            extern "C" fn rust_eh_personality() -> ! {
                $crate::panic::unwind_resume()
            }

            #[panic_handler]
            fn panic(info: &::core::panic::PanicInfo<'_>) -> ! {
                $crate::panic::panic(info)
            }
        }
    };
}
