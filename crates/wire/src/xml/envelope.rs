//! The outermost elements of replies.

use super::{Element, ToXml};

const DECLARATION: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n";

/// An EC2 success: `<ActionResponse xmlns="…/doc/VERSION/">` with the request id first.
///
/// The version is the one the caller asked for, and the namespace ends in a slash: clients that
/// look elements up by their full name depend on both.
pub fn ec2_response(action: &str, version: &str, request_id: &str, response: &impl ToXml) -> String {
    let namespace = format!("http://ec2.amazonaws.com/doc/{version}/");
    document(&format!("{action}Response"), Some(&namespace), |root| {
        root.leaf("requestId", request_id);
        root.members(response);
    })
}

/// An EC2 error. No namespace, exactly two children in `Error`, and `RequestID` with a capital D.
pub fn ec2_error(code: &str, message: &str, request_id: &str) -> String {
    document("Response", None, |root| {
        root.element("Errors", |errors| {
            errors.element("Error", |error| {
                error.leaf("Code", code);
                error.leaf("Message", message);
            });
        });
        root.leaf("RequestID", request_id);
    })
}

/// A success of the services that speak AWS query (STS, IAM):
/// `<ActionResponse><ActionResult>…</ActionResult><ResponseMetadata>…`.
///
/// `namespace` is the service's, such as `https://sts.amazonaws.com/doc/2011-06-15/`.
pub fn aws_query_response(action: &str, namespace: &str, request_id: &str, result: &impl ToXml) -> String {
    document(&format!("{action}Response"), Some(namespace), |root| {
        root.element(&format!("{action}Result"), |inside| inside.members(result));
        root.element("ResponseMetadata", |inside| inside.leaf("RequestId", request_id));
    })
}

/// Whose fault an AWS query error says it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorSide {
    Sender,
    Receiver,
}

/// An error of the services that speak AWS query.
pub fn aws_query_error(
    namespace: &str,
    side: ErrorSide,
    code: &str,
    message: &str,
    request_id: &str,
) -> String {
    document("ErrorResponse", Some(namespace), |root| {
        root.element("Error", |error| {
            let side = match side {
                ErrorSide::Sender => "Sender",
                ErrorSide::Receiver => "Receiver",
            };
            error.leaf("Type", side);
            error.leaf("Code", code);
            error.leaf("Message", message);
        });
        root.leaf("RequestId", request_id);
    })
}

fn document(root: &str, namespace: Option<&str>, inside: impl FnOnce(&mut Element<'_>)) -> String {
    let mut out = String::from(DECLARATION);
    let attributes = namespace.map(|namespace| ("xmlns", namespace));
    Element::new(&mut out).element_with(root, attributes.as_slice(), inside);
    out
}
