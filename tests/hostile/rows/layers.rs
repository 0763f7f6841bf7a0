//! Layers and what compresses them, and the archive's own compression.

use ocitar::error::Code;

use super::Want::{Accepted, Fails, Refused};
use super::images::with_index;
use super::{NAME, Row, layout};
use crate::support::image::{
    Descriptor, Image, Layer, OCI_CONFIG, OCI_LAYER, OCI_MANIFEST, Packing, blob, index, manifest,
    pack,
};

pub fn rows() -> Vec<Row> {
    let mut rows = layers();
    rows.extend(compressed());
    rows
}

/// A layout whose image has this manifest.
fn with_manifest(mut blobs: Vec<(String, Vec<u8>)>, text: &str) -> Vec<u8> {
    blobs.push(blob(text));
    with_index(&blobs, &index(&[Descriptor::new(OCI_MANIFEST, text).named(NAME)]))
}

fn layers() -> Vec<Row> {
    let image = Image::app("hostile");
    let layer = &image.layers[0];
    let with_config = |change: &dyn Fn(String) -> String, descriptors: &[Descriptor]| {
        let config = change(image.config.clone());
        let mut blobs: Vec<_> = image.layers.iter().map(|layer| blob(&layer.blob)).collect();
        blobs.push(blob(&config));
        with_manifest(
            blobs,
            &manifest(OCI_MANIFEST, &Descriptor::new(OCI_CONFIG, &config), descriptors, ""),
        )
    };
    let gz = format!("{OCI_LAYER}+gzip");
    let list: Vec<Descriptor> =
        image.layers.iter().map(|layer| Descriptor::new(&gz, &layer.blob)).collect();
    let one = |media_type: &str, blob_bytes: &[u8], diff_id: &[u8]| {
        let stored = Layer {
            plain: diff_id.to_vec(),
            blob: blob_bytes.to_vec(),
            packing: Packing::Plain,
            url: None,
        };
        let built = Image::new("linux/amd64", vec![stored]);
        let text =
            built.manifest.replace(&format!("\"{OCI_LAYER}\""), &format!("\"{media_type}\""));
        let mut blobs = vec![blob(blob_bytes), blob(&built.config)];
        blobs.dedup();
        with_manifest(blobs, &text)
    };
    let plain = &layer.plain;
    let padded = [&plain[..], &[0; 10 << 10]].concat();
    let cut = &plain[..plain.len() - 1024];
    let fails = Fails;
    let row = Row::new;
    vec![
        row(
            "T44",
            "zeros behind the end of a layer",
            one(&gz, &pack(&padded, Packing::Gzip), &padded),
            Accepted,
        ),
        row(
            "T44",
            "zeros behind the end of a layer that its diff ID does not cover",
            one(&gz, &pack(&padded, Packing::Gzip), plain),
            fails(Code::DiffIdMismatch),
        ),
        row("T44", "a layer without an end", one(&gz, &pack(cut, Packing::Gzip), cut), Accepted),
        row(
            "T44",
            "a layer without an end, and the diff ID of one with",
            one(&gz, &pack(cut, Packing::Gzip), plain),
            fails(Code::DiffIdMismatch),
        ),
        row(
            "T45",
            "two layers and one diff ID",
            with_config(
                &|text| {
                    let at = text.find("\"diff_ids\":[").unwrap() + 12;
                    let comma = at + text[at..].find(',').unwrap();
                    let end = at + text[at..].find(']').unwrap();
                    format!("{}{}", &text[..comma], &text[end..])
                },
                &list,
            ),
            fails(Code::ImageLayerCount),
        ),
        row(
            "T45",
            "layers in another order than diff IDs",
            with_config(&|text| text, &[list[1].clone(), list[0].clone()]),
            fails(Code::DiffIdMismatch),
        ),
        row(
            "T46",
            "no layers",
            with_config(
                &|text| {
                    let at = text.find("\"diff_ids\":[").unwrap() + 12;
                    let end = at + text[at..].find(']').unwrap();
                    format!("{}{}", &text[..at], &text[end..])
                },
                &[],
            ),
            Accepted,
        ),
        row(
            "T52",
            "zstd in a layer that is called gzip",
            one(&gz, &pack(plain, Packing::Zstd), plain),
            Accepted,
        ),
        row(
            "T52",
            "gzip in a layer that is called plain",
            one(OCI_LAYER, &pack(plain, Packing::Gzip), plain),
            fails(Code::MediaType),
        ),
        row("T52", "a plain layer that is called gzip", one(&gz, plain, plain), Accepted),
        row(
            "T60",
            "a gzip layer of two members",
            one(
                &gz,
                &[pack(&plain[..512], Packing::Gzip), pack(&plain[512..], Packing::Gzip)].concat(),
                plain,
            ),
            Accepted,
        ),
        row(
            "T60",
            "garbage behind a gzip layer",
            one(&gz, &[&pack(plain, Packing::Gzip)[..], b"GARBAGE!"].concat(), plain),
            fails(Code::DecompCorrupt),
        ),
        row(
            "T60",
            "zeros behind a gzip layer",
            one(&gz, &[&pack(plain, Packing::Gzip)[..], &[0; 512]].concat(), plain),
            fails(Code::DecompCorrupt),
        ),
        row(
            "T60",
            "a cut gzip layer",
            one(&gz, &pack(plain, Packing::Gzip)[..60], plain),
            fails(Code::DecompCorrupt),
        ),
        row(
            "T60",
            "a gzip layer with a wrong check sum",
            one(
                &gz,
                &{
                    let mut bytes = pack(plain, Packing::Gzip);
                    let at = bytes.len() - 6;
                    bytes[at] ^= 1;
                    bytes
                },
                plain,
            ),
            fails(Code::DecompCorrupt),
        ),
        row(
            "T58",
            "gzip in gzip",
            one(&gz, &pack(&pack(plain, Packing::Gzip), Packing::Gzip), plain),
            fails(Code::DiffIdMismatch),
        ),
        row(
            "T58",
            "a layer that unpacks to more than the limit",
            one(&gz, &pack(&vec![0; 8 << 20], Packing::Gzip), &vec![0; 8 << 20]),
            fails(Code::LimitUnpacked),
        )
        .limited(|limits| limits.unpacked = 1 << 20),
    ]
}

