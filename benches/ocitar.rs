//! `cargo bench`: what every verb comes down to, in bytes of the archive a second.
//!
//! Wall time on a shared machine swings; compare ratios within one run, and see
//! `benches/peers.sh` for the same work beside other tools. With a folder of a file
//! system that shares extents in `OCITAR_BENCH_REFLINK` writing there is measured, too.

#![allow(missing_docs, clippy::expect_used, reason = "a bench")]

mod corpus;

use std::hint::black_box;
use std::io::{self, Read};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use corpus::{Corpus, Layer, Packing, Shape};
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion, Throughput, criterion_group, criterion_main};
use ocitar::archive::{Archive, OpenOptions};
use ocitar::bundle::{Bundle, GatherOptions, Layout, Selection};
use ocitar::compress::{Codec, Compression};
use ocitar::digest::Digest;
use ocitar::edit::{RenameRules, Rule};
use ocitar::plan::Plan;
use ocitar::progress::Silent;
use ocitar::source::MapChoice;
use ocitar::verify::VerifyOptions;
use ocitar::write::{InPlace, WriteOptions};

const LAYER: usize = 64 << 20;
const LARGE: Shape = Shape { images: 1, layers: 8, layer_len: LAYER, packing: Packing::Plain };
const SMALL: Shape =
    Shape { images: 10, layers: 1000, layer_len: 4 << 10, packing: Packing::Plain };

fn benches(criterion: &mut Criterion) {
    for (name, shape) in [("8-layers-of-64-MiB", LARGE), ("10000-layers-of-4-KiB", SMALL)] {
        let corpus = Corpus::new(&shape);
        index(criterion, name, &corpus);
        verify(criterion, name, &corpus);
        retag(criterion, name, &corpus);
        bundles(criterion, name, &corpus);
    }
    for (name, packing) in [("8-gzip-layers", Packing::Gzip), ("8-zstd-layers", Packing::Zstd)] {
        verify(criterion, name, &Corpus::new(&Shape { packing, ..LARGE }));
    }
    // The bound of the one with gzip layers: the same work on the same bytes, by the
    // same libraries, and nothing else.
    inflate_and_hash(criterion);
    for layers in [1, 2] {
        let shape = Shape { layers, packing: Packing::Gzip, ..LARGE };
        verify(criterion, &format!("{layers}-gzip-layers"), &Corpus::new(&shape));
    }
    gzip(criterion);
}

fn group<'c>(criterion: &'c mut Criterion, name: &str, bytes: u64) -> BenchmarkGroup<'c, WallTime> {
    let mut group = criterion.benchmark_group(name);
    group
        .throughput(Throughput::Bytes(bytes))
        .sample_size(10)
        .measurement_time(Duration::from_secs(6));
    group
}

fn index(criterion: &mut Criterion, name: &str, corpus: &Corpus) {
    let mut group = criterion.benchmark_group("index");
    group.throughput(Throughput::Bytes(corpus.len));
    for (how, map) in [("map", MapChoice::Always), ("read", MapChoice::Never)] {
        let options = OpenOptions::new().map(map);
        group.bench_function(format!("{name}/{how}"), |b| {
            b.iter(|| black_box(options.open(&corpus.path).expect("an archive")));
        });
    }
}

fn verify(criterion: &mut Criterion, name: &str, corpus: &Corpus) {
    let mut group = group(criterion, "verify", corpus.len);
    for (how, map) in [("map", MapChoice::Always), ("read", MapChoice::Never)] {
        let archive = OpenOptions::new().map(map).open(&corpus.path).expect("an archive");
        for jobs in [1, 2] {
            let mut options = VerifyOptions::default();
            options.jobs = Some(jobs);
            group.bench_function(format!("{name}/{how}/{jobs}-threads"), |b| {
                b.iter(|| assert!(archive.verify(&options, &Silent).is_ok()));
            });
        }
    }
}

fn renamed(archive: &Archive, prefix: &str) -> Plan {
    let rules = RenameRules::new().rule(Rule::prefix(prefix).expect("a rule"));
    archive.edit().rename(&rules).and_then(|edit| edit.plan()).expect("a plan")
}

fn open(corpus: &Corpus) -> Archive {
    Archive::open(&corpus.path).and_then(Archive::check).expect("an archive")
}

