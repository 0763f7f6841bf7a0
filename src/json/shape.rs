//! Documents as Go's structs: what `encoding/json` reads a document into, in
//! every daemon.
//!
//! Go fails on a value of another type, wherever it stands in a struct, and it
//! takes keys for a field whatever their case: of two the last counts. Other
//! readers see two fields, or none. A document that passes [`Shape::check`] is
//! read by Go, and no field of it twice.

use super::{Node, Value, fold_equal, shape};
use crate::error::{Code, Error, Result};

/// A Go type. `null` is a value of each, as in Go, where it changes nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    Bool,
    /// Whole, in 64 bits, written as digits.
    Integer,
    String,
    /// A string that is a time of RFC 3339.
    Time,
    List(&'static Shape),
    /// Keys that are data, each of them once.
    Map(&'static Shape),
    /// Keys that are fields. Others are passed over, as Go does.
    Struct(&'static [(&'static str, Shape)]),
}

use Shape::{Bool, Integer, List, Map, Struct, Time};

const TEXT: Shape = Shape::String;
const TEXTS: Shape = List(&TEXT);
/// Go's way to write a set: a map to nothing.
const SET: Shape = Map(&Struct(&[]));

const PLATFORM: &[(&str, Shape)] = &[
    ("architecture", TEXT),
    ("os", TEXT),
    ("os.version", TEXT),
    ("os.features", TEXTS),
    ("variant", TEXT),
];

const DESCRIPTOR: Shape = Struct(&[
    ("mediaType", TEXT),
    ("digest", TEXT),
    ("size", Integer),
    ("urls", TEXTS),
    ("annotations", Map(&TEXT)),
    ("data", TEXT),
    ("platform", Struct(PLATFORM)),
    ("artifactType", TEXT),
]);

/// `index.json`, an image index, a manifest list.
pub(crate) const INDEX: Shape = Struct(&[
    ("schemaVersion", Integer),
    ("mediaType", TEXT),
    ("artifactType", TEXT),
    ("manifests", List(&DESCRIPTOR)),
    ("subject", DESCRIPTOR),
    ("annotations", Map(&TEXT)),
]);

/// An image manifest.
pub(crate) const MANIFEST: Shape = Struct(&[
    ("schemaVersion", Integer),
    ("mediaType", TEXT),
    ("artifactType", TEXT),
    ("config", DESCRIPTOR),
    ("layers", List(&DESCRIPTOR)),
    ("subject", DESCRIPTOR),
    ("annotations", Map(&TEXT)),
]);

/// What a container is run with: OCI's fields and docker's.
const RUN: Shape = Struct(&[
    ("User", TEXT),
    ("ExposedPorts", SET),
    ("Env", TEXTS),
    ("Entrypoint", TEXTS),
    ("Cmd", TEXTS),
    ("Volumes", SET),
    ("WorkingDir", TEXT),
    ("Labels", Map(&TEXT)),
    ("StopSignal", TEXT),
    ("ArgsEscaped", Bool),
    ("Hostname", TEXT),
    ("Domainname", TEXT),
    ("AttachStdin", Bool),
    ("AttachStdout", Bool),
    ("AttachStderr", Bool),
    ("Tty", Bool),
    ("OpenStdin", Bool),
    ("StdinOnce", Bool),
    ("Image", TEXT),
    ("NetworkDisabled", Bool),
    ("MacAddress", TEXT),
    ("OnBuild", TEXTS),
    ("StopTimeout", Integer),
    ("Shell", TEXTS),
    (
        "Healthcheck",
        Struct(&[
            ("Test", TEXTS),
            ("Interval", Integer),
            ("Timeout", Integer),
            ("StartPeriod", Integer),
            ("StartInterval", Integer),
            ("Retries", Integer),
        ]),
    ),
]);

/// An image configuration: OCI's fields and docker's.
pub(crate) const CONFIG: Shape = Struct(&[
    ("created", Time),
    ("author", TEXT),
    ("architecture", TEXT),
    ("os", TEXT),
    ("os.version", TEXT),
    ("os.features", TEXTS),
    ("variant", TEXT),
    ("config", RUN),
    ("rootfs", Struct(&[("type", TEXT), ("diff_ids", TEXTS)])),
    (
        "history",
        List(&Struct(&[
            ("created", Time),
            ("author", TEXT),
            ("created_by", TEXT),
            ("comment", TEXT),
            ("empty_layer", Bool),
        ])),
    ),
    ("id", TEXT),
    ("parent", TEXT),
    ("comment", TEXT),
    ("container", TEXT),
    ("container_config", RUN),
    ("docker_version", TEXT),
    ("Size", Integer),
]);

