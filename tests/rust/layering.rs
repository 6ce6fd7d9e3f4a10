//! The order of `src/`, checked on every `cargo test`: who may use whom, where `unsafe` lives, and that files stay readable.
use std::fs;
use std::path::{Path, PathBuf};

/// A module may use those named beside it, and nothing else of this crate.
const MAY_USE: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("files", &["error"]),
    ("interrupt", &[]),
    ("memory", &["error"]),
    ("random", &[]),
    ("kernels", &["files", "memory", "interrupt", "error"]),
    ("image", &["kernels", "files", "random", "memory", "interrupt", "error"]),
    ("weights", &["files", "memory", "interrupt", "error"]),
    ("style", &["weights", "kernels", "random", "memory", "interrupt", "error"]),
    ("data", &["style", "image", "kernels", "files", "random", "memory", "interrupt", "error"]),
    ("nn", &["kernels", "random", "memory", "interrupt", "error"]),
    ("encoders", &["nn", "kernels", "random", "error"]),
    ("optim", &["error"]),
    ("methods", &["optim", "encoders", "nn", "random", "memory", "interrupt", "error"]),
    ("eval", &["optim", "nn", "kernels", "random", "memory", "interrupt", "error"]),
    ("train", &["methods", "optim", "weights", "encoders", "nn", "random", "memory", "interrupt", "error"]),
    (
        "bindings",
        &[
            "train",
            "eval",
            "methods",
            "optim",
            "encoders",
            "nn",
            "data",
            "style",
            "image",
            "weights",
            "kernels",
            "random",
            "files",
            "memory",
            "interrupt",
            "error",
        ],
    ),
];

/// Beside `kernels/`: the file that lends Python's memory to the loader's threads, the one by which they call Python, and the one that
/// calls libjpeg.
const MAY_BE_UNSAFE: [&str; 3] = ["bindings/memory.rs", "bindings/foreign.rs", "image/jpeg/reader.rs"];

#[test]
fn modules_import_downwards_only() {
    let mut wrong = vec![];
    for (file, text) in sources() {
        let module = file.iter().next().unwrap().to_str().unwrap().trim_end_matches(".rs");
        if module == "lib" {
            continue;
        }
        let allowed = MAY_USE.iter().find(|(name, _)| *name == module);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("src/{module} has no place in MAY_USE"));
        for (n, line) in code(&text) {
            for used in line.split("crate::").skip(1) {
                let used = used.split(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap();
                if used != module && !allowed.contains(&used) {
                    wrong.push(format!("{}:{n}: {module} may not use {used}", file.display()));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn unsafe_code_stays_in_its_rooms() {
    let mut wrong = vec![];
    for (file, text) in sources() {
        if file.starts_with("kernels") || MAY_BE_UNSAFE.iter().any(|allowed| file == Path::new(allowed)) {
            continue;
        }
        let lines = code(&text).filter(|(_, line)| line.contains("unsafe"));
        wrong.extend(lines.map(|(n, _)| format!("{}:{n}: unsafe code", file.display())));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_file_says_what_it_is_and_can_be_read_at_a_sitting() {
    for (file, text) in sources() {
        assert!(text.starts_with("//!"), "{} has no `//!` line", file.display());
        assert!(text.lines().count() <= 450, "{} is longer than 450 lines", file.display());
    }
}

/// Lines that are not comments, counted from 1.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(n, line)| (n + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Every file of `src/` with its text.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, root: &Path, found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, found);
            } else if path.extension().is_some_and(|e| e == "rs") {
                found.push((path.strip_prefix(root).unwrap().into(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = vec![];
    walk(&root, &root, &mut found);
    found
}
