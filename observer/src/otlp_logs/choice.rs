//! The setting `--otlp-logs`: which flows become log records.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use flow::api::flow::{FlowFilter, Verdict};
use flow::api::unknown_field;
use flow::filter::{FilterError, Filters};
use serde_json::Value;

/// Which flows are wanted.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Choice {
    /// None.
    #[default]
    Off,
    /// Drops.
    Drops,
    /// What a filter chooses that is given as JSON.
    Filter(String),
    /// What a file of filters chooses.
    File(PathBuf),
}

/// Why flows can't be chosen.
#[derive(Debug, thiserror::Error)]
pub enum ChoiceError {
    /// The file can't be read.
    #[error(
        "--otlp-logs: cannot read {path}: {why}; write off, drops, a filter as JSON, or the name of a file of filters"
    )]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        why: io::Error,
    },
    /// The file is not what it should be.
    #[error("--otlp-logs: {path}: {why}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The JSON is not what it should be.
    #[error("{0}")]
    Json(String),
    /// A filter can't be used.
    #[error(transparent)]
    Filter(#[from] FilterError),
}

impl Choice {
    /// The filters; `None` if no flow is wanted.
    ///
    /// # Errors
    /// What is wrong with the file.
    pub fn filters(&self) -> Result<Option<Filters>, ChoiceError> {
        Ok(Some(match self {
            Self::Off => return Ok(None),
            Self::Drops => {
                let drops = FlowFilter {
                    verdict: vec![Verdict::Dropped.into()],
                    ..FlowFilter::default()
                };
                Filters::compile(&[drops], &[])?
            }
            Self::Filter(text) => {
                let value = serde_json::from_str(text).map_err(|error| ChoiceError::Json(error.to_string()))?;
                compile(value)?
            }
            Self::File(path) => {
                let text = std::fs::read_to_string(path).map_err(|why| ChoiceError::Unreadable {
                    path: path.clone(),
                    why,
                })?;
                let wrong = |why: String| ChoiceError::File {
                    path: path.clone(),
                    why,
                };
                let value = serde_saphyr::from_str(&text).map_err(|error| wrong(error.to_string()))?;
                compile(value).map_err(|error| wrong(error.to_string()))?
            }
        }))
    }
}

/// One filter, a list of which one must match, or what is to be included and excluded.
fn compile(value: Value) -> Result<Filters, ChoiceError> {
    const INCLUDE: &str = "includeFilters";
    const EXCLUDE: &str = "excludeFilters";
    let (include, exclude) = match value {
        Value::Object(mut both) if both.contains_key(INCLUDE) || both.contains_key(EXCLUDE) => {
            let mut take = |name| both.remove(name).map_or_else(|| Ok(Vec::new()), filters);
            let (include, exclude) = (take(INCLUDE)?, take(EXCLUDE)?);
            if let Some(name) = both.keys().next() {
                let why = format!("`{name}` can't stand beside {INCLUDE} and {EXCLUDE}");
                return Err(ChoiceError::Json(why));
            }
            (include, exclude)
        }
        Value::Object(_) => (filters(Value::Array(vec![value]))?, Vec::new()),
        other => (filters(other)?, Vec::new()),
    };
    Ok(Filters::compile(&include, &exclude)?)
}

fn filters(list: Value) -> Result<Vec<FlowFilter>, ChoiceError> {
    let Value::Array(list) = list else {
        let right = "write a filter as {verdict: [DROPPED]}, a list of them, or includeFilters and excludeFilters";
        return Err(ChoiceError::Json(format!("there is no filter; {right}")));
    };
    list.into_iter().map(filter).collect()
}

/// A filter of which everything was understood. The API passes over what it does not know, and would choose every flow in
/// place of few.
fn filter(value: Value) -> Result<FlowFilter, ChoiceError> {
    let wrong = |error: serde_json::Error| ChoiceError::Json(error.to_string());
    if let Some(name) = unknown_field(".flow.FlowFilter", &value) {
        return Err(ChoiceError::Json(format!(
            "a filter has no field `{name}`; the fields are those of the API's FlowFilter"
        )));
    }
    let filter: FlowFilter = serde_json::from_value(value.clone()).map_err(wrong)?;
    let understood = serde_json::to_value(&filter).map_err(wrong)?;
    let plain = |name: &str| name.replace('_', "").to_ascii_lowercase();
    let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
    let understood: HashMap<String, Value> = fields(&understood)
        .into_iter()
        .map(|(name, value)| (plain(&name), value))
        .collect();
    for (name, value) in fields(&value) {
        let Some(understood) = understood.get(&plain(&name)) else {
            return Err(ChoiceError::Json(format!(
                "nothing is in the field `{name}` of a filter"
            )));
        };
        let given = value.as_array().into_iter().flatten();
        let mut unknown = given.filter(|value| {
            let is_kept = |list: &Vec<Value>| list.contains(value);
            value.is_string() && !understood.as_array().is_some_and(is_kept)
        });
        if let Some(text) = unknown.next() {
            return Err(ChoiceError::Json(format!(
                "the field `{name}` of a filter can't be {text}"
            )));
        }
    }
    Ok(filter)
}

