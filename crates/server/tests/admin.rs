//! `kerolox admin` against the real binary: what it prints, as table and as JSON, and how it ends.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]

mod support;

use serde_json::{Value, json};
use std::process::Command;
use support::{BINARY, Folder, Kerolox};

/// A server to administer.
struct Server {
    _folder: Folder,
    kerolox: Kerolox,
}

impl Server {
    fn start(name: &str) -> Self {
        let folder = Folder::new(name);
        let conf = folder.file("broker.conf", "brokerName=broker-a\n");
        let kerolox = Kerolox::spawn(|offset| {
            let mut command = Command::new(BINARY);
            command.args(["--port-offset", &offset.to_string(), "--data"]).arg(folder.path("data"));
            command.arg("-c").arg(&conf);
            command
        });
        Self { _folder: folder, kerolox }
    }

    fn broker(&self) -> String {
        self.kerolox.broker().to_string()
    }

    /// Exit code, standard output, standard error of `kerolox admin LINE`; words are separated by spaces.
    fn run(&self, line: &str) -> (i32, String, String) {
        let output = Command::new(BINARY)
            .arg("admin")
            .args(line.split(' '))
            .env("NAMESRV_ADDR", self.kerolox.namesrv().to_string())
            .env("TZ", "UTC")
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    }

    /// What a command prints that is done. `ADDR` stands for the broker's address, in the command and in the result.
    #[track_caller]
    fn done(&self, line: &str) -> String {
        let (code, stdout, stderr) = self.run(&line.replace("ADDR", &self.broker()));
        assert_eq!((code, stderr.as_str()), (0, ""), "{line}");
        if let Some(topic) = line.strip_prefix("updateTopic ").and_then(|rest| rest.split("-t ").nth(1)) {
            self.wait_for(&format!("topicRoute -t {}", topic.split(' ').next().unwrap()));
        }
        stdout.replace(&self.broker(), "ADDR")
    }

