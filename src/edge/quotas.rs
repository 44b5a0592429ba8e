//! What a cluster is asked about its clients' quotas, and told.

use super::admin::{Admin, AdminError, check};
use super::client::{ANY_BROKER, ClientError};
use crate::control::quotas::{Changes, Entity, Limit, Quotas, Refused};
use kafka_protocol::messages::alter_client_quotas_request::{EntityData, EntryData, OpData};
use kafka_protocol::messages::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse,
};
use kafka_protocol::protocol::StrBytes;
use std::collections::BTreeMap;

const VERSIONS: (i16, i16) = (0, 1);
const UNKNOWN_SERVER_ERROR: i16 = -1;
/// Entities in one request.
const CHUNK: usize = 500;
/// Version 0 has no room for longer texts.
const TEXT_BYTES_MAX: usize = i16::MAX as usize;

/// All quotas of the cluster.
pub(super) fn list(admin: &mut Admin) -> Result<Quotas, AdminError> {
    let (min, max) = VERSIONS;
    // No filter: all of them.
    let answer = admin.client().call(ANY_BROKER, min, max, |_| DescribeClientQuotasRequest::default());
    let answer = answer.map_err(|error| since(error, "2.6"))?;
    check(answer.error_code, "listing quotas (DESCRIBE_CONFIGS on the cluster)")?;
    Ok(read(&answer))
}

/// Changes quotas, or asks whether the cluster would change them. Returns what it refuses.
pub(super) fn alter(
    admin: &mut Admin,
    changes: &Changes,
    is_question: bool,
) -> Result<Vec<Refused>, AdminError> {
    let (min, max) = VERSIONS;
    let entries = entries(changes);
    let mut refused = Vec::new();
    for chunk in entries.chunks(CHUNK) {
        let controller = admin.controller();
        let answer = admin.client().call(controller, min, max, |_| {
            AlterClientQuotasRequest::default()
                .with_entries(chunk.iter().map(|(_, entry)| entry.clone()).collect())
                .with_validate_only(is_question)
        });
        let answer = answer.map_err(|error| since(error, "2.6"))?;
        refused.extend(those_refused(chunk.iter().map(|(entity, _)| *entity), &answer));
    }
    Ok(refused)
}

/// Says when Kafka learned what the broker does not know.
pub(super) fn since(error: ClientError, version: &str) -> ClientError {
    match error {
        ClientError::Unsupported { address, cause } => ClientError::Unsupported {
            address,
            cause: format!("{cause} (Kafka {version} and later have it)"),
        },
        error => error,
    }
}

fn read(answer: &DescribeClientQuotasResponse) -> Quotas {
    let mut quotas = Quotas::new();
    for entry in answer.entries.iter().flatten() {
        let mut parts = BTreeMap::new();
        for part in &entry.entity {
            parts.insert(part.entity_type.to_string(), part.entity_name.as_ref().map(ToString::to_string));
        }
        let is_short = |text: &str| text.len() <= TEXT_BYTES_MAX;
        let texts = parts.keys().chain(parts.values().flatten());
        if parts.is_empty() || !texts.clone().all(|text| is_short(text)) {
            continue;
        }
        let entity = Entity(parts);
        for value in entry.values.iter().filter(|value| is_short(&value.key)) {
            quotas.insert(Limit { entity: entity.clone(), key: value.key.to_string() }, value.value);
        }
    }
    quotas
}

/// One for each entity.
fn entries(changes: &Changes) -> Vec<(&Entity, EntryData)> {
    let text = |text: &str| StrBytes::from_string(text.to_owned());
    let mut by_entity: BTreeMap<&Entity, Vec<OpData>> = BTreeMap::new();
    for (limit, value) in &changes.set {
        let op = OpData::default().with_key(text(&limit.key)).with_value(*value);
        by_entity.entry(&limit.entity).or_default().push(op);
    }
    for limit in &changes.remove {
        let op = OpData::default().with_key(text(&limit.key)).with_remove(true);
        by_entity.entry(&limit.entity).or_default().push(op);
    }
    let entry = |entity: &Entity, ops: Vec<OpData>| {
        let parts = entity.0.iter().map(|(kind, name)| {
            EntityData::default().with_entity_type(text(kind)).with_entity_name(name.as_deref().map(text))
        });
        EntryData::default().with_entity(parts.collect()).with_ops(ops)
    };
    by_entity.into_iter().map(|(entity, ops)| (entity, entry(entity, ops))).collect()
}

