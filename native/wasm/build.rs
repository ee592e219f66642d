//! Tells the library which wasmtime it was built with, and links it as a Node-API module.

use std::fs;

fn main() {
    println!("cargo:rerun-if-changed=Cargo.lock");
    let lock = fs::read_to_string("Cargo.lock").expect("Cargo.lock beside build.rs");
    let version = lock
        .split("[[package]]")
        .find(|package| package.contains("\nname = \"wasmtime\"\n"))
        .and_then(|package| package.split("\nversion = \"").nth(1))
        .and_then(|rest| rest.split('"').next())
        .expect("wasmtime in Cargo.lock");
    println!("cargo:rustc-env=WASMTIME_VERSION={version}");
    napi_build::setup();
}
