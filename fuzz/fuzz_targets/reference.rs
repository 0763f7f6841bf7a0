//! Image references: what parses prints as something that parses to the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use ocitar::reference::{Reference, is_tag, is_valid_ref_name, ref_name_object};

fuzz_target!(|text: &str| {
    let _ = (is_tag(text), is_valid_ref_name(text));
    assert!(text.ends_with(ref_name_object(text)));
    let Ok(name) = Reference::parse(text) else { return };
    let printed = name.to_string();
    let again = Reference::parse(&printed).expect("what was printed parses");
    assert_eq!(again, name);
    assert_eq!(again.to_string(), printed);
    // Docker's short form is to be looked at: `docker.io/a.b/c` prints as `a.b/c`.
    let _ = name.familiar().to_string();

    let canonical = name.canonical();
    assert_eq!(canonical.canonical(), canonical);
    assert!(!canonical.is_name_only());
    assert_eq!(Reference::parse(&canonical.to_string()).as_ref(), Ok(&canonical));
    assert_eq!(canonical.repository(), name.repository());
    // `a__b.c/d` has no domain: its first part looks like one and is none.
    let slash = if name.domain().is_empty() { "" } else { "/" };
    assert_eq!(format!("{}{slash}{}", name.domain(), name.path()), name.repository());
    assert_eq!(name.with_repository(name.repository()).as_ref(), Ok(&name));
    assert!(name.tag().is_none_or(is_tag));
    if let Some(tag) = canonical.tag() {
        assert_eq!(name.with_tag(tag).map(|name| name.tag() == Some(tag)), Ok(true));
    }
    assert!(name.without_tag().tag().is_none() && name.without_digest().digest().is_none());
});
