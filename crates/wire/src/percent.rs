//! Percent-encoding, the strict way: a bad escape or bad UTF-8 is an error, never passed through.

/// Decodes one name or value of a form: `+` is a space.
pub(crate) fn decode_form(text: &[u8]) -> Option<String> {
    decode(text, true)
}

/// Decodes one path segment: `+` is itself.
pub(crate) fn decode_path(text: &[u8]) -> Option<String> {
    decode(text, false)
}

fn decode(text: &[u8], plus_is_space: bool) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => hex_digit(rest.next()?)? << 4 | hex_digit(rest.next()?)?,
            b'+' if plus_is_space => b' ',
            _ => byte,
        });
    }
    String::from_utf8(bytes).ok()
}

fn hex_digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

/// Encodes everything but the unreserved characters of RFC 3986, as SigV4 wants it: capital hex.
pub(crate) fn encode(text: &str) -> String {
    encode_keeping(text, b"")
}

/// As [`encode`], leaving `keep` as it is.
pub(crate) fn encode_keeping(text: &str, keep: &[u8]) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) || keep.contains(&byte) {
            out.push(char::from(byte));
        } else {
            let digit = |n: u8| char::from_digit(u32::from(n), 16).unwrap_or('0').to_ascii_uppercase();
            out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
        }
    }
    out
}
