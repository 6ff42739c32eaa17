//! A plugin's configuration as Envoy hands over a `google.protobuf.Struct`: not as JSON, as its
//! documentation has it, but as the message's bytes (seen on 1.36 and 1.40).
//!
//! Field numbers: `google/protobuf/struct.proto`. Encoding: <https://protobuf.dev/programming-guides/encoding/>.

use serde_json::{Map, Number, Value};

use crate::protobuf::{Fields, Payload};

/// Deeper than any configuration of ours, shallower than the stack.
const MAX_DEPTH: usize = 32;

/// The object that the bytes encode; `None` if they encode none.
pub(in crate::host) fn decode(bytes: &[u8]) -> Option<Value> {
    object(bytes, MAX_DEPTH).map(Value::Object)
}

/// `Struct { map<string, Value> fields = 1; }`
fn object(bytes: &[u8], depth: usize) -> Option<Map<String, Value>> {
    let mut fields = Map::new();
    for entry in messages(bytes, 1)? {
        let (mut name, mut content) = (String::new(), Value::Null);
        for field in Fields::of(entry) {
            match field? {
                (1, Payload::Bytes(text)) => name = str::from_utf8(text).ok()?.to_owned(),
                (2, Payload::Bytes(bytes)) => content = value(bytes, depth.checked_sub(1)?)?,
                _ => return None,
            }
        }
        fields.insert(name, content);
    }
    Some(fields)
}

/// `Value { oneof kind { null = 1; number = 2; string = 3; bool = 4; Struct = 5; ListValue = 6; } }`
fn value(bytes: &[u8], depth: usize) -> Option<Value> {
    let mut value = Value::Null;
    for field in Fields::of(bytes) {
        value = match field? {
            (1, Payload::Varint(_)) => Value::Null,
            (2, Payload::Fixed64(bits)) => number(f64::from_bits(bits))?,
            (3, Payload::Bytes(text)) => Value::String(str::from_utf8(text).ok()?.to_owned()),
            (4, Payload::Varint(bit)) => Value::Bool(bit != 0),
            (5, Payload::Bytes(bytes)) => Value::Object(object(bytes, depth)?),
            (6, Payload::Bytes(bytes)) => list(bytes, depth)?,
            _ => return None,
        };
    }
    Some(value)
}

/// `ListValue { repeated Value values = 1; }`
fn list(bytes: &[u8], depth: usize) -> Option<Value> {
    let depth = depth.checked_sub(1)?;
    messages(bytes, 1)?
        .into_iter()
        .map(|bytes| value(bytes, depth))
        .collect::<Option<_>>()
        .map(Value::Array)
}

fn number(number: f64) -> Option<Value> {
    Number::from_f64(number).map(Value::Number)
}

/// The contents of a message that holds nothing but one repeated message.
fn messages(bytes: &[u8], number: u64) -> Option<Vec<&[u8]>> {
    let content = |field| match field {
        Some((found, Payload::Bytes(bytes))) if found == number => Some(bytes),
        _ => None,
    };
    Fields::of(bytes).map(content).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
        let mut field = vec![number << 3 | 2, u8::try_from(bytes.len()).unwrap()];
        field.extend_from_slice(bytes);
        field
    }

    fn entry(name: &str, value: &[u8]) -> Vec<u8> {
        field(1, &[field(1, name.as_bytes()), field(2, value)].concat())
    }

    #[test]
    fn every_kind_of_value_is_read() {
        let number = [vec![0x11], 1.5f64.to_le_bytes().to_vec()].concat();
        let text = field(3, b"text");
        let list = field(6, &[field(1, &text), field(1, &number)].concat());
        let inner = field(5, &entry("yes", &[0x20, 1]));
        let bytes = [
            entry("nothing", &[0x08, 0]),
            entry("number", &number),
            entry("text", &text),
            entry("list", &list),
            entry("inner", &inner),
        ];
        assert_eq!(
            decode(&bytes.concat()),
            Some(
                json!({"nothing": null, "number": 1.5, "text": "text", "list": ["text", 1.5], "inner": {"yes": true}})
            )
        );
        assert_eq!(decode(b""), Some(json!({})));
    }

    #[test]
    fn what_is_no_struct_is_none() {
        let whole = entry("text", &field(3, b"text"));
        for end in 1..whole.len() {
            assert_eq!(decode(&whole[..end]), None, "{end}");
        }
        assert_eq!(decode(br#"{"credentials": {}}"#), None);
        assert_eq!(decode(b"\n{\"credentials\": {}}"), None);
    }

    #[test]
    fn what_is_nested_deeper_than_any_configuration_is_none() {
        let nested = |depth: usize| {
            (0..depth).fold(vec![0x20, 1], |inner, _| {
                let (low, high) = (inner.len() & 0x7f | 0x80, inner.len() >> 7);
                let size = [u8::try_from(low).unwrap(), u8::try_from(high).unwrap()];
                let item = [&[0x0a], &size[..], &inner[..]].concat();
                let (low, high) = (item.len() & 0x7f | 0x80, item.len() >> 7);
                let size = [u8::try_from(low).unwrap(), u8::try_from(high).unwrap()];
                [&[0x32], &size[..], &item[..]].concat()
            })
        };
        assert!(value(&nested(MAX_DEPTH), MAX_DEPTH).is_some());
        assert_eq!(value(&nested(MAX_DEPTH + 1), MAX_DEPTH), None);
    }
}
