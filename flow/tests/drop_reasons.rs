//! The page about drop reasons says what the table says.

use std::fmt::Write as _;
use std::fs;

use flow::api::flow::DropReason as ApiReason;
use flow::drop_reason;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/drop-reasons.md");
const REFRESH: &str = "UPDATE_DOCS=1 cargo test -p flow --test drop_reasons";

/// A sentence for a cell of a table: capital letter, no column separators.
fn cell(text: &str) -> String {
    let (first, rest) = text.split_at(1);
    first.to_uppercase() + &rest.replace('|', "\\|")
}

fn page() -> String {
    let mut page = format!(
        "# Drop reasons\n\n\
         <!-- Made from flow/src/drop_reason/table.tsv; after a change there run: {REFRESH} -->\n\n\
         Why the Linux kernel gave a packet up, under the kernel's own names (without `SKB_DROP_REASON_`). Names and\n\
         numbers come from the running kernel, so a reason that is newer than this page is shown by its name, with \"no\n\
         advice yet\". What says *noise* is the receiver's normal behaviour: nothing that anybody waited for was lost.\n\n\
         IFACE stands for an interface, ADDRESS for the packet's destination, SOURCE for its source. Run commands in the\n\
         network namespace that the drop shows. \"Others see\" is the nearest value of the API's `DropReason`, which clients\n\
         that know nothing of the kernel's names print.\n"
    );
    let mut section = "";
    for reason in drop_reason::all() {
        if reason.section != section {
            section = reason.section;
            let head = "| reason | what happened | what to check next | others see |\n| --- | --- | --- | --- |";
            writeln!(page, "\n## {section}\n\n{head}").expect("text takes any text");
        }
        let noise = if reason.benign { " *(noise)*" } else { "" };
        let api = match ApiReason::try_from(reason.api).expect("a number of the API") {
            ApiReason::Unknown => "–".to_owned(),
            api => format!("`{}`", api.as_str_name()),
        };
        let (meaning, next) = (cell(reason.meaning), cell(reason.next));
        writeln!(page, "| `{}`{noise} | {meaning} | {next} | {api} |", reason.name).expect("text takes any text");
    }
    page
}

#[test]
fn the_page_is_up_to_date() {
    let expected = page();
    if std::env::var_os("UPDATE_DOCS").is_some() {
        fs::write(PAGE, &expected).expect("the page can be written");
    }
    let found = fs::read_to_string(PAGE).unwrap_or_default();
    let first_difference = expected
        .lines()
        .zip(found.lines())
        .find(|(expected, found)| expected != found);
    assert!(
        found == expected,
        "docs/drop-reasons.md is stale; run: {REFRESH}\nfirst difference: {first_difference:?}"
    );
}
