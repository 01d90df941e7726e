//! The reference in docs/sql.md says what tables, views, functions and examples say.

use std::fmt::Write as _;
use std::fs;

use arrow_schema::DataType;
use datafusion::prelude::SessionContext;
use sql::{examples, functions, views};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/sql.md");
const REFRESH: &str = "UPDATE_DOCS=1 cargo test -p sql --test docs";
/// What is before it is written by hand.
const MARK: &str = "<!-- From here on made from the program; after a change there run: ";

/// A type as SQL calls it.
fn type_name(data_type: &DataType) -> &'static str {
    match data_type {
        DataType::Utf8 | DataType::Utf8View => "text",
        DataType::Boolean => "boolean",
        DataType::Timestamp(..) => "timestamp",
        DataType::Float64 => "double",
        DataType::Binary | DataType::BinaryView => "bytes",
        integer if integer.is_integer() => "integer",
        other => panic!("a type without a name: {other}"),
    }
}

fn cell(text: &str) -> String {
    text.replace('|', "\\|")
}

async fn reference() -> String {
    let session = SessionContext::new();
    functions::register(&session);
    session
        .register_batch(
            "flows",
            arrow_array::RecordBatch::new_empty(flow::table::table_schema()),
        )
        .expect("new");
    views::register(&session).await.expect("views over that table");

    let mut page = format!("{MARK}{REFRESH} -->\n\n## Examples\n\n`parallax sql --examples` prints them too.\n");
    for examples::Example {
        title,
        explanation,
        sql,
    } in examples::ALL
    {
        write!(page, "\n### {title}\n\n{explanation}\n\n```sql\n{sql}\n```\n").expect("text takes any text");
    }
    page += "\n## Functions\n\nNext to those of the engine ([list](https://datafusion.apache.org/user-guide/sql/scalar_functions.html)):\n";
    for functions::FunctionInfo {
        call,
        doc,
        example: (expression, value),
        ..
    } in functions::ALL
    {
        write!(
            page,
            "\n### `{call}`\n\n{doc}\n\n```sql\nSELECT {expression}  -- {value}\n```\n"
        )
        .expect("text takes any text");
    }
    let head = "| column | type | |\n| --- | --- | --- |\n";
    write!(page, "\n## Table `flows`\n\nOne row for each flow.\n\n{head}").expect("text takes any text");
    for field in flow::table::table_schema().fields() {
        let (name, kind, doc) = (
            field.name(),
            type_name(field.data_type()),
            cell(&field.metadata()["doc"]),
        );
        writeln!(page, "| `{name}` | {kind} | {doc} |").expect("text takes any text");
    }
    for view in views::ALL.iter() {
        let schema = session
            .table(view.name)
            .await
            .expect("registered")
            .schema()
            .as_arrow()
            .clone();
        write!(page, "\n## View `{}`\n\n{}\n\n{head}", view.name, view.doc).expect("text takes any text");
        for field in view.documented(&schema).fields() {
            let (name, kind, doc) = (
                field.name(),
                type_name(field.data_type()),
                cell(&field.metadata()["doc"]),
            );
            writeln!(page, "| `{name}` | {kind} | {doc} |").expect("text takes any text");
        }
    }
    page
}

#[tokio::test]
async fn the_reference_is_up_to_date() {
    let expected = reference().await;
    let page = fs::read_to_string(PAGE).expect("the page is there");
    let (by_hand, found) = page.split_at(page.find(MARK).expect("the mark is there"));
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(PAGE, format!("{by_hand}{expected}")).expect("the page can be written");
        return;
    }
    let first_difference = expected
        .lines()
        .zip(found.lines())
        .find(|(expected, found)| expected != found);
    assert!(
        found == expected,
        "docs/sql.md is stale; run: {REFRESH}\nfirst difference: {first_difference:?}"
    );
}
