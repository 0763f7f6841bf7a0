//! JSON as image archives need it: one reading only, and the bytes kept.
//!
//! [`parse`] is the gate. Go's `encoding/json`, which reads these documents in
//! every daemon, matches keys whatever their case, lets the last duplicate win
//! and may ignore what follows the value; other readers do none of that. So
//! the gate refuses duplicates, trailing bytes, anything but UTF-8, and
//! documents too deep or too wide, and [`Node::field`] refuses two keys that Go
//! would take for one field.
//!
//! Every [`Node`] knows where its text stands, so an edit ([`edit`]) replaces
//! just those bytes and the rest of the document stays as it was written.

pub(crate) mod edit;
pub(crate) mod shape;

use std::ops::Range;

use serde::de;
use serde_json::value::RawValue;

use crate::error::{Code, Error, Result};
use crate::limits::{DEEPEST_JSON, Limit, Limits};

/// One value of a document and where its text stands.
#[derive(Debug)]
pub(crate) struct Node {
    /// Byte range in the document.
    pub(crate) span: Range<usize>,
    pub(crate) value: Value,
}

#[derive(Debug)]
pub(crate) enum Value {
    Null,
    Bool(bool),
    /// As written.
    Number(Box<str>),
    String(Box<str>),
    Array(Vec<Node>),
    /// In document order.
    Object(Vec<(Box<str>, Node)>),
}

/// Reads one JSON value that fills all of `bytes`.
///
/// # Errors
///
/// `E_JSON_UTF8`, `E_JSON_SYNTAX`, `E_JSON_TRAILING`, `E_JSON_DUPKEY`, and
/// `E_LIMIT_JSON` for depth and width.
pub(crate) fn parse(bytes: &[u8], limits: &Limits) -> Result<Node> {
    let text = std::str::from_utf8(bytes).map_err(|e| {
        Error::new(Code::JsonUtf8, format!("not UTF-8 at byte {} of the document", e.valid_up_to()))
    })?;
    if text.starts_with('\u{feff}') {
        return Err(Error::new(Code::JsonUtf8, "a byte order mark before the JSON"));
    }
    let mut stream = serde_json::Deserializer::from_str(text);
    let raw: &RawValue = de::Deserialize::deserialize(&mut stream).map_err(|e| syntax(&e))?;
    stream.end().map_err(|_| Error::new(Code::JsonTrailing, "more bytes behind the JSON value"))?;
    // The gate recurses into what is nested.
    if depth_of(raw.get()) > limits.json_depth.min(DEEPEST_JSON) {
        return Err(limits.exceeded(Limit::JsonDepth));
    }
    Gate { text, at: 0, limits, values_left: limits.json_values }.node()
}

