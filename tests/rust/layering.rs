//! The order of `src/`, checked on every `cargo test`: who may use whom, where `unsafe` lives, and that files and functions stay short.
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
fn every_file_says_what_it_is() {
    for (file, text) in sources() {
        assert!(text.starts_with("//!"), "{} has no `//!` line", file.display());
    }
}

/// Lines that are not comments, counted from 1.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().enumerate().map(|(n, line)| (n + 1, line)).filter(|(_, line)| !line.trim_start().starts_with("//"))
}

/// Every Rust file of `src/` with its text.
fn sources() -> Vec<(PathBuf, String)> {
    files(&["rs"])
}

/// Every file of `src/` with one of these suffixes, and its text.
fn files(suffixes: &[&str]) -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, root: &Path, suffixes: &[&str], found: &mut Vec<(PathBuf, String)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, root, suffixes, found);
            } else if path.extension().is_some_and(|e| suffixes.iter().any(|suffix| e == *suffix)) {
                found.push((path.strip_prefix(root).unwrap().into(), fs::read_to_string(&path).unwrap()));
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = vec![];
    walk(&root, &root, suffixes, &mut found);
    found
}

const LONGEST_FILE: usize = 400;
const LONGEST_FUNCTION: usize = 60;

/// How words begin that may stand before `fn`.
const BEFORE_FN: [&str; 8] = ["pub", "in", "crate::", "const", "unsafe", "async", "extern", "\"C\""];

#[test]
fn files_and_functions_are_short() {
    let mut wrong = vec![];
    for (file, text) in files(&["rs", "c", "h", "cu", "cuh"]) {
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > LONGEST_FILE {
            wrong.push(format!("{}: {} lines", file.display(), lines.len()));
        }
        let functions = if file.extension().is_some_and(|e| e == "rs") { functions } else { functions_of_c };
        let long = functions(&lines).into_iter().filter(|(first, last)| last - first >= LONGEST_FUNCTION);
        wrong.extend(long.map(|(first, last)| {
            format!("{}:{}: {} lines: {}", file.display(), first + 1, last - first + 1, lines[first].trim())
        }));
    }
    assert!(wrong.is_empty(), "longer than {LONGEST_FILE} or {LONGEST_FUNCTION} lines\n{}", wrong.join("\n"));
}

/// The first line of each function, after its attributes, and the last, where rustfmt puts both: in the same column.
fn functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let indent = |line: &str| line.len() - line.trim_start().len();
    let last = |first: usize| {
        let column = indent(lines[first]);
        let ends = |line: &str| indent(line) == column && line.ends_with(['}', ';']);
        (first..lines.len()).find(|&n| ends(lines[n])).expect("a function ends")
    };
    let begins = |line: &str| {
        let stands_before = |word: &&str| BEFORE_FN.iter().any(|start| word.starts_with(start));
        line.split_whitespace().find(|word| !stands_before(word)) == Some("fn")
    };
    (0..lines.len()).filter(|&n| begins(lines[n])).map(|first| (first, last(first))).collect()
}

/// The same in C and CUDA: what begins in the first column and ends there with a brace.
fn functions_of_c(lines: &[&str]) -> Vec<(usize, usize)> {
    let (mut begun, mut found) = (None, vec![]);
    for (n, line) in lines.iter().enumerate() {
        if line.starts_with(|c: char| c.is_alphabetic()) {
            begun.get_or_insert(n);
        }
        match *line {
            "}" => found.extend(begun.take().map(|first| (first, n))),
            _ if !line.starts_with(' ') && line.ends_with(';') => begun = None,
            _ => {}
        }
    }
    found
}