    /// Until a command is done that was not at first: name servers learn of changes a little later.
    #[track_caller]
    fn wait_for(&self, line: &str) {
        let begun = std::time::Instant::now();
        while self.run(line).0 != 0 && begun.elapsed() < support::PATIENCE {
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }

    #[track_caller]
    fn json(&self, line: &str) -> Value {
        serde_json::from_str(&self.done(&format!("{line} --output json"))).unwrap()
    }

    /// As [`Self::json`], once it is done.
    #[track_caller]
    fn soon(&self, line: &str) -> Value {
        self.wait_for(line);
        self.json(line)
    }

    /// The one line on standard error of a command that fails.
    #[track_caller]
    fn fails(&self, line: &str, exit_code: i32) -> String {
        let (code, _, stderr) = self.run(&line.replace("ADDR", &self.broker()));
        assert_eq!(code, exit_code, "{line}: {stderr}");
        assert_eq!(stderr.lines().count(), 1, "{line}: {stderr}");
        stderr.trim_end().replace(&self.broker(), "ADDR")
    }
}

/// Lines with runs of spaces made one, for tables whose widths a unit test has.
fn squeezed(text: &str) -> Vec<String> {
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn topics_are_created_shown_changed_and_deleted() {
    let server = Server::start("admin-topics");
    let config = "TopicConfig [topicName=TA, readQueueNums=8, writeQueueNums=8, perm=RW-, topicFilterType=SINGLE_TAG, \
                  topicSysFlag=0, order=false, attributes={}]";
    assert_eq!(
        server.done("updateTopic -c DefaultCluster -t TA"),
        format!("create topic to ADDR success.\n{config}\n")
    );
    let made = server.json("updateTopic -b ADDR -t TB -r 2 -w 4 -p 4 -a +message.type=FIFO");
    assert_eq!(made["brokers"], json!(["ADDR"]));
    assert_eq!(made["topicConfig"]["attributes"], json!({"+message.type": "FIFO"}));
    let (read, write) = (&made["topicConfig"]["readQueueNums"], &made["topicConfig"]["writeQueueNums"]);
    assert_eq!((read, write), (&json!(2), &json!(4)));

    // The name server is told a moment later where the last time took long.
    server.soon("topicRoute -t TB");
    let route = server.done("topicRoute -t TA");
    assert!(
        route.starts_with(
            "{\n\t\"brokerDatas\":[\n\t\t{\n\t\t\t\"brokerAddrs\":{\n\t\t\t\t0:\"ADDR\"\n\t\t\t},\n"
        ),
        "{route}"
    );
    assert_eq!(server.json("topicRoute -t TA")["queueDatas"][0]["writeQueueNums"], 8);
    let table = server.done("topicRoute -t TB -l");
    assert!(
        table.starts_with(
            "#ClusterName                                  #BrokerName                      #BrokerAddrs "
        ),
        "{table}"
    );
    let lines = squeezed(&table);
    assert_eq!(lines[1], "DefaultCluster broker-a {0=ADDR} 2 4 4");
    assert_eq!((lines[2].as_str(), lines[3].as_str()), ("-".repeat(158).as_str(), "Total: 1 2 4"));
    assert_eq!(
        server.json("topicRoute -t TB -l")["total"],
        json!({"brokers": 1, "readQueueNums": 2, "writeQueueNums": 4})
    );

    assert_eq!(server.done("topicClusterList -t TA"), "DefaultCluster\n");
    assert_eq!(server.json("topicClusterList -t TA"), json!({"clusters": ["DefaultCluster"]}));
    let names = server.done("topicList");
    assert!(names.lines().any(|name| name == "TA") && names.lines().is_sorted(), "{names}");
    let with_clusters = squeezed(&server.done("topicList -c"));
    assert_eq!(with_clusters[0], "#Cluster Name #Topic #Consumer Group");
    assert!(with_clusters.contains(&"DefaultCluster TA".to_owned()), "{with_clusters:?}");

    assert_eq!(
        server.done("updateTopicPerm -b ADDR -t TA -p 4"),
        format!("update topic perm from 6 to 4 in ADDR success.\n{}.\n", config.replace("RW-", "R--"))
    );
    assert_eq!(server.done("updateTopicPerm -b ADDR -t TA -p 4"), "new perm equals to the old one!\n");
    assert_eq!(
        server.json("updateTopicPerm -c DefaultCluster -t TA -p 6"),
        json!({"changed": [{"broker": "ADDR", "from": 4, "to": 6}]})
    );
    let shared = server.json("allocateMQ -t TA -i a,b,c");
    let counts: Vec<_> =
        ["a", "b", "c"].iter().map(|c| shared["result"][c].as_array().unwrap().len()).collect();
    assert_eq!(counts, [3, 3, 2]);

    assert_eq!(
        server.done("deleteTopic -c DefaultCluster -t TB"),
        "delete topic [TB] from cluster [DefaultCluster] success.\ndelete topic [TB] from NameServer success.\n"
    );
    let why = server.fails("topicRoute -t TB", 1);
    assert!(why.ends_with("(code TOPIC_NOT_EXIST 17)"), "{why}");
    let why = server.fails("updateTopic -b ADDR -t a/b", 1);
    assert!(why.starts_with("kerolox: ADDR refused UPDATE_AND_CREATE_TOPIC 17: "), "{why}");
    let why = server.fails("updateTopicPerm -b 127.0.0.1:1 -t TA -p 2", 1);
    assert_eq!(why, "kerolox: 127.0.0.1:1 is no master that has the topic TA");
}

#[test]
fn topics_and_groups_come_from_files() {
    let server = Server::start("admin-lists");
    let folder = Folder::new("admin-lists-files");
    let topics = folder.file(
        "topics.json",
        r#"[{"topicName":"LA","readQueueNums":3,"writeQueueNums":3},{"topicName":"LB"}]"#,
    );
    let done = server.done(&format!("updateTopicList -c DefaultCluster -f {}", topics.display()));
    assert_eq!(done, "submit batch of topic config to ADDR success, please check the result later.\n");
    assert_eq!(server.soon("topicRoute -t LA")["queueDatas"][0]["readQueueNums"], 3);
    assert_eq!(server.soon("topicRoute -t LB")["queueDatas"][0]["readQueueNums"], 16);
    let groups = folder.file("groups.json", r#"[{"groupName":"GA","retryMaxTimes":3}]"#);
    let done = server.done(&format!("updateSubGroupList -b ADDR -f {}", groups.display()));
    assert_eq!(done, "submit batch of group config to ADDR success, please check the result later.\n");
    assert_eq!(server.json("getConsumerConfig -g GA")["brokers"][0]["groupConfig"]["retryMaxTimes"], 3);
    let nothing = folder.file("nothing.json", "[]");
    for (file, why) in [
        (nothing.display().to_string(), "is an empty list"),
        (folder.path("missing").display().to_string(), "No such file or directory (os error 2)"),
        (
            folder.file("broken.json", "{").display().to_string(),
            "the body is not valid JSON for this request",
        ),
    ] {
        let said = server.fails(&format!("updateTopicList -b ADDR -f {file}"), 1);
        assert!(said.contains(why), "{said}");
    }
}

/// Used to be kept in memory only: a restart of a name server took the orders of topics with it.
#[test]
fn the_table_of_a_name_server_survives_a_kill() {
    let folder = Folder::new("admin-kv");
    let start =
        || Server { _folder: Folder::new("admin-kv-none"), kerolox: Kerolox::start(&folder.path("data")) };
    let server = start();
    server.done("updateOrderConf -t TO -m put -v broker-a:4");
    server.done("updateKvConfig -s ns -k key -v value");
    server.done("updateKvConfig -s ns -k gone -v value");
    server.done("deleteKvConfig -s ns -k gone");
    drop(server);
    let file = folder.path("data/kvConfig.json");
    let kept = std::fs::read_to_string(&file).unwrap();
    assert_eq!(kept, r#"{"configTable":{"ORDER_TOPIC_CONFIG":{"TO":"broker-a:4"},"ns":{"key":"value"}}}"#);
    let server = start();
    assert_eq!(server.json("updateOrderConf -t TO -m get")["orderConf"], "broker-a:4");
    // What cannot be kept is refused, and not believed meanwhile.
    std::fs::remove_file(&file).unwrap();
    std::fs::create_dir_all(file.join("in the way")).unwrap();
    let why = server.fails("updateOrderConf -t TO -m put -v broker-a:8", 1);
    assert!(why.contains("the key-value table cannot be kept in"), "{why}");
    assert_eq!(server.json("updateOrderConf -t TO -m get")["orderConf"], "broker-a:4");
    drop(server);
    std::fs::remove_dir_all(&file).unwrap();
    std::fs::write(&file, "{").unwrap();
    let why = support::refusal(
        &[
            "--data",
            folder.path("data").to_str().unwrap(),
            "--port-offset",
            &support::free_offset().to_string(),
        ],
        1,
    );
    assert!(
        why.contains("kvConfig.json is not a key-value table: mend it, or move it away to begin with none"),
        "{why}"
    );
}

#[test]
fn orders_and_tables_of_name_servers() {
    let server = Server::start("admin-namesrv");
    server.done("updateTopic -b ADDR -t TO -o true -w 4");
    assert_eq!(
        server.done("updateOrderConf -t TO -m get"),
        "get orderConf success. topic=[TO], orderConf=[broker-a:4] \n"
    );
    server.done("updateOrderConf -t TO -m put -v other:2");
    let set = server.done("updateTopic -b ADDR -t TO -o true -w 8");
    assert!(
        set.starts_with(
            "set broker orderConf. isOrder=true, orderConf=[broker-a:8]\ncreate topic to ADDR success.\n"
        ),
        "{set}"
    );
    assert_eq!(server.json("updateOrderConf -t TO -m get")["orderConf"], "other:2;broker-a:8");
    server.done("updateOrderConf -t TO -m delete");
    let why = server.fails("updateOrderConf -t TO -m get", 1);
    assert_eq!(why, "kerolox: the topic TO has no order configuration");

    assert_eq!(
        server.done("updateKvConfig -s ns -k key -v value"),
        "create or update kv config to namespace success.\n"
    );
    assert_eq!(server.done("deleteKvConfig -s ns -k key"), "delete kv config from namespace success.\n");
    let namesrv = server.kerolox.namesrv();
    let wiped = server.done("wipeWritePerm -b broker-a");
    assert!(
        wiped.starts_with(&format!("wipe write perm of broker[broker-a] in name server[{namesrv}] OK, ")),
        "{wiped}"
    );
    assert_eq!(server.json("topicRoute -t TO")["queueDatas"][0]["perm"], 4);
    let given = server.json("addWritePerm -b broker-a");
    assert_eq!(given["nameServers"][0]["nameServer"], namesrv.to_string());
    assert_eq!(server.json("topicRoute -t TO")["queueDatas"][0]["perm"], 6);
    let absent = server.done("wipeWritePerm -b nobody");
    assert!(absent.ends_with(" OK, 0\n"), "{absent}");
}

#[test]
fn groups_are_created_shown_and_deleted() {
    let server = Server::start("admin-groups");
    let made = server.done("updateSubGroup -c DefaultCluster -g GA -o true -q 2 -r 5");
    let config = "SubscriptionGroupConfig{groupName=GA, consumeEnable=true, consumeFromMinEnable=false, \
                  consumeBroadcastEnable=false, consumeMessageOrderly=true, retryQueueNums=2, retryMaxTimes=5, \
                  groupRetryPolicy=GroupRetryPolicy{type=CUSTOMIZED, exponentialRetryPolicy=null, \
                  customizedRetryPolicy=null}, brokerId=0, whichBrokerWhenConsumeSlowly=1, \
                  notifyConsumerIdsChangedEnable=true, groupSysFlag=0, consumeTimeoutMinute=15, \
                  subscriptionDataSet=null, attributes={}}";
    assert_eq!(made, format!("create subscription group to ADDR success.\n{config}\n"));
    let shown = server.done("getConsumerConfig -g GA");
    let rule = "=".repeat(29);
    assert!(
        shown.starts_with(&format!(
            "{rule}DefaultCluster:broker-a{rule}\ngroupName                               =  GA\n"
        )),
        "{shown}"
    );
    assert_eq!(shown.lines().count(), 16);
    let policy = r#"{"type":"EXPONENTIAL","exponentialRetryPolicy":{"initial":5,"max":7,"multiplier":2}}"#;
    server.done(&format!("updateSubGroup -b ADDR -g GB -p {policy}"));
    let config = &server.json("getConsumerConfig -g GB")["brokers"][0]["groupConfig"];
    assert_eq!(config["groupRetryPolicy"]["exponentialRetryPolicy"]["max"], 7);
    let why = server.fails("updateSubGroup -b ADDR -g GB -p nonsense", 2);
    assert!(why.contains("-p nonsense: "), "{why}");

    assert_eq!(
        server.done("deleteSubGroup -c DefaultCluster -g GA -r true"),
        "delete subscription group [GA] from broker [ADDR] in cluster [DefaultCluster] success.\n"
    );
    assert_eq!(
        server.done("deleteSubGroup -b ADDR -g GB"),
        "delete subscription group [GB] from broker [ADDR] success.\n"
    );
    let why = server.fails("getConsumerConfig -g GA", 1);
    assert_eq!(why, "kerolox: no broker knows a consumer group GA (updateSubGroup creates one)");
    assert_eq!(
        server.fails("deleteSubGroup -g GA", 2),
        "kerolox: missing: one of --brokerAddr, --clusterName"
    );
}

#[test]
fn messages_are_sent_and_found_again() {
    let server = Server::start("admin-messages");
    server.done("updateTopic -c DefaultCluster -t TM");
    let sent = server.done("sendMessage -t TM -p hello -k key1 -c TagA -b broker-a -i 3");
    let lines = squeezed(&sent);
    assert_eq!(lines[0], "#Broker Name #QID #Send Result #MsgId");
    assert!(lines[1].starts_with("broker-a 3 SEND_OK "), "{sent}");
    let id = lines[1].rsplit(' ').next().unwrap().to_owned();
    assert_eq!(
        (id.len(), server.json("sendMessage -t TM -p two")["sent"][0]["status"].as_str()),
        (32, Some("SEND_OK"))
    );

    let found = server.json("queryMsgByKey -t TM -k key1");
    assert_eq!(
        (&found["messages"][0]["messageId"], &found["messages"][0]["queueId"]),
        (&json!(id), &json!(3))
    );
    assert_eq!(squeezed(&server.done("queryMsgByKey -t TM -k no"))[0], "#Message ID #QID #Offset #IndexKey");
    let by_unique = server.json(&format!("queryMsgByUniqueKey -t TM -i {id}"));
    let message = &by_unique["messages"][0];
    assert_eq!((&message["body"], &message["properties"]["TAGS"]), (&json!("hello"), &json!("TagA")));
    let offset_id = message["offsetMessageId"].as_str().unwrap();
    for line in [
        format!("queryMsgById -t TM -i {offset_id} -f UTF-8"),
        format!("queryMsgById -t TM -i {id} -f UTF-8"),
        "queryMsgByOffset -t TM -b broker-a -i 3 -o 0 -f UTF-8".to_owned(),
    ] {
        let shown = server.done(&line);
        for wanted in [
            format!("OffsetID:            {offset_id}\n"),
            "Topic:               TM\nTags:                [TagA]\nKeys:                [key1]\nQueue ID:            3\n".into(),
            "Store Host:          ADDR\n".into(),
            format!("Message Body Path:   /tmp/rocketmq/msgbodys/{id}\nMessage Body:        hello\n"),
        ] {
            assert!(shown.contains(&wanted), "{line}: {shown}\n{wanted}");
        }
    }
    assert_eq!(std::fs::read_to_string(format!("/tmp/rocketmq/msgbodys/{id}")).unwrap(), "hello");
    let why = server.fails("queryMsgByUniqueKey -t TM -i nope", 1);
    assert_eq!(why, "kerolox: the topic TM has no message nope");
    let why = server.fails("queryMsgByOffset -t TM -b broker-a -i 3 -o 9", 1);
    assert!(why.contains("has no message at 9"), "{why}");

    let again = server.done(&format!("queryMsgById -t TM -i {offset_id} -s true"));
    assert!(
        again.starts_with(&format!(
            "prepare resend msg. originalMsgId={offset_id}SendResult [sendStatus=SEND_OK, "
        )),
        "{again}"
    );
    assert_eq!(server.json("queryMsgByKey -t TM -k key1")["messages"].as_array().unwrap().len(), 2);
}

#[test]
fn messages_are_printed_and_measured() {
    let server = Server::start("admin-print");
    server.done("updateTopic -c DefaultCluster -t TP -r 2 -w 2");
    for (body, tag) in [("m0", "A"), ("m1", "B"), ("m2", "A")] {
        server.done(&format!("sendMessage -t TP -p {body} -c {tag} -b broker-a -i 1"));
    }
    let printed = server.done("printMsg -t TP -d true");
    assert!(
        printed.starts_with(
            "minOffset=0, maxOffset=0, MessageQueue [topic=TP, brokerName=broker-a, queueId=0]\n"
        ),
        "{printed}"
    );
    let bodies = |text: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.split_once(" BODY: ")).map(|(_, body)| body.to_owned()).collect()
    };
    assert_eq!(bodies(&printed), ["m0", "m1", "m2"]);
    assert!(printed.contains("MAX_OFFSET=3, MIN_OFFSET=0, "), "{printed}");
    assert!(printed.contains("body=[109, 48], transactionId='null'}] BODY: m0\n"), "{printed}");
    assert_eq!(bodies(&server.done("printMsg -t TP -d false -s A")), ["NOT PRINT BODY"; 2]);
    let counted = server.done("printMsgByQueue -t TP -a broker-a -i 1 -p true -d true -f true");
    assert_eq!(bodies(&counted), ["m0", "m1", "m2"]);
    assert!(
        counted.ends_with(&format!("Tag: {:<30} Count: 2\nTag: {:<30} Count: 1\n", "A", "B")),
        "{counted}"
    );
    assert_eq!(
        server.json("printMsgByQueue -t TP -a broker-a -i 1 -f true"),
        json!({"tags": {"A": 2, "B": 1}})
    );
    let two = server.json("consumeMessage -t TP -b broker-a -i 1 -o 1 -c 2");
    let two: Vec<_> =
        two["messages"].as_array().unwrap().iter().map(|m| m["body"].as_str().unwrap()).collect();
    assert_eq!(two, ["m1", "m2"]);
    let all = server.done("consumeMessage -t TP");
    assert_eq!(bodies(&all).len(), 3);
    assert!(all.ends_with("queueId=1] print msg finished. status=NO_NEW_MSG, offset=3\n"), "{all}");
    assert_eq!(
        server.fails("consumeMessage -t TP -i 1", 2),
        "kerolox: a queue (-i) needs its broker (-b), an offset (-o) its queue (-i)"
    );

    let trips = server.done("checkMsgSendRT -t TP -a 3 -s 10");
    let lines = squeezed(&trips);
    assert_eq!((lines[0].as_str(), lines.len()), ("#Broker Name #QID #Send Result #RT", 5));
    assert!(lines[1].starts_with("broker-a 0 true ") && lines[2].starts_with("broker-a 1 true "), "{trips}");
    assert!(lines[4].starts_with("Avg RT: "), "{trips}");
    let figures = server.json("clusterRT -a 2");
    assert_eq!(
        (&figures["brokers"][0]["successCount"], &figures["brokers"][0]["failCount"]),
        (&json!(2), &json!(0))
    );
    let sent = server.done("sendMsgStatus -b broker-a -c 2");
    assert_eq!(sent.matches("ms, SendResult=SendResult [sendStatus=SEND_OK, msgId=").count(), 2, "{sent}");
}

#[test]
fn brokers_of_clusters_are_listed() {
    let server = Server::start("admin-cluster");
    let lines = squeezed(&server.done("clusterList"));
    assert!(
        lines[0].starts_with("#Cluster Name #Broker Name #BID #Addr #Version #InTPS(LOAD) "),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("DefaultCluster broker-a 0 ADDR "), "{lines:?}");
    assert_eq!(server.json("clusterList")["brokers"][0]["brokerId"], 0);
    let lines = squeezed(&server.done("clusterList -m"));
    assert_eq!(
        lines[0],
        "#Cluster Name #Broker Name #InTotalYest #OutTotalYest #InTotalToday #OutTotalToday"
    );
    assert_eq!(
        server.fails("clusterList -c nope", 1),
        "kerolox: there is no cluster nope; the name server knows DefaultCluster"
    );
}

#[test]
fn what_cannot_be_done_is_said_with_its_exit_code() {
    let server = Server::start("admin-errors");
    for (line, why) in [
        (
            "topiclst",
            "kerolox: there is no command \"topiclst\"; is topicList meant? (kerolox admin help lists them)",
        ),
        ("topicRoute", "kerolox: missing: -t (kerolox admin help topicRoute tells what it takes)"),
        (
            "topicRoute -t T -z",
            "kerolox: -z is not a flag of topicRoute (kerolox admin help topicRoute tells what it takes)",
        ),
        ("topicRoute -t T --output xml", "kerolox: --output \"xml\" is neither table nor json"),
        ("topicRoute -t T --timeout 0", "kerolox: --timeout must be from 0.001 to 86400 seconds"),
        ("completion tcsh", "kerolox: which shell? kerolox admin completion bash|zsh|fish"),
        (
            "printMsg -t T -b yesterday",
            "kerolox: \"yesterday\" is no time: now, milliseconds since 1970 or yyyy-MM-dd#HH:mm:ss:SSS",
        ),
    ] {
        assert_eq!(server.fails(line, 2), why);
    }
    let why = server.fails("topicList -n 127.0.0.1:1;127.0.0.1:2", 1);
    assert_eq!(
        why,
        "kerolox: no name server answers (-n or NAMESRV_ADDR says where they are): 127.0.0.1:2 cannot be reached: \
         Connection refused (os error 111); is the server running, and is this its address?"
    );
    let namesrv = server.kerolox.namesrv();
    assert!(server.done(&format!("topicList -n 127.0.0.1:1;{namesrv}")).contains("TBW102\n"));
    let why = server.fails("addBroker -c x -b y", 1);
    assert_eq!(
        why,
        "kerolox: addBroker: Kerolox runs one broker in each process: there is no container; start or stop a process instead"
    );
    // A server that takes connections and says nothing is not waited for.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let why = server.fails(&format!("topicList --timeout 0.2 -n {}", silent.local_addr().unwrap()), 1);
    assert!(why.contains("no answer within 0.2 s (--timeout gives more)"), "{why}");
}

#[test]
fn help_and_completion_come_from_the_table() {
    let server = Server::start("admin-help");
    let overview = server.done("help");
    assert!(
        overview.contains(
            "\nTopics:\n  updateTopic                        Create a topic or change its settings.\n"
        ),
        "{overview}"
    );
    let help = server.done("help updateTopic");
    assert!(
        help.contains("\nUsage: kerolox admin updateTopic (-b HOST:PORT | -c CLUSTER) -t TOPIC [FLAGS]\n"),
        "{help}"
    );
    assert!(help.contains("\n  -n,  --namesrvAddr ADDRS "), "{help}");
    assert_eq!(server.done("updateTopic -h"), help);
    assert_eq!(server.done("UPDATETOPIC --help"), help);
    for (shell, part) in [
        ("bash", "complete -o default -F _kerolox kerolox"),
        ("zsh", "compdef _kerolox kerolox"),
        ("fish", "-a topicRoute -d 'Show where"),
    ] {
        let script = server.done(&format!("completion {shell}"));
        assert!(script.contains(part) && script.contains("topicRoute"), "{script}");
        if let Ok(mut child) = Command::new(shell).args(["-n"]).stdin(std::process::Stdio::piped()).spawn() {
            std::io::Write::write_all(&mut child.stdin.take().unwrap(), script.as_bytes()).unwrap();
            assert!(child.wait().unwrap().success(), "{shell} does not take its script");
        }
    }
    let offered = Command::new("bash")
        .args(["-c", "source /dev/stdin; COMP_WORDS=(kerolox admin topicRoute --li); COMP_CWORD=3; _kerolox; echo \"${COMPREPLY[@]}\""])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn();
    let mut offered = offered.unwrap();
    std::io::Write::write_all(&mut offered.stdin.take().unwrap(), server.done("completion bash").as_bytes())
        .unwrap();
    assert_eq!(String::from_utf8(offered.wait_with_output().unwrap().stdout).unwrap(), "--list\n");
}

/// A consumer that is connected to the broker and answers what it is asked, until it is dropped.
struct Consumer {
    stream: std::net::TcpStream,
    answers: Option<std::thread::JoinHandle<()>>,
}

/// What a Java client of 5.5.0 tells of itself, cut to what matters.
const RUNNING_INFO: &str = r#"{"jstack":null,"mqPopTable":{},"mqTable":{{"brokerName":"broker-a","queueId":0,"topic":"TC"}:{"cachedMsgCount":3,"commitOffset":2,"lastConsumeTimestamp":1000}},"properties":{"PROP_CONSUME_TYPE":"CONSUME_PASSIVELY","PROP_CONSUMER_START_TIMESTAMP":"0","PROP_CONSUMEORDERLY":"false"},"statusTable":{},"subscriptionSet":[{"topic":"TC","subString":"*"}],"userConsumerInfo":{}}"#;

impl Consumer {
    fn connect(server: &Server, group: &str, topic: &str) -> Self {
        use kerolox_wire::RequestCode;
        let mut raw = support::Raw::connect(server.kerolox.broker());
        let heartbeat = json!({
            "clientID": "10.0.0.9@1", "producerDataSet": [{"groupName": "PG"}],
            "consumerDataSet": [{
                "groupName": group, "consumeType": "CONSUME_PASSIVELY", "messageModel": "CLUSTERING",
                "consumeFromWhere": "CONSUME_FROM_FIRST_OFFSET",
                "subscriptionDataSet": [{"topic": topic, "subString": "*", "subVersion": 1}],
            }],
        });
        let request = kerolox_wire::Command::request(RequestCode::HEART_BEAT);
        let answer = raw.ask(&request.with_body(heartbeat.to_string().into_bytes()));
        assert_eq!(answer.code, 0, "{:?}", answer.remark);
        let stream = raw.stream.try_clone().unwrap();
        let answers = std::thread::spawn(move || {
            while let Ok(asked) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| raw.receive())) {
                let body = match RequestCode(asked.code) {
                    RequestCode::GET_CONSUMER_RUNNING_INFO => RUNNING_INFO,
                    RequestCode::CONSUME_MESSAGE_DIRECTLY => {
                        r#"{"autoCommit":true,"consumeResult":"CR_SUCCESS","order":false,"spentTimeMills":5}"#
                    }
                    _ => "",
                };
                if !asked.is_oneway() {
                    raw.send(&asked.respond(0).with_body(body.as_bytes().to_vec()));
                }
            }
        });
        Self { stream, answers: Some(answers) }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        let _ = self.answers.take().map(std::thread::JoinHandle::join);
    }
}

