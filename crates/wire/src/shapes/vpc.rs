//! A VPC, as `DescribeVpcs` lists it.

use model::{AccountId, CidrV4, VpcId};

use super::Tag;
use crate::ToXml;

#[derive(Debug, Clone, ToXml)]
pub struct Vpc {
    pub owner_id: AccountId,
    pub instance_tenancy: &'static str,
    #[xml("cidrBlockAssociationSet")]
    pub cidr_block_associations: Vec<CidrBlockAssociation>,
    pub is_default: bool,
    #[xml("tagSet", skip_empty)]
    pub tags: Vec<Tag>,
    pub vpc_id: VpcId,
    pub state: &'static str,
    pub cidr_block: CidrV4,
    pub dhcp_options_id: &'static str,
}

#[derive(Debug, Clone, ToXml)]
pub struct CidrBlockAssociation {
    pub association_id: String,
    pub cidr_block: CidrV4,
    pub cidr_block_state: CidrBlockState,
}

#[derive(Debug, Clone, ToXml)]
pub struct CidrBlockState {
    pub state: &'static str,
}

impl Vpc {
    pub fn of(vpc: &model::Vpc, tags: &[model::Tag]) -> Self {
        let digits = vpc.vpc_id.as_str().trim_start_matches(VpcId::PREFIX);
        Self {
            owner_id: vpc.owner_id.clone(),
            instance_tenancy: "default",
            cidr_block_associations: vec![CidrBlockAssociation {
                association_id: format!("vpc-cidr-assoc-{digits}"),
                cidr_block: vpc.cidr_block,
                cidr_block_state: CidrBlockState { state: "associated" },
            }],
            is_default: vpc.is_default,
            tags: tags.iter().map(Tag::from).collect(),
            vpc_id: vpc.vpc_id.clone(),
            state: "available",
            cidr_block: vpc.cidr_block,
            // EC2's name for "no options of its own".
            dhcp_options_id: "default",
        }
    }
}
