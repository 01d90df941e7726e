//! The setting `--otlp-logs`: which flows become log records.

use std::fmt;
use std::io;
use std::path::PathBuf;
use std::str::FromStr;

use flow::api::flow::{FlowFilter, Verdict};
use flow::filter::{FilterError, Filters};
use serde::Deserialize;
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

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Both {
    #[serde(default)]
    include_filters: Vec<FlowFilter>,
    #[serde(default)]
    exclude_filters: Vec<FlowFilter>,
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
    let wrong = |error: serde_json::Error| ChoiceError::Json(error.to_string());
    let is_both = ["includeFilters", "excludeFilters"]
        .iter()
        .any(|name| value.get(name).is_some());
    let (include, exclude) = match value {
        Value::Object(_) if is_both => {
            let both: Both = serde_json::from_value(value).map_err(wrong)?;
            (both.include_filters, both.exclude_filters)
        }
        Value::Object(_) => (vec![serde_json::from_value(value).map_err(wrong)?], Vec::new()),
        Value::Array(_) => (serde_json::from_value(value).map_err(wrong)?, Vec::new()),
        _ => {
            let right = "write a filter as {verdict: [DROPPED]}, a list of them, or includeFilters and excludeFilters";
            return Err(ChoiceError::Json(format!("there is no filter; {right}")));
        }
    };
    Ok(Filters::compile(&include, &exclude)?)
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
            (r#"{"verdikt": []}"#, "verdikt"),
            (r#"{"source_ip": ["10.0.0.0/99"]}"#, "10.0.0.0/99"),
            (r#"{"includeFilters": [], "filters": []}"#, "filters"),
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
