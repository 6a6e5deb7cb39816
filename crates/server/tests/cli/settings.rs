//! `bilin config`, where values come from, and the help.

use crate::workspace::Workspace;
use serde_json::Value;

fn setting(lines: &[Value], key: &str) -> (Value, String) {
    let line = lines.iter().find(|line| line["key"] == key).unwrap_or_else(|| panic!("no {key}"));
    (line["value"].clone(), line["origin"].as_str().unwrap().to_owned())
}

#[test]
fn flag_beats_variable_beats_file_beats_default() {
    let workspace = Workspace::new();
    let data = |run: crate::workspace::Run| setting(&run.exits(0).json(), "data");
    let expect = |value: &str, origin: &str| (Value::from(value), origin.to_owned());
    let config = ["config", "--json"];
    assert_eq!(data(workspace.run(&config)), expect("./bilin-data", "default"));
    workspace.write("bilin.toml", "data = \"from-file\"\n[serve]\nmax_body_bytes = 1000\n");
    assert_eq!(data(workspace.run(&config)), expect("from-file", "bilin.toml"));
    let variable = ("BILIN_DATA", "from-variable");
    assert_eq!(
        data(workspace.run_with(variable, &config)),
        expect("from-variable", "environment BILIN_DATA")
    );
    let flags = ["config", "--json", "--data", "from-flag"];
    assert_eq!(data(workspace.run_with(variable, &flags)), expect("from-flag", "flag --data"));
    let lines = workspace.run(&config).json();
    assert_eq!(setting(&lines, "serve.max_body_bytes"), expect("1000", "bilin.toml"));
    assert!(!workspace.path("from-file").exists(), "config makes nothing");
}

#[test]
fn secrets_are_not_shown() {
    let workspace = Workspace::new();
    for arguments in [&["config"][..], &["config", "--json"]] {
        let run = workspace.run_with(("BILIN_API_KEY", "open-sesame"), arguments).exits(0);
        assert!(!run.text().contains("sesame") && !run.stderr.contains("sesame"), "{}", run.text());
        assert!(run.text().contains("BILIN_API_KEY"), "{}", run.text());
    }
}

#[test]
fn unknown_keys_and_bad_values_are_refused() {
    let workspace = Workspace::new();
    workspace.write("a.toml", "[serve]\nlisen = \"127.0.0.1:1\"\n");
    let run = workspace.run(&["config", "--config", "a.toml"]).exits(1);
    run.complains(&["serve.lisen", "a.toml"]);
    run.hints("serve.listen");
    workspace.write("b.toml", "threads = \"many\"\n");
    workspace.run(&["config", "--config", "b.toml"]).exits(1).complains(&["threads", "\"many\"", "b.toml"]);
    workspace.write("c.toml", "threads = = 1\n");
    workspace.run(&["config", "--config", "c.toml"]).exits(1).complains(&["c.toml", "line 1"]);
    workspace.run(&["config", "--config", "d.toml"]).exits(1).complains(&["d.toml"]);
    let run = workspace.run_with(("BILIN_API_KEI", "x"), &["collections"]).exits(1);
    run.complains(&["BILIN_API_KEI"]);
    run.hints("BILIN_API_KEY");
}

#[test]
fn the_default_file_can_be_used_as_it_is() {
    let workspace = Workspace::new();
    let file = workspace.run(&["config", "--default"]).exits(0);
    let defaults = workspace.run(&["config", "--json"]).exits(0).json();
    workspace.write("bilin.toml", &file.stdout);
    let lines = workspace.run(&["config", "--json"]).exits(0).json();
    assert_eq!(lines.len(), defaults.len());
    for (line, default) in lines.iter().zip(&defaults) {
        // What has a default comes from the file now; what has none stands there as a comment.
        let origin = if default["value"].is_null() { "default" } else { "bilin.toml" };
        assert_eq!((&line["key"], &line["value"]), (&default["key"], &default["value"]));
        assert_eq!(line["origin"], origin, "{line}");
    }
    let text = file.text();
    for key in defaults.iter().map(|line| line["variable"].as_str().unwrap()) {
        assert!(
            text.lines().any(|line| line.starts_with("# ") && line.ends_with(&format!(" ({key})"))),
            "{key}"
        );
    }
    let (listen, origin) = setting(&lines, "serve.listen");
    assert_eq!((listen, origin.as_str()), (Value::from("127.0.0.1:8000"), "bilin.toml"));
    workspace.write("bilin.toml", "nonsense");
    workspace.run(&["config", "--default"]).exits(0);
}

#[test]
fn help_names_every_command_and_the_exit_codes() {
    let workspace = Workspace::new();
    let help = workspace.run(&["--help"]).exits(0).text();
    for command in [
        "demo",
        "add",
        "search",
        "serve",
        "collections",
        "delete",
        "encode",
        "bench",
        "model",
        "config",
        "tune",
        "doctor",
    ] {
        assert!(help.contains(&format!("\n  {command} ")), "{command}: {help}");
        workspace.run(&[command, "--help"]).exits(0);
    }
    assert!(help.contains("Exit codes: 0 "), "{help}");
    assert!(workspace.run(&["--version"]).exits(0).text().starts_with("bilin "));
}