/// `manifest.json`.
pub(crate) const ITEMS: Shape = List(&Struct(&[
    ("Config", TEXT),
    ("RepoTags", TEXTS),
    ("Layers", TEXTS),
    ("Parent", TEXT),
    ("LayerSources", Map(&DESCRIPTOR)),
]));

/// `repositories`.
pub(crate) const REPOSITORIES: Shape = Map(&Map(&TEXT));

impl Shape {
    /// Fails where Go would, and where it would read one field twice.
    ///
    /// # Errors
    ///
    /// `E_JSON_SHAPE`, `E_JSON_RANGE`, `E_JSON_CASEKEY`.
    pub(crate) fn check(&self, node: &Node) -> Result<()> {
        self.check_as(node, "the document")
    }

    fn check_as(&self, node: &Node, name: &str) -> Result<()> {
        match (self, &node.value) {
            (_, Value::Null) | (Bool, Value::Bool(_)) | (Shape::String, Value::String(_)) => Ok(()),
            (Integer, Value::Number(text)) if text.parse::<i64>().is_ok() => Ok(()),
            (Integer, Value::Number(text)) => {
                let message = format!("\"{name}\" must be a whole number");
                Err(Error::new(Code::JsonRange, message)
                    .expected_found("digits, at most 2^63-1", text))
            }
            // Go reads a time as it stands, escapes and all.
            (Time, Value::String(text)) if is_time(text) && node.span.len() == text.len() + 2 => {
                Ok(())
            }
            (Time, Value::String(text)) => Err(shape(&format!("\"{name}\" must be a time"))
                .expected_found("2006-01-02T15:04:05Z", text)),
            (List(item), Value::Array(items)) => {
                items.iter().try_for_each(|node| item.check_as(node, name))
            }
            (Map(value), Value::Object(fields)) => {
                fields.iter().try_for_each(|(_, node)| value.check_as(node, name))
            }
            (Struct(known), Value::Object(fields)) => check_fields(known, fields),
            _ => Err(shape(&format!("\"{name}\" must be {}", self.article()))),
        }
    }

    fn article(&self) -> &'static str {
        match self {
            Bool => "true or false",
            Integer => "a number",
            Shape::String => "a string",
            Time => "a time",
            List(_) => "an array",
            Map(_) | Struct(_) => "an object",
        }
    }
}

fn check_fields(known: &[(&str, Shape)], fields: &[(Box<str>, Node)]) -> Result<()> {
    let mut seen: Vec<(&str, &str)> = Vec::new();
    for (key, node) in fields {
        let Some((name, shape)) = known.iter().find(|(name, _)| fold_equal(key, name)) else {
            continue;
        };
        if !key.is_ascii() {
            let message = format!("key {key:?} is \"{name}\" to Go and unknown to others");
            return Err(Error::new(Code::JsonCaseKey, message));
        }
        if let Some((_, first)) = seen.iter().find(|(other, _)| other == name) {
            let message = format!("keys {first:?} and {key:?} are one field to Go, two to others");
            return Err(Error::new(Code::JsonCaseKey, message));
        }
        seen.push((name, key));
        shape.check_as(node, name)?;
    }
    Ok(())
}