/// How deep valid JSON is nested.
fn depth_of(text: &str) -> u32 {
    let (mut depth, mut deepest) = (0u32, 0);
    let (mut in_string, mut escaped) = (false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = in_string,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// One pass over a document that is known to be JSON, in which every value has
/// its place.
struct Gate<'a> {
    text: &'a str,
    at: usize,
    limits: &'a Limits,
    values_left: u32,
}

impl Gate<'_> {
    fn node(&mut self) -> Result<Node> {
        let next = self.next();
        let start = self.at;
        let value = match next {
            Some(b'{') => Value::Object(self.fields()?),
            Some(b'[') => Value::Array(self.items()?),
            Some(b'"') => Value::String(self.string()?),
            _ => match self.word() {
                "null" => Value::Null,
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "" => return Err(Error::new(Code::Bug, "JSON that is none")),
                number => Value::Number(number.into()),
            },
        };
        Ok(Node { span: start..self.at, value })
    }

    fn fields(&mut self) -> Result<Vec<(Box<str>, Node)>> {
        let mut fields = Vec::new();
        self.at += 1;
        while self.next() == Some(b'"') {
            self.take()?;
            let key = self.string()?;
            // The colon.
            self.next();
            self.at += 1;
            fields.push((key, self.node()?));
            self.comma();
        }
        self.at += 1;
        let mut keys: Vec<&str> = fields.iter().map(|(key, _)| &**key).collect();
        keys.sort_unstable();
        if let Some(pair) = keys.windows(2).find(|pair| pair[0] == pair[1]) {
            return Err(Error::new(Code::JsonDupKey, format!("duplicate key {:?}", pair[0])));
        }
        Ok(fields)
    }

    fn items(&mut self) -> Result<Vec<Node>> {
        let mut items = Vec::new();
        self.at += 1;
        while self.next().is_some_and(|byte| byte != b']') {
            self.take()?;
            items.push(self.node()?);
            self.comma();
        }
        self.at += 1;
        Ok(items)
    }

    /// The string that starts here, decoded.
    fn string(&mut self) -> Result<Box<str>> {
        let rest = self.text.get(self.at + 1..).unwrap_or_default();
        let (mut is_escaped, mut has_escapes) = (false, false);
        let is_end = |byte: u8| match byte {
            _ if std::mem::take(&mut is_escaped) => false,
            b'\\' => {
                (is_escaped, has_escapes) = (true, true);
                false
            }
            byte => byte == b'"',
        };
        let len = rest.bytes().position(is_end).unwrap_or(rest.len());
        let start = self.at;
        self.at += len + 2;
        if !has_escapes {
            return Ok(rest[..len].into());
        }
        serde_json::from_str(self.text.get(start..self.at).unwrap_or_default())
            .map_err(|e| syntax(&e))
    }

    /// The number or literal that starts here.
    fn word(&mut self) -> &str {
        let rest = self.text.get(self.at..).unwrap_or_default();
        let is_end = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r' | ',' | ']' | '}');
        let word = &rest[..rest.find(is_end).unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    /// Passes over blanks to the byte that comes next.
    fn next(&mut self) -> Option<u8> {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let blanks = rest.iter().take_while(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r'));
        self.at += blanks.count();
        self.text.as_bytes().get(self.at).copied()
    }

    fn comma(&mut self) {
        if self.next() == Some(b',') {
            self.at += 1;
        }
    }

    fn take(&mut self) -> Result<()> {
        let left = self.values_left.checked_sub(1);
        self.values_left = left.ok_or_else(|| self.limits.exceeded(Limit::JsonValues))?;
        Ok(())
    }
}

fn syntax(error: &serde_json::Error) -> Error {
    Error::new(Code::JsonSyntax, format!("not JSON: {error}"))
}

impl Node {
    pub(crate) fn is_null(&self) -> bool {
        matches!(self.value, Value::Null)
    }

    /// The fields of an object, in document order.
    pub(crate) fn object(&self) -> Option<&[(Box<str>, Node)]> {
        match &self.value {
            Value::Object(fields) => Some(fields),
            _ => None,
        }
    }

    /// The field Go would read into a struct field of this name: keys match
    /// whatever their case, and jib writes them in lower case. `null` counts as
    /// absent.
    ///
    /// # Errors
    ///
    /// `E_JSON_CASEKEY` when two keys match, or one that only Go takes for the
    /// name, with letters outside ASCII; `E_JSON_SHAPE` when this is not an
    /// object.
    pub(crate) fn field(&self, name: &str) -> Result<Option<&Node>> {
        Ok(self.field_or_null(name)?.filter(|node| !node.is_null()))
    }

    /// As [`field`](Self::field), but `null` is a value.
    pub(crate) fn field_or_null(&self, name: &str) -> Result<Option<&Node>> {
        let fields = self.object().ok_or_else(|| shape("a JSON object is wanted"))?;
        let mut matches = fields.iter().filter(|(key, _)| fold_equal(key, name));
        let found = matches.next();
        if let (Some((first, _)), Some((second, _))) = (found, matches.next()) {
            return Err(Error::new(
                Code::JsonCaseKey,
                format!("keys {first:?} and {second:?} are one field to Go and two to others"),
            ));
        }
        if let Some((key, _)) = found.filter(|(key, _)| !key.is_ascii()) {
            return Err(Error::new(
                Code::JsonCaseKey,
                format!("key {key:?} is \"{name}\" to Go and unknown to others"),
            ));
        }
        Ok(found.map(|(_, node)| node))
    }

    /// A string field.
    pub(crate) fn str_field(&self, name: &str) -> Result<Option<&str>> {
        match self.field(name)? {
            None => Ok(None),
            Some(Node { value: Value::String(text), .. }) => Ok(Some(text)),
            Some(_) => Err(shape(&format!("\"{name}\" must be a string"))),
        }
    }

    /// An array field; empty when absent.
    pub(crate) fn array_field(&self, name: &str) -> Result<&[Node]> {
        match self.field(name)? {
            None => Ok(&[]),
            Some(Node { value: Value::Array(items), .. }) => Ok(items),
            Some(_) => Err(shape(&format!("\"{name}\" must be an array"))),
        }
    }

    /// An array of strings; empty when absent. Null items read as empty text,
    /// as in Go.
    pub(crate) fn strings_field(&self, name: &str) -> Result<Vec<Box<str>>> {
        let items = self.array_field(name)?.iter();
        items
            .map(|item| match &item.value {
                Value::String(text) => Ok(text.clone()),
                Value::Null => Ok(Box::default()),
                _ => Err(shape(&format!("\"{name}\" must hold strings"))),
            })
            .collect()
    }

    /// An object of strings, in document order; empty when absent.
    pub(crate) fn map_field(&self, name: &str) -> Result<Vec<(Box<str>, Box<str>)>> {
        let Some(node) = self.field(name)? else { return Ok(Vec::new()) };
        let fields =
            node.object().ok_or_else(|| shape(&format!("\"{name}\" must be an object")))?;
        fields
            .iter()
            .map(|(key, node)| match &node.value {
                Value::String(text) => Ok((key.clone(), text.clone())),
                Value::Null => Ok((key.clone(), Box::default())),
                _ => Err(shape(&format!("\"{name}\" must hold strings"))),
            })
            .collect()
    }

    /// A yes or no; no when absent.
    pub(crate) fn bool_field(&self, name: &str) -> Result<bool> {
        match self.field(name)? {
            None => Ok(false),
            Some(Node { value: Value::Bool(yes), .. }) => Ok(*yes),
            Some(_) => Err(shape(&format!("\"{name}\" must be true or false"))),
        }
    }

    /// A byte count: plain digits, at most 2^63-1.
    pub(crate) fn size_field(&self, name: &str) -> Result<Option<u64>> {
        let Some(node) = self.field(name)? else { return Ok(None) };
        let Value::Number(text) = &node.value else {
            return Err(shape(&format!("\"{name}\" must be a number")));
        };
        match text.parse::<u64>() {
            Ok(size) if i64::try_from(size).is_ok() => Ok(Some(size)),
            _ => Err(Error::new(
                Code::JsonRange,
                format!("\"{name}\" must be a whole number from 0 to 2^63-1"),
            )
            .expected_found("0 to 9223372036854775807", text)),
        }
    }

    /// The items of an array.
    pub(crate) fn array(&self) -> Result<&[Node]> {
        match &self.value {
            Value::Array(items) => Ok(items),
            _ => Err(shape("a JSON array is wanted")),
        }
    }
}

pub(crate) fn shape(message: &str) -> Error {
    Error::new(Code::JsonShape, message)
}

/// Go's key folding: ASCII case, and the two letters outside ASCII that fold
/// into it (U+017F to `s`, U+212A to `k`).
fn fold_equal(a: &str, b: &str) -> bool {
    let fold = |c: char| match c {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        c => c.to_ascii_lowercase(),
    };
    a.chars().map(fold).eq(b.chars().map(fold))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(bytes: &[u8]) -> Option<Code> {
        parse(bytes, &Limits::default()).err().map(|e| e.code())
    }

    #[test]
    fn the_gate() {
        let deep = |n: usize| [b"[".repeat(n), b"]".repeat(n)].concat();
        let rows: Vec<(Vec<u8>, Option<Code>)> = vec![
            (b"{}".to_vec(), None),
            (b" [1, 2.5e3, true, null, \"a\"] \n".to_vec(), None),
            (b"{\"A\":1,\"a\":2}".to_vec(), None),
            (b"{\"a\":1,\"a\":2}".to_vec(), Some(Code::JsonDupKey)),
            (b"{\"x\":{\"a\":1,\"\\u0061\":2}}".to_vec(), Some(Code::JsonDupKey)),
            (b"{} garbage".to_vec(), Some(Code::JsonTrailing)),
            (b"[]]".to_vec(), Some(Code::JsonTrailing)),
            (b"".to_vec(), Some(Code::JsonSyntax)),
            (b"{\"a\":}".to_vec(), Some(Code::JsonSyntax)),
            (b"[\"\\ud800\"]".to_vec(), Some(Code::JsonSyntax)),
            (b"\"\xff\"".to_vec(), Some(Code::JsonUtf8)),
            (b"\xef\xbb\xbf{}".to_vec(), Some(Code::JsonUtf8)),
            (deep(64), None),
            (deep(65), Some(Code::LimitJson)),
            (format!("[\"{}\\\"{}\"]", "[".repeat(99), "]{".repeat(99)).into_bytes(), None),
            (b"[".repeat(1 << 20), Some(Code::JsonSyntax)),
            (
                [b"[".to_vec(), b"1,".repeat(300_000), b"1]".to_vec()].concat(),
                Some(Code::LimitJson),
            ),
        ];
        for (bytes, want) in rows {
            let shown = String::from_utf8_lossy(&bytes[..bytes.len().min(40)]).into_owned();
            assert_eq!(code(&bytes), want, "{shown}");
        }
    }

    #[test]
    fn nodes_know_their_place() {
        let text = " { \"a\" : [ 10 , \"x\" ] } ";
        let root = parse(text.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(&text[root.span.clone()], "{ \"a\" : [ 10 , \"x\" ] }");
        let items = root.array_field("a").unwrap();
        assert_eq!(&text[items[0].span.clone()], "10");
        assert_eq!(&text[items[1].span.clone()], "\"x\"");
    }

    #[test]
    fn fields_match_as_in_go_and_never_twice() {
        let root = |text: &str| parse(text.as_bytes(), &Limits::default()).unwrap();
        assert_eq!(root("{\"repoTags\":\"a\"}").str_field("RepoTags").unwrap(), Some("a"));
        assert_eq!(root("{\"RepoTags\":null}").str_field("RepoTags").unwrap(), None);
        let long_s = root("{\"RepoTag\u{17f}\":\"a\"}");
        assert_eq!(long_s.str_field("RepoTags").unwrap_err().code(), Code::JsonCaseKey);
        let twice = root("{\"RepoTags\":\"a\",\"repotags\":\"b\"}");
        assert_eq!(twice.str_field("RepoTags").unwrap_err().code(), Code::JsonCaseKey);
    }

    #[test]
    fn sizes_are_plain_digits() {
        let rows = [
            ("0", Ok(Some(0))),
            ("9223372036854775807", Ok(Some(i64::MAX as u64))),
            ("9223372036854775808", Err(Code::JsonRange)),
            ("-1", Err(Code::JsonRange)),
            ("1.0", Err(Code::JsonRange)),
            ("1e3", Err(Code::JsonRange)),
            ("\"1\"", Err(Code::JsonShape)),
            ("null", Ok(None)),
        ];
        for (text, want) in rows {
            let root =
                parse(format!("{{\"size\":{text}}}").as_bytes(), &Limits::default()).unwrap();
            assert_eq!(root.size_field("size").map_err(|e| e.code()), want, "{text}");
        }
    }
}