/// Brokers answer in an order of their own. What is not answered is not done, for all that one knows.
fn those_refused<'a>(
    asked: impl Iterator<Item = &'a Entity>,
    answer: &AlterClientQuotasResponse,
) -> Vec<Refused> {
    let mut answers = BTreeMap::new();
    for entry in &answer.entries {
        let parts = entry
            .entity
            .iter()
            .map(|part| (part.entity_type.to_string(), part.entity_name.as_ref().map(ToString::to_string)));
        let said = entry.error_message.as_deref().unwrap_or_default();
        answers.insert(Entity(parts.collect()), (entry.error_code, said));
    }
    let refused = asked.filter_map(|entity| {
        let (code, said) =
            answers.get(entity).copied().unwrap_or((UNKNOWN_SERVER_ERROR, "the broker left it out"));
        (code != 0).then(|| Refused { entity: entity.clone(), code, said: said.to_owned() })
    });
    refused.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kafka_protocol::messages::alter_client_quotas_response as altered;
    use kafka_protocol::messages::describe_client_quotas_response as described;

    fn entity(parts: &[(&str, Option<&str>)]) -> Entity {
        Entity(parts.iter().map(|(kind, name)| ((*kind).to_owned(), name.map(str::to_owned))).collect())
    }

    fn text(text: &str) -> StrBytes {
        StrBytes::from_string(text.to_owned())
    }

    fn limit(parts: &[(&str, Option<&str>)], key: &str) -> Limit {
        Limit { entity: entity(parts), key: key.to_owned() }
    }

    #[test]
    fn quotas_are_read_and_what_no_request_has_room_for_is_left_out() {
        let entry = |parts: &[(&str, Option<&str>)], key: &str, value: f64| {
            let parts = parts.iter().map(|(kind, name)| {
                described::EntityData::default().with_entity_type(text(kind)).with_entity_name(name.map(text))
            });
            let value = described::ValueData::default().with_key(text(key)).with_value(value);
            described::EntryData::default().with_entity(parts.collect()).with_values(vec![value])
        };
        let long = "x".repeat(TEXT_BYTES_MAX + 1);
        let answer = DescribeClientQuotasResponse::default().with_entries(Some(vec![
            entry(&[("user", Some("a")), ("client-id", None)], "consumer_byte_rate", 5.0),
            entry(&[("user", Some(&long))], "consumer_byte_rate", 5.0),
            entry(&[("user", Some("a"))], &long, 5.0),
            entry(&[], "consumer_byte_rate", 5.0),
        ]));
        let expected = limit(&[("client-id", None), ("user", Some("a"))], "consumer_byte_rate");
        assert_eq!(read(&answer), [(expected, 5.0)].into());
        assert!(read(&DescribeClientQuotasResponse::default().with_entries(None)).is_empty());
    }

    #[test]
    fn changes_of_one_entity_go_together_and_what_is_refused_is_found_in_any_order() {
        let a = [("user", Some("a"))];
        let changes = Changes {
            set: [
                (limit(&a, "producer_byte_rate"), 1.0),
                (limit(&[("ip", None)], "connection_creation_rate"), 2.0),
            ]
            .into(),
            remove: [limit(&a, "request_percentage")].into(),
        };
        let entries = entries(&changes);
        let ops: Vec<(String, Vec<(&str, bool)>)> = entries
            .iter()
            .map(|(entity, entry)| {
                let ops = entry.ops.iter().map(|op| (&*op.key, op.remove)).collect();
                (entity.to_string(), ops)
            })
            .collect();
        assert_eq!(
            ops,
            [
                ("ip default".to_owned(), vec![("connection_creation_rate", false)]),
                ("user a".to_owned(), vec![("producer_byte_rate", false), ("request_percentage", true)]),
            ]
        );
        let of = |kind: &str, name: Option<&str>| {
            altered::EntityData::default().with_entity_type(text(kind)).with_entity_name(name.map(text))
        };
        let answered = |parts, code| {
            altered::EntryData::default()
                .with_entity(vec![parts])
                .with_error_code(code)
                .with_error_message(None)
        };
        let asked = || entries.iter().map(|(entity, _)| *entity);
        let both = AlterClientQuotasResponse::default()
            .with_entries(vec![answered(of("user", Some("a")), 31), answered(of("ip", None), 0)]);
        let refused = those_refused(asked(), &both);
        assert_eq!(refused, [Refused { entity: entity(&a), code: 31, said: String::new() }]);
        let one = AlterClientQuotasResponse::default().with_entries(vec![answered(of("ip", None), 0)]);
        assert_eq!(those_refused(asked(), &one)[0].code, UNKNOWN_SERVER_ERROR, "it is not answered");
    }
}
