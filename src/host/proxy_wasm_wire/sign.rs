//! The messages of Envoy's foreign function `sign`, which signs in native code (1.40 has
//! it, 1.36.2 has not).
//!
//! Field numbers: `source/extensions/common/wasm/ext/sign.proto` in Envoy's repository.

use zeroize::Zeroizing;

use crate::protobuf::{Fields, Payload};

const LENGTH: u8 = 2;

/// `SignArguments { string hash_function = 1; bytes private_key = 2; bytes text = 3; }`, with a key in DER.
/// Wiped when it is dropped, since it holds the key.
pub(in crate::host) fn arguments(key: &[u8], text: &[u8]) -> Zeroizing<Vec<u8>> {
    // Never more than this, so that no copy of the key is left behind by a vector that grew.
    let mut message = Zeroizing::new(Vec::with_capacity(key.len() + text.len() + 64));
    for (number, content) in [(1, b"sha256".as_slice()), (2, key), (3, text)] {
        message.push(number << 3 | LENGTH);
        let mut length = content.len();
        while length >= 0x80 {
            message.push((length & 0x7f) as u8 | 0x80);
            length >>= 7;
        }
        message.push(length as u8);
        message.extend_from_slice(content);
    }
    message
}

/// `SignResult { bool result = 1; bytes signature = 2; string error = 3; }`: the signature, if there is one.
pub(in crate::host) fn signature(message: &[u8]) -> Option<Vec<u8>> {
    let (mut is_good, mut signature) = (false, None);
    for field in Fields::of(message) {
        match field? {
            (1, Payload::Varint(result)) => is_good = result != 0,
            (2, Payload::Bytes(bytes)) => signature = Some(bytes.to_vec()),
            (_, Payload::Bytes(_)) => {}
            _ => return None,
        }
    }
    signature.filter(|signature| is_good && !signature.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_are_a_protobuf_message() {
        let message = arguments(&[7; 200], b"a.b");
        let mut expected = b"\x0a\x06sha256\x12\xc8\x01".to_vec();
        expected.extend([7; 200]);
        expected.extend(b"\x1a\x03a.b");
        assert_eq!(*message, expected);
    }

    #[test]
    fn only_a_good_result_has_a_signature() {
        assert_eq!(signature(b"\x08\x01\x12\x02xy"), Some(b"xy".to_vec()));
        for message in [
            b"\x12\x02xy".as_slice(),
            b"\x08\x00\x12\x02xy",
            b"\x08\x01",
            b"\x08\x01\x12\x05xy",
            b"\x1a\x03bad",
            b"\x09",
            b"",
        ] {
            assert_eq!(signature(message), None, "{message:?}");
        }
    }
}
