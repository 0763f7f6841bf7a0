//! What the Go package makes of every spelling, and the match matrix.

use super::*;

fn platform(os: &str, architecture: &str, variant: &str) -> Platform {
    Platform { variant: variant.into(), ..Platform::new(os, architecture) }
}

fn spec(text: &str) -> PlatformSpec {
    PlatformSpec::parse(text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

/// `os/architecture[/variant]` as it stands, without a parser in between.
fn raw(text: &str) -> Platform {
    let mut parts = text.split('/');
    let mut next = || parts.next().unwrap_or_default();
    platform(next(), next(), next())
}

#[test]
fn specs() {
    // Input, as it prints, normalised.
    let rows = [
        ("linux/amd64", "linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64", "linux/amd64"),
        ("linux/x86-64", "linux/amd64", "linux/amd64"),
        ("linux/amd64/v1", "linux/amd64", "linux/amd64"),
        ("linux/amd64/v2", "linux/amd64/v2", "linux/amd64/v2"),
        ("linux/amd64/v3", "linux/amd64/v3", "linux/amd64/v3"),
        ("linux/i386", "linux/386", "linux/386"),
        ("linux/386", "linux/386", "linux/386"),
        ("linux/arm64", "linux/arm64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/8", "linux/arm64/v8", "linux/arm64"),
        ("linux/arm64/v8.0", "linux/arm64/v8", "linux/arm64"),
        ("linux/aarch64", "linux/arm64", "linux/arm64"),
        ("linux/arm64/9", "linux/arm64/v9", "linux/arm64/v9"),
        ("linux/arm64/v8.1", "linux/arm64/v8.1", "linux/arm64/v8.1"),
        ("linux/arm", "linux/arm", "linux/arm/v7"),
        ("linux/arm/v7", "linux/arm/v7", "linux/arm/v7"),
        ("linux/arm/7", "linux/arm/v7", "linux/arm/v7"),
        ("linux/armhf", "linux/arm", "linux/arm/v7"),
        ("linux/armel", "linux/arm/v6", "linux/arm/v6"),
        ("linux/arm/6", "linux/arm/v6", "linux/arm/v6"),
        ("linux/arm/v5", "linux/arm/v5", "linux/arm/v5"),
        ("linux/arm/v8", "linux/arm/v8", "linux/arm/v8"),
        ("linux/armv7l", "linux/armv7l", "linux/armv7l"),
        ("linux/arm/v7l", "linux/arm/v7l", "linux/arm/v7l"),
        ("Linux/AMD64", "linux/amd64", "linux/amd64"),
        ("macos/arm64", "darwin/arm64", "darwin/arm64"),
        ("wasi/wasm", "wasi/wasm", "wasi/wasm"),
        ("js/wasm", "js/wasm", "js/wasm"),
        ("freebsd/amd64", "freebsd/amd64", "freebsd/amd64"),
        ("unknown/unknown", "unknown/unknown", "unknown/unknown"),
        // An architecture alone means linux, whatever this runs on.
        ("amd64", "linux/amd64", "linux/amd64"),
        ("aarch64", "linux/arm64", "linux/arm64"),
        ("Aarch64", "linux/arm64", "linux/arm64"),
        ("arm", "linux/arm", "linux/arm/v7"),
        ("armhf", "linux/arm", "linux/arm/v7"),
        ("armel", "linux/arm/v6", "linux/arm/v6"),
        ("x86_64", "linux/amd64", "linux/amd64"),
        ("i386", "linux/386", "linux/386"),
        ("ppc64le", "linux/ppc64le", "linux/ppc64le"),
        ("s390x", "linux/s390x", "linux/s390x"),
        ("wasm", "linux/wasm", "linux/wasm"),
        // Version and features.
        ("windows()/amd64", "windows/amd64", "windows/amd64"),
        ("windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"),
        (
            "windows(10.0.17763+win32k)/amd64",
            "windows(10.0.17763+win32k)/amd64",
            "windows(10.0.17763+win32k)/amd64",
        ),
        (
            "windows(10.0.17763%2Bbuild.42)/amd64",
            "windows(10.0.17763%2Bbuild.42)/amd64",
            "windows(10.0.17763%2Bbuild.42)/amd64",
        ),
        ("windows(50%25done)/amd64", "windows(50%25done)/amd64", "windows(50%25done)/amd64"),
        ("linux(+gpu)/amd64", "linux(+gpu)/amd64", "linux(+gpu)/amd64"),
        (
            "linux(+unsorted+erofs)/arm/v6",
            "linux(+erofs+unsorted)/arm/v6",
            "linux(+erofs+unsorted)/arm/v6",
        ),
        ("linux(+a+a)/amd64", "linux(+a)/amd64", "linux(+a)/amd64"),
    ];
    for (text, printed, normalized) in rows {
        let spec = spec(text);
        assert_eq!(spec.to_string(), printed, "{text}");
        assert_eq!(spec.platform().normalized().to_string(), normalized, "{text}");
        let again: PlatformSpec = printed.parse().unwrap();
        assert_eq!(again.to_string(), printed, "{text}");
        assert!(spec.matches(spec.platform()) && again.matches(spec.platform()), "{text}");
    }
}

#[test]
fn spec_fields() {
    let windows = spec("windows(10.0.17763%2Bbuild.42+win32k+%61)/amd64").0;
    assert_eq!(windows.os_version, "10.0.17763+build.42");
    assert_eq!(windows.os_features, ["win32k", "a"]);
    assert_eq!(windows.to_string(), "windows(10.0.17763%2Bbuild.42+a+win32k)/amd64");
    assert_eq!(spec("linux(+gpu)/amd64").0.os_features, ["gpu"]);
}

#[test]
fn refused_specs() {
    use PlatformError::{BareOs, Component, Escape, Os, TooManyComponents, Unknown, Wildcard};
    let rows = [
        ("", Os),
        ("/linux/amd64", Os),
        ("linux /arm", Os),
        ("linux.x/arm", Os),
        ("linux(/arm", Os),
        ("linux)/arm", Os),
        ("linux(a)b/arm", Os),
        ("linux((a))/arm", Os),
        ("linux(a b)/arm", Os),
        ("linux(+)/arm", Os),
        ("linux(a++b)/arm", Os),
        ("(10)/amd64", Os),
        ("é/amd64", Os),
        ("linux/amd64/", Component),
        ("linux/", Component),
        ("linux//v7", Component),
        ("linux/&arm", Component),
        ("linux/arm/v 7", Component),
        ("linux/é", Component),
        ("linux/arm/v7/", Component),
        ("linux/arm/v7/x", TooManyComponents),
        ("linux/arm/v7/x/y", TooManyComponents),
        ("linux/*", Wildcard),
        ("*", Wildcard),
        ("*/arm64", Wildcard),
        ("unknown", Unknown),
        ("any", Unknown),
        ("local", Unknown),
        ("amd64(10)", Unknown),
        ("armv7l", Unknown),
        ("windows(%)/amd64", Escape),
        ("windows(%2)/amd64", Escape),
        ("windows(%zz)/amd64", Escape),
        ("windows(%ff)/amd64", Escape),
        ("linux(+%e9)/amd64", Escape),
        // Other tools complete these with the architecture of their host.
        ("linux", BareOs),
        ("windows", BareOs),
        ("macOS", BareOs),
        ("windows(10.0.17763)", BareOs),
        ("linux(+gpu)", BareOs),
    ];
    for (text, want) in rows {
        assert_eq!(PlatformSpec::parse(text), Err(want), "{text:?}");
    }
}

#[test]
fn normalizes() {
    // As read, as compared.
    let rows = [
        ("LINUX/X86_64", "linux/amd64"),
        ("linux/amd64/V1", "linux/amd64"),
        ("linux/i386/v9", "linux/386"),
        ("linux/386/v9", "linux/386/v9"),
        ("linux/armhf/v5", "linux/arm/v7"),
        ("linux/armel/v5", "linux/arm/v6"),
        ("linux/arm/5", "linux/arm/v5"),
        ("linux/arm/8", "linux/arm/v8"),
        ("linux/arm/4", "linux/arm/4"),
        ("linux/arm64/9.0", "linux/arm64/v9"),
        ("linux/arm64/v9.0", "linux/arm64/v9"),
        ("linux/aarch64/V8", "linux/arm64"),
        ("linux/x64", "linux/x64"),
        ("macOS/arm64", "darwin/arm64"),
        ("linux/riscv64/rva22u64", "linux/riscv64/rva22u64"),
        // Nothing is filled in from a host.
        ("/amd64", "unknown"),
        ("linux", "linux"),
    ];
    for (text, want) in rows {
        let normalized = raw(text).normalized();
        assert_eq!(normalized.to_string(), want, "{text}");
        assert_eq!(normalized.normalized(), normalized, "{text}");
    }
    let features = Platform {
        os_features: ["b", "a", "b"].map(String::from).into(),
        features: ["z".to_owned(), "y".to_owned()].into(),
        ..Platform::new("linux", "amd64")
    };
    assert_eq!(features.normalized().os_features, ["a", "b"]);
    assert_eq!(features.normalized().features, ["z", "y"]);
}

/// Everything the rows of the matrix tell apart.
const CANDIDATES: &[&str] = &[
    "linux/amd64",
    "linux/amd64/v1",
    "linux/x86_64",
    "linux/amd64/v2",
    "linux/amd64/v3",
    "linux/amd64/v4",
    "linux/386",
    "linux/i386",
    "linux/arm64",
    "linux/arm64/v8",
    "linux/arm64/8",
    "linux/aarch64",
    "linux/arm64/v7",
    "linux/arm64/v8.1",
    "linux/arm64/v8.2",
    "linux/arm64/v8.5",
    "linux/arm64/v8.6",
    "linux/arm64/v8.9",
    "linux/arm64/v9",
    "linux/arm64/9",
    "linux/arm64/v9.0",
    "linux/arm64/v9.1",
    "linux/arm64/v10",
    "linux/arm",
    "linux/arm/v7",
    "linux/arm/7",
    "linux/armhf",
    "linux/arm/v6",
    "linux/armel",
    "linux/arm/v5",
    "linux/arm/v4",
    "linux/arm/v8",
    "linux/arm/v9",
    "linux/armv7l",
    "linux/s390x",
    "windows/amd64",
    "windows/arm",
    "darwin/arm64",
    "freebsd/amd64",
    "unknown/unknown",
    "linux/unknown",
    "linux",
    "/amd64",
    "",
];

/// Groups of equal rank, best first.
type Ranked = &'static [&'static [&'static str]];

const AMD64: &[&str] = &["linux/amd64", "linux/amd64/v1", "linux/x86_64"];
const I386: &[&str] = &["linux/386", "linux/i386"];
const ARM64: &[&str] = &["linux/arm64", "linux/arm64/v8", "linux/arm64/8", "linux/aarch64"];
const ARM64_V9: &[&str] = &["linux/arm64/v9", "linux/arm64/9", "linux/arm64/v9.0"];
const ARM_V8: &[&str] = &["linux/arm/v8"];
const ARM_V7: &[&str] = &["linux/arm", "linux/arm/v7", "linux/arm/7", "linux/armhf"];
const ARM_V6: &[&str] = &["linux/arm/v6", "linux/armel"];
const ARM_V5: &[&str] = &["linux/arm/v5"];

/// What is asked for (every spelling of it); what matches strictly is the first
/// group, what the host runs besides are the others.
const MATRIX: &[(&[&str], Ranked)] = &[
    (&["linux/amd64", "linux/amd64/v1", "amd64"], &[AMD64, I386]),
    (&["linux/amd64/v2"], &[&["linux/amd64/v2"], AMD64, I386]),
    (&["linux/amd64/v3"], &[&["linux/amd64/v3"], &["linux/amd64/v2"], AMD64, I386]),
    (&["linux/386"], &[I386]),
    (&["linux/arm64", "linux/arm64/v8"], &[ARM64, ARM_V8, ARM_V7, ARM_V6, ARM_V5]),
    (&["linux/arm64/v8.1"], &[&["linux/arm64/v8.1"], ARM64, ARM_V8, ARM_V7, ARM_V6, ARM_V5]),
    (
        &["linux/arm64/v9"],
        &[
            ARM64_V9,
            &["linux/arm64/v8.5"],
            &["linux/arm64/v8.2"],
            &["linux/arm64/v8.1"],
            ARM64,
            ARM_V8,
            ARM_V7,
            ARM_V6,
            ARM_V5,
        ],
    ),
    (&["linux/arm", "linux/arm/v7", "linux/armhf", "arm"], &[ARM_V7, ARM_V6, ARM_V5]),
    (&["linux/arm/v6", "linux/armel"], &[ARM_V6, ARM_V5]),
    (&["linux/arm/v5"], &[ARM_V5]),
    (&["linux/arm/v4"], &[&["linux/arm/v4"]]),
    (&["linux/arm/v8"], &[ARM_V8, ARM_V7, ARM_V6, ARM_V5]),
    (&["linux/s390x"], &[&["linux/s390x"]]),
    (&["unknown/unknown"], &[&["unknown/unknown"]]),
];

#[test]
fn matrix() {
    for (wanted, groups) in MATRIX {
        for text in *wanted {
            let spec = spec(text);
            let host = HostMatcher::new(spec.platform());
            let mut last = None;
            for group in *groups {
                let ranks: Vec<_> = group.iter().map(|text| host.rank(&raw(text))).collect();
                assert!(ranks[0] > last, "{text}: {group:?} {ranks:?}");
                assert!(ranks.iter().all(|rank| *rank == ranks[0]), "{text}: {group:?} {ranks:?}");
                last = ranks[0];
            }
            for candidate in CANDIDATES {
                let runs = groups.iter().any(|group| group.contains(candidate));
                assert_eq!(host.rank(&raw(candidate)).is_some(), runs, "{text} {candidate}");
                let strict = groups[0].contains(candidate);
                assert_eq!(spec.matches(&raw(candidate)), strict, "{text} {candidate}");
            }
        }
    }
}

#[test]
fn ranks_follow_the_compatibility_order() {
    let rows = [
        ("linux/arm64/v8.2", "linux/arm64/v8.2", Some(0)),
        ("linux/arm64/v8.2", "linux/arm64/v8.1", Some(1)),
        ("linux/arm64/v8.2", "linux/arm64", Some(2)),
        ("linux/arm64/v8.2", "linux/arm/v8", Some(3)),
        ("linux/arm64/v8.2", "linux/arm", Some(4)),
        ("linux/arm64/v8.2", "linux/arm/v5", Some(6)),
        ("linux/arm64/v8.2", "linux/arm64/v8.3", None),
        ("linux/arm64/v9.2", "linux/arm64/v9.2", Some(0)),
        ("linux/arm64/v9.2", "linux/arm64/v9", Some(2)),
        ("linux/arm64/v9.2", "linux/arm64/v8.7", Some(3)),
        ("linux/arm64/v9.2", "linux/arm64/v8.8", None),
        ("linux/arm64/v9.2", "linux/arm64", Some(10)),
        ("linux/arm64/v9.2", "linux/arm/v8", Some(11)),
        ("linux/arm64/v9.7", "linux/arm64/v8.9", Some(8)),
        ("linux/arm64/v8.9", "linux/arm64/v8.9", Some(0)),
        // Versions nobody has defined run nothing, not even themselves.
        ("linux/arm64/v8.10", "linux/arm64/v8.10", None),
        ("linux/arm64/v9.8", "linux/arm64/v9.8", None),
        ("linux/arm64/v10", "linux/arm64", None),
        ("linux/arm64/foo", "linux/arm", None),
        ("linux/amd64/v4", "linux/amd64/v4", Some(0)),
        ("linux/amd64/v4", "linux/amd64", Some(3)),
        ("linux/amd64/v4", "linux/386", Some(4)),
        ("linux/amd64/v4", "linux/386/x", None),
        ("linux/amd64/v4", "linux/amd64/v03", None),
        ("linux/amd64/v4", "linux/amd64/v0", None),
        ("linux/amd64/foo", "linux/amd64/foo", Some(0)),
        ("linux/amd64/foo", "linux/amd64", None),
        ("linux/amd64/foo", "linux/386", Some(1)),
        ("linux/amd64/v4294967295", "linux/amd64/v4294967294", Some(1)),
        ("linux/amd64/v99999999999", "linux/amd64/v2", None),
        ("linux/arm/v9", "linux/arm/v8", Some(1)),
        ("linux/arm/foo", "linux/arm/v5", None),
        ("linux/riscv64/a", "linux/riscv64/a", Some(0)),
        ("linux/riscv64/a", "linux/riscv64", None),
        ("windows/amd64", "linux/amd64", None),
        ("windows/amd64", "windows/386", Some(1)),
        ("/amd64", "/amd64", None),
    ];
    for (host, candidate, want) in rows {
        assert_eq!(HostMatcher::new(&raw(host)).rank(&raw(candidate)), want, "{host} {candidate}");
    }
}

#[test]
fn best_of_a_list() {
    let host = HostMatcher::new(&raw("linux/arm64"));
    let with = |text: &str, features: &[&str]| Platform {
        os_features: features.iter().map(|s| String::from(*s)).collect(),
        ..raw(text)
    };
    let list = ["linux/amd64", "linux/arm/v7", "linux/arm/v8", "linux/arm64", "linux/arm64/v8"];
    assert_eq!(host.best(&list.map(raw)), Some(3));
    assert_eq!(host.best(&list[..3].iter().map(|text| raw(text)).collect::<Vec<_>>()), Some(2));
    assert_eq!(host.best(&[raw("linux/amd64"), raw("")]), None);
    assert_eq!(host.best(&[]), None);

    let host = HostMatcher::new(&with("linux/amd64", &["a", "b"]));
    let list = [
        with("linux/amd64", &["a"]),
        with("linux/amd64", &["c"]),
        with("linux/amd64", &["b", "a"]),
    ];
    assert_eq!(host.best(&list), Some(2));
    assert_eq!(host.best(&list[..2]), Some(0));
}

#[test]
fn features_have_to_be_asked_for() {
    let rows = [
        ("linux(+a+b)/amd64", "linux/amd64", true),
        ("linux(+a+b)/amd64", "linux(+b)/amd64", true),
        ("linux(+a+b)/amd64", "linux(+b+a)/amd64", true),
        ("linux(+a+b)/amd64", "linux(+c)/amd64", false),
        ("linux/amd64", "linux(+a)/amd64", false),
        ("linux/amd64", "linux(+win32k)/amd64", false),
        ("windows/amd64", "windows(+win32k)/amd64", true),
        ("windows/amd64", "windows(+win32k+a)/amd64", false),
    ];
    for (wanted, found, want) in rows {
        let found = spec(found).0;
        assert_eq!(spec(wanted).matches(&found), want, "{wanted} {found:?}");
        assert_eq!(HostMatcher::new(spec(wanted).platform()).rank(&found).is_some(), want);
    }
}

#[test]
fn windows_versions() {
    // Host or wish, image, whether they go together.
    let rows = [
        ("", "10.0.17763.1", true),
        ("10.0.17763.1", "", true),
        ("10.0.17763", "10.0.17763.5696", true),
        ("10.0.17763.5696", "10.0.17763.1", true),
        ("10.0.17763", "10.0.14393", false),
        ("10.0.17763", "10.0.20348", false),
        // Windows Server 2022, Windows 11, Windows Server 2025 and what follows.
        ("10.0.20348", "10.0.20348.1", true),
        ("10.0.20348", "10.0.17763", false),
        ("10.0.20348", "10.0.22621", false),
        ("10.0.22621", "10.0.20348", true),
        ("10.0.22621", "10.0.22621", true),
        ("10.0.26100", "10.0.20348", true),
        ("10.0.26100", "10.0.25398", true),
        ("10.0.26100", "10.0.26100", true),
        ("10.0.26200", "10.0.26100", true),
        ("10.0.26200", "10.0.20348", false),
        ("10.1.20348", "10.0.20348", false),
        ("6.0.20348", "10.0.20348", false),
        // Less than three numbers say nothing for a host, and nothing good for
        // an image.
        ("10.0", "10.0.17763", true),
        ("0.0.0", "10.0.17763", true),
        ("bad", "10.0.17763", true),
        ("10.0.99999", "10.0.17763", true),
        ("10.0.17763", "10.0", false),
        ("10.0.17763", "bad", false),
        ("10.0.17763", "10.0.+17763", false),
        ("10.0.17763", "10.0.", false),
    ];
    for (host, image, want) in rows {
        let with = |version: &str| Platform {
            os_version: version.into(),
            ..Platform::new("windows", "amd64")
        };
        let matcher = HostMatcher::new(&with(host));
        assert_eq!(matcher.rank(&with(image)).is_some(), want, "{host} {image}");
        assert_eq!(PlatformSpec(with(host)).matches(&with(image)), want, "{host} {image}");
        // Elsewhere the version is not looked at.
        let linux = |version: &str| Platform { os: "linux".into(), ..with(version) };
        assert!(PlatformSpec(linux(host)).matches(&linux(image)));
    }
}

#[test]
fn prints() {
    let rows = [
        (platform("", "amd64", ""), "unknown"),
        (platform("linux", "", ""), "linux"),
        (platform("linux", "", "v7"), "linux/v7"),
        (platform("linux", "arm", "v7"), "linux/arm/v7"),
        (
            Platform { os_version: "1.0(beta)+a/b%".into(), ..platform("windows", "amd64", "") },
            "windows(1.0%28beta%29%2Ba%2Fb%25)/amd64",
        ),
        (
            Platform {
                os_features: ["", "simd", "gpu", "", "gpu"].map(String::from).into(),
                ..platform("linux", "amd64", "")
            },
            "linux(+gpu+simd)/amd64",
        ),
    ];
    for (platform, want) in rows {
        assert_eq!(platform.to_string(), want);
    }
}

#[test]
fn unknown_platforms() {
    for (text, want) in [
        ("unknown/unknown", true),
        ("linux/unknown", true),
        ("unknown/amd64", true),
        ("linux/amd64", false),
        ("", false),
    ] {
        assert_eq!(raw(text).is_unknown(), want, "{text}");
    }
}

#[test]
fn known_names() {
    for os in ["aix", "linux", "netbsd", "openbsd", "zos"] {
        assert_eq!(PlatformSpec::parse(os), Err(PlatformError::BareOs), "{os}");
    }
    for architecture in ["386", "loong64", "mips64", "mips64le", "sparc64", "wasm"] {
        assert_eq!(spec(architecture).to_string(), format!("linux/{architecture}"));
    }
}
