//! Starting and ending the real binary, and the one clear line that says why it did not start.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use std::net::TcpListener;
use std::process::Command;
use support::{
    BINARY, Folder, Kerolox, broker_address, free_offset, namesrv_address, refusal, run, small_disk,
};

#[test]
fn one_ready_line_and_a_clean_end_on_sigterm_and_sigint() {
    let folder = Folder::new("ready");
    let data = folder.path("data");
    for signal in ["-TERM", "-INT"] {
        let kerolox = Kerolox::start(&data);
        let (ns, broker) = (kerolox.namesrv(), kerolox.broker());
        let ready = kerolox.ready.clone();
        assert!(ready.starts_with("kerolox 0.1.0 ready in "), "{ready}");
        assert!(ready.contains(&format!("name server {ns}, broker ")), "{ready}");
        assert!(ready.contains(&format!(" at {broker}, data {}", data.display())), "{ready}");
        assert!(!ready.contains("recovered"), "{ready}");
        kerolox.signal(signal);
        let (code, said) = kerolox.wait();
        assert_eq!(code, Some(0), "{said:?}");
        assert!(said.last().unwrap().ends_with("stopped cleanly"), "{said:?}");
    }
}

#[test]
fn after_a_kill_it_says_that_it_recovered() {
    let folder = Folder::new("killed");
    let data = folder.path("data");
    let kerolox = Kerolox::start(&data);
    kerolox.signal("-KILL");
    assert_eq!(kerolox.wait().0, None);
    let kerolox = Kerolox::start(&data);
    assert!(kerolox.ready.contains("recovered ("), "{}", kerolox.ready);
    kerolox.end();
}

/// The bytes are bounded by the frontier: see `Frontier::raise_limit`.
#[test]
fn with_asynchronous_flush_an_unclean_end_is_said_with_what_may_be_lost() {
    let folder = Folder::new("killed-async");
    let data = folder.path("data");
    let settings = folder.file("broker.conf", "flushDiskType=ASYNC_FLUSH\nflushIntervalCommitLog=700\n");
    let start = || {
        Kerolox::spawn(|offset| {
            let mut command = Command::new(BINARY);
            command.args(["--port-offset", &offset.to_string(), "-c"]).arg(&settings);
            command.arg("--data").arg(&data);
            command
        })
    };
    let says = |said: &[String]| {
        said.iter().any(|line| line.contains("in the last 700 ms (flushIntervalCommitLog) before the last"))
    };
    let kerolox = start();
    kerolox.signal("-KILL");
    assert!(!says(&kerolox.wait().1), "a new directory");
    let kerolox = start();
    kerolox.signal("-TERM");
    assert!(says(&kerolox.wait().1), "killed");
    let kerolox = start();
    kerolox.signal("-TERM");
    assert!(!says(&kerolox.wait().1), "ended in order");
}

#[test]
fn a_second_start_on_the_same_folder_names_the_holder() {
    let folder = Folder::new("held");
    let data = folder.path("data");
    let kerolox = Kerolox::start(&data);
    let offset = free_offset().to_string();
    let why = refusal(&["--data", data.to_str().unwrap(), "--port-offset", &offset], 1);
    assert!(why.contains(&format!("process {}", kerolox.pid())), "{why}");
    assert!(why.starts_with("kerolox: cannot open the data directory "), "{why}");
    kerolox.end();
}

#[test]
fn a_used_port_is_named_with_the_way_out() {
    let folder = Folder::new("port");
    for (what, address) in
        [("broker", broker_address as fn(u16) -> _), ("name server", namesrv_address as fn(u16) -> _)]
    {
        let offset = free_offset();
        let taken = address(offset);
        let _holder = TcpListener::bind(taken).unwrap();
        let data = folder.path("data");
        let why = refusal(&["--data", data.to_str().unwrap(), "--port-offset", &offset.to_string()], 1);
        assert_eq!(
            why,
            format!(
                "kerolox: the {what} cannot listen on {taken}: Address already in use (os error 98); stop the process \
                 that uses this port, or shift all ports with --port-offset N"
            )
        );
        assert!(!data.exists(), "nothing is to be written when the start is refused");
    }
}