#[test]
fn consumers_and_how_far_they_are() {
    use kerolox_wire::header::UpdateConsumerOffset;
    let server = Server::start("admin-consumers");
    server.done("updateTopic -c DefaultCluster -t TC -r 1 -w 1");
    server.done("updateSubGroup -c DefaultCluster -g GC");
    assert!(
        server.fails("consumerProgress -g nobody", 1).contains("no broker knows a consumer group nobody")
    );
    let consumer = Consumer::connect(&server, "GC", "TC");
    for i in 0..5 {
        server.done(&format!("sendMessage -t TC -p m{i} -k k{i}"));
    }
    let header = UpdateConsumerOffset {
        consumer_group: "GC",
        topic: "TC",
        queue_id: 0,
        commit_offset: 2,
        ..UpdateConsumerOffset::default()
    };
    let request = kerolox_wire::Command::request(kerolox_wire::RequestCode::UPDATE_CONSUMER_OFFSET)
        .with_header(&header);
    assert_eq!(support::Raw::connect(server.kerolox.broker()).ask(&request).code, 0);

    let status = server.done("topicStatus -t TC");
    let lines = squeezed(&status);
    assert_eq!(lines[0], "#Broker Name #QID #Min Offset #Max Offset #Last Updated");
    assert!(lines[1].starts_with("broker-a 0 0 5 20"), "{status}");
    assert!(status.contains("\n\nTopic Put TPS: "), "{status}");
    assert_eq!(server.json("topicStatus -t TC")["queues"][0]["maxOffset"], 5);

    let progress = server.json("consumerProgress -g GC -t TC");
    let queue = &progress["queues"][0];
    assert_eq!(
        (&queue["brokerOffset"], &queue["consumerOffset"], &queue["diff"]),
        (&json!(5), &json!(2), &json!(3))
    );
    assert_eq!(progress["diffTotal"], 3);
    let shown = server.done("consumerProgress -g GC");
    assert!(squeezed(&shown).iter().any(|line| line.starts_with("TC broker-a 0 5 2 3 ")), "{shown}");
    assert!(shown.contains("\nConsume TPS: ") && shown.contains("\nConsume Diff Total: 3\n"), "{shown}");
    assert_eq!(server.json("consumerProgress -g GC -s true -t TC")["queues"][0]["clientIp"], "10.0.0.9");
    let all = squeezed(&server.done("consumerProgress"));
    assert_eq!(all[0], "#Group #Count #Version #Type #Model #TPS #Diff Total");
    assert!(all.iter().any(|line| line.starts_with("GC 1 V5_5_0 PUSH CLUSTERING 0 3")), "{all:?}");
    let backlog = server.json("brokerConsumeStats -b ADDR");
    assert_eq!((&backlog["queues"][0]["group"], &backlog["queues"][0]["diff"]), (&json!("GC"), &json!(3)));
    assert_eq!(server.json("brokerConsumeStats -b ADDR -l 4")["queues"], json!([]));
    let stats = server.json("statsAll -t TC");
    assert_eq!(
        (&stats["topics"][0]["consumerGroup"], &stats["topics"][0]["accumulation"]),
        (&json!("GC"), &json!(3))
    );

    let connected = server.done("consumerConnection -g GC");
    assert!(squeezed(&connected)[1].starts_with("10.0.0.9@1 127.0.0.1:"), "{connected}");
    assert!(
        connected.contains("\nConsumeType: CONSUME_PASSIVELY\nMessageModel: CLUSTERING\n"),
        "{connected}"
    );
    assert!(
        server.json("consumerConnection -g GC")["subscriptions"]
            .as_array()
            .unwrap()
            .iter()
            .any(|s| s["topic"] == "TC")
    );
    let producers = server.done("producerConnection -g PG -t TC");
    assert!(producers.starts_with("0001  10.0.0.9@1 "), "{producers}");
    assert!(
        server
            .done("producer -b ADDR")
            .starts_with("producer group (PG) instance : clientId=10.0.0.9@1,remoteIP=")
    );
    assert!(
        server.fails("producerConnection -g nobody -t TC", 1).contains("GET_PRODUCER_CONNECTION_LIST 204")
    );

    let tracked = server.json("queryMsgByOffset -t TC -b broker-a -i 0 -o 1");
    assert_eq!(tracked["tracks"][0]["trackType"], "CONSUMED");
    let tracked = server.done("queryMsgByOffset -t TC -b broker-a -i 0 -o 2");
    assert!(
        tracked.ends_with(
            "\n\nMessageTrack [consumerGroup=GC, trackType=NOT_CONSUME_YET, exceptionDesc=null]\n"
        ),
        "{tracked}"
    );
    let id =
        server.json("queryMsgByKey -t TC -k k1")["messages"][0]["messageId"].as_str().unwrap().to_owned();
    let pushed = server.done(&format!("queryMsgByUniqueKey -t TC -i {id} -g GC -d 10.0.0.9@1"));
    assert_eq!(
        pushed,
        "ConsumeMessageDirectlyResult [order=false, autoCommit=true, consumeResult=CR_SUCCESS, remark=null, spentTimeMills=5]\n"
    );

    let told = server.done("consumerStatus -g GC -i 10.0.0.9@1");
    assert!(told.contains("PROP_CONSUME_TYPE                       : CONSUME_PASSIVELY\n"), "{told}");
    assert_eq!(
        server.json("consumerStatus -g GC -i 10.0.0.9@1")["client"]["queues"][0]["info"]["commitOffset"],
        2
    );
    drop(consumer);
}

