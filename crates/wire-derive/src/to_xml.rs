//! `#[derive(ToXml)]`.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{DeriveInput, Error, Result};

use crate::field::{Field, First, Shape, scalar_of};

pub(crate) fn expand(input: &DeriveInput) -> Result<TokenStream> {
    let fields = Field::all(input, "xml", &["flatten", "skip_empty", "item"])?;
    let members = fields.iter().map(member);
    let writes = fields.iter().map(write).collect::<Result<Vec<_>>>()?;
    let name = &input.ident;
    let (generics, arguments, clause) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #generics ::wire::xml::ToXml for #name #arguments #clause {
            const MEMBERS: &'static [::wire::member::Member] = &[#(#members),*];

            fn write(&self, into: &mut ::wire::xml::Element<'_>) {
                let _ = &into;
                #(#writes)*
            }
        }

        #[automatically_derived]
        impl #generics ::wire::xml::XmlContent for #name #arguments #clause {
            const KIND: ::wire::member::Kind =
                ::wire::member::Kind::Structure(<Self as ::wire::xml::ToXml>::MEMBERS);

            fn write_content(&self, into: &mut ::wire::xml::Element<'_>) {
                <Self as ::wire::xml::ToXml>::write(self, into);
            }
        }
    })
}

fn item_name(field: &Field<'_>) -> String {
    field.item.as_ref().map_or_else(|| "item".to_owned(), syn::LitStr::value)
}

fn member(field: &Field<'_>) -> TokenStream {
    let ty = field.value_type();
    if field.has("flatten") {
        return quote! {
            ::wire::member::Member {
                name: "",
                kind: ::wire::member::Kind::Flattened(<#ty as ::wire::xml::ToXml>::MEMBERS),
            }
        };
    }
    let name = field.wire_name(First::Lower);
    let scalar = scalar_of(ty);
    let one = quote!(<#ty as ::wire::xml::XmlContent>::KIND #scalar);
    let kind = if field.is_list() {
        let item = item_name(field);
        quote!(::wire::member::Kind::List { item: #item, of: &#one })
    } else {
        one
    };
    quote!(::wire::member::Member { name: #name, kind: #kind })
}

fn write(field: &Field<'_>) -> Result<TokenStream> {
    let ident = field.ident;
    let name = field.wire_name(First::Lower);
    let item = item_name(field);
    if !field.is_list() && (field.has("skip_empty") || field.item.is_some()) {
        return Err(Error::new_spanned(ident, "skip_empty and item are for lists"));
    }
    Ok(match field.shape {
        Shape::One(_) if field.has("flatten") => quote!(into.members(&self.#ident);),
        Shape::Optional(_) if field.has("flatten") => {
            quote!(if let ::core::option::Option::Some(value) = &self.#ident { into.members(value); })
        }
        _ if field.has("flatten") => {
            return Err(Error::new_spanned(ident, "only a structure can be flattened"));
        }
        Shape::One(_) => quote!(into.value(#name, &self.#ident);),
        Shape::Optional(_) => {
            quote!(if let ::core::option::Option::Some(value) = &self.#ident { into.value(#name, value); })
        }
        Shape::List(_) if field.has("skip_empty") => {
            quote!(if !self.#ident.is_empty() { into.list(#name, #item, &self.#ident); })
        }
        Shape::List(_) => quote!(into.list(#name, #item, &self.#ident);),
        Shape::OptionalList(_) => {
            quote!(if let ::core::option::Option::Some(values) = &self.#ident { into.list(#name, #item, values); })
        }
    })
}
