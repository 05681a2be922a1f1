// SPDX-License-Identifier: MIT OR Apache-2.0
//! The macro that makes a crate a program.

/// Makes `$main` the program's main function and the runtime its start: `entry!(main);`.
///
/// `$main` is a `fn()` whose result is a [`Termination`](crate::process::Termination): nothing, or
/// an `i32`, the exit status. `entry!(main, min_stride = BYTES);` raises the stride to what the
/// program needs.
///
/// It defines, except in a test build: `_start`, `__libc_start_main` and `main` for the linker's
/// crt1.o; the panic handler; the memory functions that compiled code calls; `__stack_chk_fail`,
/// `_Unwind_Resume` and `rust_eh_personality`; `environ`; the ABI table `vcpu_abi`, the functions
/// behind it, and `__rseq_offset`, `__rseq_size` and `__rseq_flags`.
#[macro_export]
macro_rules! entry {
    ($main:path) => {
        $crate::entry!($main, min_stride = 0);
    };
    ($main:path, min_stride = $min_stride:expr) => {
        /// The program's main, its result made an exit status.
        #[cfg(not(test))]
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
            use $crate::start::{Exported, InitFunction, Program};

            $crate::__start_functions!(boot);
            $crate::__vcpu_rt_memory_functions!("");

            // RELRO, which the start makes read-only, covers .data.rel.ro.
            #[unsafe(no_mangle)]
            #[unsafe(link_section = ".data.rel.ro.vcpu_abi")]
            static vcpu_abi: Exported<VcpuAbi> = Exported::new($crate::table::absent(
                vcpu_thread_register,
                vcpu_thread_unregister,
            ));
            #[unsafe(no_mangle)]
            #[unsafe(link_section = ".data.rel.ro.vcpu_abi")]
            static __rseq_offset: Exported<isize> = Exported::new(0);
            #[unsafe(no_mangle)]
            #[unsafe(link_section = ".data.rel.ro.vcpu_abi")]
            static __rseq_size: Exported<u32> = Exported::new(0);
            #[unsafe(no_mangle)]
            #[unsafe(link_section = ".data.rel.ro.vcpu_abi")]
            static __rseq_flags: Exported<u32> = Exported::new(0);
            #[unsafe(no_mangle)]
            static environ: Exported<*const *const c_char> = Exported::new(::core::ptr::null());

            unsafe extern "C" {
                // The linker's bounds of its arrays.
                static __preinit_array_start: InitFunction;
                static __preinit_array_end: InitFunction;
                static __init_array_start: InitFunction;
                static __init_array_end: InitFunction;
                static __fini_array_start: InitFunction;
                static __fini_array_end: InitFunction;
            }

            /// Called by the entry functions, on the initial stack.
            unsafe extern "C" fn boot(
                stack: *const usize,
                load_base: usize,
                unsupported: u32,
            ) -> ! {
                let program = Program {
                    main: super::__vcpu_rt_main,
                    min_stride: super::__VCPU_RT_MIN_STRIDE,
                    table: &vcpu_abi,
                    rseq_offset: &__rseq_offset,
                    rseq_size: &__rseq_size,
                    rseq_flags: &__rseq_flags,
                    environ: &environ,
                    arrays: [
                        &raw const __preinit_array_start,
                        &raw const __preinit_array_end,
                        &raw const __init_array_start,
                        &raw const __init_array_end,
                        &raw const __fini_array_start,
                        &raw const __fini_array_end,
                    ],
                };
                // SAFETY: called once, first of all, with what the entry functions found.
                unsafe { $crate::start::run(stack, load_base, unsupported, &program) }
            }

            /// See `vcpu_abi::AllocFn`.
            #[unsafe(no_mangle)]
            unsafe extern "C" fn vcpu_alloc(
                size: usize,
                align: usize,
                object: *mut *mut c_void,
            ) -> c_int {
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
