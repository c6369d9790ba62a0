package main

import (
	"time"

	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/primitive"
)

var adminCases = []testCase{
	{"admin.topics_and_groups", false, adminTopicsAndGroups},
}

func adminTopicsAndGroups(k *kit) {
	topic := k.createdTopic(3)
	a := k.admin()
	listed := func() bool {
		for _, name := range must(a.FetchAllTopicList(ctx)).TopicList {
			if name == topic {
				return true
			}
		}
		return false
	}
	eventually(30, "the topic is listed", listed)
	group := k.group()
	p := k.producer()
	equal(primitive.SendOK, must(p.SendSync(ctx, message(topic, "m", "", ""))).Status, "status")
	(&inbox{}).attach(k.pushConsumer(group), topic, everything(), "").exactly(map[string]bool{"m": true}, 60)
	groups := must(a.GetAllSubscriptionGroup(ctx, broker, 3*time.Second)).SubscriptionGroupTable
	config, known := groups[group]
	check(known, "the group %s is not listed", group)
	check(config.ConsumeEnable && config.GroupName == group, "configuration of the group: %+v", config)
	ok(a.DeleteTopic(ctx, admin.WithTopicDelete(topic), admin.WithBrokerAddrDelete(broker)))
	eventually(30, "the topic is gone", func() bool { return !listed() })
	_, err := k.admin().FetchPublishMessageQueues(ctx, topic)
	check(err != nil, "a deleted topic has a route")
}
