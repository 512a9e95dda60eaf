//! `#[derive(FromQuery)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, Result};

use crate::field::{Field, First, Shape, scalar_of};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let fields = Field::all(input, "query", &["flatten", "keep_empty"])?;
    let members = fields.iter().map(member);
    let empty_speaks = fields.iter().map(empty_speaks);
    let values = fields.iter().map(value).collect::<Result<Vec<_>>>()?;
    let idents = fields.iter().map(|field| field.ident);
    let name = &input.ident;
    let (generics, arguments, clause) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::wire::query::FromQuery for #name #arguments #clause {
            const MEMBERS: &'static [::wire::member::Member] = &[#(#members),*];

            fn from_query(
                node: &::wire::query::Node,
            ) -> ::core::result::Result<Self, ::wire::derive_support::Fault> {
                let _ = node;
                ::core::result::Result::Ok(Self { #(#idents: #values),* })
            }
        }

        #[automatically_derived]
        impl #generics ::wire::query::QueryContent for #name #arguments #clause {
            const KIND: ::wire::member::Kind =
                ::wire::member::Kind::Structure(<Self as ::wire::query::FromQuery>::MEMBERS);
            const EMPTY_SPEAKS: bool = false #(|| #empty_speaks)*;

            fn from_node(
                node: &::wire::query::Node,
            ) -> ::core::result::Result<Self, ::wire::derive_support::Fault> {
                <Self as ::wire::query::FromQuery>::from_query(node)
            }
        }
    })
}

fn member(field: &Field<'_>) -> TokenStream {
    let ty = field.value_type();
    if field.has("flatten") {
        return quote! {
            ::wire::member::Member {
                name: "",
                kind: ::wire::member::Kind::Flattened(<#ty as ::wire::query::FromQuery>::MEMBERS),
            }
        };
    }
    let name = field.wire_name(First::Upper);
    let scalar = scalar_of(ty);
    let one = quote!(<#ty as ::wire::query::QueryContent>::KIND #scalar);
    let kind = if field.is_list() { quote!(::wire::member::Kind::List { item: "", of: &#one }) } else { one };
    quote!(::wire::member::Member { name: #name, kind: #kind })
}

fn empty_speaks(field: &Field<'_>) -> TokenStream {
    let ty = field.value_type();
    if field.has("keep_empty") {
        quote!(true)
    } else {
        quote!(<#ty as ::wire::query::QueryContent>::EMPTY_SPEAKS)
    }
}

fn value(field: &Field<'_>) -> Result<TokenStream> {
    let ty = field.value_type();
    let name = field.wire_name(First::Upper);
    let keep = field.has("keep_empty");
    Ok(match field.shape {
        Shape::One(_) if field.has("flatten") => quote!(<#ty as ::wire::query::FromQuery>::from_query(node)?),
        _ if field.has("flatten") => {
            return Err(Error::new_spanned(field.ident, "only a structure itself can be flattened"));
        }
        Shape::One(_) if keep => quote!(node.required_even_empty::<#ty>(#name)?),
        Shape::One(_) => quote!(node.required::<#ty>(#name)?),
        Shape::Optional(_) if keep => quote!(node.optional_even_empty::<#ty>(#name)?),
        Shape::Optional(_) => quote!(node.optional::<#ty>(#name)?),
        Shape::List(_) if keep => quote!(node.list_even_empty::<#ty>(#name)?),
        Shape::List(_) => quote!(node.list::<#ty>(#name)?),
        Shape::OptionalList(_) => {
            let message = "an absent list and an empty one are the same on the wire: use Vec";
            return Err(Error::new_spanned(field.ident, message));
        }
    })
}
