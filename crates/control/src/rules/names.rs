//! Names that callers give.

use model::limits::{IMAGE_NAME_CHARS, KEY_NAME_CHARS_MAX};

use crate::failure::Failure;

/// 3 to 128 characters of the alphabet that the EC2 API documents for image names.
pub(crate) fn check_image_name(name: &str) -> Result<(), Failure> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || " ()[]./-'@_".contains(c);
    if IMAGE_NAME_CHARS.contains(&name.chars().count()) && name.chars().all(is_allowed) {
        Ok(())
    } else {
        Err(Failure::image_name_malformed())
    }
}

/// Printable ASCII, because the name ends the key's line in the guest's `authorized_keys`.
pub(crate) fn check_key_name(name: &str) -> Result<(), Failure> {
    let is_printable = |byte: u8| (b' '..=b'~').contains(&byte);
    if name.len() <= KEY_NAME_CHARS_MAX && name.bytes().all(is_printable) && name.trim() == name {
        Ok(())
    } else {
        Err(Failure::key_name_malformed(KEY_NAME_CHARS_MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_documented_alphabet_and_length() {
        for good in ["abc", "a b(c)[d]./-'@_9", &"x".repeat(128)] {
            assert!(check_image_name(good).is_ok(), "{good}");
        }
        for bad in ["", "ab", &"x".repeat(129), "naïve", "a,b,c", "a\tb c"] {
            assert!(check_image_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn key_names_fit_into_one_line_of_ascii() {
        for good in ["k", "my key", "a@b:c/~", &"x".repeat(255)] {
            assert!(check_key_name(good).is_ok(), "{good}");
        }
        for bad in [" k", "k ", "a\nssh-rsa AAAA", "schlüssel", &"x".repeat(256)] {
            assert!(check_key_name(bad).is_err(), "{bad}");
        }
    }
}
