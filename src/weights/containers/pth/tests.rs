//! Tests of the reader on small generated files: valid ones of both forms, and malicious ones.
use super::{PthFile, StateDict, legacy};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use std::io::{Cursor, Write};
use std::path::Path;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

fn text(text: &str) -> Vec<u8> {
    [b"X", &(text.len() as u32).to_le_bytes()[..], text.as_bytes()].concat()
}

fn int(n: i32) -> Vec<u8> {
    [b"J", &n.to_le_bytes()[..]].concat()
}

fn ints(numbers: &[i32]) -> Vec<u8> {
    [b"(", &numbers.iter().flat_map(|&n| int(n)).collect::<Vec<_>>()[..], b"t"].concat()
}

fn storage(class: &str, key: &str, count: i32) -> Vec<u8> {
    let class = format!("ctorch\n{class}\n").into_bytes();
    [b"(".to_vec(), text("storage"), class, text(key), text("cuda:0"), int(count), b"tQ".to_vec()].concat()
}

fn tensor(storage: &[u8], offset: i32, shape: &[i32], stride: &[i32]) -> Vec<u8> {
    let call = b"ctorch._utils\n_rebuild_tensor_v2\n(";
    let hooks = b"\x89ccollections\nOrderedDict\n)RtR";
    [call, storage, &int(offset), &ints(shape), &ints(stride), hooks].concat()
}

fn dict(items: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let items: Vec<u8> = items.iter().flat_map(|(key, value)| [text(key), value.clone()].concat()).collect();
    [b"}(", &items[..], b"u"].concat()
}

fn pickle(value: &[u8]) -> Vec<u8> {
    [b"\x80\x02", value, b"."].concat()
}

type Numbers<'a> = &'a [(&'a str, &'a [u8], i64)];

fn legacy_file(object: &[u8], storages: Numbers) -> Vec<u8> {
    let mut file = [legacy::MAGIC, &pickle(b"M\xe9\x03")].concat();
    file.extend(pickle(&dict(&[("protocol_version", int(1001)), ("little_endian", b"\x88".to_vec())])));
    file.extend(pickle(object));
    let keys: Vec<u8> = storages.iter().flat_map(|(key, ..)| text(key)).collect();
    file.extend(pickle(&[b"](", &keys[..], b"e"].concat()));
    storages.iter().for_each(|(_, bytes, count)| file.extend([&count.to_le_bytes()[..], bytes].concat()));
    file
}

fn archive(entries: &[(&str, &[u8])], method: CompressionMethod) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(vec![]));
    for (name, bytes) in entries {
        writer.start_file(*name, SimpleFileOptions::default().compression_method(method).with_alignment(64)).unwrap();
        writer.write_all(bytes).unwrap();
    }
    writer.finish().unwrap().into_inner()
}

fn zip_file(object: &[u8], storages: Numbers) -> Vec<u8> {
    let object = pickle(object);
    let names: Vec<_> = storages.iter().map(|(key, ..)| format!("my/data/{key}")).collect();
    let mut entries: Vec<(&str, &[u8])> = vec![("my/data.pkl", &object), ("my/byteorder", b"little")];
    entries.extend(names.iter().zip(storages).map(|(name, (_, bytes, _))| (name.as_str(), *bytes)));
    archive(&entries, CompressionMethod::Stored)
}

fn floats(numbers: &[f32]) -> Vec<u8> {
    numbers.iter().flat_map(|x| x.to_le_bytes()).collect()
}

fn open(bytes: Vec<u8>) -> crate::error::Result<PthFile> {
    PthFile::from_bytes(bytes, Path::new("x.pth"))
}

fn refused(bytes: Vec<u8>) -> String {
    open(bytes).map(|file| file.names().collect::<Vec<_>>().join(" ")).unwrap_err().to_string()
}

/// A state dict as torch writes it, nested, with a shared storage, strides, attributes and values that are not weights.
fn honest() -> Vec<u8> {
    let shared = storage("FloatStorage", "1", 6);
    let parameter = [b"ctorch._utils\n_rebuild_parameter\n(", &tensor(&shared, 1, &[2], &[2])[..], b"\x88}tR"].concat();
    let state = [
        &b"ccollections\nOrderedDict\n)R("[..],
        &text("a.weight"),
        &tensor(&shared, 0, &[3, 2], &[1, 3]),
        &[b"U\x01p", &parameter[..]].concat(),
        &text("n"),
        &tensor(&storage("LongStorage", "2", 1), 0, &[], &[]),
        &text("half"),
        &tensor(&storage("HalfStorage", "3", 2), 0, &[2], &[1]),
        b"u}(",
        &text("_metadata"),
        b"}ub",
    ];
    dict(&[("state_dict", state.concat()), ("epoch", b"K\x07".to_vec()), ("log", b"](NG12345678e".to_vec())])
}

