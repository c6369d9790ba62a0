"""The commands of Apache's own mqadmin that are compared, as data; see exchange.py for what a step may say.

What a command prints is compared as lines of words, sorted: the order is that of Java's hash maps. `lines` keeps those with one of these
words only, `words` masks the words at these places (from 0) of each line, as those that are rates or times, and of `first` the first word
of each line counts; `until` it prints this, it is run again. A command whose `code` is planned is skipped.
"""

from requests import DIRECT, beat, do, group, heartbeat, pulled, sent, topic  # noqa: F401


def run(name, command, **more):
    return {"step": "mqadmin", "name": name, "command": command, **more}


def info(client="a"):
    """A client's running info, asked for while a command runs."""
    body = {"properties": {"PROP_CONSUME_TYPE": "CONSUME_PASSIVELY", "PROP_CLIENT_VERSION": "V5_5_0", "PROP_CONSUMER_START_TIMESTAMP": "0"},
            "subscriptionSet": [], "mqTable": {}, "mqPopTable": {}, "statusTable": {}, "userConsumerInfo": {}, "jstack": ""}
    return {"step": "push", "code": 307, "client": client, "reply": {"body": body}}


COMMANDS = {}

COMMANDS["mqadmin: topics"] = [
    topic(),
    sent("m0", props={"TAGS": "TagA", "KEYS": "k0", "UNIQ_KEY": "$uniq"}),
    sent("m1", props={"TAGS": "TagB"}),
    pulled("the messages", 2),
    run("topicRoute", "topicRoute -t $T",),
    run("topicRoute as a list", "topicRoute -t $T -l"),
    run("topicRoute of an unknown topic", "topicRoute -t $None"),
    run("topicStatus", "topicStatus -t $T"),
    run("topicClusterList", "topicClusterList -t $T"),
    run("topicList", "topicList", lines=["$T"]),
    run("topicList with clusters", "topicList -c", lines=["$T"]),
    run("updateTopic in a cluster", "updateTopic -c DefaultCluster -t $New -r 3 -w 3"),
    run("updateTopic on a broker", "updateTopic -b $broker -t $New2 -r 4 -w 4 -a +message.type=FIFO"),
    run("updateTopic with a bad attribute", "updateTopic -b $broker -t $New3 -a +no.such=1"),
    run("updateTopicPerm", "updateTopicPerm -b $broker -t $New -p 4"),
    run("topicRoute after that", "topicRoute -t $New", until='"perm":4'),
    run("updateTopicList", "updateTopicList -b $broker -f $folder/topics.json",
        files={"topics.json": [{"topicName": "$L1", "readQueueNums": 1, "writeQueueNums": 1, "perm": 6}, {"topicName": "$L2", "readQueueNums": 2, "writeQueueNums": 2, "perm": 6}]}),
    run("topicRoute of one of them", "topicRoute -t $L2", until="broker-a"),
    run("updateOrderConf put", "updateOrderConf -t $T -m put -v broker-a:2"),
    run("updateOrderConf get", "updateOrderConf -t $T -m get"),
    run("updateOrderConf delete", "updateOrderConf -t $T -m delete"),
    topic("$One", queues=1),
    run("allocateMQ", "allocateMQ -t $One -i 10.1.1.1,10.1.1.2"),
    run("statsAll", "statsAll -t $T", words=[2, 3, 4, 5]),
    run("deleteTopic", "deleteTopic -c DefaultCluster -t $New"),
    run("topicRoute of a deleted topic", "topicRoute -t $New", until="No topic route"),
    run("updateStaticTopic", "updateStaticTopic -b broker-a -t $Static -qn 2", code=513),
]

