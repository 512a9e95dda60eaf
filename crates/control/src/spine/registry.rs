//! Operations as values: what the dispatcher looks actions up in, and what documents are made from.

use std::any::Any;
use std::fmt;

use futures::future::BoxFuture;
use model::Code;
use wire::member::Member;
use wire::query::Params;
use wire::{FromQuery, ToXml};

use super::access::{Access, Service};
use super::cx::Cx;
use super::operation::Operation;
use crate::failure::Failure;
use crate::ports::Host;

type Request = Box<dyn Any + Send + Sync>;
type Response = Box<dyn Any + Send>;

/// The type-free form of an operation.
#[derive(Clone, Copy)]
pub(crate) struct Entry {
    pub(crate) action: &'static str,
    pub(crate) service: Service,
    pub(crate) access: Access,
    pub(crate) errors: &'static [Code],
    pub(crate) unsupported: &'static [&'static str],
    pub(crate) asks_host: bool,
    pub(crate) request: &'static [Member],
    pub(crate) response: &'static [Member],
    pub(crate) parse: fn(&Params) -> Result<Request, Failure>,
    pub(crate) run: for<'a> fn(&'a mut Cx<'_>, &'a Request) -> BoxFuture<'a, Result<Response, Failure>>,
    pub(crate) complete: for<'a> fn(&'a dyn Host, Response) -> BoxFuture<'a, Result<Response, Failure>>,
    /// Document of a success: version, request id, response.
    pub(crate) encode: fn(&str, &str, &Response) -> String,
}

impl Entry {
    pub(crate) const fn of<O: Operation>() -> Self {
        Self {
            action: O::ACTION,
            service: O::SERVICE,
            access: O::ACCESS,
            errors: O::ERRORS,
            unsupported: O::UNSUPPORTED,
            asks_host: O::ASKS_HOST,
            request: <O::Request as FromQuery>::MEMBERS,
            response: <O::Response as ToXml>::MEMBERS,
            parse: parse::<O>,
            run: run::<O>,
            complete: complete::<O>,
            encode: encode::<O>,
        }
    }

    pub(crate) fn takes_client_token(&self) -> bool {
        self.access.is_write() && self.request.iter().any(|member| member.name == "ClientToken")
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.action)
    }
}

fn parse<O: Operation>(params: &Params) -> Result<Request, Failure> {
    let mut consumed = wire::query::COMMON.to_vec();
    for (name, value) in params.iter().filter(|(name, _)| is_below(name, O::UNSUPPORTED)) {
        if !value.is_empty() {
            return Err(Failure::unsupported(name));
        }
        consumed.push(name);
    }
    let request = match O::SERVICE {
        Service::Ec2 => wire::query::decode::<O::Request>(params, &consumed)?,
        Service::Sts => wire::query::decode_aws_query::<O::Request>(params, &consumed)?,
    };
    Ok(Box::new(request))
}

/// Whether the parameter, its list numbers left out, is one of `names` or lies below one.
fn is_below(parameter: &str, names: &[&str]) -> bool {
    let is_number = |part: &&str| part.bytes().all(|b| b.is_ascii_digit());
    let plain: Vec<&str> = parameter.split('.').filter(|part| !is_number(part)).collect();
    names.iter().any(|name| {
        let wanted: Vec<&str> = name.split('.').collect();
        plain.starts_with(&wanted)
    })
}

const OWN_TYPE: &str = "the entry was made by Entry::of for this very operation";

fn run<'a, O: Operation>(
    cx: &'a mut Cx<'_>,
    request: &'a Request,
) -> BoxFuture<'a, Result<Response, Failure>> {
    Box::pin(async move {
        let request = request.downcast_ref::<O::Request>().expect(OWN_TYPE);
        O::run(cx, request).await.map(|response| Box::new(response) as Response)
    })
}

fn complete<O: Operation>(host: &dyn Host, response: Response) -> BoxFuture<'_, Result<Response, Failure>> {
    Box::pin(async move {
        let response = response.downcast::<O::Response>().expect(OWN_TYPE);
        O::complete(host, *response).await.map(|response| Box::new(response) as Response)
    })
}

fn encode<O: Operation>(version: &str, request_id: &str, response: &Response) -> String {
    let response = response.downcast_ref::<O::Response>().expect(OWN_TYPE);
    match O::SERVICE {
        Service::Ec2 => wire::xml::ec2_response(O::ACTION, version, request_id, response),
        Service::Sts => {
            wire::xml::aws_query_response(O::ACTION, super::dispatcher::STS_NAMESPACE, request_id, response)
        }
    }
}

pub(crate) fn find(service: Service, action: &str) -> Option<&'static Entry> {
    crate::operations::ALL.iter().find(|entry| entry.service == service && entry.action == action)
}

/// What the registry tells about one action, for documents and tests.
#[derive(Debug, Clone)]
pub struct Listed {
    pub service: &'static str,
    pub action: &'static str,
    /// The IAM action; None where everybody may.
    pub permission: Option<&'static str>,
    pub is_write: bool,
    pub errors: &'static [Code],
    /// Parameters that are refused by name.
    pub unsupported: &'static [&'static str],
    pub request: &'static [Member],
    pub response: &'static [Member],
}

/// Every query action of the service, sorted by service and name.
pub fn registry() -> Vec<Listed> {
    let mut all: Vec<Listed> = crate::operations::ALL.iter().map(listed).collect();
    all.sort_by_key(|listed| (listed.service, listed.action));
    all
}

fn listed(entry: &Entry) -> Listed {
    let permission = match entry.access {
        Access::Read(permission) | Access::Write(permission) => Some(permission),
        Access::Everyone => None,
    };
    Listed {
        service: entry.service.scope(),
        action: entry.action,
        permission,
        is_write: entry.access.is_write(),
        errors: entry.errors,
        unsupported: entry.unsupported,
        request: entry.request,
        response: entry.response,
    }
}
