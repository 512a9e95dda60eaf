//! Ingress rules as `AuthorizeSecurityGroupIngress` and `RevokeSecurityGroupIngress` take them: a list of
//! permissions, or the flat parameters of the time before that list.

use super::IpPermission;
use crate::FromQuery;

#[derive(Debug, Clone, FromQuery)]
pub struct IngressPermissions {
    pub ip_permissions: Vec<IpPermission>,
    pub cidr_ip: Option<String>,
    pub from_port: Option<i32>,
    pub ip_protocol: Option<String>,
    pub source_security_group_name: Option<String>,
    pub source_security_group_owner_id: Option<String>,
    pub to_port: Option<i32>,
}
