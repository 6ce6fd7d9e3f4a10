//! Mutations of seeds into inputs: damaged bytes, and misleading values.
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::ops::Range;

/// Longer inputs are cut; the first megabytes are what matters.
const LONGEST: usize = 4 << 20;
/// Boundary values for counts, sizes and signs.
const INTERESTING: [u64; 18] = [
    0,
    1,
    2,
    7,
    8,
    16,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0x8000,
    0xFFFF,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    1 << 62,
    u64::MAX >> 1,
    u64::MAX,
];

/// Returns one of the seeds, changed in one to eight places.
pub fn mutated(seeds: &[Vec<u8>], generator: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = seeds[generator.random_range(0..seeds.len())].clone();
    for _ in 0..1 << generator.random_range(0..4) {
        change(&mut bytes, seeds, generator);
    }
    bytes.truncate(LONGEST);
    bytes
}

fn change(bytes: &mut Vec<u8>, seeds: &[Vec<u8>], generator: &mut ChaCha8Rng) {
    if bytes.is_empty() {
        bytes.push(generator.random());
    }
    let (len, at) = (bytes.len(), place(bytes.len(), generator));
    match generator.random_range(0..16) {
        0..4 => bytes[at] ^= 1 << generator.random_range(0..8),
        4..6 => bytes[at] = generator.random(),
        6..10 => integer(&mut bytes[at..], generator),
        10 => bytes[stretch(at, len, generator)].fill(generator.random()),
        11 => drop(bytes.drain(stretch(at, len, generator))),
        12 => {
            let doubled = bytes[stretch(at, len, generator)].to_vec();
            bytes.splice(at..at, doubled);
        }
        13 => {
            let other = &seeds[generator.random_range(0..seeds.len())];
            if !other.is_empty() {
                let from = place(other.len(), generator);
                let part = other[stretch(from, other.len(), generator)].to_vec();
                let end = if generator.random() { at } else { len.min(at + part.len()) };
                bytes.splice(at..end, part);
            }
        }
        14 => digits(bytes, at, generator),
        _ => bytes.truncate(at),
    }
}

/// Draws a position in `len` bytes; every other one is near the start, where headers are.
fn place(len: usize, generator: &mut ChaCha8Rng) -> usize {
    let most = if generator.random() { len.min(64 << generator.random_range(0..4)) } else { len };
    generator.random_range(0..most)
}

/// Draws a range that starts at `at`: mostly a few bytes, rarely many.
fn stretch(at: usize, len: usize, generator: &mut ChaCha8Rng) -> Range<usize> {
    let most = (len - at).min(1 << generator.random_range(0..16));
    at..at + generator.random_range(0..=most)
}

/// Overwrites an integer of 1, 2, 4 or 8 bytes, of either byte order, with an interesting value or one near the current value.
fn integer(bytes: &mut [u8], generator: &mut ChaCha8Rng) {
    let size = bytes.len().min(1 << generator.random_range(0..4));
    let big = generator.random::<bool>();
    let mut number = [0; 8];
    number[..size].copy_from_slice(&bytes[..size]);
    if big {
        number[..size].reverse();
    }
    let near = u64::from_le_bytes(number).wrapping_add_signed(generator.random_range(-16..=16));
    let new = if generator.random() { near } else { INTERESTING[generator.random_range(0..INTERESTING.len())] };
    number = new.to_le_bytes();
    if big {
        number[..size].reverse();
    }
    bytes[..size].copy_from_slice(&number[..size]);
}

/// Replaces the next decimal number after `at`.
fn digits(bytes: &mut Vec<u8>, at: usize, generator: &mut ChaCha8Rng) {
    let Some(first) = bytes[at..].iter().position(u8::is_ascii_digit).map(|n| at + n) else { return };
    let end = bytes[first..].iter().position(|byte| !byte.is_ascii_digit()).map_or(bytes.len(), |n| first + n);
    let new = INTERESTING[generator.random_range(0..INTERESTING.len())];
    bytes.splice(first..end, new.to_string().into_bytes());
}