#[test]
fn offsets_are_reset_copied_and_shown() {
    let server = Server::start("admin-offsets");
    server.done("updateTopic -c DefaultCluster -t TR -r 1 -w 1");
    server.done("updateSubGroup -c DefaultCluster -g GR");
    server.done("updateSubGroup -c DefaultCluster -g GS");
    let _consumer = Consumer::connect(&server, "GR", "TR");
    for i in 0..4 {
        server.done(&format!("sendMessage -t TR -p m{i} -c TagA"));
    }
    let table = squeezed(&server.done("skipAccumulatedMessage -g GR -t TR"));
    assert_eq!(table, ["#brokerName #queueId #offset", "broker-a 0 4"]);
    assert_eq!(server.json("consumerProgress -g GR -t TR")["diffTotal"], 0);
    let reset = server.done("resetOffsetByTime -g GR -t TR -s 0");
    assert!(reset.starts_with("start reset consumer offset by specified, group[GR], topic[TR], force[true], timestamp(string)[0], timestamp(long)[0]\n"), "{reset}");
    assert_eq!(squeezed(&reset)[2], "broker-a 0 0");
    let one = server.json("resetOffsetByTime -g GR -t TR -s now -b ADDR -q 0 -o 3");
    assert_eq!(one["offset"], 3);
    assert_eq!(server.json("consumerProgress -g GR -t TR")["queues"][0]["consumerOffset"], 3);
    assert_eq!(
        server.done("cloneGroupOffset -s GR -d GS -t TR"),
        "clone group offset success. srcGroup[GR], destGroup=[GS], topic[TR]\n"
    );
    let copied = server.json("consumerProgress -g GS -t TR");
    assert_eq!(copied["queues"][0]["consumerOffset"], 3);
    let entries = server.done("queryCq -t TR -q 0 -i 1 -c 2");
    assert!(entries.starts_with("Queue data: \nmax: 4, min: 0\n======================================\nidx: 1\nConsumeQueueData{physicOffset="), "{entries}");
    let entries = server.json("queryCq -t TR -q 0 -i 1 -c 2");
    assert_eq!(entries["queue"]["queueData"][1]["tagsCode"], 2_598_919);
}