fn honest_numbers() -> Vec<u8> {
    floats(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
}

fn honest_files() -> [Vec<u8>; 2] {
    let numbers = honest_numbers();
    let storages: Numbers = &[("1", &numbers, 6), ("2", &[7; 8], 1), ("3", &[0, 0x3c, 0, 0xc0], 2)];
    [zip_file(&honest(), storages), legacy_file(&honest(), storages)]
}

#[test]
fn both_forms_are_read() {
    for file in honest_files() {
        let file = open(file).unwrap();
        assert_eq!(file.names().collect::<Vec<_>>(), ["state_dict.a.weight", "state_dict.half", "state_dict.p"]);
        let weight = file.tensor("state_dict.a.weight").unwrap();
        assert_eq!((weight.shape, weight.data), (vec![3, 2], vec![0., 3., 1., 4., 2., 5.]));
        assert_eq!(file.tensor("state_dict.p").unwrap().data, [1.0, 3.0]);
        assert_eq!(file.tensor("state_dict.half").unwrap().data, [1.0, -2.0]);
        assert!(file.tensor("state_dict.n").is_err());
        let state = StateDict::new(file).unwrap();
        assert_eq!(state.tensor("p", &[2]).unwrap().data, [1.0, 3.0]);
        let told = state.tensor("p", &[3]).unwrap_err().to_string();
        assert!(told.starts_with("x.pth: \"state_dict.p\" has shape [2], not [3]; "), "{told}");
        let told = state.tensor("q", &[3]).unwrap_err().to_string();
        assert!(told.starts_with("x.pth: lacks the key \"q\"; "), "{told}");
    }
}

#[test]
fn a_view_of_a_legacy_storage_is_found() {
    let view = [b"(", &text("v")[..], &int(2), &int(3), b"t"].concat();
    let class = b"ctorch\nFloatStorage\n".to_vec();
    let part = [b"(".to_vec(), text("storage"), class, text("0"), text("cpu"), int(6), view, b"tQ".to_vec()].concat();
    let read = |object: Vec<u8>| {
        let file = legacy_file(&dict(&[("w", object)]), &[("0", &honest_numbers(), 6)]);
        open(file).map(|file| file.tensor("w").unwrap().data)
    };
    assert_eq!(read(tensor(&part, 1, &[2], &[1])).unwrap(), [3.0, 4.0]);
    let told = read(tensor(&part, 1, &[3], &[1])).unwrap_err().to_string();
    assert!(told.contains("reaches beyond its storage of 3 values"), "{told}");
}

#[test]
fn code_is_refused_by_name() {
    let whole = tensor(&storage("FloatStorage", "0", 6), 0, &[6], &[1]);
    let after = |what: &[u8]| dict(&[("w", [&whole[..], b"q\x01", what].concat())]);
    let negative = |shape, stride| dict(&[("w", tensor(&storage("FloatStorage", "0", 6), 0, shape, stride))]);
    for (object, expected) in [
        (
            b"cos\nsystem\n(X\x02\0\0\0lstR".to_vec(),
            "holds code (os.system); save it with torch.save(model.state_dict(), path)",
        ),
        (b"cbuiltins\neval\n".to_vec(), "holds code (builtins.eval)"),
        (b"ctorch\nBoolStorage\n".to_vec(), "holds values of torch.BoolStorage"),
        (b"(X\x06\0\0\0moduleNNNtQ".to_vec(), "holds code (a module and its source)"),
        (after(b"}b"), "holds an object with attributes (BUILD)"),
        (b"}}b".to_vec(), "holds an object with attributes (BUILD)"),
        (b"}(2".to_vec(), "its pickle holds the instruction DUP"),
        (b"\x8c\x01a".to_vec(), "its pickle holds the instruction SHORT_BINUNICODE"),
        (b"\xff".to_vec(), "its pickle holds the instruction 0xff"),
        (b"\x80\x04".to_vec(), "is a pickle of protocol 4"),
        (after(b"h\x02"), "its pickle recalls value 2, which it never stored"),
        (b"(a".to_vec(), "its pickle uses a missing value"),
        (b"t".to_vec(), "its pickle returns to a missing mark"),
        (b"NNR".to_vec(), "its pickle calls something that is not a function"),
        (b"ctorch._utils\n_rebuild_tensor_v2\n)R".to_vec(), "its pickle calls torch._utils._rebuild_tensor_v2 with 0"),
        (b"ccollections\nOrderedDict\n]\x85R".to_vec(), "its pickle calls collections.OrderedDict with 1 arguments"),
        (b"NN\x85a".to_vec(), "its pickle appends to something"),
        (b"}(NNNu".to_vec(), "its pickle sets items of something that is not a dict, or half an item"),
        (b"X\xff\xff\xff\xffa".to_vec(), "its pickle ends inside an instruction"),
        (b"\x8a\xff".to_vec(), "its pickle ends inside an instruction"),
        (b"]".to_vec(), "does not hold a dict"),
        (b"}".to_vec(), "holds no floating-point tensor"),
        (dict(&[("w", whole.clone()), ("w", whole.clone())]), "holds the name \"w\" twice"),
        (negative(&[-2], &[1]), "a size or a stride is -2"),
        (negative(&[2], &[-1]), "a size or a stride is -1"),
        (negative(&[7], &[1]), "a tensor of shape [7], strides [1] and offset 0 reaches beyond its storage of 6"),
        (negative(&[i32::MAX; 3], &[0; 3]), "a tensor of shape [2147483647, 2147483647, 2147483647] is more than"),
        (negative(&[i32::MAX], &[0]), "tensor \"w\" and those before it share their values"),
        (dict(&[("w", tensor(&storage("FloatStorage", "0", i32::MAX), 0, &[1], &[1]))]), "tensor \"w\": storage \"0\""),
        (dict(&[("w", tensor(&storage("FloatStorage", "9", 6), 0, &[1], &[1]))]), "lacks its entry \"my/data/9\""),
        ([b"}(N", &whole[..], b"u"].concat(), "a dict has a key that is neither text nor an integer"),
    ] {
        let told = refused(zip_file(&object, &[("0", &honest_numbers(), 6)]));
        assert!(told.starts_with(&format!("x.pth: {expected}")), "{told}\n{expected}");
    }
}

#[test]
fn bombs_do_not_go_off() {
    let deep = [&b"N"[..], &[0x85; 200_000]].concat();
    let many = [&b"]"[..], &b"}a".repeat(150_000)].concat();
    // A high stack, followed by small tuples.
    let high = [&b"("[..], &[b'N'; 100_000], b"tq\x01", &b"(h\x01t".repeat(50_000)].concat();
    let itself = [&b"}q\x01("[..], &text("a"), b"h\x01", &text("b"), b"h\x01u"].concat();
    let empty_keys = b"}q\x01(K\x01h\x01K\x02h\x01K\x03h\x01u".to_vec();
    // Each dict holds the previous one twice, under two keys.
    let mut doubling = b"}q\x00".to_vec();
    (0..100).for_each(|n| doubling.extend([b"}(K\x01h", &[n][..], b"K\x02h", &[n], b"uq", &[n + 1]].concat()));
    let marks = [b'('; 300_000].to_vec();
    let memo: Vec<u8> =
        (0..50_000_u32).flat_map(|n| [&b"Nr"[..], &n.wrapping_mul(85_899).to_le_bytes()].concat()).collect();
    for (object, expected) in [
        (deep, "does not hold a dict"),
        (many, "its pickle has more than 262144 instructions"),
        (high, "does not hold a dict"),
        (itself, "the keys after \"b.b.b."),
        (empty_keys, "the keys after \"3.3.3."),
        (doubling, "its dicts have more than 65536 entries"),
        (marks, "its pickle has more than 262144 instructions"),
        (memo, "does not hold a dict"),
    ] {
        for file in [zip_file(&object, &[]), legacy_file(&object, &[])] {
            let told = refused(file);
            assert!(told.starts_with(&format!("x.pth: {expected}")), "{told}");
        }
    }
}

#[test]
fn nonsense_made_of_instructions_is_an_error() {
    let mut random = StdRng::seed_from_u64(13);
    let whole = [tensor(&storage("FloatStorage", "0", 6), 0, &[2, 3], &[3, 1]), b"q\x00".to_vec()].concat();
    let words: Vec<&[u8]> = vec![
        b"(",
        b"N",
        b"\x88",
        b"K\x00",
        b"K\x02",
        b"J\xff\xff\xff\x7f",
        b"J\xff\xff\xff\xff",
        b"X\x01\0\0\0w",
        b")",
        b"]",
        b"}",
        b"t",
        b"\x85",
        b"\x86",
        b"\x87",
        b"a",
        b"e",
        b"s",
        b"u",
        b"q\x00",
        b"q\x01",
        b"h\x00",
        b"h\x01",
        b"R",
        b"b",
        b"Q",
        b"ccollections\nOrderedDict\n",
        b"ctorch._utils\n_rebuild_tensor\n",
        b"ctorch._utils\n_rebuild_parameter\n",
        b"\x8a\x08\xff\xff\xff\xff\xff\xff\xff\x7f",
        &whole,
    ];
    let mut read = 0;
    for _ in 0..100_000 {
        let n = random.random_range(1..40);
        let some: Vec<u8> = (0..n).flat_map(|_| words[random.random_range(0..words.len())]).copied().collect();
        let object = [b"}", &some[..]].concat();
        if let Ok(file) = open(legacy_file(&object, &[("0", &honest_numbers(), 6)])) {
            file.names().for_each(|name| assert!(file.tensor(name).unwrap().data.len() < 1000));
            read += 1;
        }
    }
    assert!(read > 0, "none was read");
}

#[test]
fn a_directory_without_end_is_refused() {
    let header = [&b"PK\x01\x02"[..], &[0; 42]].concat();
    let told = refused([b"PK\x03\x04", &header.repeat(70_000)[..]].concat());
    assert!(told.starts_with("x.pth: is a zip archive of 70000 entries"), "{told}");
}

#[test]
fn archives_that_are_not_torchs_are_refused() {
    let object = pickle(&honest());
    let stored = |entries: &[(&str, &[u8])]| archive(entries, CompressionMethod::Stored);
    let mut damaged = honest_files()[0].clone();
    let numbers = honest_numbers();
    let at = damaged.windows(numbers.len()).position(|bytes| bytes == numbers).unwrap();
    assert_eq!(at % 64, 0);
    damaged[at + 3] ^= 1;
    let mut compressed = honest_files()[0].clone();
    let directory = compressed.windows(4).position(|bytes| bytes == b"PK\x01\x02").unwrap();
    (compressed[8], compressed[directory + 10]) = (8, 8);
    for (file, expected) in [
        (stored(&[("a/data.pkl", &object), ("a/code/x.py", b"")]), "is a TorchScript archive"),
        (stored(&[("a/data.pkl", &object), ("a/byteorder", b"big")]), "was saved on a big-endian machine"),
        (stored(&[("a/data.pkl", &object), ("b/data.pkl", &object)]), "is a zip archive with 2 data.pkl"),
        (stored(&[("weights.npy", b"")]), "is a zip archive without a data.pkl"),
        (stored(&[("a/data.pkl", &object), ("a/data/1", &numbers[1..])]), "lacks its entry \"a/data/2\""),
        (compressed, "its entry \"my/data.pkl\" is compressed or encrypted"),
        (damaged, "its entry \"my/data/1\" does not have the checksum"),
        (b"PK\x03\x04".to_vec(), "starts like a zip archive, but is incomplete"),
        (vec![], "is not a .pth file as torch.save writes it, but empty"),
        (b"\x80\x02}.".to_vec(), "is not a .pth file as torch.save writes it, but a pickle"),
        (b"\x20\0\0\0TFL3".to_vec(), "is not a .pth file as torch.save writes it, but a TFLite file"),
        (b"\x02\0\0\0\0\0\0\0{}".to_vec(), "is not a .pth file as torch.save writes it, but a safetensors file"),
        ([&[b'x'; 257][..], b"ustar"].concat(), "is not a .pth file as torch.save writes it, but a tar archive"),
    ] {
        let told = refused(file);
        assert!(told.starts_with(&format!("x.pth: {expected}")), "{told}\n{expected}");
    }
}

#[test]
fn legacy_files_that_contradict_themselves_are_refused() {
    let numbers = honest_numbers();
    let file = |count, key: &str| {
        let object = dict(&[("w", tensor(&storage("FloatStorage", "0", 6), 0, &[6], &[1]))]);
        legacy_file(&object, &[(key, &numbers, count)])
    };
    let longer = [file(6, "0"), vec![0]].concat();
    let big = file(6, "0").into_iter().map(|byte| if byte == 0x88 { 0x89 } else { byte }).collect();
    for (file, expected) in [
        (file(5, "0"), "has 5 values in storage \"0\" of 6"),
        (file(-1, "0"), "has -1 values in storage \"0\" of 6"),
        (file(6, "1"), "holds a storage \"1\" that no tensor uses"),
        (longer, "has 1 bytes after its last tensor"),
        (big, "was saved on a big-endian machine, or does not say"),
        (
            legacy_file(&dict(&[("w", tensor(&storage("FloatStorage", "0", 6), 0, &[6], &[1]))]), &[]),
            "lacks the storage \"0\"",
        ),
    ] {
        let told = refused(file);
        assert!(told.starts_with(&format!("x.pth: {expected}")), "{told}");
    }
}

#[test]
fn cuts_and_flips_are_errors_or_numbers() {
    let mut random = StdRng::seed_from_u64(7);
    for whole in honest_files() {
        (0..whole.len()).for_each(|n| assert!(open(whole[..n].to_vec()).is_err(), "{n}"));
        for _ in 0..100_000 {
            let mut file = whole.clone();
            for _ in 0..random.random_range(1..4) {
                let at = random.random_range(0..file.len());
                file[at] = if random.random() { random.random() } else { file[at] ^ (1 << random.random_range(0..8)) };
            }
            if let Ok(file) = open(file) {
                file.names().for_each(|name| assert!(file.tensor(name).unwrap().data.len() < 10_000));
            }
        }
    }
}
