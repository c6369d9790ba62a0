package main

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

var sendCases = []testCase{
	{"send.sync", false, sendSync},
	{"send.async_and_oneway", false, sendAsyncAndOneway},
	{"send.batch", false, sendBatch},
	{"send.sizes", false, sendSizes},
	{"send.new_topic", false, sendNewTopic},
	{"send.refused", false, sendRefused},
}

func sendSync(k *kit) {
	topic := k.createdTopic(4)
	p := k.producer()
	sent := map[string]*primitive.SendResult{}
	want := map[string]bool{}
	next := map[int]int64{}
	for i := 0; i < 200; i++ {
		body := fmt.Sprintf("m%d", i)
		m := message(topic, body, fmt.Sprintf("Tag%d", i%3), "key-"+body, "plain", body, "word", "日本語 ü", "gap", "a b=c")
		m.WithProperty(primitive.PropertyShardingKey, "shard")
		result := must(p.SendSync(ctx, m))
		equal(primitive.SendOK, result.Status, "status of %s", body)
		queue := result.MessageQueue.QueueId
		equal(next[queue], result.QueueOffset, "offset of %s in queue %d", body, queue)
		next[queue]++
		sent[body], want[body] = result, true
	}
	equal(4, len(next), "queues used")
	got := (&inbox{}).attach(k.pushConsumer(k.group()), topic, everything(), "")
	got.exactly(want, 60)
	for _, a := range got.all() {
		result := sent[a.body]
		equal(topic, a.topic, "topic of %s", a.body)
		equal("key-"+a.body, a.keys, "keys of %s", a.body)
		equal("Tag"+fmt.Sprint(number(a.body)%3), a.tags, "tag of %s", a.body)
		equal(result.MsgID, a.id, "id of %s", a.body)
		equal(result.OffsetMsgID, a.offsetID, "offset id of %s", a.body)
		equal(result.MessageQueue.QueueId, a.queue, "queue of %s", a.body)
		equal(result.QueueOffset, a.offset, "offset of %s", a.body)
		equal([]string{a.body, "日本語 ü", "a b=c", "shard"},
			[]string{a.properties["plain"], a.properties["word"], a.properties["gap"], a.properties[primitive.PropertyShardingKey]},
			"properties of %s", a.body)
	}
}

// number gives the number at the end of a body.
func number(body string) int {
	value := 0
	_, err := fmt.Sscanf(strings.TrimLeft(body, "abcdefghijklmnopqrstuvwxyz-"), "%d", &value)
	ok(err)
	return value
}

func sendAsyncAndOneway(k *kit) {
	topic := k.createdTopic(4)
	p := k.producer()
	want := map[string]bool{}
	var answered sync.WaitGroup
	var mutex sync.Mutex
	ids := map[string]string{}
	var send func(body string, again int)
	send = func(body string, again int) {
		ok(p.SendAsync(ctx, func(_ context.Context, result *primitive.SendResult, err error) {
			if err != nil && again > 0 {
				// Apache answers "busy" when its queue of requests is long.
				send(body, again-1)
				return
			}
			defer answered.Done()
			mutex.Lock()
			defer mutex.Unlock()
			if err == nil && result.Status == primitive.SendOK {
				ids[body] = result.MsgID
			}
		}, message(topic, body, "TagA", "key-"+body)))
	}
	for i := 0; i < 200; i++ {
		body := fmt.Sprintf("async%d", i)
		want[body] = true
		answered.Add(1)
		send(body, 5)
	}
	answered.Wait()
	equal(200, len(ids), "acknowledged")
	for i := 0; i < 100; i++ {
		body := fmt.Sprintf("oneway%d", i)
		want[body] = true
		ok(p.SendOneWay(ctx, message(topic, body, "TagB", "key-"+body)))
	}
	got := (&inbox{}).attach(k.pushConsumer(k.group()), topic, everything(), "")
	got.exactly(want, 60)
	for _, a := range got.all() {
		equal("key-"+a.body, a.keys, "keys of %s", a.body)
		if id, known := ids[a.body]; known {
			equal(id, a.id, "id of %s", a.body)
		}
	}
}

