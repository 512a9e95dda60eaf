//! What both derives read from a field: its attribute, its shape, its name.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{
    Data, DeriveInput, Error, Fields, GenericArgument, Ident, LitStr, PathArguments, Result, Token, Type,
};

/// One field, its attributes read.
pub(crate) struct Field<'a> {
    pub(crate) ident: &'a Ident,
    pub(crate) shape: Shape<'a>,
    /// From the attribute.
    pub(crate) name: Option<LitStr>,
    pub(crate) item: Option<LitStr>,
    pub(crate) flags: Vec<Ident>,
}

/// How often the value occurs. Syntactic: the type must be spelled `Option` or `Vec`.
pub(crate) enum Shape<'a> {
    One(&'a Type),
    Optional(&'a Type),
    List(&'a Type),
    OptionalList(&'a Type),
}

impl<'a> Field<'a> {
    /// The fields of the struct, reading `#[attribute(…)]` and allowing only `flags` in it.
    pub(crate) fn all(input: &'a DeriveInput, attribute: &str, flags: &[&str]) -> Result<Vec<Self>> {
        let Data::Struct(data) = &input.data else {
            return Err(Error::new_spanned(&input.ident, "only structs have wire members"));
        };
        match &data.fields {
            Fields::Named(named) => named.named.iter().map(|f| Self::read(f, attribute, flags)).collect(),
            Fields::Unit => Ok(Vec::new()),
            Fields::Unnamed(_) => Err(Error::new_spanned(&input.ident, "members need names")),
        }
    }

    fn read(field: &'a syn::Field, attribute: &str, flags: &[&str]) -> Result<Self> {
        let ident = field.ident.as_ref().ok_or_else(|| Error::new_spanned(field, "members need names"))?;
        let mut read = Self { ident, shape: Shape::of(&field.ty), name: None, item: None, flags: Vec::new() };
        for attr in field.attrs.iter().filter(|attr| attr.path().is_ident(attribute)) {
            for part in attr.parse_args_with(Punctuated::<Part, Token![,]>::parse_terminated)? {
                match part {
                    Part::Name(name) => read.name = Some(name),
                    Part::Item(item) if flags.contains(&"item") => read.item = Some(item),
                    Part::Flag(flag) if flags.iter().any(|known| flag == known) => read.flags.push(flag),
                    Part::Item(item) => return Err(Error::new_spanned(item, "items have no name here")),
                    Part::Flag(flag) => {
                        return Err(Error::new_spanned(flag, format!("expected one of {flags:?}")));
                    }
                }
            }
        }
        Ok(read)
    }

    pub(crate) fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|known| known == flag)
    }

    pub(crate) fn value_type(&self) -> &'a Type {
        match self.shape {
            Shape::One(ty) | Shape::Optional(ty) | Shape::List(ty) | Shape::OptionalList(ty) => ty,
        }
    }

    pub(crate) fn is_list(&self) -> bool {
        matches!(self.shape, Shape::List(_) | Shape::OptionalList(_))
    }

    /// The wire name: as given, or the field's in camel case.
    pub(crate) fn wire_name(&self, first: First) -> String {
        let given = self.name.as_ref().map(LitStr::value);
        given.unwrap_or_else(|| camel(&self.ident.unraw().to_string(), first))
    }
}

impl<'a> Shape<'a> {
    fn of(ty: &'a Type) -> Self {
        match (argument(ty, "Option"), argument(ty, "Vec")) {
            (Some(inner), _) => argument(inner, "Vec").map_or(Self::Optional(inner), Self::OptionalList),
            (_, Some(inner)) => Self::List(inner),
            (None, None) => Self::One(ty),
        }
    }
}

/// `T` of `Wrapper<T>`.
fn argument<'a>(ty: &'a Type, wrapper: &str) -> Option<&'a Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|segment| segment.ident == wrapper)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    arguments
        .args
        .iter()
        .find_map(|argument| if let GenericArgument::Type(ty) = argument { Some(ty) } else { None })
}

/// The exact scalar that a type's name tells. Ids and enumerations are strings, which is what the
/// traits say about any leaf by themselves.
pub(crate) fn scalar_of(ty: &Type) -> TokenStream {
    let Type::Path(path) = ty else { return quote!() };
    let Some(last) = path.path.segments.last() else { return quote!() };
    let scalar = match last.ident.to_string().as_str() {
        "bool" => quote!(Boolean),
        "u8" | "u16" | "u32" | "i32" => quote!(Integer),
        "u64" | "i64" | "usize" => quote!(Long),
        "f64" => quote!(Double),
        "Timestamp" => quote!(Timestamp),
        "Blob" => quote!(Blob),
        _ => return quote!(),
    };
    quote!(.with_scalar(::wire::member::Scalar::#scalar))
}

/// Case of the first letter of a wire name.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum First {
    /// Requests.
    Upper,
    /// Responses.
    Lower,
}

fn camel(snake: &str, first: First) -> String {
    let mut upper = first == First::Upper;
    let mut out = String::new();
    for c in snake.chars() {
        if c == '_' {
            upper = true;
        } else {
            out.push(if upper { c.to_ascii_uppercase() } else { c });
            upper = false;
        }
    }
    out
}

enum Part {
    Name(LitStr),
    Item(LitStr),
    Flag(Ident),
}

impl Parse for Part {
    fn parse(input: ParseStream<'_>) -> Result<Self> {
        if input.peek(LitStr) {
            return Ok(Self::Name(input.parse()?));
        }
        let ident = input.call(Ident::parse_any)?;
        if ident == "item" {
            input.parse::<Token![=]>()?;
            return Ok(Self::Item(input.parse()?));
        }
        Ok(Self::Flag(ident))
    }
}