COMMANDS["mqadmin: messages"] = [
    topic(),
    sent("m0", props={"TAGS": "TagA", "KEYS": "k0", "UNIQ_KEY": "$uniq", "user": "u"}),
    sent("m1", props={"TAGS": "TagB", "KEYS": "k0", "UNIQ_KEY": "$uniq1"}),
    {**pulled("the messages", 2), "keep": {"offsetId": "record.offsetId"}},
    run("queryMsgById", "queryMsgById -t $T -i $offsetId -f UTF-8"),
    run("queryMsgByKey", "queryMsgByKey -t $T -k k0"),
    run("queryMsgByKey that nobody has", "queryMsgByKey -t $T -k none"),
    run("queryMsgByUniqueKey", "queryMsgByUniqueKey -t $T -i $uniq"),
    run("queryMsgByUniqueKey, all", "queryMsgByUniqueKey -t $T -i $uniq -a"),
    run("queryMsgByOffset", "queryMsgByOffset -t $T -b broker-a -i 0 -o 1 -f UTF-8"),
    run("printMsg", "printMsg -t $T -d true"),
    run("printMsg of a tag", "printMsg -t $T -d true -s TagB"),
    run("printMsgByQueue", "printMsgByQueue -t $T -a broker-a -i 0 -p true -d true"),
    run("queryCq", "queryCq -t $T -q 0 -i 0 -c 2 -b $broker"),
    run("sendMessage", "sendMessage -t $T -p hello -k k9 -c TagS -b broker-a -i 1"),
    run("consumeMessage", "consumeMessage -t $T -b broker-a -i 1 -o 0 -c 1"),
    run("checkMsgSendRT", "checkMsgSendRT -t $T -a 2 -s 10", words=[2, 3, 4, 5, 6]),
    run("queryMsgTraceById", "queryMsgTraceById -i $uniq"),
]

COMMANDS["mqadmin: groups"] = [
    topic(),
    beat("a", group="$G"),
    do(34, body=heartbeat("$id_p", producer="$P"), client="p"),
    sent("m0"),
    sent("m1"),
    pulled("the messages", 2),
    do(15, {"consumerGroup": "$G", "topic": "$T", "queueId": 0, "commitOffset": 1}),
    do(15, {"consumerGroup": "$G", "topic": "$T", "queueId": 1, "commitOffset": 0}),
    run("consumerConnection", "consumerConnection -g $G"),
    run("consumerConnection of an unknown group", "consumerConnection -g $NoG"),
    run("producerConnection", "producerConnection -g $P -t $T"),
    run("producer", "producer -b $broker", lines=["$id_p", "$P"], words=[-2, -1]),
    run("consumerProgress", "consumerProgress -g $G"),
    run("consumerProgress of a topic", "consumerProgress -g $G -t $T"),
    run("consumerProgress of all", "consumerProgress", lines=["$G"]),
    run("consumerStatus", "consumerStatus -g $G", during=[info()], lines=["$id_a", "$G"]),
    run("consumerStatus of a client", "consumerStatus -g $G -i $id_a", during=[info()]),
    run("brokerConsumeStats", "brokerConsumeStats -b $broker", lines=["$G"]),
    run("getConsumerConfig", "getConsumerConfig -g $G"),
    run("updateSubGroup", "updateSubGroup -c DefaultCluster -g $New -r 3 -q 2"),
    run("updateSubGroup in order", "updateSubGroup -b $broker -g $New2 -o true"),
    run("getConsumerConfig after that", "getConsumerConfig -g $New"),
    run("updateSubGroupList", "updateSubGroupList -b $broker -f $folder/groups.json", files={"groups.json": [{"groupName": "$L1"}, {"groupName": "$L2"}]}),
    run("getConsumerConfig of one of them", "getConsumerConfig -g $L2"),
    run("setConsumeMode", "setConsumeMode -c DefaultCluster -t $T -g $New -m POP -q 2"),
    run("cloneGroupOffset", "cloneGroupOffset -s $G -d $Clone -t $T"),
    run("consumerProgress of the copy", "consumerProgress -g $Clone"),
    run("resetOffsetByTime", "resetOffsetByTime -g $Clone -t $T -s 0"),
    run("resetOffsetByTime to now", "resetOffsetByTime -g $Clone -t $T -s now"),
    run("resetOffsetByTime of a queue", "resetOffsetByTime -g $Clone -t $T -s -1 -b $broker -q 0 -o 1"),
    run("skipAccumulatedMessage", "skipAccumulatedMessage -g $Clone -t $T"),
    run("deleteSubGroup", "deleteSubGroup -c DefaultCluster -g $New -r true"),
    run("getConsumerConfig of a deleted group", "getConsumerConfig -g $New"),
    run("exportPopRecord", "exportPopRecord -b $broker -d true", code=26),
]