fn retag(criterion: &mut Criterion, name: &str, corpus: &Corpus) {
    let mut group = group(criterion, "retag", corpus.len);
    let options = WriteOptions::new().force(true);
    let rename = |archive: &Archive| renamed(archive, "docker.io=registry.example.com");
    group.bench_function(format!("{name}/copy"), |b| {
        b.iter(|| rename(&open(corpus)).write_to(corpus.output(), &options).expect("space"));
    });
    group.bench_function(format!("{name}/copy-and-verify"), |b| {
        b.iter(|| {
            let (archive, verify) = (open(corpus), VerifyOptions::default());
            let plan = rename(&archive);
            let done = plan.write_verified_to(corpus.output(), &archive, &verify, &options);
            assert!(done.expect("space").1.is_some());
        });
    });
    group.bench_function(format!("{name}/pipe"), |b| {
        b.iter(|| rename(&open(corpus)).write_stream(&mut io::sink(), &options).expect("a sink"));
    });
    let here = corpus.output();
    std::fs::copy(&corpus.path, &here).expect("space");
    let turn = AtomicUsize::new(0);
    group.bench_function(format!("{name}/in-place"), |b| {
        b.iter(|| {
            let archive = Archive::open(&here).and_then(Archive::check).expect("an archive");
            // There and back again.
            let prefix = ["docker.io=registry.example.com", "registry.example.com=docker.io"]
                [turn.fetch_add(1, Ordering::Relaxed) % 2];
            let plan = renamed(&archive, prefix);
            plan.write_in_place(&here, InPlace::Journal, &options).expect("space")
        });
    });
    let Some(folder) = std::env::var_os("OCITAR_BENCH_REFLINK").map(PathBuf::from) else { return };
    let (input, output) = (folder.join("in.tar"), folder.join("out.tar"));
    std::fs::copy(&corpus.path, &input).expect("space");
    std::fs::File::open(&input).and_then(|file| file.sync_all()).expect("a disk");
    group.bench_function(format!("{name}/reflink"), |b| {
        b.iter(|| {
            let archive = Archive::open(&input).and_then(Archive::check).expect("an archive");
            rename(&archive).write_to(&output, &options).expect("space")
        });
    });
}

fn bundles(criterion: &mut Criterion, name: &str, corpus: &Corpus) {
    let options = WriteOptions::new().force(true);
    let write = |archives: &[&Archive]| {
        let gather = GatherOptions::new();
        let bundle = Bundle::gather(archives, &gather, &Silent).expect("images");
        let bundle = bundle.select(&Selection::new()).expect("images");
        let layout = Layout::new(bundle.format());
        let plan = bundle.output(&layout).and_then(|output| output.plan()).expect("a plan");
        plan.write_to(corpus.output(), &options).expect("space")
    };
    group(criterion, "export", corpus.len).bench_function(name, |b| {
        b.iter(|| write(&[&open(corpus)]));
    });
    // Everything is there twice and written once.
    group(criterion, "merge", corpus.len * 2).bench_function(name, |b| {
        b.iter(|| write(&[&open(corpus), &open(corpus)]));
    });
}

fn inflate_and_hash(criterion: &mut Criterion) {
    let layers: Vec<Vec<u8>> =
        (0..8).map(|seed| Layer::new(seed + 1, LAYER, Packing::Gzip).blob).collect();
    let bytes = layers.iter().map(|blob| blob.len() as u64).sum();
    let work = |blob: &Vec<u8>| {
        let mut hasher = ocitar::digest::Hasher::new(ocitar::digest::Algorithm::Sha256);
        let mut decoder = flate2::bufread::MultiGzDecoder::new(&**blob);
        let mut buffer = vec![0; 256 << 10];
        loop {
            match decoder.read(&mut buffer).expect("gzip") {
                0 => break,
                got => hasher.update(&buffer[..got]),
            }
        }
        black_box((hasher.finish(), Digest::of(blob)));
    };
    let mut group = group(criterion, "inflate-and-hash", bytes);
    group.bench_function("8-gzip-layers/1-threads", |b| b.iter(|| layers.iter().for_each(work)));
    group.bench_function("8-gzip-layers/2-threads", |b| {
        b.iter(|| {
            std::thread::scope(|scope| {
                for half in layers.chunks(4) {
                    scope.spawn(move || half.iter().for_each(work));
                }
            });
        });
    });
}

fn gzip(criterion: &mut Criterion) {
    let corpus = Corpus::new(&Shape { layers: 1, packing: Packing::Zstd, ..LARGE });
    let archive = open(&corpus);
    let plan = renamed(&archive, "docker.io=registry.example.com");
    let mut group = group(criterion, "compress", corpus.len);
    for compression in [Compression::Gzip, Compression::Zstd] {
        for jobs in [1, 2] {
            let codec = Codec { compression, level: None };
            let options = WriteOptions::new().codec(codec).jobs(Some(jobs));
            group.bench_function(format!("{compression}/{jobs}-threads"), |b| {
                b.iter(|| plan.write_stream(&mut io::sink(), &options).expect("a sink"));
            });
        }
    }
}

criterion_group!(all, benches);
criterion_main!(all);
