//! Byte-preserving edits: replace just what changes.

use std::cmp::Reverse;
use std::ops::Range;

use crate::json::{Node, Value};

/// Replacements collected against one document, applied in one go.
#[derive(Debug, Default)]
pub(crate) struct Edits {
    list: Vec<(Range<usize>, String)>,
}

impl Edits {
    /// Replaces a value's text.
    pub(crate) fn replace(&mut self, node: &Node, text: String) {
        self.list.push((node.span.clone(), text));
    }

    /// Adds fields at the end of an object.
    pub(crate) fn append_fields(&mut self, object: &Node, fields: &[(&str, String)]) {
        let Some(old) = object.object() else { return };
        // Behind the last value, so that layout before the brace stays.
        let at = old.last().map_or(object.span.end - 1, |(_, value)| value.span.end);
        let mut text = String::new();
        for (i, (key, value)) in fields.iter().enumerate() {
            if i > 0 || !old.is_empty() {
                text.push(',');
            }
            text.push_str(&string(key));
            text.push(':');
            text.push_str(value);
        }
        self.list.push((at..at, text));
    }

    /// Adds an item behind item `after` of an array.
    pub(crate) fn insert_item(&mut self, array: &Node, after: usize, text: &str) {
        let Value::Array(items) = &array.value else { return };
        if let Some(item) = items.get(after) {
            self.list.push((item.span.end..item.span.end, format!(",{text}")));
        }
    }

    /// Removes the items of an array for which `keep` is false, with the commas
    /// that go with them.
    pub(crate) fn retain_items(&mut self, array: &Node, keep: impl Fn(usize) -> bool) {
        let Value::Array(items) = &array.value else { return };
        let mut kept_before = false;
        for (i, item) in items.iter().enumerate() {
            if keep(i) {
                kept_before = true;
                continue;
            }
            let range = if kept_before {
                items[i - 1].span.end..item.span.end
            } else {
                // Nothing kept yet: the comma behind goes.
                item.span.start..items.get(i + 1).map_or(item.span.end, |next| next.span.start)
            };
            self.list.push((range, String::new()));
        }
    }

    /// Whether nothing was asked for.
    pub(crate) fn is_empty(&self) -> bool {
        self.list.is_empty()
    }

    /// The document with the edits made. Where one edit lies inside another
    /// (a value in an item that is removed), the outer one counts.
    pub(crate) fn apply(mut self, document: &[u8]) -> Vec<u8> {
        // Of edits that start together, what is added comes first (it belongs to
        // what stands before), then the outermost.
        self.list.sort_by_key(|(range, _)| (range.start, !range.is_empty(), Reverse(range.end)));
        let mut out = Vec::with_capacity(document.len() + 256);
        let mut done = 0;
        for (range, text) in self.list {
            if range.start < done {
                continue;
            }
            out.extend_from_slice(&document[done..range.start]);
            out.extend_from_slice(text.as_bytes());
            done = range.end;
        }
        out.extend_from_slice(&document[done..]);
        out
    }
}

/// `text` as a JSON string.
pub(crate) fn string(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Texts as a compact JSON array of strings.
pub(crate) fn strings<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    let items: Vec<String> = texts.into_iter().map(string).collect();
    format!("[{}]", items.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::parse;
    use crate::limits::Limits;

    fn edited(text: &str, edit: impl FnOnce(&Node, &mut Edits)) -> String {
        let root = parse(text.as_bytes(), &Limits::default()).unwrap();
        let mut edits = Edits::default();
        edit(&root, &mut edits);
        let out = String::from_utf8(edits.apply(text.as_bytes())).unwrap();
        parse(out.as_bytes(), &Limits::default()).unwrap();
        out
    }

    #[test]
    fn items_go_with_their_commas() {
        let rows: [(&str, &[usize], &str); 8] = [
            ("[ 1 , 2 , 3 ]", &[], "[ 1 , 2 , 3 ]"),
            ("[ 1 , 2 , 3 ]", &[0], "[ 2 , 3 ]"),
            ("[ 1 , 2 , 3 ]", &[1], "[ 1 , 3 ]"),
            ("[ 1 , 2 , 3 ]", &[2], "[ 1 , 2 ]"),
            ("[ 1 , 2 , 3 ]", &[0, 1], "[ 3 ]"),
            ("[ 1 , 2 , 3 ]", &[1, 2], "[ 1 ]"),
            ("[ 1 , 2 , 3 ]", &[0, 2], "[ 2 ]"),
            ("[ 1 , 2 , 3 ]", &[0, 1, 2], "[  ]"),
        ];
        for (text, gone, want) in rows {
            let out = edited(text, |root, edits| edits.retain_items(root, |i| !gone.contains(&i)));
            assert_eq!(out, want, "{gone:?}");
        }
    }

    #[test]
    fn fields_and_items_are_added_behind_the_last() {
        let add = |root: &Node, edits: &mut Edits| edits.append_fields(root, &[("k", string("v"))]);
        assert_eq!(edited("{}", add), "{\"k\":\"v\"}");
        assert_eq!(edited("{ \"a\" : 1 \n}", add), "{ \"a\" : 1,\"k\":\"v\" \n}");
        assert_eq!(edited("[1, 2]", |root, edits| edits.insert_item(root, 0, "9")), "[1,9, 2]");
    }

    #[test]
    fn what_is_added_behind_an_item_stays_when_the_next_one_goes() {
        let out = edited("[1, 2, 3]", |root, edits| {
            edits.insert_item(root, 0, "9");
            edits.insert_item(root, 2, "8");
            edits.retain_items(root, |i| i != 1);
        });
        assert_eq!(out, "[1,9, 3,8]");
    }

    #[test]
    fn an_edit_inside_a_removed_item_is_void() {
        let out = edited("[{\"a\":1},2]", |root, edits| {
            let item = &root.array().unwrap()[0];
            edits.replace(item.field("a").unwrap().unwrap(), "5".into());
            edits.retain_items(root, |i| i != 0);
        });
        assert_eq!(out, "[2]");
    }
}
