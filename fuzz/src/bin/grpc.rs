#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kerolox_fuzz::grpc(data));