/// Whether Go reads a text as a time: RFC 3339, in capitals, with a fraction of
/// a second or without, and a date there is.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    let number = |from: usize, to: usize| -> Option<u32> {
        let digits = bytes.get(from..to).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    };
    let is = |at: usize, byte: u8| bytes.get(at) == Some(&byte);
    let date = [number(0, 4), number(5, 7), number(8, 10)];
    let time = [number(11, 13), number(14, 16), number(17, 19)];
    let marks = is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':') && is(16, b':');
    let ([Some(year), Some(month), Some(day)], [Some(hour), Some(minute), Some(second)]) =
        (date, time)
    else {
        return false;
    };
    let fraction = match bytes.get(19) {
        Some(b'.') => 1 + bytes[20..].iter().take_while(|byte| byte.is_ascii_digit()).count(),
        _ => 0,
    };
    let zone = 19 + fraction;
    let is_zone = match bytes.get(zone) {
        Some(b'Z') => bytes.len() == zone + 1,
        Some(b'+' | b'-') => {
            bytes.len() == zone + 6
                && is(zone + 3, b':')
                && number(zone + 1, zone + 3).is_some_and(|hours| hours < 24)
                && number(zone + 4, zone + 6).is_some_and(|minutes| minutes < 60)
        }
        _ => false,
    };
    let is_leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let days = match month {
        2 => 28 + u32::from(is_leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    marks
        && fraction != 1
        && is_zone
        && (1..=12).contains(&month)
        && (1..=days).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;
    use crate::limits::Limits;

    #[test]
    fn documents() {
        let (ok, shape, case) = (None, Some(Code::JsonShape), Some(Code::JsonCaseKey));
        let range = Some(Code::JsonRange);
        let rows: [(Shape, &str, Option<Code>); 30] = [
            (INDEX, r#"{"schemaVersion":2,"manifests":[]}"#, ok),
            (INDEX, r#"{"schemaVersion":"2"}"#, shape),
            (INDEX, r#"{"schemaVersion":2.0}"#, range),
            (INDEX, r#"{"schemaVersion":2e0}"#, range),
            (INDEX, r#"{"mediaType":1}"#, shape),
            (INDEX, r#"{"mediaType":"a","MEDIATYPE":"a"}"#, case),
            (INDEX, r#"{"subject":5}"#, shape),
            (INDEX, r#"{"subject":null}"#, ok),
            (INDEX, r#"{"annotations":{"a":1}}"#, shape),
            (INDEX, r#"{"annotations":{"a":"1","A":"2"}}"#, ok),
            (INDEX, r#"{"unknown":1,"Unknown":2}"#, ok),
            (MANIFEST, r#"{"layers":{}}"#, shape),
            (CONFIG, r#"{"config":{"User":"1000"}}"#, ok),
            (CONFIG, r#"{"config":{"User":"1000","user":"0"}}"#, case),
            (CONFIG, "{\"config\":{\"U\u{17f}er\":\"0\"}}", case),
            (CONFIG, r#"{"config":{},"Config":{}}"#, case),
            (CONFIG, r#"{"config":{"Entrypoint":["a"],"entrypoint":["b"]}}"#, case),
            (CONFIG, r#"{"config":{"Env":"x"}}"#, shape),
            (CONFIG, r#"{"config":[]}"#, shape),
            (CONFIG, r#"{"config":{"Labels":{"a":1}}}"#, shape),
            (CONFIG, r#"{"config":{"Volumes":{"/a":{}}}}"#, ok),
            (CONFIG, r#"{"config":{"Volumes":{"/a":1}}}"#, shape),
            (CONFIG, r#"{"config":{"Healthcheck":{"Interval":1.5}}}"#, range),
            (CONFIG, r#"{"created":"yesterday"}"#, shape),
            (CONFIG, r#"{"created":"2006-01-02T15:04:05Z"}"#, ok),
            (CONFIG, r#"{"created":"\u0032006-01-02T15:04:05Z"}"#, shape),
            (CONFIG, r#"{"history":[{"created_by":"a","CREATED_BY":"b"}]}"#, case),
            (CONFIG, r#"{"history":[{"created":5}]}"#, shape),
            (ITEMS, r#"[{"Config":"a","RepoTags":null,"Layers":[]}]"#, ok),
            (ITEMS, r#"[{"LayerSources":{"sha256:a":{"size":"1"}}}]"#, shape),
        ];
        for (shape, text, want) in rows {
            let node = parse(text.as_bytes(), &Limits::default()).unwrap();
            assert_eq!(shape.check(&node).err().map(|error| error.code()), want, "{text}");
        }
    }

    #[test]
    fn times() {
        // What Go 1.20 and later make of them.
        let rows = [
            ("2006-01-02T15:04:05Z", true),
            ("0001-01-01T00:00:00Z", true),
            ("1970-01-01T00:00:01+00:00", true),
            ("2006-01-02T15:04:05.999999999-07:00", true),
            ("2024-02-29T00:00:00Z", true),
            ("2023-02-29T00:00:00Z", false),
            ("2006-01-02T15:04:05", false),
            ("2006-01-02t15:04:05z", false),
            ("2006-01-02 15:04:05Z", false),
            ("2006-01-02T24:00:00Z", false),
            ("2006-01-02T15:04:60Z", false),
            ("2006-01-02T15:04:05.Z", false),
            ("2006-01-02T15:04:05,5Z", false),
            ("2006-13-02T15:04:05Z", false),
            ("2006-01-02T15:04:05+24:00", false),
            ("2006-01-02T15:04:05Zx", false),
            ("yesterday", false),
            ("", false),
        ];
        for (text, want) in rows {
            assert_eq!(is_time(text), want, "{text}");
        }
    }
}
