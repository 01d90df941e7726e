//! What a printer shows, and how.

use super::time::{TimeFormat, Zone};

/// A form of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// One line a flow.
    #[default]
    Compact,
    /// One line a field.
    Dict,
    /// One JSON object a line.
    Json,
    /// Columns, aligned once all rows are known.
    Table,
}

/// What to show of each flow.
#[derive(Clone, Debug)]
pub struct Options {
    /// Form of output.
    pub format: Format,
    /// Form of times in all formats but JSON.
    pub time_format: TimeFormat,
    /// Time zone of times in all formats but JSON.
    pub zone: Zone,
    /// Show the node of each flow.
    pub print_node_name: bool,
    /// Show the policies that allowed or denied a flow.
    pub print_policy_names: bool,
    /// Show names of addresses where they are known, else always the addresses.
    pub ip_translation: bool,
    /// Colours for terminals, in the formats compact and dict.
    pub color: bool,
    /// A symbol before what went wrong, as the terminal viewer has it: `✗ DROPPED`. For people only.
    pub symbols: bool,
    /// A second line for each drop, with the kernel's reason and what to check next; in the format compact.
    pub explain_drops: bool,
    /// Show every change of a node's state, not only failures.
    pub all_node_status: bool,
    /// In JSON, only the flow or the lost events, without the response around them.
    pub bare_json: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            format: Format::default(),
            time_format: TimeFormat::default(),
            zone: Zone::default(),
            print_node_name: false,
            print_policy_names: false,
            ip_translation: true,
            color: false,
            symbols: false,
            explain_drops: false,
            all_node_status: false,
            bare_json: false,
        }
    }
}
