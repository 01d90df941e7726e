//! The .proto files say what the table of the wire format says: names, numbers, types, labels.

use std::collections::BTreeSet;

use flow::api::FILE_DESCRIPTOR_SET;
use prost::Message as _;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::{DescriptorProto, EnumDescriptorProto, FieldDescriptorProto, FileDescriptorSet};

/// Our own fields start here.
const FIRST_OWN_FIELD: i32 = 160_001;

fn type_name(field: &FieldDescriptorProto) -> String {
    match field.r#type() {
        Type::Message | Type::Enum => field.type_name().rsplit('.').next().unwrap_or_default().to_owned(),
        Type::Uint32 => "uint32".into(),
        Type::Uint64 => "uint64".into(),
        Type::Int32 => "int32".into(),
        Type::Int64 => "int64".into(),
        Type::String => "string".into(),
        Type::Bool => "bool".into(),
        Type::Double => "double".into(),
        other => format!("{other:?}"),
    }
}

fn of_message(package: &str, scope: &str, message: &DescriptorProto, facts: &mut BTreeSet<String>) {
    let name = format!("{scope}{}", message.name());
    for field in message.field.iter().filter(|field| field.number() < FIRST_OWN_FIELD) {
        let repeated = field.label() == Label::Repeated;
        let oneof = field
            .oneof_index
            .map(|index| message.oneof_decl[index as usize].name().to_owned())
            .unwrap_or_default();
        facts.insert(format!(
            "{package} {name} {} {} {} repeated={repeated} oneof={oneof} deprecated={}",
            field.name(),
            field.number(),
            type_name(field),
            field.options.as_ref().is_some_and(|options| options.deprecated())
        ));
    }
    for range in &message.reserved_range {
        facts.insert(format!("{package} {name} reserved {}", range.start()));
    }
    for inner in &message.nested_type {
        of_message(package, &format!("{name}."), inner, facts);
    }
    for inner in &message.enum_type {
        of_enum(package, &format!("{name}."), inner, facts);
    }
}

fn of_enum(package: &str, scope: &str, declared: &EnumDescriptorProto, facts: &mut BTreeSet<String>) {
    for value in &declared.value {
        facts.insert(format!(
            "{package} {scope}{} {} = {}",
            declared.name(),
            value.name(),
            value.number()
        ));
    }
}

#[test]
fn the_descriptors_have_every_row_of_the_table_and_nothing_else() {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let mut ours = BTreeSet::new();
    for file in set
        .file
        .iter()
        .filter(|file| ["flow", "observer", "peer", "relay"].contains(&file.package()))
    {
        for message in &file.message_type {
            of_message(file.package(), "", message, &mut ours);
        }
        for declared in &file.enum_type {
            of_enum(file.package(), "", declared, &mut ours);
        }
        for service in &file.service {
            for method in &service.method {
                let short = |name: &str| name.rsplit('.').next().unwrap_or_default().to_owned();
                let stream = if method.server_streaming() { "stream " } else { "" };
                ours.insert(format!(
                    "{} {} {} {} -> {stream}{}",
                    file.package(),
                    service.name(),
                    method.name(),
                    short(method.input_type()),
                    short(method.output_type())
                ));
            }
        }
    }

    let mut table = BTreeSet::new();
    for line in include_str!("fixtures/wire.tsv").lines().skip(1) {
        let cells: Vec<&str> = line.split('\t').collect();
        let [_, package, owner, kind, name, number, of_type, label] = cells[..] else {
            panic!("not 8 cells: {line}")
        };
        if name == "(reserved)" && kind == "message" {
            table.extend(
                number
                    .split(", ")
                    .map(|number| format!("{package} {owner} reserved {number}")),
            );
        }
        if name.starts_with('(') {
            continue;
        }
        let short = of_type.rsplit('.').next().unwrap_or_default();
        table.insert(match kind {
            "enum" => format!("{package} {owner} {name} = {number}"),
            "service" => format!("{package} {owner} {name} {of_type}"),
            _ => {
                let oneof = label
                    .split_once("oneof ")
                    .map_or("", |(_, rest)| rest.split(' ').next().unwrap_or_default());
                format!(
                    "{package} {owner} {name} {number} {short} repeated={} oneof={oneof} deprecated={}",
                    label.contains("repeated"),
                    label.contains("[deprecated]")
                )
            }
        });
    }
    let missing: Vec<_> = table.difference(&ours).collect();
    let surplus: Vec<_> = ours.difference(&table).collect();
    assert!(table.len() > 400, "the table was not read");
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "missing: {missing:#?}\nsurplus: {surplus:#?}"
    );
}

#[test]
fn fields_are_declared_in_the_order_of_the_table() {
    let set = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
    let messages: Vec<_> = set
        .file
        .iter()
        .flat_map(|file| file.message_type.iter().map(move |message| (file.package(), message)))
        .collect();
    let mut compared = 0;
    for (package, message) in messages {
        let of_table: Vec<&str> = include_str!("fixtures/wire.tsv")
            .lines()
            .map(|line| line.split('\t').collect::<Vec<_>>())
            .filter(|cells| cells[1] == package && cells[2] == message.name() && cells[3] == "message")
            .map(|cells| cells[4])
            .filter(|name| !name.starts_with('('))
            .collect();
        if of_table.is_empty() {
            continue;
        }
        let ours: Vec<&str> = message
            .field
            .iter()
            .filter(|field| field.number() < FIRST_OWN_FIELD)
            .map(|field| field.name())
            .collect();
        assert_eq!(ours, of_table, "{package}.{}", message.name());
        compared += 1;
    }
    assert!(compared > 40, "only {compared} messages are in the table");
}
