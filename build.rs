//! Compiles the reader of JPEG that stands between libjpeg and Rust.
use std::env;

fn main() {
    println!("cargo:rerun-if-changed=src/image/jpeg/reader.c");
    let headers = env::var_os("DEP_JPEG_INCLUDE").expect("mozjpeg-sys tells where its headers are");
    let mut build = cc::Build::new();
    build.file("src/image/jpeg/reader.c").includes(env::split_paths(&headers));
    // It runs for each image of a test, too.
    build.opt_level(3).flag_if_supported("-fvisibility=hidden").compile("sassl_jpeg");
}
