//! The segments of a JPEG before its first scan: EXIF, XMP and the ICC profile.
use super::orientation::Metadata;
use crate::image::jpeg::Segments;
use std::borrow::Cow;

const START_OF_SCAN: u8 = 0xDA;
const APP1: u8 = 0xE1;
const APP2: u8 = 0xE2;

pub(super) fn metadata(bytes: &[u8]) -> Metadata<'_> {
    let mut found = Metadata::default();
    let mut profile: Vec<(u8, &[u8])> = vec![];
    let before_scan = Segments::new(bytes).map_while(Result::ok).take_while(|(mark, _)| *mark != START_OF_SCAN);
    for (mark, data) in before_scan {
        if mark == APP1 && data.starts_with(b"Exif\0\0") {
            match &mut found.exif {
                // Long ones are split, and each part has the prefix.
                Some(exif) => exif.to_mut().extend_from_slice(&data[6..]),
                None => found.exif = Some(Cow::Borrowed(data)),
            }
        } else if mark == APP1
            && let Some(xmp) = data.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0")
        {
            found.xmp = Some(Cow::Borrowed(xmp));
        } else if mark == APP2
            && let Some([number, _, part @ ..]) = data.strip_prefix(b"ICC_PROFILE\0")
        {
            profile.push((*number, part));
        }
    }
    profile.sort_by_key(|(number, _)| *number);
    if !profile.is_empty() {
        found.profile = Some(profile.iter().flat_map(|(_, part)| *part).copied().collect());
    }
    found
}
