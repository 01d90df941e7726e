//! The shell: statements over several lines, with history and completion.

use std::borrow::Cow;
use std::path::PathBuf;

use ::sql::engine::TABLES;
use ::sql::functions;
use anyhow::Result;
use reedline::{
    ColumnarMenu, DefaultCompleter, Emacs, FileBackedHistory, KeyCode, KeyModifiers, MenuBuilder as _, Prompt,
    PromptEditMode, PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, Signal, ValidationResult, Validator,
    default_emacs_keybindings,
};

use super::output::{Format, Output};
use super::source::{self, Source};
use super::{answer, examples, statements};

const KEYWORDS: [&str; 32] = [
    "SELECT", "FROM", "WHERE", "GROUP", "BY", "ORDER", "LIMIT", "HAVING", "DISTINCT", "AND", "OR", "NOT", "NULL", "IS",
    "IN", "LIKE", "BETWEEN", "JOIN", "LEFT", "ON", "AS", "CASE", "WHEN", "THEN", "ELSE", "END", "DESC", "INTERVAL",
    "DESCRIBE", "EXPLAIN", "UNION", "WITH",
];

const HELP: &str = r"Statements end with a semicolon and may go over several lines.
  \d [TABLE]    list the tables, or describe one
  \df           list the functions
  \x            rows as blocks, or as a table again
  \timing       what is said below an answer, on or off
  \pager        whether answers that are larger than the terminal go through $PAGER (less), on or off
  \o [FILE]     write answers to a file, or to the terminal again
  \examples     useful questions
  \?            this help
  \q            end (or Ctrl-D)
Ctrl-C ends the query that runs. Tab completes names.";

const MENU: &str = "names";

struct UntilSemicolon;

impl Validator for UntilSemicolon {
    fn validate(&self, text: &str) -> ValidationResult {
        if statements::is_complete(text) {
            ValidationResult::Complete
        } else {
            ValidationResult::Incomplete
        }
    }
}

struct Parallax;

impl Prompt for Parallax {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        "parallax".into()
    }

    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }

    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        "=> ".into()
    }

    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "        -> ".into()
    }

    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        format!("(search: {}) ", search.term).into()
    }
}

/// Where lines are remembered: in the state folder of the XDG base directory specification.
fn history_file() -> Option<PathBuf> {
    let folder = std::env::var_os("XDG_STATE_HOME")
        .map(PathBuf::from)
        .or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".local/state")))?;
    Some(folder.join("parallax").join("sql_history"))
}

fn editor(names: Vec<String>) -> Reedline {
    let mut words = names;
    words.extend(KEYWORDS.iter().map(ToString::to_string));
    words.extend(TABLES.iter().map(ToString::to_string));
    words.extend(functions::ALL.iter().map(|function| function.name.to_owned()));
    let mut completer = DefaultCompleter::with_inclusions(&['_']).set_min_word_len(1);
    completer.insert(words);
    let mut keys = default_emacs_keybindings();
    keys.add_binding(
        KeyModifiers::NONE,
        KeyCode::Tab,
        ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.to_owned()), ReedlineEvent::MenuNext]),
    );
    let mut editor = Reedline::create()
        .with_validator(Box::new(UntilSemicolon))
        .with_completer(Box::new(completer))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(
            ColumnarMenu::default().with_name(MENU),
        )))
        .with_edit_mode(Box::new(Emacs::new(keys)))
        .with_ansi_colors(std::env::var_os("NO_COLOR").is_none());
    if let Some(path) = history_file() {
        match FileBackedHistory::with_file(10_000, path.clone()) {
            Ok(history) => editor = editor.with_history(Box::new(history)),
            Err(error) => eprintln!("lines are not remembered: cannot use {}: {error}", path.display()),
        }
    }
    editor
}

/// Reads and answers until the end.
pub(super) async fn run(mut source: Source, output: Output) -> Result<()> {
    source::check(&mut source).await?;
    let names = source.names().await.unwrap_or_default();
    println!("parallax sql {}. \\? for help, \\q to end.", crate::version::VERSION);
    let mut editor = editor(names);
    loop {
        match editor.read_line(&Parallax)? {
            Signal::Success(text) => {
                // Lines are kept also if the program is killed.
                if let Err(error) = editor.sync_history() {
                    eprintln!("lines are not remembered: {error}");
                }
                let text = text.trim();
                if text.is_empty() {
                    continue;
                }
                let done = match text.strip_prefix('\\') {
                    Some("q") => return Ok(()),
                    Some(command) => meta(&mut source, &output, command.trim_end_matches(';').trim()).await,
                    None => all(&mut source, &output, text).await,
                };
                if let Err(error) = done {
                    eprintln!("ERROR: {error:#}");
                }
            }
            Signal::CtrlD => return Ok(()),
            _ => {}
        }
    }
}

async fn all(source: &mut Source, output: &Output, text: &str) -> Result<()> {
    for statement in statements::split(text) {
        answer(source, output, &statement).await?;
    }
    Ok(())
}

/// Commands that begin with a backslash.
async fn meta(source: &mut Source, output: &Output, command: &str) -> Result<()> {
    let (name, rest) = command.split_once(char::is_whitespace).unwrap_or((command, ""));
    let rest = rest.trim();
    match (name, rest) {
        ("?" | "h" | "help", _) => println!("{HELP}"),
        ("examples", _) => print!("{}", examples()),
        ("d" | "dt", "") => {
            let tables = "SELECT table_name, table_type FROM information_schema.tables WHERE table_schema = 'public' \
                          ORDER BY table_type, table_name";
            answer(source, output, &tables.into()).await?;
        }
        ("d", table)
            if table
                .chars()
                .all(|character| character.is_alphanumeric() || character == '_') =>
        {
            answer(source, output, &format!("DESCRIBE {table}").as_str().into()).await?;
        }
        ("df", _) => {
            for function in functions::ALL {
                println!("{:<40} {}", function.call, function.doc);
            }
        }
        ("x", _) => {
            let expanded = output.format.get() == Format::Expanded;
            output
                .format
                .set(if expanded { Format::Table } else { Format::Expanded });
            println!("rows as {}", if expanded { "a table" } else { "blocks" });
        }
        ("timing", _) => {
            output.timing.set(!output.timing.get());
            println!(
                "what is said below an answer is {}",
                if output.timing.get() { "on" } else { "off" }
            );
        }
        ("pager", _) => {
            output.paged.set(!output.paged.get());
            println!("the pager is {}", if output.paged.get() { "on" } else { "off" });
        }
        ("o", file) => {
            let path = Some(PathBuf::from(file)).filter(|path| !path.as_os_str().is_empty());
            output.to_file(path)?;
        }
        _ => anyhow::bail!("there is no command \\{command}; \\? lists them"),
    }
    Ok(())
}
