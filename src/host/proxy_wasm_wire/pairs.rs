//! Header maps as the ABI passes them: a count, all sizes, then all names and values, each with a
//! NUL behind it; numbers are 32 bits, little-endian.

/// For the host.
pub(in crate::host) fn encode(pairs: &[(&str, &str)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    put_size(&mut bytes, pairs.len());
    for (name, value) in pairs {
        put_size(&mut bytes, name.len());
        put_size(&mut bytes, value.len());
    }
    for text in pairs.iter().flat_map(|(name, value)| [name, value]) {
        bytes.extend_from_slice(text.as_bytes());
        bytes.push(0);
    }
    bytes
}

/// From the host; what is not as it should be is left out.
pub(in crate::host) fn decode(bytes: &[u8]) -> Vec<(String, String)> {
    let Some((count, rest)) = take_size(bytes) else {
        return Vec::new();
    };
    let Some((mut sizes, mut texts)) = rest.split_at_checked(count.saturating_mul(8)) else {
        return Vec::new();
    };
    let mut pairs = Vec::with_capacity(count);
    while let Some((name_size, rest)) = take_size(sizes)
        && let Some((value_size, rest)) = take_size(rest)
        && let Some((name, behind)) = take_text(texts, name_size)
        && let Some((value, behind)) = take_text(behind, value_size)
    {
        (sizes, texts) = (rest, behind);
        if let (Ok(name), Ok(value)) = (str::from_utf8(name), str::from_utf8(value)) {
            pairs.push((name.to_owned(), value.to_owned()));
        }
    }
    pairs
}

fn put_size(bytes: &mut Vec<u8>, size: usize) {
    bytes.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
}

fn take_size(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (size, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_le_bytes(*size)).ok()?, rest))
}

fn take_text(bytes: &[u8], size: usize) -> Option<(&[u8], &[u8])> {
    let (text, rest) = bytes.split_at_checked(size)?;
    Some((text, rest.get(1..)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_encoded_is_decoded() {
        let pairs = [
            (":status", "200"),
            ("metadata-flavor", "Google"),
            ("empty", ""),
        ];
        let decoded = decode(&encode(&pairs));
        let decoded: Vec<_> = decoded
            .iter()
            .map(|(n, v)| (n.as_str(), v.as_str()))
            .collect();
        assert_eq!(decoded, pairs);
    }

    #[test]
    fn a_map_that_was_cut_or_lies_about_its_sizes_is_read_as_far_as_it_goes() {
        let bytes = encode(&[("name", "value"), ("other", "x")]);
        for end in 0..bytes.len() {
            decode(&bytes[..end]);
        }
        assert_eq!(decode(&[255; 64]), []);
    }
}
