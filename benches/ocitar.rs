//! `cargo bench`: index, verify and retag, in bytes of the archive a second.
//!
//! Wall time on a shared machine swings; compare ratios within one run, and see
//! `benches/side-by-side.sh` for the same work beside `cp` and `openssl`.

#![allow(missing_docs, clippy::expect_used, reason = "a bench")]

mod corpus;

use std::hint::black_box;
use std::time::Duration;

use corpus::{Corpus, Shape};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ocitar::archive::{Archive, OpenOptions};
use ocitar::edit::{RenameRules, Rule};
use ocitar::progress::Silent;
use ocitar::source::MapChoice;
use ocitar::verify::VerifyOptions;
use ocitar::write::WriteOptions;

const LARGE: Shape = Shape { images: 1, layers: 3, layer_len: 256 << 20 };
const SMALL: Shape = Shape { images: 10, layers: 1000, layer_len: 4 << 10 };

fn benches(criterion: &mut Criterion) {
    for (name, shape) in [("3-layers-of-256-MiB", LARGE), ("10000-layers-of-4-KiB", SMALL)] {
        let corpus = Corpus::new(&shape);
        index(criterion, name, &corpus);
        verify(criterion, name, &corpus);
        retag(criterion, name, &corpus);
    }
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
    let mut group = criterion.benchmark_group("verify");
    group
        .throughput(Throughput::Bytes(corpus.len))
        .sample_size(10)
        .measurement_time(Duration::from_secs(8));
    let archive = Archive::open(&corpus.path).expect("an archive");
    for jobs in [1, 2] {
        let mut options = VerifyOptions::default();
        options.jobs = Some(jobs);
        group.bench_function(format!("{name}/{jobs}-threads"), |b| {
            b.iter(|| assert!(archive.verify(&options, &Silent).is_ok()));
        });
    }
}

fn retag(criterion: &mut Criterion, name: &str, corpus: &Corpus) {
    let mut group = criterion.benchmark_group("retag");
    group
        .throughput(Throughput::Bytes(corpus.len))
        .sample_size(10)
        .measurement_time(Duration::from_secs(8));
    let rule = Rule::prefix("docker.io=registry.example.com").expect("a rule");
    let rules = RenameRules::new().rule(rule);
    let options = WriteOptions::new().force(true);
    group.bench_function(format!("{name}/new-file"), |b| {
        b.iter(|| {
            let archive = Archive::open(&corpus.path).and_then(Archive::check).expect("an archive");
            let plan = archive.edit().rename(&rules).and_then(|edit| edit.plan()).expect("a plan");
            plan.write_to(corpus.output(), &options).expect("space")
        });
    });
}

criterion_group!(all, benches);
criterion_main!(all);
