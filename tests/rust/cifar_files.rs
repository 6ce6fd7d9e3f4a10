//! Writes files of CIFAR's Python version, for the tests that read them.

/// Builds a batch of two images as pickled by Python 2; `data` is the pickled string of the array's bytes.
pub(crate) fn batch(data: &[u8], dtype: &[u8]) -> Vec<u8> {
    let mut file = b"\x80\x02}q\x01(U\x0bbatch_labelq\x02U\x15training batch 1 of 5q\x03U\x06labelsq\x04]q\x05(K\x06K\teU\x04dataq\x06".to_vec();
    file.extend(
        b"cnumpy.core.multiarray\n_reconstruct\nq\x07cnumpy\nndarray\nq\x08K\x00\x85q\tU\x01bq\n\x87q\x0bRq\x0c",
    );
    file.extend(b"(K\x01K\x02M\x00\x0c\x86q\rcnumpy\ndtype\nq\x0e");
    file.extend([b'U', dtype.len() as u8]);
    file.extend(dtype);
    file.extend(
        b"q\x0fK\x00K\x01\x87q\x10Rq\x11(K\x03U\x01|q\x12NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tq\x13b\x89",
    );
    file.extend(data);
    file.extend(b"tq\x14bU\tfilenamesq\x15]q\x16(U\x05a.pngq\x17U\x05b.pngq\x18eu.");
    file
}

/// Builds a BINSTRING that claims this length and has these bytes.
pub(crate) fn string(claimed: u32, bytes: &[u8]) -> Vec<u8> {
    [b"T", &claimed.to_le_bytes()[..], bytes].concat()
}