func sendBatch(k *kit) {
	topic := k.createdTopic(4)
	p := k.producer()
	want := map[string]bool{}
	first := map[string]int64{}
	for b := 0; b < 8; b++ {
		batch := []*primitive.Message{}
		for i := 0; i < 10; i++ {
			body := fmt.Sprintf("b%d-%d", b, i)
			want[body] = true
			batch = append(batch, message(topic, body, fmt.Sprintf("Tag%d", i), "key-"+body, "place", fmt.Sprint(i)))
		}
		result := must(p.SendSync(ctx, batch...))
		equal(primitive.SendOK, result.Status, "status of batch %d", b)
		equal(10, len(strings.Split(result.OffsetMsgID, ",")), "ids of batch %d", b)
		first[fmt.Sprintf("b%d", b)] = result.QueueOffset
	}
	got := (&inbox{}).attach(k.pushConsumer(k.group()), topic, everything(), "")
	got.exactly(want, 60)
	for _, a := range got.all() {
		parts := strings.Split(a.body, "-")
		equal(first[parts[0]]+int64(number(parts[1])), a.offset, "offset of %s", a.body)
		equal([]string{"Tag" + parts[1], "key-" + a.body, parts[1]}, []string{a.tags, a.keys, a.properties["place"]}, "tag, key and property of %s", a.body)
	}
}

// sendSizes: an empty property, bodies that the client compresses, and large ones that it cannot.
func sendSizes(k *kit) {
	topic := k.createdTopic(2)
	p := k.producer()
	want := map[string]bool{}
	for i, size := range []int{1, 4095, 4096, 4097, 100_000, 1_000_000, 3_500_000} {
		for _, body := range []string{strings.Repeat("x", size), noise(uint64(i), size)} {
			want[body] = true
			equal(primitive.SendOK, must(p.SendSync(ctx, message(topic, body, "", ""))).Status, "status of %d bytes", size)
		}
	}
	got := (&inbox{}).attach(k.pushConsumer(k.group(), consumer.WithPullBatchSize(4)), topic, everything(), "")
	got.exactly(want, 90)
}

// sendNewTopic: a topic that nobody created, with the queues of the default topic.
func sendNewTopic(k *kit) {
	topic := k.fresh("T")
	p := k.producer(producer.WithRetry(5))
	want := map[string]bool{}
	for i := 0; i < 20; i++ {
		body := fmt.Sprintf("m%d", i)
		want[body] = true
		equal(primitive.SendOK, must(p.SendSync(ctx, message(topic, body, "", ""))).Status, "status of %s", body)
	}
	eventually(60, "the route of the new topic", func() bool {
		found, err := k.admin().FetchPublishMessageQueues(ctx, topic)
		return err == nil && len(found) == 4
	})
	(&inbox{}).attach(k.pushConsumer(k.group()), topic, everything(), "").exactly(want, 60)
}

// sendRefused: what the server does not take reaches the program as an error with the code.
func sendRefused(k *kit) {
	topic := k.createdTopic(2)
	p := k.producer(producer.WithRetry(0), producer.WithCompressMsgBodyOverHowmuch(100_000_000))
	refused := func(what, code string, m *primitive.Message) {
		_, err := p.SendSync(ctx, m)
		check(err != nil && strings.Contains(err.Error(), "CODE: "+code), "%s: want code %s, got %v", what, code, err)
	}
	refused("a body of 4 MiB and 1 byte", "13", message(topic, strings.Repeat("x", 4<<20+1), "", ""))
	refused("properties of 40,000 bytes", "13", message(topic, "x", "", "", "long", strings.Repeat("x", 40_000)))
	refused("a system topic", "16", message("SCHEDULE_TOPIC_XXXX", "x", "", ""))
	equal(primitive.SendOK, must(p.SendSync(ctx, message(topic, "good", "", ""))).Status, "status after refusals")
	(&inbox{}).attach(k.pushConsumer(k.group()), topic, everything(), "").exactly(map[string]bool{"good": true}, 60)
}
