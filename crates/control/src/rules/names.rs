//! Names that callers give.

use model::limits::IMAGE_NAME_CHARS;

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
}
