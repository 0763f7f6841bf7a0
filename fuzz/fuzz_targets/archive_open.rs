//! Opening anything: no panic, the same twice, and the same from a stream of
//! which only the documents are kept.
#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use ocitar::archive::{Access, Archive};
use ocitar::compress::Compression;
use ocitar::error::Code;
use ocitar::progress::Silent;

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    ocitar_fuzz::mutate_tar(data, size, max_size, seed, true)
});

fuzz_target!(|data: &[u8]| {
    let first = ocitar_fuzz::open(data);
    let again = ocitar_fuzz::options(Access::Whole).open_stream("fuzz", data);
    let stream = ocitar_fuzz::options(Access::Metadata).open_stream("fuzz", data);
    let (first, again) = match (first, again) {
        (Ok(first), Ok(again)) => (first, again),
        (Err(first), Err(again)) => return assert_eq!(first.to_string(), again.to_string()),
        (first, again) => panic!("{first:?} {again:?}"),
    };
    assert_eq!(images(&first), images(&again));
    assert_eq!(findings(&first), findings(&again));
    match stream {
        Ok(stream) => {
            let code = |archive: &Archive| archive.findings().fatal_one().map(|error| error.code());
            // Whether a member is cut is known before it is listed, or only after.
            if first.findings().iter().any(|finding| finding.error.code() == Code::TarTruncated) {
                assert!(code(&stream).is_some());
            } else {
                assert_eq!(code(&first), code(&stream));
                assert_eq!(images(&first), images(&stream));
            }
        }
        // What breaks off a compressed stream behind the end of the tar.
        Err(error) => assert!(
            error.code() == Code::LimitKept || first.compression() != Compression::None,
            "{error}"
        ),
    }
    let report = first.verify(&ocitar_fuzz::one_thread(), &Silent);
    assert_eq!(report.is_ok(), report.findings.exit_code() == 0);
    assert!(report.findings.len() >= first.findings().len());
    for image in first.images() {
        assert!(image.names().iter().all(|name| !first.find(name.text()).is_empty()));
        let _ = (first.size_of(image), first.files_of(image));
    }
});

fn images(archive: &Archive) -> Vec<String> {
    let image = |image: &ocitar::archive::Image| {
        let names: Vec<String> = image.names().iter().map(ToString::to_string).collect();
        format!("{} {names:?} {:?}", image.label(), image.digest())
    };
    archive.images().iter().map(image).collect()
}

fn findings(archive: &Archive) -> Vec<String> {
    archive.findings().iter().map(|f| format!("{} {}", f.severity.as_str(), f.error)).collect()
}