#[test]
fn settings_are_exported() {
    let server = Server::start("admin-export");
    let folder = Folder::new("admin-export-files");
    let path = folder.path("out").display().to_string();
    server.done("updateTopic -c DefaultCluster -t TE -r 3 -w 3");
    server.done("updateSubGroup -c DefaultCluster -g GE -r 7");
    let done = server.done(&format!("exportMetadata -c DefaultCluster -f {path}"));
    assert_eq!(done, format!("export {path}/metadata.json success\n"));
    let written: Value =
        serde_json::from_str(&std::fs::read_to_string(format!("{path}/metadata.json")).unwrap()).unwrap();
    assert_eq!(written["topicConfigTable"]["TE"]["readQueueNums"], 3);
    assert_eq!(written["subscriptionGroupTable"]["GE"]["retryMaxTimes"], 7);
    assert!(written["topicConfigTable"].get("TBW102").is_none(), "{written}");
    let only = server.json(&format!("exportMetadata -b ADDR -g -f {path}"));
    assert_eq!(
        (&only["path"], only["document"].get("topicConfigTable")),
        (&json!(format!("{path}/subscriptionGroup.json")), None)
    );
    let names: Vec<_> = only["document"].as_object().unwrap().keys().collect();
    assert_eq!(names, ["dataVersion", "forbiddenTable", "subscriptionGroupTable"], "as its broker tells it");
    let groups = only["document"]["subscriptionGroupTable"].as_object().unwrap();
    assert_eq!(groups.keys().collect::<Vec<_>>(), ["GE"], "none of the system's");
    let moved = server.done("exportPopRecord -c DefaultCluster");
    assert_eq!(moved, "Export broker records, brokerName=broker-a, brokerAddr=ADDR, dryRun=false\n");
    assert_eq!(server.json("exportPopRecord -b ADDR -d true")["brokers"][0]["brokerName"], "broker-a");
    assert_eq!(
        server.done("resetMasterFlushOffset -b ADDR -o 7"),
        "reset master flush offset to 7 success\n"
    );
    let why = server.fails("exportMetadata -b ADDR", 2);
    assert_eq!(why, "kerolox: of one broker (-b), either topics (-t) or groups (-g) are exported");
    let metrics = server.json(&format!("exportMetrics -c DefaultCluster -f {path}"));
    let quota = &metrics["document"]["evaluateReport"]["broker-a"]["runtimeQuota"];
    assert_eq!((quota["topicSize"].is_number(), &quota["groupSize"]), (true, &json!(1)), "{metrics}");
    assert!(metrics["document"]["totalData"]["totalTps"]["totalNormalInTps"].is_number(), "{metrics}");
}

