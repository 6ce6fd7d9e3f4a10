//! The layering of `src/`, checked on every `cargo test`: which modules may use which, where `unsafe` is allowed, and the
//! length of files and functions.
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules that each module may use; it may use no others of this crate.
const MAY_USE: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("files", &["error"]),
    ("interrupt", &[]),
    ("memory", &["error"]),
    ("parts", &["error"]),
    ("random", &[]),
    ("kernels", &["files", "memory", "interrupt", "error"]),
    ("image", &["kernels", "files", "random", "memory", "interrupt", "error"]),
    ("weights", &["files", "memory", "interrupt", "error"]),
    ("style", &["weights", "kernels", "random", "memory", "interrupt", "error"]),
    ("data", &["style", "image", "kernels", "files", "random", "memory", "interrupt", "error"]),
    ("nn", &["kernels", "random", "memory", "interrupt", "error"]),
    ("encoders", &["nn", "kernels", "parts", "error"]),
    ("optim", &["error"]),
    ("methods", &["optim", "encoders", "nn", "parts", "random", "memory", "error"]),
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

/// In addition to `kernels/`: the file that lends Python's memory to the loader's threads, the one through which they call
/// Python, and the one that calls libjpeg.
const MAY_BE_UNSAFE: [&str; 3] = ["bindings/memory.rs", "bindings/foreign.rs", "image/jpeg/reader.rs"];

/// The same for the modules of `kernels/`.
const KERNELS_MAY_USE: &[(&str, &[&str])] = &[
    ("isa", &[]),
    ("threads", &[]),
    ("cuda", &["threads"]),
    ("image", &["isa", "threads", "cuda"]),
    ("inference", &["isa", "threads", "cuda"]),
    ("training", &["isa", "threads"]),
];

