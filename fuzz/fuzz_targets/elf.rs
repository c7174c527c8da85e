//! Any bytes as an ELF file: the locator answers or refuses, within its bounds.

#![no_main]

use agentsight_tls::{Options, describe, locate, maybe_tls};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for options in [Options::default(), Options::code_only()] {
        if let Ok(located) = locate(bytes, &options) {
            let _ = describe(&located);
        }
    }
    let _ = maybe_tls(bytes);
});
