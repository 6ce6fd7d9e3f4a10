//! Compiles the reader of JPEG that stands between libjpeg and Rust.
use std::env;

fn main() {
    const FILES: [&str; 2] = ["src/image/jpeg/huffman.c", "src/image/jpeg/reader.c"];
    for file in FILES {
        println!("cargo:rerun-if-changed={file}");
    }
    let headers = env::var_os("DEP_JPEG_INCLUDE").expect("mozjpeg-sys tells where its headers are");
    let mut build = cc::Build::new();
    build.files(FILES).includes(env::split_paths(&headers));
    // It runs for each image of a test, too.
    build.opt_level(3).flag_if_supported("-fvisibility=hidden").compile("sassl_jpeg");
}
