//! The table of names and what the Go packages make of them, row by row.

use super::*;

const H: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

/// Input, canonical form, familiar form of the input as it is.
type Row = (String, String, String);

fn row(input: impl Into<String>, canonical: impl Into<String>, familiar: impl Into<String>) -> Row {
    (input.into(), canonical.into(), familiar.into())
}

fn accepted() -> Vec<Row> {
    let h = H;
    let tag128 = "t".repeat(128);
    let sha512 = "b".repeat(128);
    let path255 = "a".repeat(255);
    let path247 = "a".repeat(247);
    vec![
        // Docker Hub and its short names.
        row("busybox", "docker.io/library/busybox:latest", "busybox"),
        row("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        row("library/busybox", "docker.io/library/busybox:latest", "busybox"),
        row("docker.io/busybox", "docker.io/library/busybox:latest", "busybox"),
        row("docker.io/library/busybox:1", "docker.io/library/busybox:1", "busybox:1"),
        row("index.docker.io/busybox", "docker.io/library/busybox:latest", "busybox"),
        row("index.docker.io/library/busybox", "docker.io/library/busybox:latest", "busybox"),
        row(
            "registry-1.docker.io/library/busybox",
            "registry-1.docker.io/library/busybox:latest",
            "registry-1.docker.io/library/busybox",
        ),
        row("user/app", "docker.io/user/app:latest", "user/app"),
        row("library/foo/bar", "docker.io/library/foo/bar:latest", "library/foo/bar"),
        row("docker.io/docker.io/x", "docker.io/docker.io/x:latest", "docker.io/x"),
        // What is a domain and what is not.
        row("localhost/x", "localhost/x:latest", "localhost/x"),
        row("localhost:5000/x", "localhost:5000/x:latest", "localhost:5000/x"),
        row("localhost:5000/x:v1", "localhost:5000/x:v1", "localhost:5000/x:v1"),
        row("localhost:5000", "docker.io/library/localhost:5000", "localhost:5000"),
        row("localhost", "docker.io/library/localhost:latest", "localhost"),
        row("example.com", "docker.io/library/example.com:latest", "example.com"),
        row("example.com/app", "example.com/app:latest", "example.com/app"),
        row("example.com:443/app", "example.com:443/app:latest", "example.com:443/app"),
        row("127.0.0.1:5000/a/b:t", "127.0.0.1:5000/a/b:t", "127.0.0.1:5000/a/b:t"),
        row("[::1]:5000/a", "[::1]:5000/a:latest", "[::1]:5000/a"),
        row("[2001:db8::1]/repo", "[2001:db8::1]/repo:latest", "[2001:db8::1]/repo"),
        row("test_com/foo", "docker.io/test_com/foo:latest", "test_com/foo"),
        row("foo_bar.com:8080", "docker.io/library/foo_bar.com:8080", "foo_bar.com:8080"),
        row("foo_bar.com/x", "foo_bar.com/x:latest", "foo_bar.com/x"),
        row("Foo/bar", "Foo/bar:latest", "Foo/bar"),
        // Tags and separators.
        row("busybox:LATEST", "docker.io/library/busybox:LATEST", "busybox:LATEST"),
        row(
            format!("busybox:{tag128}"),
            format!("docker.io/library/busybox:{tag128}"),
            format!("busybox:{tag128}"),
        ),
        row("a__b/c", "docker.io/a__b/c:latest", "a__b/c"),
        row("a--b/c", "docker.io/a--b/c:latest", "a--b/c"),
        // Digests.
        row(
            format!("busybox@sha256:{h}"),
            format!("docker.io/library/busybox@sha256:{h}"),
            format!("busybox@sha256:{h}"),
        ),
        row(
            format!("busybox:t@sha256:{h}"),
            format!("docker.io/library/busybox@sha256:{h}"),
            format!("busybox:t@sha256:{h}"),
        ),
        row(
            format!("localhost:5000/x:t@sha256:{h}"),
            format!("localhost:5000/x@sha256:{h}"),
            format!("localhost:5000/x:t@sha256:{h}"),
        ),
        row(
            format!("busybox@sha512:{sha512}"),
            format!("docker.io/library/busybox@sha512:{sha512}"),
            format!("busybox@sha512:{sha512}"),
        ),
        // Hex that is a name or a tag.
        row(&h[1..], format!("docker.io/library/{}:latest", &h[1..]), &h[1..]),
        row(format!("sha256:{h}"), format!("docker.io/library/sha256:{h}"), format!("sha256:{h}")),
        // Lengths: of the path, with the implied `library/`, without the host.
        row(
            format!("example.com/{path255}"),
            format!("example.com/{path255}:latest"),
            format!("example.com/{path255}"),
        ),
        row(
            format!("docker.io/{path247}"),
            format!("docker.io/library/{path247}:latest"),
            path247.clone(),
        ),
        row(
            "registry.k8s.io/pause:3.10",
            "registry.k8s.io/pause:3.10",
            "registry.k8s.io/pause:3.10",
        ),
        row("xn--n3h.com/a", "xn--n3h.com/a:latest", "xn--n3h.com/a"),
        // Not in the table, from the grammar.
        row("a---b", "docker.io/library/a---b:latest", "a---b"),
        row("a.b_c/d-e", "a.b_c/d-e:latest", "a.b_c/d-e"),
        row("a:b.c-d_e", "docker.io/library/a:b.c-d_e", "a:b.c-d_e"),
        row("a:_", "docker.io/library/a:_", "a:_"),
        row("a.b:99999999/c", "a.b:99999999/c:latest", "a.b:99999999/c"),
        row("[:]/a", "[:]/a:latest", "[:]/a"),
    ]
}

#[test]
fn accepted_names() {
    for (input, canonical, familiar) in accepted() {
        let name = Reference::parse(&input).unwrap_or_else(|e| panic!("{input}: {e}"));
        assert_eq!(name.canonical().to_string(), canonical, "{input}");
        assert_eq!(name.familiar().to_string(), familiar, "{input}");
    }
}

#[test]
fn refused_names() {
    use ReferenceError::{Empty, Format, HexIdentifier, TooLong, Uppercase};
    let h = H;
    let length = DigestError::WrongLength {
        algorithm: crate::digest::Algorithm::Sha256,
        expected: 64,
        found: 34,
    };
    let unsupported =
        |name: &str| ReferenceError::Digest(DigestError::UnsupportedAlgorithm(name.into()));
    let rows = [
        // Hosts.
        ("[2001:db8::1]".to_owned(), Format),
        ("[fe80::1%eth0]:5000/a".into(), Format),
        ("fc00::1:5000/a".into(), Format),
        ("[]/a".into(), Format),
        ("[::1/a".into(), Format),
        ("[::1]5000/a".into(), Format),
        ("[::1]:/a".into(), Format),
        ("-a.com/x".into(), Format),
        ("a-.com/x".into(), Format),
        ("a..com/x".into(), Format),
        (".com/x".into(), Format),
        ("a.com:/x".into(), Format),
        ("foo_bar.com:80/x".into(), Format),
        ("user@a.com/x".into(), Format),
        // Case.
        ("foo/Bar".into(), Uppercase),
        ("UPPER".into(), Uppercase),
        ("foo_Bar.com/x".into(), Uppercase),
        (format!("a@SHA256:{h}"), Uppercase),
        ("a.com/É".into(), Uppercase),
        ("a.com/\u{130}".into(), Uppercase),
        ("É/a".into(), Format),
        // U+212A, the Kelvin sign, is an upper-case k to Go.
        ("\u{212a}/a".into(), Uppercase),
        // Tags.
        ("busybox:-x".into(), Format),
        ("busybox:.x".into(), Format),
        (format!("busybox:{}", "t".repeat(129)), Format),
        ("a:b\nc".into(), Format),
        ("a:b:c".into(), Format),
        ("a:é".into(), Format),
        // Separators.
        ("a..b/c".into(), Format),
        ("a___b/c".into(), Format),
        ("a.-b/c".into(), Format),
        ("_a/b".into(), Format),
        ("a/b_".into(), Format),
        ("a-/b".into(), Format),
        // Digests.
        (format!("busybox@sha256:{}", &h[..34]), ReferenceError::Digest(length)),
        (
            format!("busybox@sha256:{}", h.to_uppercase()),
            ReferenceError::Digest(DigestError::Uppercase),
        ),
        (format!("a:t@SHA256:{h}"), ReferenceError::Digest(DigestError::Uppercase)),
        (format!("busybox@md5:{}", &h[..32]), unsupported("md5")),
        (format!("a@sha384:{}", "a".repeat(96)), unsupported("sha384")),
        (format!("a@sha256:{}", &h[..31]), Format),
        (format!("a@sha256:{}g", &h[..63]), Format),
        (format!("a@sha256:{h}@sha256:{h}"), Format),
        (format!("a@1sha:{h}"), Format),
        (format!("a@sha+:{h}"), Format),
        (format!("@sha256:{h}"), Format),
        // Hex.
        (h.into(), HexIdentifier),
        // Shapes.
        ("https://a/b".into(), Format),
        ("a//b".into(), Format),
        ("/a/b".into(), Format),
        ("a/".into(), Format),
        ("docker.io/".into(), Format),
        (" busybox".into(), Format),
        ("busybox:".into(), Format),
        ("busybox@".into(), Format),
        ("host:port/x".into(), Format),
        ("/".into(), Format),
        (":".into(), Format),
        ("a/../b".into(), Format),
        (String::new(), Empty),
        // Lengths.
        (format!("example.com/{}", "a".repeat(256)), TooLong),
        (format!("docker.io/{}", "a".repeat(248)), TooLong),
        (format!("foo_bar.com/{}", "a".repeat(244)), TooLong),
    ];
    for (input, want) in rows {
        assert_eq!(Reference::parse(&input), Err(want), "{input:?}");
    }
}

#[test]
fn printed_names_read_back() {
    for (input, canonical, _) in accepted() {
        let name: Reference = input.parse().unwrap();
        assert_eq!(Reference::parse(&name.to_string()).as_ref(), Ok(&name), "{input}");
        assert_eq!(Reference::parse(&canonical), Ok(name.canonical()), "{input}");
        assert_eq!(name.canonical().canonical(), name.canonical(), "{input}");
        // The one familiar name that is another image's.
        let familiar = Reference::parse(&name.familiar().to_string());
        assert_eq!(familiar == Ok(name), input != "docker.io/docker.io/x", "{input}");
    }
}

#[test]
fn parts() {
    let digest: Digest = format!("sha256:{H}").parse().unwrap();
    // Input, domain, path, tag, digest.
    let rows = [
        ("busybox".to_owned(), "docker.io", "library/busybox", None, None),
        (format!("busybox:t@{digest}"), "docker.io", "library/busybox", Some("t"), Some(digest)),
        (format!("a.b:1/c/d@{digest}"), "a.b:1", "c/d", None, Some(digest)),
        ("[::1]/a:t".into(), "[::1]", "a", Some("t"), None),
        ("foo_bar.com/x:t".into(), "", "foo_bar.com/x", Some("t"), None),
    ];
    for (input, domain, path, tag, digest) in rows {
        let name = Reference::parse(&input).unwrap();
        assert_eq!(name.domain(), domain);
        assert_eq!(name.path(), path);
        assert_eq!(name.tag(), tag);
        assert_eq!(name.digest(), digest);
        let whole = if domain.is_empty() { path.to_owned() } else { format!("{domain}/{path}") };
        assert_eq!(name.repository(), whole);
    }
}

#[test]
fn changed_parts() {
    let digest: Digest = format!("sha256:{H}").parse().unwrap();
    let name = Reference::parse("busybox:1").unwrap();
    assert_eq!(name.with_tag("2").unwrap().to_string(), "docker.io/library/busybox:2");
    assert_eq!(name.with_tag("-2"), Err(ReferenceError::Tag));
    assert_eq!(name.without_tag().to_string(), "docker.io/library/busybox");
    assert!(name.without_tag().is_name_only());
    let both = name.with_digest(digest);
    assert_eq!(both.to_string(), format!("docker.io/library/busybox:1@{digest}"));
    assert_eq!(both.without_digest(), name);
    let moved = both.with_repository("a.com/b").unwrap();
    assert_eq!(moved.to_string(), format!("a.com/b:1@{digest}"));
    assert_eq!(name.with_repository("user/app").unwrap().to_string(), "docker.io/user/app:1");
    assert_eq!(name.with_repository("localhost:5000"), Err(ReferenceError::NotARepository));
    assert_eq!(name.with_repository("a.com/B"), Err(ReferenceError::Uppercase));
}

#[test]
fn what_containerd_writes_as_ref_name() {
    let at = format!("docker.io/library/busybox@sha256:{H}");
    let tag_at = format!("docker.io/library/busybox:t@sha256:{H}");
    let object = format!("t@sha256:{H}");
    let rows = [
        ("docker.io/library/busybox:1.36", "1.36"),
        ("docker.io/library/busybox", "docker.io/library/busybox"),
        (&at, &at),
        (&tag_at, &object),
        ("localhost:5000/x:v1", "v1"),
        ("localhost:5000/x", "localhost:5000/x"),
        ("foo_bar.com/x:1", "1"),
        ("[::1]:5000/a:b", "b"),
        ("[::1]/a:b", "b"),
        ("user@a.com/x:1", "1"),
        ("a:/x:1", "1"),
        // No path behind a host, or a port that is none.
        ("busybox", "busybox"),
        ("busybox:1.36", "busybox:1.36"),
        ("busybox:136", "busybox:136"),
        ("host:port/x:1", "host:port/x:1"),
        ("[::1/a:b", "[::1/a:b"),
        ("[::1]x/a:b", "[::1]x/a:b"),
        ("a b/x:1", "a b/x:1"),
        ("/x:1", "/x:1"),
        ("a@/x:1", "a@/x:1"),
        // Nothing that is a tag.
        ("a.com/x:", "a.com/x:"),
        ("a.com/x:@b", "a.com/x:@b"),
        // No references.
        ("https://a.com/x:1", "https://a.com/x:1"),
        ("a.com/%41:1", "a.com/%41:1"),
        ("a.com/x?y:1", "a.com/x?y:1"),
        ("a.com/../x:1", "a.com/../x:1"),
        ("a.com/x:1\n", "a.com/x:1\n"),
        ("", ""),
    ];
    for (name, want) in rows {
        assert_eq!(ref_name_object(name), want, "{name:?}");
    }
}

#[test]
fn ref_name_grammar() {
    let at = format!("a@sha256:{H}");
    for text in ["1.36", "a", "a/b", "docker.io/library/busybox:1", "a--b", "a+b", "A_b-c.d:e", &at]
    {
        assert!(is_valid_ref_name(text), "{text}");
    }
    for text in [
        "",
        "foo__bar:1",
        "a---b",
        "a..b",
        ".a",
        "a.",
        "-a",
        "a-",
        "a--",
        "/a",
        "a/",
        "a//b",
        "a b",
        "a:-b",
        "é",
        "a\n",
        "[::1]/a",
        "_",
    ] {
        assert!(!is_valid_ref_name(text), "{text:?}");
    }
}

#[test]
fn tags() {
    for text in ["1", "_", "A.b-c_d", &"t".repeat(128)] {
        assert!(is_tag(text), "{text}");
    }
    for text in ["", ".a", "-a", "a b", "a/b", "a:b", "a@b", "é", "a\n", &"t".repeat(129)] {
        assert!(!is_tag(text), "{text:?}");
    }
}

/// No text makes it panic, and what it accepts reads back as it prints.
#[test]
fn random_texts() {
    const PIECES: &[&str] = &[
        "a",
        "B",
        "0",
        ".",
        "..",
        "_",
        "__",
        "-",
        "/",
        ":",
        "@",
        "[",
        "]",
        "::1",
        "localhost",
        "docker.io",
        "index.docker.io",
        "library",
        "sha256",
        "é",
        "K",
        "%",
        " ",
        "\n",
        H,
    ];
    let mut state = 0x2545_f491_4f6c_dd1d_u64;
    let mut accepted = 0;
    for _ in 0..50_000 {
        let mut text = String::new();
        for _ in 0..state % 9 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            text.push_str(PIECES[(state >> 8) as usize % PIECES.len()]);
        }
        state = state.wrapping_add(1);
        let _ = (ref_name_object(&text), is_valid_ref_name(&text));
        if let Ok(name) = Reference::parse(&text) {
            accepted += 1;
            assert_eq!(Reference::parse(&name.to_string()), Ok(name.clone()), "{text:?}");
            assert_eq!(Reference::parse(&name.canonical().to_string()), Ok(name.canonical()));
            let _ = (name.path(), name.familiar().to_string());
        }
    }
    assert!(accepted > 500, "{accepted}");
}