#[test]
fn a_folder_that_cannot_be_used_is_named() {
    let folder = Folder::new("unwritable");
    let file = folder.file("file", "");
    let offset = free_offset().to_string();
    for data in [file.join("below"), "/proc/kerolox".into()] {
        let shown = data.display().to_string();
        let why = refusal(&["--data", &shown, "--port-offset", &offset], 1);
        assert!(why.starts_with(&format!("kerolox: cannot open the data directory {shown}: ")), "{why}");
    }
}

#[test]
fn a_full_disk_is_one_line() {
    let folder = Folder::new("full");
    let offset = free_offset();
    let then = format!(
        "head -c 9m /dev/zero > \"$1/filler\" 2>/dev/null; exec \"$2\" --data \"$1/data\" --port-offset {offset}"
    );
    let Some(mut command) = small_disk(&folder, 8, &then) else { return };
    let output = command.output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
    assert!(said.contains("No space left on device"), "{said}");
}

#[test]
fn flags_that_are_not_valid_are_named() {
    for (args, why) in [
        (
            &["--prot-offset", "1"][..],
            "unexpected argument '--prot-offset' found; a similar argument exists: '--port-offset'",
        ),
        (&["--port-offset", "x"], "invalid value 'x' for '--port-offset <N>': invalid digit found in string"),
        (
            &["--listen", "localhost"],
            "invalid value 'localhost' for '--listen <ADDR>': invalid IP address syntax",
        ),
        (&["namesrv", "--data", "x"], "unexpected argument '--data' found"),
        (&["brokr"], "unrecognized subcommand 'brokr'; a similar subcommand exists: 'broker'"),
    ] {
        let line = refusal(args, 2);
        assert!(line.starts_with(&format!("kerolox: {why}")), "{line}\n{why}");
        assert!(line.ends_with("(kerolox --help tells what there is)"), "{line}");
    }
}

#[test]
fn settings_that_are_not_valid_are_named() {
    let folder = Folder::new("settings");
    let conf = folder.file("broker.conf", "brokerName=a\n\nlistenPort=high\n");
    let conf = conf.to_str().unwrap();
    for (args, why) in [
        (&["-c", conf][..], format!("{conf}:3: listenPort=high is not valid: it must be a whole number from 1 to 65535")),
        (&["-c", "/nowhere.conf"], "cannot read the configuration file /nowhere.conf: No such file or directory (os error 2)".into()),
        (&["--port-offset", "60000"], "--port-offset 60000 shifts port 10911 out of 1 to 65535".into()),
        (&["--advertise", "a b"], "the address to advertise, \"a b\", is not valid: it must be HOST or HOST:PORT".into()),
        (&["broker"], "a broker needs a name server to register with: give -n HOST:PORT (or run `kerolox standalone`)".into()),
        (&["broker", "-n", "nowhere"], "the name server \"nowhere\" is not valid: it must be HOST:PORT".into()),
        (&["--listen", "192.0.2.1", "--data", "/proc/x"], "the broker cannot listen on 192.0.2.1:10911: Cannot assign requested address (os error 99); --listen must be an address of this machine".into()),
    ] {
        assert_eq!(refusal(args, 1), format!("kerolox: {why}"));
    }
}