#[test]
fn modules_import_downwards_only() {
    let mut wrong = vec![];
    for (user, used) in imports() {
        let inside = [&user, &used].iter().all(|module| module[0] == "kernels" && module.len() > 1);
        let (table, level) = if inside { (KERNELS_MAY_USE, 1) } else { (MAY_USE, 0) };
        let allowed = table.iter().find(|(name, _)| *name == user[level]);
        let (_, allowed) = allowed.unwrap_or_else(|| panic!("{} has no place in its table", user.join("::")));
        if user[level] != used[level] && !allowed.contains(&used[level].as_str()) {
            wrong.push(format!("{} may not use {}", user.join("::"), used.join("::")));
        }
    }
    wrong.sort();
    wrong.dedup();
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

/// Within `kernels/`, an operation with all its files is a unit; elsewhere, a module is.
#[test]
fn nothing_uses_what_uses_it() {
    let mut graph: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (user, used) in imports() {
        let (user, used) = (unit(&user), unit(&used));
        if user != used {
            graph.entry(user).or_default().insert(used);
        }
    }
    assert!(graph.len() > 25, "the graph has been lost: {graph:?}");
    // Repeatedly removes units without dependencies; cycles remain, with the units that depend on them.
    while let Some(free) = graph.keys().find(|unit| graph[*unit].iter().all(|used| !graph.contains_key(used))) {
        let free = free.clone();
        graph.remove(&free);
    }
    assert!(graph.is_empty(), "circles among {graph:#?}");
}

/// Types that are used in the same file have different names; types that never meet may have the same name.
#[test]
fn what_is_ours_has_one_name() {
    let modules = modules();
    let mut wrong = vec![];
    for (module, text) in &modules {
        for (path, name, _) in paths(module, text, &modules) {
            if path.last().is_some_and(|last| *last != name) && name != "_" {
                wrong.push(format!("{}: {} as {name}", module.join("::"), path.join("::")));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn a_circle_through_a_re_export_is_seen() {
    let sources = [
        (vec!["a"], "use crate::b::Thing;"),
        (vec!["b"], "pub use inner::Thing;"),
        (vec!["b", "inner"], "pub use crate::c::{self, Other as Thing};"),
        (vec!["c"], "use super::a::{Deep, deeper::{Deepest}};"),
    ];
    let modules = sources.map(|(path, text)| (path.into_iter().map(str::to_owned).collect(), text.to_owned()));
    let found = imports_of(&modules.into_iter().collect());
    let found: Vec<_> =
        found.iter().map(|(user, used)| format!("{} -> {}", user.join("::"), used.join("::"))).collect();
    for expected in ["a -> b", "a -> b::inner", "a -> c", "b -> b::inner", "b::inner -> c", "c -> a"] {
        assert!(found.iter().any(|edge| edge == expected), "{expected} is not among {found:?}");
    }
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

/// Returns every Rust file of `src/` with its text.
fn sources() -> Vec<(PathBuf, String)> {
    files(&["rs"])
}

/// Returns every file of `src/` with one of these suffixes, and its text.
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

/// Prefixes of the words that may precede `fn`.
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

/// Returns the first line of each function, after its attributes, and its last; rustfmt puts both in the same column.
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

/// The same for C and CUDA: functions start in the first column, and end with a brace there.
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

/// Returns the unit of a module: its operation in `kernels::{image, inference, training, threads}`, its top module elsewhere.
fn unit(module: &[String]) -> String {
    let apart = ["image", "inference", "training", "threads"];
    let deep = module[0] == "kernels" && module.get(1).is_some_and(|room| apart.contains(&room.as_str()));
    module[..module.len().min(if deep {
        3
    } else if module[0] == "kernels" {
        2
    } else {
        1
    })]
        .join("::")
}

/// Returns pairs of a module and one that it uses; `pub use` is followed to the definition of a name.
fn imports() -> Vec<(Vec<String>, Vec<String>)> {
    imports_of(&modules())
}

/// Returns every module except the crate root, with its text.
fn modules() -> BTreeMap<Vec<String>, String> {
    let modules = sources().into_iter().filter(|(file, _)| file != Path::new("lib.rs")).map(|(file, text)| {
        let mut path: Vec<String> = file.with_extension("").iter().map(|part| part.to_str().unwrap().into()).collect();
        if path.last().is_some_and(|last| last == "mod") {
            path.pop();
        }
        (path, text)
    });
    modules.collect()
}

fn imports_of(modules: &BTreeMap<Vec<String>, String>) -> Vec<(Vec<String>, Vec<String>)> {
    let named: Named = modules.iter().map(|(module, text)| (&module[..], paths(module, text, modules))).collect();
    let mut found = vec![];
    for (module, paths) in &named {
        for (path, _, _) in paths {
            follow(path, &named, 0, &mut |used| found.push((module.to_vec(), used.to_vec())));
        }
    }
    found
}

/// The paths in each module; see [`paths`].
type Named<'a> = BTreeMap<&'a [String], Vec<(Vec<String>, String, bool)>>;

/// Finds every module that a path leads to: the module that it names, and those from which its last name is re-exported.
fn follow(path: &[String], named: &Named, depth: usize, found: &mut impl FnMut(&[String])) {
    let Some(n) = (1..=path.len()).rev().find(|&n| named.contains_key(&path[..n])) else { return };
    found(&path[..n]);
    let Some(item) = path.get(n).filter(|_| depth < 8) else { return };
    for (next, _, _) in named[&path[..n]].iter().filter(|(_, name, public)| *public && name == item) {
        follow(next, named, depth + 1, found);
    }
}

/// Returns the paths in a module's text, from the crate root, each with its name there, and whether it is re-exported.
fn paths(module: &[String], text: &str, modules: &BTreeMap<Vec<String>, String>) -> Vec<(Vec<String>, String, bool)> {
    let text: String = code(text).map(|(_, line)| format!("{line}\n")).collect();
    let mut found = vec![];
    let mut add = |path: &str, name: Option<&str>, public: bool| {
        let mut parts: Vec<String> = path.split("::").map(|part| part.trim().to_owned()).collect();
        let mut from: Vec<String> = match parts[0].as_str() {
            "crate" => vec![],
            "super" | "self" => module.to_vec(),
            child if modules.contains_key(&[module, &[child.to_owned()]].concat()) => module.to_vec(),
            _ => return,
        };
        while let Some("crate" | "super" | "self") = parts.first().map(String::as_str) {
            if parts.remove(0) == "super" {
                from.pop();
            }
        }
        parts.retain(|part| part != "self");
        let last = parts.last().cloned().unwrap_or_default();
        found.push(([from, parts].concat(), name.map_or(last, str::to_owned), public));
    };
    for (start, _) in text.match_indices("use ") {
        let before = text[..start].rsplit(['\n', ';', '}']).next().unwrap_or_default().trim();
        if !(before.is_empty() || before.starts_with("pub")) {
            continue;
        }
        let tree = text[start + 4..].split(';').next().unwrap_or_default();
        for leaf in leaves(tree) {
            let (path, name) = leaf.split_once(" as ").map_or((&*leaf, None), |(path, name)| (path, Some(name.trim())));
            add(path, name, before.starts_with("pub"));
        }
    }
    for (start, _) in text.match_indices("crate::") {
        let end = text[start..].find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(0);
        add(text[start..start + end].trim_end_matches(':'), None, false);
    }
    found
}

/// Expands `a::{b, c::{d}}` to `a::b` and `a::c::d`.
fn leaves(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((head, inner)) = tree.split_once('{') else { return vec![tree.to_owned()] };
    let inner = inner.trim_end().strip_suffix('}').unwrap_or(inner);
    let (mut depth, mut start, mut found) = (0, 0, vec![]);
    for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                let part = inner[start..at].trim();
                if !part.is_empty() {
                    found.extend(leaves(part).into_iter().map(|leaf| format!("{}{leaf}", head.trim())));
                }
                start = at + 1;
            }
            _ => {}
        }
    }
    found
}
