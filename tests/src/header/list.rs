// SPDX-License-Identifier: MIT OR Apache-2.0
//! The one list of what the C header and the Rust crate have in common.

use core::ffi::c_void;
use core::mem::{align_of, offset_of, size_of};

/// One field, as Rust lays it out.
pub struct Field {
    /// Its name, the same in both languages.
    pub name: &'static str,
    /// Bytes from the start of the structure.
    pub offset: usize,
    /// Bytes.
    pub size: usize,
    /// The C type that it must have; for an array, of an element.
    pub c_type: &'static str,
}

/// One structure, as Rust lays it out.
pub struct Structure {
    /// The tag in C.
    pub c_name: &'static str,
    /// Bytes.
    pub size: usize,
    /// Bytes.
    pub align: usize,
    /// All fields.
    pub fields: Vec<Field>,
}

/// The value of a constant.
pub enum Value {
    /// An integer.
    Number(i128),
    /// A string.
    Text(&'static str),
}

/// One constant: `NAME` in Rust, `VCPU_NAME` in C.
pub struct Constant {
    /// The Rust name.
    pub name: &'static str,
    /// The Rust value.
    pub value: Value,
}

/// A Rust field type and what C calls it.
trait Described {
    const C_TYPE: &'static str;
}

macro_rules! described {
    ($($rust:ty = $c:literal),* $(,)?) => {
        $(impl Described for $rust { const C_TYPE: &'static str = $c; })*
    };
}

described! {
    u8 = "uint8_t",
    u16 = "uint16_t",
    u32 = "uint32_t",
    u64 = "uint64_t",
    i64 = "int64_t",
    vcpu_abi::RseqSliceCtrl = "struct vcpu_rseq_slice_ctrl",
    vcpu_abi::AllocFn = "int (*)(size_t, size_t, void **)",
    vcpu_abi::FreeFn = "int (*)(void *, size_t)",
    vcpu_abi::FenceFn = "int (*)(int32_t)",
    vcpu_abi::ThreadFn = "int (*)(void)",
    vcpu_abi::UpdateWordFn = "uint64_t (*)(void *, uint32_t, uint64_t, uint64_t)",
    vcpu_abi::UpdatePairFn = "void (*)(void *, uint64_t *, const uint64_t *)",
    vcpu_abi::UpdateWordsFn = "int (*)(void *, struct vcpu_words_update *)",
    vcpu_abi::TryLockFn = "int (*)(uint64_t *)",
    vcpu_abi::UnlockFn = "void (*)(uint64_t *)",
    vcpu_abi::DiscardFn = "int (*)(void *, size_t, uint32_t)",
    vcpu_abi::StatisticsFn = "int (*)(struct vcpu_statistics *, size_t)",
    vcpu_abi::ResidentFn = "int (*)(uint32_t, uint64_t *)",
    vcpu_abi::PossibleFn = "uint32_t (*)(void)",
    *mut c_void = "void *",
    Option<vcpu_abi::KeepFn> = "void (*)(void)",
    Option<vcpu_abi::SupportFn> = "int (*)(void)",
}

impl<const LENGTH: usize> Described for [u8; LENGTH] {
    const C_TYPE: &'static str = u8::C_TYPE;
}

/// Size and C type of what the accessor reaches; it is never called.
fn describe<S, T: Described>(_: fn(&S) -> &T) -> (usize, &'static str) {
    (size_of::<T>(), T::C_TYPE)
}

trait IntoValue {
    fn into_value(self) -> Value;
}

macro_rules! number {
    ($($rust:ty),*) => {
        $(impl IntoValue for $rust {
            fn into_value(self) -> Value {
                Value::Number(self as i128)
            }
        })*
    };
}

number!(u16, u32, u64, usize, i32);

impl IntoValue for &'static str {
    fn into_value(self) -> Value {
        Value::Text(self)
    }
}

/// The pattern has no `..`: a field that only Rust has, or only this list, does not compile.
macro_rules! structure {
    ($rust:ident = $c:ident { $($field:ident),* $(,)? }) => {{
        use vcpu_abi::$rust;
        let _complete = |$rust { $($field: _),* }: $rust| ();
        Structure {
            c_name: stringify!($c),
            size: size_of::<$rust>(),
            align: align_of::<$rust>(),
            fields: vec![$({
                let (size, c_type) = describe(|value: &$rust| &value.$field);
                Field { name: stringify!($field), offset: offset_of!($rust, $field), size, c_type }
            }),*],
        }
    }};
}

macro_rules! constants {
    ($($name:ident),* $(,)?) => {
        vec![$(Constant { name: stringify!($name), value: vcpu_abi::$name.into_value() }),*]
    };
}

/// Every structure.
#[must_use]
pub fn structures() -> Vec<Structure> {
    vec![
        structure!(
            RseqSliceCtrl = vcpu_rseq_slice_ctrl {
                request,
                granted,
                reserved
            }
        ),
        structure!(
            Rseq = vcpu_rseq {
                cpu_id_start,
                cpu_id,
                rseq_cs,
                flags,
                node_id,
                mm_cid,
                slice_ctrl,
                reserved,
                end,
            }
        ),
        structure!(
            RseqCs = vcpu_rseq_cs {
                version,
                flags,
                start_ip,
                post_commit_offset,
                abort_ip
            }
        ),
        structure!(
            PrctlSetGsMode = vcpu_prctl_set_gs_mode {
                index_mode,
                flags,
                stride
            }
        ),
        structure!(
            VcpuCell = vcpu_cell {
                first,
                size,
                align,
                keep,
                is_supported
            }
        ),
        structure!(
            VcpuWordsUpdate = vcpu_words_update {
                operation,
                reserved,
                expected,
                other,
                value,
                length,
                desired
            }
        ),
        structure!(
            VcpuStatistics = vcpu_statistics {
                pools,
                stride,
                nr_areas,
                address_space,
                objects,
                used,
                available
            }
        ),
        structure!(
            VcpuAbi = vcpu_abi {
                size,
                version_major,
                version_minor,
                features,
                mode,
                nr_vcpus,
                nr_areas,
                rseq_sig,
                rseq_offset,
                rseq_size,
                rseq_len,
                index_offset,
                registered_offset,
                stride,
                stride_shift,
                rseq_flags,
                alloc,
                free,
                fence,
                thread_register,
                thread_unregister,
                shared_areas,
                attempts,
                update_word,
                update_pair,
                update_words,
                try_lock,
                unlock,
                discard,
                statistics,
                resident,
                possible_vcpus,
                reserved,
            }
        ),
    ]
}

/// Every constant.
#[must_use]
#[rustfmt::skip]
pub fn constants() -> Vec<Constant> {
    constants![
        RSEQ_SIG, RSEQ_FLAG_UNREGISTER, RSEQ_FLAG_SLICE_EXT_DEFAULT_ON,
        RSEQ_CS_FLAG_NO_RESTART_ON_PREEMPT, RSEQ_CS_FLAG_NO_RESTART_ON_SIGNAL,
        RSEQ_CS_FLAG_NO_RESTART_ON_MIGRATE, RSEQ_CS_FLAG_SLICE_EXT_AVAILABLE,
        RSEQ_CS_FLAG_SLICE_EXT_ENABLED, RSEQ_CPU_ID_UNINITIALIZED,
        RSEQ_CPU_ID_REGISTRATION_FAILED, MM_CID_UNREGISTERED,
        RSEQ_FEATURE_SIZE_ORIG, RSEQ_FEATURE_SIZE_NODE_ID, RSEQ_FEATURE_SIZE_MM_CID,
        RSEQ_FEATURE_SIZE_SLICE_CTRL, RSEQ_LEGACY_LENGTH, RSEQ_V2_MIN_LENGTH,
        RSEQ_LEGACY_ALIGN, RSEQ_V2_ALIGN, AT_RSEQ_FEATURE_SIZE, AT_RSEQ_ALIGN, AT_HWCAP2,
        HWCAP2_FSGSBASE, RSEQ_OFFSET, RSEQ_AREA_BYTES,
        PR_SET_GS_MODE, PR_GET_GS_MODE, GS_INDEX_MODE_NONE, GS_INDEX_MODE_MM_VCPU,
        TUNABLE_STRIDE, TUNABLE_GS, TUNABLE_RSEQ, TUNABLE_DEBUG,
        STRIDE_MINIMUM, STRIDE_MAXIMUM, STRIDE_DEFAULT,
        ABI_VERSION_MAJOR, ABI_VERSION_MINOR, ABI_SIZE, ABI_SIZE_1_0, ABI_BYTES,
        UPDATE_LOAD, UPDATE_STORE, UPDATE_ADD, UPDATE_AND, UPDATE_OR, UPDATE_XOR,
        UPDATE_EXCHANGE, UPDATE_COMPARE_EXCHANGE, UPDATE_8, UPDATE_16, UPDATE_32, UPDATE_64,
        WORDS_COMPARE_EQUAL_STORE, WORDS_COMPARE_EQUAL_STORE_STORE,
        WORDS_COMPARE_EQUAL_COMPARE_EQUAL_STORE, WORDS_COMPARE_EQUAL_COPY_STORE,
        WORDS_COMPARE_NOT_EQUAL_LOAD_STORE, WORDS_ADD_TO_POINTEE, DIFFERENT, BUSY,
        FEATURE_RSEQ, FEATURE_RSEQ_V2, FEATURE_NODE_ID, FEATURE_MM_CID, FEATURE_GS_MODE,
        FEATURE_CONST_OFFSET, FEATURE_FENCE, FEATURE_SLICE_EXT,
        MODE_SHARED, MODE_RSEQ_CPU_ID, MODE_RSEQ_MM_CID, MODE_GS,
    ]
}
