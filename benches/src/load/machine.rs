//! What a figure depends on: kernel, processor, mitigations, build.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Serialize;

const VULNERABILITIES: &str = "/sys/devices/system/cpu/vulnerabilities";

/// The machine and the build.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Machine {
    /// Release of the kernel.
    pub kernel: String,
    /// Model of the processor.
    pub cpu: String,
    /// Cores that this program may use.
    pub cores: usize,
    /// What is done against which weakness of the processor; those it doesn't have are left out.
    pub mitigations: BTreeMap<String, String>,
    /// Processes that wanted to run in the last minute, before this run: anything above 0.5 is noise.
    pub load_before: f64,
    /// The compiler.
    pub rustc: String,
    /// Whether this is a build for speed.
    pub release: bool,
}

impl Machine {
    /// This machine.
    #[must_use]
    pub fn this() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let load = read("/proc/loadavg");
        Self {
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            cpu: model(&read("/proc/cpuinfo")).unwrap_or("unknown").to_owned(),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            mitigations: mitigations(Path::new(VULNERABILITIES)),
            load_before: load
                .split(' ')
                .next()
                .and_then(|value| value.parse().ok())
                .unwrap_or_default(),
            rustc: env!("RUSTC_VERSION").to_owned(),
            release: !cfg!(debug_assertions),
        }
    }
}

/// The first processor's name: x86 says "model name", others "Model" or "cpu model".
fn model(cpuinfo: &str) -> Option<&str> {
    cpuinfo.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        ["model name", "Model", "cpu model"]
            .contains(&name.trim())
            .then(|| value.trim())
    })
}

fn mitigations(folder: &Path) -> BTreeMap<String, String> {
    let Ok(entries) = fs::read_dir(folder) else {
        return BTreeMap::new();
    };
    entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let text = fs::read_to_string(entry.path()).ok()?;
            let text = text.trim();
            (text != "Not affected").then(|| (entry.file_name().to_string_lossy().into_owned(), text.to_owned()))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_model_is_the_first_processors() {
        let text = "processor\t: 0\nmodel\t\t: 1\nmodel name\t: AMD EPYC: 9\n\nmodel name\t: other\n";
        assert_eq!(model(text), Some("AMD EPYC: 9"));
        assert_eq!(model("processor\t: 0\n"), None);
    }

    #[test]
    fn weaknesses_that_the_processor_does_not_have_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("meltdown"), "Not affected\n").unwrap();
        fs::write(folder.path().join("retbleed"), "Mitigation: untrained return thunk\n").unwrap();
        let found = mitigations(folder.path());
        assert_eq!(found.len(), 1);
        assert_eq!(found["retbleed"], "Mitigation: untrained return thunk");
        assert!(mitigations(Path::new("/nonexistent")).is_empty());
    }
}
