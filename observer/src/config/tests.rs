use super::*;

fn config(arguments: &[&str]) -> Result<Config, clap::Error> {
    Config::from_arguments(
        std::iter::once("x")
            .chain(arguments.iter().copied())
            .map(Into::into)
            .collect(),
    )
}

#[test]
fn a_flag_wins_over_the_file_and_the_file_over_the_default() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(
        file.path(),
        "memory: 1GiB\nconnections: 7\nsilence: off\ninterface: [veth*, '!x']\n",
    )
    .unwrap();
    let config = config(&["--config", file.path().to_str().unwrap(), "--connections", "8"]).unwrap();
    assert_eq!(config.settings.memory, ByteSize::gib(1));
    assert_eq!(config.settings.connections, 8);
    assert_eq!(config.settings.silence.wait(), None);
    assert_eq!(config.settings.interface, ["veth*", "!x"]);
    assert_eq!(config.settings.listen.len(), 2);
}

#[test]
fn a_setting_that_is_not_there_is_named() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), "memroy: 1GiB\n").unwrap();
    let error = config(&["--config", file.path().to_str().unwrap()])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("there is no setting `memroy`; there are: listen, tls-cert-file"),
        "{error}"
    );
    assert!(config(&["--config", "/nonexistent"]).is_err());
    assert!(config(&["--memory", "lots"]).is_err());
    assert!(config(&["--listen", "nowhere"]).is_err());
    assert!(config(&["--silence", "3"]).is_err());
}

#[test]
fn a_file_says_what_to_capture_and_the_command_line_goes_before_it() {
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(
        file.path(),
        "capture: |\n  tcp port 443\n  and net 10.0.0.0/8\ndrops-only: true\n",
    )
    .unwrap();
    let path = file.path().to_str().unwrap();
    let settings = config(&["--config", path]).unwrap().into_settings();
    assert_eq!(settings.capture.compiled().length, 2);
    assert!(settings.drops_only);
    let settings = config(&["--config", path, "--capture", "", "--drops-only=false"])
        .unwrap()
        .into_settings();
    assert!(settings.capture.is_empty() && !settings.drops_only);
    assert!(config(&["--drops-only"]).unwrap().into_settings().drops_only);
    assert!(config(&["--drops-only", "--replay", "x.pcap"]).is_err());
    fs::write(file.path(), "capture: tcp port htp\n").unwrap();
    let error = config(&["--config", path]).unwrap_err().to_string();
    assert!(
        error.contains("expected a port number (0 to 65535) at column 10"),
        "{error}"
    );
}

#[test]
fn what_is_printed_can_be_read() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let first = config(&[
        "--memory",
        "3MiB",
        "--interface",
        "eth*",
        "--capture",
        "not port 22",
        "--drops-only",
    ])
    .unwrap();
    fs::write(file.path(), serde_saphyr::to_string(&first).unwrap()).unwrap();
    let second = config(&["--config", file.path().to_str().unwrap()]).unwrap();
    assert_eq!(
        serde_saphyr::to_string(&second).unwrap(),
        serde_saphyr::to_string(&first).unwrap()
    );
}

#[test]
fn http_is_read_unless_a_flag_or_the_file_says_no() {
    assert!(config(&[]).unwrap().settings.http.are_read());
    let off = config(&["--http", "off"]).unwrap();
    assert!(!off.settings.http.are_read());
    let file = tempfile::NamedTempFile::new().unwrap();
    fs::write(file.path(), off.to_yaml().unwrap()).unwrap();
    let read = config(&["--config", file.path().to_str().unwrap()]).unwrap();
    assert!(!read.settings.http.are_read(), "what is printed can be read");
    assert!(config(&["--http", "maybe"]).is_err());
}
