//! `kerolox bench` against the real binary.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use serde_json::Value;
use support::{Folder, Kerolox, run};

fn bench(args: &[&str]) -> Value {
    let output = run(&[&["bench"], args, &["--json", "--warm-up", "0"]].concat());
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_str(&text).unwrap()
}

#[test]
fn what_is_produced_is_consumed() {
    let folder = Folder::new("bench");
    let kerolox = Kerolox::start(&folder.path("data"));
    let namesrv = kerolox.namesrv().to_string();
    let broker = kerolox.broker().to_string();
    let pid = kerolox.pid().to_string();
    let mut expected = 0;
    for (args, count) in [
        (&["--encoding", "json", "--size", "1"][..], 1_000),
        (&["--encoding", "rocketmq", "--size", "100000", "--connections", "1", "--in-flight", "1"], 50),
        (&["--batch", "32", "--in-flight", "2", "--size", "16"], 3_200),
        (&["--rate", "2000"], 1_000),
    ] {
        let fixed = ["produce", "-n", &namesrv, "--pid", &pid, "--duration", "20", "--count"];
        let result = bench(&[&fixed[..], &[&count.to_string()], args].concat());
        assert_eq!(result["messages"], count, "{result}");
        assert_eq!(result["errors"], serde_json::json!({}));
        let ms = |q| result["latency_ms"][q].as_f64().unwrap();
        assert!(ms("p50") > 0.0 && ms("p50") <= ms("p99") && ms("p99") <= ms("max"), "{result}");
        assert!(result["broker_cpu_s_per_million"].as_f64().is_some(), "{result}");
        expected += count;
    }
    for encoding in ["json", "rocketmq"] {
        let result = bench(&[
            "consume",
            "-b",
            &broker,
            "--from-start",
            "--to-end",
            "--duration",
            "20",
            "--encoding",
            encoding,
        ]);
        assert_eq!(result["messages"], expected, "{result}");
    }
    kerolox.end();
}

#[test]
fn refusals_are_counted_by_code_and_no_success_is_a_failure() {
    let folder = Folder::new("bench-refused");
    let conf = folder.file("broker.conf", "maxMessageSize=2048\n");
    let kerolox = Kerolox::spawn(|offset| {
        let mut command = std::process::Command::new(support::BINARY);
        command.args(["--port-offset", &offset.to_string(), "-c", conf.to_str().unwrap(), "--data"]);
        command.arg(folder.path("data"));
        command
    });
    let broker = kerolox.broker().to_string();
    let output = run(&[
        "bench",
        "produce",
        "-b",
        &broker,
        "--size",
        "3000",
        "--count",
        "100",
        "--warm-up",
        "0",
        "--json",
    ]);
    assert_eq!(output.status.code(), Some(1));
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(result["errors"], serde_json::json!({"MESSAGE_ILLEGAL 13": 100}));
    assert!(String::from_utf8(output.stderr).unwrap().ends_with("kerolox: no message got through\n"));
    kerolox.end();
}

#[test]
fn messages_of_lite_topics_are_popped_and_acknowledged() {
    let folder = Folder::new("bench-lite");
    let kerolox = Kerolox::start(&folder.path("data"));
    let broker = kerolox.broker().to_string();
    let result = bench(&["lite", "-b", &broker, "-t", "parent", "--lite-topics", "40", "--messages", "5"]);
    for step in ["send", "pop"] {
        assert_eq!(result[step]["messages"], 200, "{result}");
        assert_eq!(result[step]["errors"], serde_json::json!({}), "{result}");
    }
    kerolox.end();
}

#[test]
fn nobody_there_is_one_line() {
    let line = support::refusal(&["bench", "produce", "-b", "127.0.0.1:1"], 1);
    assert_eq!(line, "kerolox: broker 127.0.0.1:1: cannot connect: Connection refused (os error 111)");
}

#[test]
fn limits_of_the_machine_are_positive() {
    let folder = Folder::new("bench-limits");
    let data = folder.path("data");
    let output = run(&["bench", "limits", "--data", data.to_str().unwrap(), "--duration", "0.02", "--json"]);
    let result: Value = serde_json::from_slice(&output.stdout).unwrap();
    let figures = result.as_object().unwrap();
    assert_eq!(figures.len(), 10);
    for (name, figure) in figures {
        assert!(figure["value"].as_f64().unwrap() > 0.0, "{name}");
    }
    assert_eq!(std::fs::read_dir(&data).unwrap().count(), 0, "nothing is left behind");
}