impl FromStr for Choice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let choice = match text.trim() {
            "off" => Self::Off,
            "drops" => Self::Drops,
            "" => return Err("write off, drops, a filter as JSON, or the name of a file of filters".to_owned()),
            json if json.starts_with(['{', '[']) => Self::Filter(json.to_owned()),
            path => Self::File(path.into()),
        };
        if let Self::Filter(_) = &choice {
            choice.filters().map_err(|error| error.to_string())?;
        }
        Ok(choice)
    }
}

impl fmt::Display for Choice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => formatter.write_str("off"),
            Self::Drops => formatter.write_str("drops"),
            Self::Filter(text) => formatter.write_str(text),
            Self::File(path) => path.display().fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use flow::builder::FlowBatchBuilder;
    use flow::record::FlowRecord;

    use super::*;

    /// Which of a forwarded, a dropped and a failed flow are chosen.
    fn chosen(text: &str) -> Vec<usize> {
        let choice: Choice = text.parse().unwrap();
        assert_eq!(choice.to_string().parse::<Choice>().unwrap(), choice);
        let mut builder = FlowBatchBuilder::new(1, 0);
        for verdict in [1, 2, 3] {
            builder.append(&FlowRecord {
                verdict,
                ..FlowRecord::default()
            });
        }
        let batch = builder.seal().unwrap();
        let filters = choice.filters().unwrap();
        filters.map_or_else(Vec::new, |filters| filters.matches(&batch).set_indices().collect())
    }

    #[test]
    fn flows_are_chosen_by_words_filters_and_files() {
        assert!(chosen("off").is_empty());
        assert_eq!(chosen("drops"), [1]);
        assert_eq!(chosen("{}"), [0, 1, 2]);
        assert_eq!(chosen(r#"{"verdict": ["FORWARDED"]}"#), [0]);
        assert_eq!(
            chosen(r#"[{"verdict": ["FORWARDED"]}, {"verdict": ["ERROR"]}]"#),
            [0, 2]
        );
        assert_eq!(chosen(r#"{"excludeFilters": [{"verdict": ["FORWARDED"]}]}"#), [1, 2]);
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "includeFilters:\n  - verdict: [DROPPED, ERROR]\n").unwrap();
        assert_eq!(chosen(file.path().to_str().unwrap()), [1, 2]);
    }

    #[test]
    fn what_is_wrong_is_told() {
        for (text, why) in [
            ("", "write off, drops"),
            ("{verdict}", "key must be a string at line 1 column 2"),
            (r#"{"verdikt": ["DROPPED"]}"#, "no field `verdikt`"),
            (r#"{"verdict": ["DROPPED", "DROPED"]}"#, "DROPED"),
            (r#"[{"verdict": []}]"#, "nothing is in the field `verdict`"),
            (r#"[3]"#, "expected struct flow.FlowFilter"),
            (r#"{"source_ip": ["10.0.0.0/99"]}"#, "10.0.0.0/99"),
            (
                r#"{"includeFilters": [], "filters": []}"#,
                "`filters` can't stand beside",
            ),
            (r#"{"includeFilters": {}}"#, "there is no filter"),
        ] {
            let error = text.parse::<Choice>().unwrap_err();
            assert!(error.contains(why), "{text}: {error}");
        }
        let missing = "/nonexistent/filters"
            .parse::<Choice>()
            .unwrap()
            .filters()
            .unwrap_err()
            .to_string();
        assert!(
            missing.contains("cannot read /nonexistent/filters: No such file"),
            "{missing}"
        );
        let file = tempfile::NamedTempFile::new().unwrap();
        let path = file.path().to_str().unwrap();
        for (content, why) in [
            ("drop", "there is no filter"),
            ("verdict: [", ""),
            ("source_ip: [x]", "source_ip"),
        ] {
            std::fs::write(file.path(), content).unwrap();
            let error = path.parse::<Choice>().unwrap().filters().unwrap_err().to_string();
            assert!(error.contains(path) && error.contains(why), "{content}: {error}");
        }
    }
}