/// A server that gives each request the body that is made for it: what Apache's broker answers where Kerolox's has none yet.
fn answering(answers: &'static [(i32, &'static str)]) -> std::net::SocketAddr {
    serving(|asked, _| match answers.iter().find(|(code, _)| *code == asked.code) {
        Some((_, body)) => asked.respond(0).with_body(body.as_bytes().to_vec()),
        None => asked.refuse(3, " request type not supported"),
    })
}

/// A server that answers as it is told; it is told its address, too.
fn serving(
    answer: impl Fn(&kerolox_wire::Command, std::net::SocketAddr) -> kerolox_wire::Command + Copy + Send + 'static,
) -> std::net::SocketAddr {
    use std::io::{Read, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            std::thread::spawn(move || {
                let (mut inbox, mut buffer) = (bytes::BytesMut::new(), [0; 4096]);
                while let Ok(count @ 1..) = stream.read(&mut buffer) {
                    inbox.extend_from_slice(&buffer[..count]);
                    while let Ok(Some(asked)) = kerolox_wire::frame::decode(&mut inbox, 1 << 20) {
                        let answer = kerolox_wire::frame::to_bytes(&answer(&asked, address));
                        stream.write_all(&answer).unwrap();
                    }
                }
            });
        }
    });
    address
}

