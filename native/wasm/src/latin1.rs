//! Strings whose characters are bytes, as Node's HTTP parser makes them: taken over byte for byte.

use std::mem::MaybeUninit;
use std::{ptr, slice};

use napi::bindgen_prelude::{FromNapiValue, TypeName, ValidateNapiValue};
use napi::{Result, ValueType, check_status, sys};

pub struct Latin1(pub Vec<u8>);

/// Most heads are shorter: then one call into Node is enough.
const USUAL: usize = 4096;

impl TypeName for Latin1 {
    fn type_name() -> &'static str {
        "String"
    }

    fn value_type() -> ValueType {
        ValueType::String
    }
}

impl ValidateNapiValue for Latin1 {}

impl FromNapiValue for Latin1 {
    unsafe fn from_napi_value(env: sys::napi_env, value: sys::napi_value) -> Result<Self> {
        // Not on the heap: what is asked of the allocator there in larger pieces makes it tidy up each time.
        let mut usual = [MaybeUninit::<u8>::uninit(); USUAL];
        let mut length = 0;
        // SAFETY: the caller vouches for `env` and `value`; the buffer is as long as is said.
        check_status!(unsafe {
            sys::napi_get_value_string_latin1(env, value, usual.as_mut_ptr().cast(), USUAL, &mut length)
        })?;
        // One byte is the terminator: a full buffer may have been too small.
        if length < USUAL - 1 {
            // SAFETY: Node has written so many bytes.
            let bytes = unsafe { slice::from_raw_parts(usual.as_ptr().cast::<u8>(), length) };
            return Ok(Latin1(bytes.to_vec()));
        }
        // SAFETY: as above; without a buffer only the length is asked for.
        check_status!(unsafe { sys::napi_get_value_string_latin1(env, value, ptr::null_mut(), 0, &mut length) })?;
        let mut bytes = vec![0u8; length + 1];
        // SAFETY: as above.
        check_status!(unsafe {
            sys::napi_get_value_string_latin1(env, value, bytes.as_mut_ptr().cast(), bytes.len(), &mut length)
        })?;
        bytes.truncate(length);
        Ok(Latin1(bytes))
    }
}
