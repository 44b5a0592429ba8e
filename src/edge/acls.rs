//! What a cluster is asked about its access rules, and told.

use super::admin::{Admin, AdminError, check};
use super::client::{ANY_BROKER, ClientError};
use crate::control::acls::Acl;
use kafka_protocol::messages::create_acls_request::AclCreation;
use kafka_protocol::messages::delete_acls_request::DeleteAclsFilter;
use kafka_protocol::messages::{CreateAclsRequest, DeleteAclsRequest, DescribeAclsRequest};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeSet;

/// From 1 on with kinds of patterns (KIP-290, Kafka 2.0).
const VERSIONS: (i16, i16) = (1, 3);
const ANY: i8 = 1;
/// The cluster has no authorizer.
const SECURITY_DISABLED: i16 = 54;
/// Rules in one request.
const CHUNK: usize = 500;

/// A rule that was refused, with the error code and the broker's words.
pub(super) type Refused = (Acl, i16, String);

/// All rules of the cluster. None: it has no authorizer, or is older than Kafka 2.0.
pub(super) fn list(admin: &mut Admin) -> Result<Option<BTreeSet<Acl>>, AdminError> {
    let (min, max) = VERSIONS;
    let answer = admin.client().call(ANY_BROKER, min, max, |_| {
        DescribeAclsRequest::default()
            .with_resource_type_filter(ANY)
            .with_resource_name_filter(None)
            .with_pattern_type_filter(ANY)
            .with_principal_filter(None)
            .with_host_filter(None)
            .with_operation(ANY)
            .with_permission_type(ANY)
    });
    let answer = match answer {
        Err(ClientError::Unsupported { .. }) => return Ok(None),
        answer => answer?,
    };
    if answer.error_code == SECURITY_DISABLED {
        return Ok(None);
    }
    check(answer.error_code, "listing access rules (DESCRIBE on the cluster)")?;
    let rules = answer.resources.iter().flat_map(|resource| {
        resource.acls.iter().map(|acl| Acl {
            resource_type: resource.resource_type,
            resource_name: resource.resource_name.to_string(),
            pattern_type: resource.pattern_type,
            principal: acl.principal.to_string(),
            host: acl.host.to_string(),
            operation: acl.operation,
            permission: acl.permission_type,
        })
    });
    Ok(Some(rules.collect()))
}

/// Adds rules. Returns those that the cluster refused.
pub(super) fn create(admin: &mut Admin, rules: &BTreeSet<Acl>) -> Result<Vec<Refused>, AdminError> {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let mut refused = Vec::new();
    for chunk in rules.iter().collect::<Vec<_>>().chunks(CHUNK) {
        let creations = chunk.iter().map(|acl| {
            AclCreation::default()
                .with_resource_type(acl.resource_type)
                .with_resource_name(text(&acl.resource_name))
                .with_resource_pattern_type(acl.pattern_type)
                .with_principal(text(&acl.principal))
                .with_host(text(&acl.host))
                .with_operation(acl.operation)
                .with_permission_type(acl.permission)
        });
        let creations = creations.collect();
        let (min, max) = VERSIONS;
        let answer = admin
            .client()
            .call(ANY_BROKER, min, max, |_| CreateAclsRequest::default().with_creations(creations))?;
        let results =
            answer.results.iter().map(|result| (result.error_code, result.error_message.as_deref()));
        refused.extend(those_refused(chunk, results));
    }
    Ok(refused)
}

/// Takes rules back. Returns those that the cluster refused to.
pub(super) fn delete(admin: &mut Admin, rules: &BTreeSet<Acl>) -> Result<Vec<Refused>, AdminError> {
    let text = |text: &str| Some(StrBytes::from_string(text.to_owned()));
    let mut refused = Vec::new();
    for chunk in rules.iter().collect::<Vec<_>>().chunks(CHUNK) {
        let filters = chunk.iter().map(|acl| {
            DeleteAclsFilter::default()
                .with_resource_type_filter(acl.resource_type)
                .with_resource_name_filter(text(&acl.resource_name))
                .with_pattern_type_filter(acl.pattern_type)
                .with_principal_filter(text(&acl.principal))
                .with_host_filter(text(&acl.host))
                .with_operation(acl.operation)
                .with_permission_type(acl.permission)
        });
        let filters = filters.collect();
        let (min, max) = VERSIONS;
        let answer = admin
            .client()
            .call(ANY_BROKER, min, max, |_| DeleteAclsRequest::default().with_filters(filters))?;
        let results =
            answer.filter_results.iter().map(|result| (result.error_code, result.error_message.as_deref()));
        refused.extend(those_refused(chunk, results));
    }
    Ok(refused)
}

fn those_refused<'a>(rules: &[&Acl], results: impl Iterator<Item = (i16, Option<&'a str>)>) -> Vec<Refused> {
    let bad = rules.iter().zip(results).filter(|(_, (code, _))| *code != 0);
    bad.map(|(acl, (code, said))| ((*acl).clone(), code, said.unwrap_or_default().to_owned())).collect()
}