#[test]
fn answers_of_apache_are_shown() {
    let server = Server::start("admin-apache");
    let peer = answering(&[
        (
            907,
            r#"{"haClientRuntimeInfo":{"activated":false,"maxOffset":0},"haConnectionInfo":[{"addr":"/10.0.0.2:1","diff":5,"inSync":true,"slaveAckOffset":95,"transferFromWhere":7,"transferredByteInSecond":2048}],"inSyncSlaveNums":1,"master":true,"masterCommitLogMaxOffset":100}"#,
        ),
        (2003, r#"{"runtimeTable":{"G":{"createTimeMills":0,"coldAcc":3}},"configTable":{}}"#),
        (2001, ""),
        (3001, ""),
        (3004, r#"{"username":"u","password":"p","userType":"Normal","userStatus":"enable"}"#),
        (3005, r#"[{"username":"u","password":"p","userType":"Super","userStatus":"enable"}]"#),
        (
            3010,
            r#"[{"subject":"User:u","policies":[{"policyType":"Custom","entries":[{"resource":"Topic:T","actions":["Pub","Sub"],"sourceIps":["10.0.0.1"],"decision":"Allow"}]}]}]"#,
        ),
        (26, "a=1\nbrokerName=x\n"),
        (25, ""),
    ]);
    let status = server.done(&format!("haStatus -b {peer}"));
    assert!(status.starts_with(&format!("\n#MasterAddr\t{peer}\n#MasterCommitLogMaxOffset\t100\n#SlaveNum\t1\n#InSyncSlaveNum\t1\n#SlaveAddr ")), "{status}");
    assert_eq!(squeezed(&status)[6], "/10.0.0.2:1 95 5 2.00 OK 7");
    assert_eq!(server.json(&format!("haStatus -b {peer}"))["replicas"][0]["inSync"], true);
    let cold = server.done(&format!("getColdDataFlowCtrInfo -b {peer}"));
    assert!(
        cold.contains("\"coldAcc\":3")
            && cold.contains("\"createTimeFormat\":\"1970-01-01 ")
            && !cold.contains("createTimeMills"),
        "{cold}"
    );
    assert_eq!(
        server.done(&format!("updateColdDataFlowCtrGroupConfig -b {peer} -g G -v 1")),
        format!("updateColdDataFlowCtrGroupConfig success, {peer}\n")
    );
    assert_eq!(
        server.done(&format!("createUser -b {peer} -u u -p p")),
        format!("create user to {peer} success.\n")
    );
    assert_eq!(
        squeezed(&server.done(&format!("getUser -b {peer} -u u"))),
        ["#UserName #Password #UserType #UserStatus", "u p Normal enable"]
    );
    assert_eq!(server.json(&format!("listUser -b {peer}"))["users"][0]["userType"], "Super");
    let rules = squeezed(&server.done(&format!("listAcl -b {peer}")));
    assert_eq!(
        rules,
        [
            "#Subject #PolicyType #Resource #Actions #SourceIp #Decision",
            "User:u Custom Topic:T [Pub, Sub] [10.0.0.1] Allow"
        ]
    );
    let config = server.done(&format!("getBrokerConfig -b {peer}"));
    assert_eq!(
        config,
        format!("============{peer}============\n{:<50}=  1\n{:<50}=  x\n\n", "a", "brokerName")
    );
    assert_eq!(
        server.done(&format!("updateBrokerConfig -b {peer} -k a -v 2")),
        format!("update broker config success, {peer}\n")
    );
    let why = server.fails(&format!("deleteUser -b {peer} -u u"), 1);
    assert_eq!(
        why,
        format!(
            "kerolox: {peer} refused AUTH_DELETE_USER 3003: request type not supported (code REQUEST_CODE_NOT_SUPPORTED 3)"
        )
    );
}

#[test]
fn offsets_are_put_where_an_old_broker_misses_the_consumers() {
    let server = Server::start("admin-old-broker");
    let old = serving(|asked, address| {
        match asked.code {
        105 => asked.respond(0).with_body(
            format!(
                r#"{{"brokerDatas":[{{"brokerAddrs":{{"0":"{address}"}},"brokerName":"old","cluster":"C"}}],"queueDatas":[{{"brokerName":"old","perm":6,"readQueueNums":1,"writeQueueNums":1}}]}}"#
            )
            .into_bytes(),
        ),
        222 => asked.refuse(206, "Consumer not online, so can not reset offset"),
        // A group that has not consumed: its offsets are those where the queue begins.
        208 => asked.respond(0).with_body(&br#"{"consumeTps":0,"offsetTable":{}}"#[..]),
        202 => asked.respond(0).with_body(
            &br#"{"offsetTable":{{"brokerName":"old","queueId":0,"topic":"T"}:{"minOffset":2,"maxOffset":9,"lastUpdateTimestamp":0}}}"#[..],
        ),
        29 | 30 => {
            let mut answer = asked.respond(0);
            answer.fields.push("offset", if asked.code == 29 { "5" } else { "9" });
            answer
        }
        15 => asked.respond(0),
        _ => asked.refuse(3, " request type not supported"),
    }
    });
    let lines = squeezed(&server.done(&format!("resetOffsetByTime -n {old} -g G -t T -s 1")));
    let told = "topic[T], force[true], timestamp(string)[1], timestamp(long)[1]";
    assert_eq!(lines[0], format!("reset consumer offset by specified consumerGroup[G], {told}"));
    assert_eq!(lines[1], "#brokerName #queueId #brokerOffset #consumerOffset #timestampOffset #resetOffset");
    assert_eq!(lines[2], "old 0 9 2 5 5");
    let not_forward = server.json(&format!("resetOffsetByTime -n {old} -g G -t T -s 1 -f false"));
    assert_eq!(not_forward["offsets"][0]["offset"], 2);
    assert_eq!(
        squeezed(&server.done(&format!("skipAccumulatedMessage -n {old} -g G -t T")))[1],
        "old 0 9 2 9 9"
    );
}

#[test]
fn bodies_are_shown_in_the_encoding_that_is_named() {
    let server = Server::start("admin-charset");
    server.done("updateTopic -c DefaultCluster -t TX -r 1 -w 1");
    // The bytes of the UTF-8 text are, as GBK, another.
    let id = server.json("sendMessage -t TX -p \u{4f60}\u{597d}")["sent"][0]["messageId"].clone();
    let id = id.as_str().unwrap();
    assert!(server.done("printMsg -t TX").contains("BODY: \u{4f60}\u{597d}\n"));
    assert!(server.done("printMsg -t TX -c GBK").contains("BODY: \u{6d63}\u{72b2}\u{30bd}\n"));
    let shown = server.done(&format!("queryMsgById -t TX -i {id} -f gb18030"));
    assert!(shown.contains("Message Body:        \u{6d63}\u{72b2}\u{30bd}\n"), "{shown}");
    let shown = server.json("printMsgByQueue -t TX -a broker-a -i 0 -p true -d true -c GBK");
    assert_eq!(shown["messages"][0]["body"], "\u{6d63}\u{72b2}\u{30bd}");
    assert_eq!(server.fails("printMsg -t TX -c nix", 2), "kerolox: --charsetName: \"nix\" is no encoding");
}

#[test]
fn a_sent_message_has_its_trace() {
    let server = Server::start("admin-trace");
    server.done("updateTopic -c DefaultCluster -t TT -r 1 -w 1");
    let id = server.json("sendMessage -t TT -p x -k key -m true")["sent"][0]["messageId"].clone();
    let trace = server.json(&format!("queryMsgTraceById -i {}", id.as_str().unwrap()));
    assert_eq!(trace["produced"][0]["status"], "success", "{trace}");
    assert_eq!(trace["produced"][0]["group"], "CLIENT_INNER_PRODUCER", "{trace}");
}

#[test]
fn lite_topics_are_shown() {
    let server = Server::start("admin-lite");
    server.done("updateTopic -b ADDR -t P -a +message.type=LITE,+lite.topic.expiration=20");
    server.done("updateSubGroup -b ADDR -g g --attributes +lite.bind.topic=P");
    let shown = squeezed(&server.done("getParentTopicInfo -p P"));
    let heading = ["Parent Topic Info: [P]", "#Broker Name #TTL #Lite Count #LMQ NUM #GROUPS"];
    assert_eq!(shown, [heading[0], heading[1], "broker-a 20 0 0 [g]"]);
    let brokers = server.json("getBrokerLiteInfo -c DefaultCluster -d");
    assert_eq!(brokers["details"][0]["topicMeta"], json!({"P": 20}));
    assert_eq!(brokers["details"][0]["groupMeta"], json!({"P": ["g"]}));
    assert_eq!(brokers["brokers"][0]["liteSubscriptionCount"], 0);
    let client = squeezed(&server.done("getLiteClientInfo -p P -g g -c nobody"));
    assert_eq!(client.last().unwrap(), "broker-a N/A N/A N/A");
    let group = server.json("getLiteGroupInfo -p P -g g");
    assert_eq!((&group["totalLagCount"], &group["byLagCount"]), (&json!(0), &json!([])));
    assert!(server.done("triggerLiteDispatch -p P -g g").contains("dispatched"));
    let empty = squeezed(&server.done("getLiteTopicInfo -p P -l nothere -s"));
    assert_eq!(empty.last().unwrap(), "broker-a 0 0 - true 0");
    assert!(server.fails("getLiteTopicInfo -p nowhere -l a", 1).contains("nowhere"));
    assert!(server.fails("getBrokerLiteInfo", 2).contains("one of -b, -c"));
}
