//! Leaves of a request.

use std::convert::Infallible;
use std::fmt;
use std::num::{ParseFloatError, ParseIntError};
use std::str::{FromStr, ParseBoolError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use model::Fault;

use crate::member::Scalar;

/// A leaf. Everything that parses from text with a [`LeafError`] is one: ids, enumerations,
/// timestamps, numbers, strings.
pub trait QueryValue: Sized {
    const SCALAR: Scalar;
    const EMPTY_SPEAKS: bool = false;

    /// Reads the value of the parameter called `path`.
    fn parse(path: &str, text: &str) -> Result<Self, Fault>;

    /// An element of a list that is present but empty. For ids that is an error, as on EC2;
    /// strings drop it.
    fn parse_empty_element(path: &str) -> Result<Option<Self>, Fault> {
        Self::parse(path, "").map(Some)
    }
}

/// What a type's parser says about bad text, and how it wants to see text.
pub trait LeafError: Sized {
    const DROPS_EMPTY_ELEMENTS: bool = false;

    fn into_fault(self, path: &str, text: &str) -> Fault;

    /// The spelling that the parser takes.
    fn spelling(text: &str) -> &str {
        text
    }
}

impl<T: FromStr<Err: LeafError>> QueryValue for T {
    /// The derive makes this exact from the name of the type.
    const SCALAR: Scalar = Scalar::String;

    fn parse(path: &str, text: &str) -> Result<Self, Fault> {
        T::Err::spelling(text).parse().map_err(|error: T::Err| error.into_fault(path, text))
    }

    fn parse_empty_element(path: &str) -> Result<Option<Self>, Fault> {
        if T::Err::DROPS_EMPTY_ELEMENTS { Ok(None) } else { Self::parse(path, "").map(Some) }
    }
}

impl LeafError for Fault {
    fn into_fault(self, _path: &str, _text: &str) -> Fault {
        self
    }
}

/// Strings.
impl LeafError for Infallible {
    const DROPS_EMPTY_ELEMENTS: bool = true;

    fn into_fault(self, _path: &str, _text: &str) -> Fault {
        match self {}
    }
}

impl LeafError for ParseIntError {
    fn into_fault(self, path: &str, text: &str) -> Fault {
        invalid(path, text, "a whole number in range")
    }
}

impl LeafError for ParseFloatError {
    fn into_fault(self, path: &str, text: &str) -> Fault {
        invalid(path, text, "a number")
    }
}

/// Clients send `true`, and Python ones also `True`.
impl LeafError for ParseBoolError {
    fn into_fault(self, path: &str, text: &str) -> Fault {
        invalid(path, text, "true or false")
    }

    fn spelling(text: &str) -> &str {
        match text {
            "True" | "TRUE" | "1" => "true",
            "False" | "FALSE" | "0" => "false",
            _ => text,
        }
    }
}

/// Bytes, base64 on the wire in both directions.
#[derive(Clone, PartialEq, Eq, Default, Hash)]
pub struct Blob(pub Vec<u8>);

impl QueryValue for Blob {
    const SCALAR: Scalar = Scalar::Blob;

    fn parse(path: &str, text: &str) -> Result<Self, Fault> {
        // Some clients break base64 into lines.
        let compact: String = text.chars().filter(|c| !c.is_ascii_whitespace()).collect();
        STANDARD.decode(compact).map(Self).map_err(|_| {
            let message = format!("Invalid value for parameter {path} (expecting base64-encoded data)");
            Fault::value(message)
        })
    }
}

impl fmt::Display for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        base64::display::Base64Display::new(&self.0, &STANDARD).fmt(f)
    }
}

/// Blobs may be user data with secrets in it: only the length is shown.
impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

/// A parameter that speaks by being there, whatever its text: `NoDevice=`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Presence;

impl QueryValue for Presence {
    const SCALAR: Scalar = Scalar::String;
    const EMPTY_SPEAKS: bool = true;

    fn parse(_path: &str, _text: &str) -> Result<Self, Fault> {
        Ok(Self)
    }
}

/// Values are echoed cut, so that a huge one does not come back whole.
fn invalid(path: &str, text: &str, expected: &str) -> Fault {
    let shown: String = text.chars().take(100).collect();
    Fault::value(format!("Invalid value '{shown}' for parameter {path} (expecting {expected})"))
}
