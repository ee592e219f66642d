//! Strings whose characters are bytes, as Node's HTTP parser makes them: taken over byte for byte.

use std::ptr;

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
        let mut bytes = vec![0u8; USUAL];
        let mut length = 0;
        // SAFETY: the caller vouches for `env` and `value`; the buffer is as long as is said.
        check_status!(unsafe {
            sys::napi_get_value_string_latin1(env, value, bytes.as_mut_ptr().cast(), bytes.len(), &mut length)
        })?;
        // One byte is the terminator: a full buffer may have been too small.
        if length == USUAL - 1 {
            // SAFETY: as above; without a buffer only the length is asked for.
            check_status!(unsafe { sys::napi_get_value_string_latin1(env, value, ptr::null_mut(), 0, &mut length) })?;
            bytes.resize(length + 1, 0);
            // SAFETY: as above.
            check_status!(unsafe {
                sys::napi_get_value_string_latin1(env, value, bytes.as_mut_ptr().cast(), bytes.len(), &mut length)
            })?;
        }
        bytes.truncate(length);
        Ok(Latin1(bytes))
    }
}
