//! Fuzzing of all readers of files: valid files are damaged in thousands of ways, and the reader must return a result or an
//! error for each, in little time and memory.
//!
//! `cargo test --test fuzz` tries a few thousand inputs on all readers, and
//! `cargo test --release --test fuzz -- --inputs 10000000 --seed 7 images` many on one; `--seconds 30` ends a run early. An
//! input only depends on the seed, the reader and the input's index, so that runs are reproducible. A failure is a panic, the
//! end of the process (a failed allocation that is not handled, a stack overflow), or a time above ten seconds. Its input is
//! kept in `inputs/<reader>/`, and every later run starts with the inputs there; once the reader is fixed, they are part of the
//! tests.
//!
//! The process starts itself a second time. The child runs the readers, and records the index of each input before it is read,
//! so that the parent can keep an input that ends the child.
mod memory;
mod mutate;
mod targets;

#[path = "../rust/cifar_files.rs"]
mod cifar_files;
#[path = "../rust/flatbuffer.rs"]
mod flatbuffer;
#[path = "../rust/onnx_files.rs"]
mod onnx_files;
#[path = "../rust/tflite_files.rs"]
mod tflite_files;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sassl::error::Error;
use sha2::{Digest, Sha256};
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, abort};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};
use targets::Target;

/// The memory limit of a reader: this, plus [`MEMORY_FOR_A_BYTE`] times the size of its input.
const MOST_MEMORY: usize = 1 << 30;
const MEMORY_FOR_A_BYTE: usize = 64;
const MOST_TIME: Duration = Duration::from_secs(10);
/// How often a long run prints its counts.
const REPORT: Duration = Duration::from_secs(60);
/// The environment variable that marks the child process, and contains the path of its journal.
const JOURNAL: &str = "SASSL_FUZZ_JOURNAL";

/// The start of the current input, in milliseconds after the start of the process; 0 between inputs.
static BEGAN: AtomicU64 = AtomicU64::new(0);

struct Arguments {
    inputs: u64,
    seed: u64,
    time: Duration,
    only: Option<String>,
}

#[derive(Default)]
struct Counts {
    inputs: u64,
    accepted: u64,
    failed: u64,
    peak: usize,
    slowest: Duration,
}

fn arguments() -> Result<Arguments, String> {
    let mut found = Arguments { inputs: 20_000, seed: 0, time: Duration::MAX, only: None };
    let mut words = std::env::args().skip(1);
    while let Some(word) = words.next() {
        let mut number = || {
            let value = words.next().unwrap_or_default();
            value.parse().map_err(|_| format!("{word} {value}: a whole number is wanted"))
        };
        match &word[..] {
            "--inputs" => found.inputs = number()?,
            "--seed" => found.seed = number()?,
            "--seconds" => found.time = Duration::from_secs(number()?),
            option if option.starts_with('-') => {
                return Err(format!("{option}: there are --inputs, --seed and --seconds"));
            }
            _ => found.only = Some(word),
        }
    }
    Ok(found)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(wrong) => {
            eprintln!("{wrong}");
            return ExitCode::FAILURE;
        }
    };
    let folder = tempfile::tempdir().unwrap();
    let mut targets = targets::all(folder.path());
    if let Some(only) = &arguments.only {
        targets.retain(|target| target.name == only);
    }
    match std::env::var_os(JOURNAL) {
        Some(journal) => read(&targets, &arguments, folder.path(), Path::new(&journal)),
        None => watch(&targets, &arguments, &folder.path().join("journal")),
    }
}

