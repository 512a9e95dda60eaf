//! Enums whose variants are EC2 enumeration values: one table gives text, parsing, serde and the list.

/// Declares an enum with its wire strings. Parsing an unknown text is an `InvalidParameterValue`.
#[macro_export]
macro_rules! string_enum {
    ($(#[$doc:meta])* $vis:vis enum $name:ident { $($(#[$vdoc:meta])* $variant:ident = $wire:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, ::serde::Serialize, ::serde::Deserialize)]
        $vis enum $name {
            $($(#[$vdoc])* #[serde(rename = $wire)] $variant,)*
        }

        impl $name {
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $wire,)*
                }
            }
        }

        impl ::std::fmt::Display for $name {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl ::std::str::FromStr for $name {
            type Err = $crate::Fault;

            fn from_str(text: &str) -> Result<Self, $crate::Fault> {
                match text {
                    $($wire => Ok(Self::$variant),)*
                    _ => {
                        let known = [$($wire),*].join(", ");
                        Err($crate::Fault::value(format!("Invalid value '{text}' (expecting one of: {known})")))
                    }
                }
            }
        }
    };
}
