//! Export, convert, merge and split in memory: what is written opens and
//! verifies no worse than the input did, is the same when it is written again,
//! and is put together again from its parts.
//!
//! Seeds differ in what is done with them: the sum of all bytes says it.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use ocitar::archive::{Archive, Format};
use ocitar::bundle::{Bundle, GatherOptions, Layout, Output, Platforms, Selection, SplitBy};
use ocitar::error::{Class, Code, Error, Result};
use ocitar::progress::Silent;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    ocitar_fuzz::mutate_tar(data, size, max_size, seed, true)
});

fuzz_target!(|data: &[u8]| {
    let Ok(archive) = ocitar_fuzz::open(data).and_then(Archive::check) else { return };
    let sum = data.iter().fold(0_u8, |sum, byte| sum.wrapping_add(*byte));
    let format = [Format::Oci, Format::Docker, Format::Hybrid][usize::from(sum) % 3];
    let layout = Layout::new(format).default_platform("linux/amd64".parse().unwrap());
    let Some((bundle, out)) = stop(write(&[&archive], sum, &layout)) else { return };
    let bytes = bytes(&out);

    let new = ocitar_fuzz::open(&bytes).and_then(Archive::check).expect("what was written opens");
    let is_sound = archive.verify(&ocitar_fuzz::one_thread(), &Silent).is_ok();
    let report = new.verify(&ocitar_fuzz::one_thread(), &Silent);
    assert!(report.is_ok() || !is_sound, "{:?}", report.findings);
    for image in out.images() {
        assert!(image.names.iter().all(|name| !new.find(name).is_empty()), "{:?}", image.names);
    }
    if !report.is_ok() {
        return;
    }

    // Nothing changes when it is done again, or with itself.
    let again = match write(&[&new], sum, &layout) {
        // The platform that an index stated is not that of the configuration, which is
        // all that docker's format has.
        Err(error) if error.code() == Code::PlatformMissing => return,
        again => again,
    };
    let Some((_, again)) = stop(again) else { panic!("what was written is refused") };
    assert!(self::bytes(&again) == bytes, "written again it is another one");
    let Some((_, twice)) = stop(write(&[&new, &new], sum, &layout)) else {
        panic!("it does not merge with itself");
    };
    assert!(self::bytes(&twice) == bytes, "merged with itself it is another one");

    let by = if sum & 64 > 0 { SplitBy::Image } else { SplitBy::Size(1 + u64::from(sum) * 64) };
    let Some(parts) = stop(bundle.split(by, &Selection::new(), &layout)) else { return };
    let parts = parts.iter().map(|part| {
        let out = match part.bundle.output(&layout) {
            // Not every image has the platform that the docker view shows.
            Err(error) if error.code() == Code::PlatformMissing => return None,
            out => out.expect("a part of what could be written"),
        };
        let part = ocitar_fuzz::open(&self::bytes(&out)).and_then(Archive::check);
        Some(part.expect("a part opens"))
    });
    let Some(parts) = parts.collect::<Option<Vec<Archive>>>() else { return };
    let parts: Vec<&Archive> = parts.iter().collect();
    if parts.is_empty() {
        return;
    }
    let whole = Bundle::gather(&parts, &gather(), &Silent).and_then(|all| all.output(&layout));
    assert!(self::bytes(&whole.expect("parts merge")) == bytes, "of its parts it is another one");
});

/// `None` for an input that cannot be written so, which is no fault of the code.
fn stop<T>(result: Result<T>) -> Option<T> {
    let stops = |error: &Error| matches!(error.class(), Class::Content | Class::Usage);
    match result {
        Ok(value) => Some(value),
        Err(error) if stops(&error) || error.code() == Code::Format => None,
        Err(error) => panic!("{error}"),
    }
}

fn write<'a>(
    archives: &[&'a Archive],
    sum: u8,
    layout: &Layout,
) -> Result<(Bundle<'a>, Output<'a>)> {
    let mut selection = Selection::new().lenient(sum & 8 > 0).break_signatures(sum & 16 > 0);
    if sum & 32 > 0 {
        selection = selection.platforms(Platforms::All);
    }
    let bundle = Bundle::gather(archives, &gather(), &Silent)?.select(&selection)?;
    let out = bundle.output(layout)?;
    Ok((bundle, out))
}

fn gather() -> GatherOptions {
    GatherOptions::new().jobs(Some(1))
}

fn bytes(out: &Output<'_>) -> Vec<u8> {
    ocitar_fuzz::written(&out.plan().expect("a plan of what was laid out"))
}