/// Runs the child process, and keeps an input that ends it.
fn watch(targets: &[Target], arguments: &Arguments, journal: &Path) -> ExitCode {
    let program = std::env::current_exe().unwrap();
    let status = Command::new(program).args(std::env::args().skip(1)).env(JOURNAL, journal).status().unwrap();
    if status.code().is_some_and(|code| code < 2) {
        return if status.success() { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    }
    let written = fs::read_to_string(journal).unwrap_or_default();
    let mut words = written.split_ascii_whitespace();
    let name = words.next().unwrap_or_default();
    match (targets.iter().find(|target| target.name == name), words.next().and_then(|number| number.parse().ok())) {
        (Some(target), Some(number)) => {
            eprintln!("{name}, input {number} of seed {}: {status}", arguments.seed);
            keep(target, &input(target, arguments.seed, number));
        }
        _ => eprintln!("{written}: {status}"),
    }
    ExitCode::FAILURE
}

/// Reads the kept inputs, then new inputs in rounds.
fn read(targets: &[Target], arguments: &Arguments, folder: &Path, journal: &Path) -> ExitCode {
    let start = Instant::now();
    std::thread::spawn(move || guard(start));
    let (path, mut journal) = (folder.join("input"), File::create(journal).unwrap());
    let mut counts: Vec<_> = targets.iter().map(|_| Counts::default()).collect();
    for (target, counts) in targets.iter().zip(&mut counts) {
        for (file, bytes) in kept(target) {
            note(&mut journal, &file.display().to_string());
            one(target, counts, &bytes, &path, start);
        }
    }
    let (mut done, mut round, mut reported) = (0, 0, Instant::now());
    while done < arguments.inputs && start.elapsed() < arguments.time && !targets.is_empty() {
        for (target, counts) in targets.iter().zip(&mut counts) {
            for number in round * target.share..(round + 1) * target.share {
                note(&mut journal, &format!("{} {number}", target.name));
                one(target, counts, &input(target, arguments.seed, number), &path, start);
                done += 1;
            }
        }
        round += 1;
        if reported.elapsed() > REPORT {
            reported = Instant::now();
            print(targets, &counts);
        }
    }
    print(targets, &counts);
    let (inputs, failed) = counts.iter().fold((0, 0), |sum, of| (sum.0 + of.inputs, sum.1 + of.failed));
    println!("{} passed, {failed} failed", inputs - failed);
    if failed == 0 && inputs > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Aborts the process if an input takes too long.
fn guard(start: Instant) {
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let began = BEGAN.load(Relaxed);
        if began > 0 && start.elapsed().saturating_sub(Duration::from_millis(began)) > MOST_TIME {
            eprintln!("an input takes more than {MOST_TIME:?}");
            abort();
        }
    }
}

fn note(journal: &mut File, text: &str) {
    journal.rewind().unwrap();
    // Spaces overwrite a longer text from before.
    write!(journal, "{text:<200}").unwrap();
}

/// Generates the input with this index.
fn input(target: &Target, seed: u64, number: u64) -> Vec<u8> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(number);
    let mut bytes = mutate::mutated(&target.seeds, &mut generator);
    if generator.random() {
        (target.mend)(&mut bytes);
    }
    bytes
}

fn one(target: &Target, counts: &mut Counts, bytes: &[u8], path: &Path, start: Instant) {
    if target.path {
        fs::write(path, bytes).unwrap();
    }
    BEGAN.store(start.elapsed().as_millis() as u64 + 1, Relaxed);
    let began = Instant::now();
    let bound = MOST_MEMORY + MEMORY_FOR_A_BYTE * bytes.len();
    let (read, peak) = memory::within(bound, || catch_unwind(|| (target.read)(bytes, path)));
    counts.slowest = counts.slowest.max(began.elapsed());
    BEGAN.store(0, Relaxed);
    counts.inputs += 1;
    counts.peak = counts.peak.max(peak);
    match read {
        Ok(Ok(())) => counts.accepted += 1,
        Err(_) | Ok(Err(Error::Panic { .. })) => {
            counts.failed += 1;
            keep(target, bytes);
        }
        Ok(Err(_)) => {}
    }
}

fn print(targets: &[Target], counts: &[Counts]) {
    println!(
        "{:<16}{:>10} {:>10} {:>10} {:>7} {:>9} {:>10}",
        "", "inputs", "accepted", "refused", "failed", "peak MB", "slowest ms"
    );
    for (target, &Counts { inputs, accepted, failed, peak, slowest }) in targets.iter().zip(counts) {
        let refused = inputs - accepted - failed;
        let (peak, slowest) = (peak as f64 / 1e6, slowest.as_secs_f64() * 1e3);
        println!(
            "{:<16}{inputs:>10} {accepted:>10} {refused:>10} {failed:>7} {peak:>9.1} {slowest:>10.1}",
            target.name
        );
    }
}

fn folder_of(target: &Target) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz/inputs").join(target.name)
}

fn kept(target: &Target) -> Vec<(PathBuf, Vec<u8>)> {
    let Ok(entries) = folder_of(target).read_dir() else { return vec![] };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

fn keep(target: &Target, bytes: &[u8]) {
    let name: String = Sha256::digest(bytes).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let file = folder_of(target).join(name);
    fs::create_dir_all(folder_of(target)).unwrap();
    fs::write(&file, bytes).unwrap();
    eprintln!("{}: kept in {}", target.name, file.display());
}