#[test]
fn an_apache_file_works_and_what_has_no_effect_is_said() {
    let folder = Folder::new("apache");
    let data = folder.path("data");
    let text = format!(
        "brokerClusterName = DefaultCluster\nbrokerName = broker-a\nbrokerId = 0\ndeleteWhen = 04\nfileReservedTime = 48\n\
         brokerRole = ASYNC_MASTER\nflushDiskType = ASYNC_FLUSH\nstorePathRootDir={}\nsendMessageThreadPoolNums=64\n\
         autoCreateTopicEnabel=false\n",
        data.display()
    );
    let conf = folder.file("broker.conf", &text);
    let kerolox = Kerolox::spawn(|offset| {
        let mut command = Command::new(BINARY);
        command.args(["-c", conf.to_str().unwrap(), "--port-offset", &offset.to_string()]);
        command
    });
    assert!(kerolox.ready.contains(&format!("broker broker-a at {}", kerolox.broker())), "{}", kerolox.ready);
    assert!(kerolox.ready.contains(&format!("data {}", data.display())), "{}", kerolox.ready);
    let conf = conf.display();
    let said = kerolox.says().unwrap();
    assert!(
        said.contains(&format!("warning: {conf}:9: sendMessageThreadPoolNums=64 has no effect: ")),
        "{said}"
    );
    let said = kerolox.says().unwrap();
    assert!(
        said.ends_with(&format!(
            "warning: {conf}:10: autoCreateTopicEnabel is not a known key and has no effect; is autoCreateTopicEnable meant?"
        )),
        "{said}"
    );
    kerolox.end();
}

#[test]
fn a_broker_apart_registers_and_leaves() {
    let folder = Folder::new("apart");
    let namesrv = Kerolox::spawn(|offset| {
        let mut command = Command::new(BINARY);
        command.args(["namesrv", "--port-offset", &offset.to_string()]);
        command
    });
    assert_eq!(namesrv.ready.split(": ").nth(1).unwrap(), format!("name server {}", namesrv.namesrv()));
    let data = folder.path("data");
    let broker = Kerolox::spawn(|offset| {
        let mut command = Command::new(BINARY);
        command.args(["broker", "-n", &namesrv.namesrv().to_string(), "--port-offset", &offset.to_string()]);
        command.arg("--data").arg(&data).args(["--advertise", "example.org:1234"]);
        command
    });
    assert!(broker.ready.contains("advertised as example.org:1234"), "{}", broker.ready);
    let route = || {
        use kerolox_wire::header::GetRouteInfo;
        use kerolox_wire::{Command, RequestCode};
        let header = GetRouteInfo { topic: Some("TBW102"), ..GetRouteInfo::default() };
        let request = Command::request(RequestCode::GET_ROUTEINFO_BY_TOPIC).with_header(&header);
        support::Raw::connect(namesrv.namesrv()).ask(&request)
    };
    let answer = route();
    assert_eq!(answer.code, 0, "{:?}", answer.remark);
    let body = String::from_utf8(answer.body.to_vec()).unwrap();
    assert!(body.contains("example.org:1234"), "{body}");
    broker.end();
    assert_eq!(route().code, 17, "a broker that left has no route");
    namesrv.end();
}

#[test]
fn an_open_address_is_warned_of_and_an_own_address_advertised() {
    let folder = Folder::new("open");
    let kerolox = Kerolox::spawn(|offset| {
        let mut command = Command::new(BINARY);
        command.args(["--listen", "0.0.0.0", "--advertise", "example.org", "--port-offset"]);
        command.arg(offset.to_string()).arg("--data").arg(folder.path("data"));
        command
    });
    let port = kerolox.broker().port();
    assert!(kerolox.ready.contains(&format!(", advertised as example.org:{port}, ")), "{}", kerolox.ready);
    let said = kerolox.says().unwrap();
    assert!(said.contains("warning: listening on 0.0.0.0 without access control"), "{said}");
    kerolox.end();
}

#[test]
fn help_and_version_are_for_people() {
    for (args, part) in [
        (&["--help"][..], "name server and broker that lose no acknowledged message"),
        (&["broker", "--help"], "name servers to register with"),
        (&["bench", "produce", "--help"], "Requests in flight on each connection"),
        (&["--version"], "kerolox 0.1.0"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0));
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains(part), "{text}");
    }
}