COMMANDS["mqadmin: brokers"] = [
    topic(),
    run("clusterList", "clusterList", words=list(range(4, 20))),
    run("clusterList with more", "clusterList -m", words=[2, 3, 4, 5, 6]),
    run("brokerStatus", "brokerStatus -b $broker", first=True),
    run("getBrokerConfig", "getBrokerConfig -b $broker", lines=["brokerName", "brokerClusterName", "flushDiskType", "messageDelayLevel", "defaultTopicQueueNums", "brokerPermission", "maxMessageSize", "autoCreateTopicEnable"], code=26),
    run("updateBrokerConfig", "updateBrokerConfig -b $broker -k defaultTopicQueueNums -v 8", code=25),
    run("getBrokerConfig after that", "getBrokerConfig -b $broker", lines=["defaultTopicQueueNums"], code=26),
    run("updateBrokerConfig, a path", "updateBrokerConfig -b $broker -k brokerConfigPath -v /tmp/x", code=25),
    run("updateBrokerConfig back", "updateBrokerConfig -b $broker -k defaultTopicQueueNums -v 4", code=25),
    run("sendMsgStatus", "sendMsgStatus -b broker-a -s 10 -c 1", words=[0]),
    run("cleanExpiredCQ", "cleanExpiredCQ -b $broker", code=306),
    run("cleanUnusedTopic", "cleanUnusedTopic -b $broker", code=316),
    run("deleteExpiredCommitLog", "deleteExpiredCommitLog -b $broker", code=329),
    run("haStatus", "haStatus -b $broker", code=907),
    run("getBrokerEpoch", "getBrokerEpoch -b broker-a", code=1007),
    run("resetMasterFlushOffset", "resetMasterFlushOffset -b $broker -o 0", code=908),
    run("getColdDataFlowCtrInfo", "getColdDataFlowCtrInfo -b $broker", code=2003),
    run("updateColdDataFlowCtrGroupConfig", "updateColdDataFlowCtrGroupConfig -b $broker -g $G -v 1000", code=2001),
    run("removeColdDataFlowCtrGroupConfig", "removeColdDataFlowCtrGroupConfig -b $broker -g $G", code=2002),
    run("setCommitLogReadAheadMode", "setCommitLogReadAheadMode -b $broker -m 0", code=2004),
    run("checkRocksdbCqWriteProgress", "checkRocksdbCqWriteProgress -c DefaultCluster -n $namesrv -t $T", code=354),
    run("rocksDBConfigToJson", "rocksDBConfigToJson -b $broker -t topics -e rpc", code=355),
    run("exportMetadata", "exportMetadata -b $broker -f $folder -t"),
    run("exportConfigs", "exportConfigs -c DefaultCluster -f $folder", code=26),
    run("wipeWritePerm", "wipeWritePerm -b broker-a", words=[7, 9]),
    run("topicRoute without writing", "topicRoute -t $T"),
    run("addWritePerm", "addWritePerm -b broker-a", words=[7, 9]),
    run("topicRoute with writing", "topicRoute -t $T"),
]

COMMANDS["mqadmin: name server"] = [
    run("updateKvConfig", "updateKvConfig -s $N -k key -v value"),
    run("deleteKvConfig", "deleteKvConfig -s $N -k key"),
    run("getNamesrvConfig", "getNamesrvConfig", lines=["enableTopicList", "listenPort", "clusterTest"], code=319),
    run("updateNamesrvConfig, a path", "updateNamesrvConfig -k configStorePath -v /tmp/x", code=318),
    run("updateNamesrvConfig", "updateNamesrvConfig -k enableTopicList -v true", code=318),
]

COMMANDS["mqadmin: users and policies, when nobody asks for them"] = [
    run("createUser", "createUser -b $broker -u $U -p secret -t Normal", code=3001),
    run("getUser", "getUser -b $broker -u $U", code=3004),
    run("listUser", "listUser -b $broker -f $U", code=3005),
    run("createAcl", "createAcl -b $broker -s User:$U -r Topic:$T -a Pub -d Allow", code=3006),
    run("getAcl", "getAcl -b $broker -s User:$U", code=3009),
    run("listAcl", "listAcl -b $broker -s User:$U", code=3010),
    run("deleteAcl", "deleteAcl -b $broker -s User:$U", code=3008),
    run("updateUser", "updateUser -b $broker -u $U -p other", code=3002),
    run("deleteUser", "deleteUser -b $broker -u $U", code=3003),
]