/// The archive's own compression.
fn compressed() -> Vec<Row> {
    let whole = || {
        let (blobs, documents) = layout();
        blobs.raw(documents.0).end().0
    };
    let gz = |bytes: &[u8]| pack(bytes, Packing::Gzip);
    let zst = |bytes: &[u8]| pack(bytes, Packing::Zstd);
    let plain = whole();
    let row = Row::new;
    let skippable = b"\x50\x2a\x4d\x18\x04\0\0\0skip";
    let bomb = vec![0; 8 << 20];
    let flagged = {
        let mut bytes = gz(&plain);
        bytes[3] |= 0xe0;
        bytes
    };
    // A frame header alone: version, no check sum, a window of 2^31 and the first block.
    let window = b"\x28\xb5\x2f\xfd\x00\xa8\x01\0\0".to_vec();
    let legacy = b"\x27\xb5\x2f\xfd\x00\x00\x00\x00\x00\x00".to_vec();
    vec![
        // A single segment of 2^40 bytes: its window is its size.
        row(
            "T59",
            "a zstd content size of 2^40",
            [&b"\x28\xb5\x2f\xfd\xe0"[..], &(1_u64 << 40).to_le_bytes(), b"\x01\0\0"].concat(),
            Refused(Code::LimitWindow),
        ),
        // The same behind a window of 1 MiB, which is what is allocated; its content is nothing.
        row(
            "T59",
            "a zstd content size of 2^40 and a small window",
            [&b"\x28\xb5\x2f\xfd\xc0\x50"[..], &(1_u64 << 40).to_le_bytes(), b"\x01\0\0"].concat(),
            Refused(Code::TarTruncated),
        ),
        row(
            "T61",
            "a zstd frame of a dictionary",
            b"\x28\xb5\x2f\xfd\x01\x50\x07\x01\0\0".to_vec(),
            Refused(Code::DecompCorrupt),
        ),
        row(
            "T60",
            "an archive in two gzip members",
            [gz(&plain[..1000]), gz(&plain[1000..])].concat(),
            Accepted,
        ),
        row("T60", "an empty gzip member first", [gz(b""), gz(&plain)].concat(), Accepted),
        row(
            "T60",
            "garbage behind a gzip archive",
            [&gz(&plain)[..], b"GARBAGE!"].concat(),
            Refused(Code::DecompCorrupt),
        ),
        row(
            "T60",
            "zeros behind a gzip archive",
            [&gz(&plain)[..], &[0; 512]].concat(),
            Refused(Code::DecompCorrupt),
        ),
        row("T60", "reserved flags of gzip", flagged, Refused(Code::DecompCorrupt)),
        row(
            "T60",
            "a cut gzip archive",
            {
                let bytes = gz(&plain);
                bytes[..bytes.len() - 9].to_vec()
            },
            Refused(Code::DecompCorrupt),
        ),
        row("T58", "gzip in gzip for an archive", gz(&gz(&plain)), Refused(Code::Format)),
        row(
            "T58",
            "an archive that unpacks to more than the limit",
            gz(&bomb),
            Refused(Code::LimitUnpacked),
        )
        .limited(|limits| limits.unpacked = 1 << 20),
        row(
            "T61",
            "an archive in two zstd frames",
            [zst(&plain[..1000]), zst(&plain[1000..])].concat(),
            Accepted,
        ),
        row(
            "T61",
            "a skippable frame between",
            [zst(&plain[..1000]), skippable.to_vec(), zst(&plain[1000..])].concat(),
            Accepted,
        ),
        row("T61", "a skippable frame first", [&skippable[..], &zst(&plain)].concat(), Accepted),
        row(
            "T61",
            "a cut zstd archive",
            {
                let bytes = zst(&plain);
                bytes[..bytes.len() - 5].to_vec()
            },
            Refused(Code::DecompCorrupt),
        ),
        row(
            "T61",
            "garbage behind a zstd archive",
            [&zst(&plain)[..], b"GARBAGE!"].concat(),
            Refused(Code::DecompCorrupt),
        ),
        row("T61", "zstd of version 0.7", legacy, Refused(Code::Format)),
        row("T59", "a zstd window of 2 GiB", window, Refused(Code::LimitWindow)),
    ]
}
