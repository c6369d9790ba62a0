package main

import (
	"context"
	"errors"
	"fmt"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

var consumeCases = []testCase{
	{"consume.tags", false, consumeTags},
	{"consume.sql92", false, consumeSQL92},
	{"consume.two_members", false, consumeTwoMembers},
	{"consume.orderly", false, consumeOrderly},
	{"consume.orderly_again", false, consumeOrderlyAgain},
	{"consume.broadcasting", false, consumeBroadcasting},
	{"consume.resume", false, consumeResume},
	{"rpc.request_reply", false, rpcRequestReply},
	{"pull.from_offsets", false, pullFromOffsets},
	{"pull.committed", false, pullCommitted},
	{"pull.poll_and_ack", false, pullPollAndAck},
	{"retry.then_success", false, retryThenSuccess},
	{"retry.until_dead_letter", false, retryUntilDeadLetter},
}

func consumeTags(k *kit) {
	topic := k.createdTopic(4)
	p := k.producer()
	want := map[string]bool{}
	for i := 0; i < 100; i++ {
		body := fmt.Sprintf("m%d", i)
		// The first two tags differ, and their Java hash codes do not: the broker's filter takes both, the client's one.
		tag := []string{"AaAa", "BBBB", "TagC", "TagD"}[i%4]
		ok2(p.SendSync(ctx, message(topic, body, tag, "")))
		if tag == "AaAa" || tag == "TagC" {
			want[body] = true
		}
	}
	ok2(p.SendSync(ctx, message(topic, "without a tag", "", "")))
	selector := consumer.MessageSelector{Type: consumer.TAG, Expression: "AaAa || TagC"}
	(&inbox{}).attach(k.pushConsumer(k.group()), topic, selector, "").exactly(want, 60)
}

// ok2 is for calls of whose results only the error matters.
func ok2(_ interface{}, err error) { ok(err) }

func consumeSQL92(k *kit) {
	topic := k.createdTopic(4)
	p := k.producer()
	want := map[string]bool{}
	for i := 0; i < 100; i++ {
		body := fmt.Sprintf("m%d", i)
		kind := []string{"a", "b", "c", ""}[i%4]
		m := message(topic, body, "", "", "n", fmt.Sprint(i%10))
		m.WithProperty("kind", kind) // the client leaves an empty one out
		ok2(p.SendSync(ctx, m))
		if n := i % 10; n >= 3 && n <= 7 && kind != "c" {
			want[body] = true
		}
	}
	selector := consumer.MessageSelector{Type: consumer.SQL92, Expression: "n BETWEEN 3 AND 7 AND (kind IN ('a', 'b') OR kind IS NULL)"}
	(&inbox{}).attach(k.pushConsumer(k.group()), topic, selector, "").exactly(want, 60)
}

func consumeTwoMembers(k *kit) {
	topic := k.createdTopic(8)
	p := k.producer()
	group := k.group()
	got := &inbox{}
	a, b := k.pushConsumer(group), k.pushConsumer(group)
	got.attach(a, topic, everything(), "a")
	got.attach(b, topic, everything(), "b")
	want := map[string]bool{}
	send := func(count int) {
		for i := 0; i < count; i++ {
			body := fmt.Sprintf("m%d", len(want))
			want[body] = true
			ok2(p.SendSync(ctx, message(topic, body, "", "")))
		}
	}
	owners := func() string {
		owner := map[int]string{}
		for _, one := range got.all() {
			owner[one.queue] = one.who
		}
		all := []string{}
		for _, who := range owner {
			all = append(all, who)
		}
		sort.Strings(all)
		return strings.Join(all, "")
	}
	eventually(60, "each has half of the queues", func() bool {
		send(8)
		return owners() == "aaaabbbb"
	})
	got.await(want, 60)
	before := got.size()
	send(200)
	got.await(want, 60)
	equal(before+200, got.size(), "deliveries of 200 after the queues were shared out")
	start := time.Now()
	ok(b.Shutdown())
	eventually(60, "the one that stays has all queues", func() bool {
		send(8)
		return owners() == "aaaaaaaa"
	})
	k.note("taken over after %.1f s", time.Since(start).Seconds())
	got.await(want, 60)
}

// consumeOrderly: the messages of a key stay in one queue and come in their order, one at a time.
func consumeOrderly(k *kit) {
	topic := k.createdTopic(4)
	p := k.producer(producer.WithQueueSelector(producer.NewHashQueueSelector()))
	want := map[string]bool{}
	for i := 0; i < 300; i++ {
		shard := fmt.Sprintf("shard%d", i%10)
		body := fmt.Sprintf("%s-%d", shard, i/10)
		want[body] = true
		m := message(topic, body, "", "")
		m.WithShardingKey(shard)
		ok2(p.SendSync(ctx, m))
	}
	group := k.group()
	got := &inbox{}
	var mutex sync.Mutex
	inside := map[int]bool{}
	for _, who := range []string{"a", "b"} {
		who := who
		c := k.pushConsumer(group, consumer.WithConsumerOrder(true))
		ok(c.Subscribe(topic, everything(), func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
			for _, m := range messages {
				queue := m.Queue.QueueId
				mutex.Lock()
				together := inside[queue]
				inside[queue] = true
				mutex.Unlock()
				if together {
					got.add(arrival{body: fmt.Sprintf("two at a time in queue %d", queue)})
				}
				got.add(arrived(m, who))
				mutex.Lock()
				inside[queue] = false
				mutex.Unlock()
			}
			return consumer.ConsumeSuccess, nil
		}))
		ok(c.Start())
	}
	got.await(want, 120)
	inOrder(got.all())
	for _, a := range got.all() {
		check(want[a.body], "%s", a.body)
	}
	k.note("%d deliveries", got.size())
}

// inOrder checks that the first delivery of each message of a shard (`shard-number`) comes after those before it, and from one queue.
func inOrder(arrivals []arrival) {
	last := map[string]int{}
	queue := map[string]int{}
	seen := map[string]bool{}
	for _, a := range arrivals {
		if seen[a.body] {
			continue
		}
		seen[a.body] = true
		parts := strings.Split(a.body, "-")
		if _, known := queue[parts[0]]; !known {
			queue[parts[0]], last[parts[0]] = a.queue, -1
		}
		equal(queue[parts[0]], a.queue, "queue of %s", a.body)
		equal(last[parts[0]]+1, number(parts[1]), "place in its shard of %s", a.body)
		last[parts[0]]++
	}
}

// consumeOrderlyAgain: a message that is not taken comes again before those behind it.
func consumeOrderlyAgain(k *kit) {
	topic := k.createdTopic(1)
	p := k.producer()
	for i := 0; i < 10; i++ {
		ok2(p.SendSync(ctx, message(topic, fmt.Sprintf("m%d", i), "", "")))
	}
	got := &inbox{}
	c := k.pushConsumer(k.group(), consumer.WithConsumerOrder(true))
	ok(c.Subscribe(topic, everything(), func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, m := range messages {
			got.add(arrived(m, ""))
			if string(m.Body) == "m4" && m.ReconsumeTimes < 2 {
				return consumer.SuspendCurrentQueueAMoment, nil
			}
		}
		return consumer.ConsumeSuccess, nil
	}))
	ok(c.Start())
	eventually(60, "12 deliveries", func() bool { return got.size() >= 12 })
	bodies := []string{}
	for _, a := range got.all() {
		bodies = append(bodies, a.body)
	}
	equal(strings.Fields("m0 m1 m2 m3 m4 m4 m4 m5 m6 m7 m8 m9"), bodies, "deliveries")
}

func consumeBroadcasting(k *kit) {
	topic := k.createdTopic(4)
	p := k.producer()
	group := k.group()
	want := map[string]bool{}
	send := func(what string) {
		for i := 0; i < 50; i++ {
			body := fmt.Sprintf("%s%d", what, i)
			want[body] = true
			ok2(p.SendSync(ctx, message(topic, body, "", "")))
		}
	}
	send("before")
	boxes := []*inbox{}
	for i := 0; i < 2; i++ {
		c := k.pushConsumer(group, consumer.WithConsumerModel(consumer.BroadCasting))
		boxes = append(boxes, (&inbox{}).attach(c, topic, everything(), ""))
	}
	send("after")
	for _, got := range boxes {
		got.exactly(want, 60)
	}
}

// consumeResume: a group goes on where it was, and another starts at the first message.
func consumeResume(k *kit) {
	topic := k.createdTopic(4)
	p := k.producer()
	group := k.group()
	want := map[string]bool{}
	send := func(what string) map[string]bool {
		sent := map[string]bool{}
		for i := 0; i < 40; i++ {
			body := fmt.Sprintf("%s%d", what, i)
			want[body], sent[body] = true, true
			ok2(p.SendSync(ctx, message(topic, body, "", "")))
		}
		return sent
	}
	first := send("first")
	c := k.pushConsumer(group)
	(&inbox{}).attach(c, topic, everything(), "").exactly(first, 60)
	ok(c.Shutdown())
	second := send("second")
	(&inbox{}).attach(k.pushConsumer(group), topic, everything(), "").exactly(second, 60)
	(&inbox{}).attach(k.pushConsumer(k.group()), topic, everything(), "").exactly(want, 60)
}

// rpcRequestReply: a request is answered by the consumer that gets it, and the answer reaches who asked.
func rpcRequestReply(k *kit) {
	topic := k.createdTopic(2)
	asker, answerer := k.producer(), k.producer()
	c := k.pushConsumer(k.group())
	ok(c.Subscribe(topic, everything(), func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, m := range messages {
			if string(m.Body) == "unanswered" {
				continue
			}
			// This client asks before its first heartbeat: until then the broker does not know whom to give the answer to.
			for again := 0; again < 80; again++ {
				reply := must(consumer.CreateReplyMessage(m, nil))
				reply.Body = []byte("answer to " + string(m.Body))
				reply.WithProperty("of", m.GetKeys())
				if _, err := answerer.SendSync(ctx, reply); err == nil {
					break
				}
				time.Sleep(100 * time.Millisecond)
			}
		}
		return consumer.ConsumeSuccess, nil
	}))
	ok(c.Start())
	for i := 0; i < 20; i++ {
		body := fmt.Sprintf("question %d", i)
		reply := must(asker.Request(ctx, 10*time.Second, message(topic, body, "TagQ", "key-"+body)))
		equal("answer to "+body, string(reply.Body), "reply to %s", body)
		equal("key-"+body, reply.GetProperty("of"), "property of the reply to %s", body)
	}
	// The client calls back a second time when it forgets the request.
	replies := make(chan string, 8)
	ok(asker.RequestAsync(ctx, 10*time.Second, func(_ context.Context, reply *primitive.Message, err error) {
		if err != nil || reply == nil {
			replies <- fmt.Sprint(err)
			return
		}
		replies <- string(reply.Body)
	}, message(topic, "async", "", "")))
	equal("answer to async", <-replies, "the asynchronous reply")
	_, err := asker.Request(ctx, time.Second, message(topic, "unanswered", "", ""))
	check(err != nil && strings.Contains(err.Error(), "timeout"), "a request that nobody answers: %v", err)
}

func pullFromOffsets(k *kit) {
	topic := k.createdTopic(2)
	p := k.producer(producer.WithQueueSelector(producer.NewManualQueueSelector()))
	queues := k.queues(topic)
	for i := 0; i < 60; i++ {
		m := message(topic, fmt.Sprintf("m%d", i), []string{"TagA", "TagB"}[i/2%2], "")
		m.Queue = queues[i%2]
		ok2(p.SendSync(ctx, m))
	}
	c := k.pullConsumer(k.group(), topic, "*")
	for _, queue := range queues {
		bodies := []string{}
		for offset := int64(0); ; {
			result := must(c.PullFrom(ctx, queue, offset, 7))
			if result.Status != primitive.PullFound {
				equal(primitive.PullNoNewMsg, result.Status, "status at the end of queue %d", queue.QueueId)
				break
			}
			equal([]int64{0, 30}, []int64{result.MinOffset, result.MaxOffset}, "offsets of queue %d", queue.QueueId)
			for _, m := range result.GetMessageExts() {
				equal(offset, m.QueueOffset, "offset in queue %d", queue.QueueId)
				bodies = append(bodies, string(m.Body))
				offset++
			}
			equal(offset, result.NextBeginOffset, "next offset in queue %d", queue.QueueId)
		}
		want := []string{}
		for i := queue.QueueId; i < 60; i += 2 {
			want = append(want, fmt.Sprintf("m%d", i))
		}
		equal(want, bodies, "bodies of queue %d", queue.QueueId)
		beyond := must(c.PullFrom(ctx, queue, 1000, 7))
		equal(primitive.PullOffsetIllegal, beyond.Status, "status at offset 1000")
		equal(int64(30), beyond.NextBeginOffset, "next offset from 1000")
	}
	tagged := k.pullConsumer(k.group(), topic, "TagB")
	bodies := []string{}
	for _, m := range must(tagged.PullFrom(ctx, queues[0], 0, 32)).GetMessageExts() {
		equal("TagB", m.GetTags(), "tag")
		bodies = append(bodies, string(m.Body))
	}
	equal(15, len(bodies), "messages with TagB")
}

// pullCommitted: what a pull consumer writes down is where the next one of its group goes on.
func pullCommitted(k *kit) {
	topic := k.createdTopic(1)
	p := k.producer()
	for i := 0; i < 20; i++ {
		ok2(p.SendSync(ctx, message(topic, fmt.Sprintf("m%d", i), "", "")))
	}
	group := k.group()
	pull := func(c interface {
		Pull(context.Context, int) (*primitive.PullResult, error)
	}, count int) []string {
		bodies := []string{}
		for _, m := range must(c.Pull(ctx, count)).GetMessageExts() {
			bodies = append(bodies, string(m.Body))
		}
		return bodies
	}
	first := k.pullConsumer(group, topic, "*")
	queue := k.queues(topic)[0]
	equal(8, len(pull(first, 8)), "messages of the first pull")
	ok(first.UpdateOffset(queue, 8))
	equal(int64(8), must(first.CurrentOffset(queue)), "offset in memory")
	ok(first.PersistOffset(ctx, topic))
	ok(first.Shutdown())
	second := k.pullConsumer(group, topic, "*")
	equal(strings.Fields("m8 m9 m10"), pull(second, 3), "messages after the restart")
}

// pullPollAndAck: messages are fetched ahead; one that is answered with "later" comes again from the retry topic.
func pullPollAndAck(k *kit) {
	topic := k.createdTopic(4)
	p := k.producer()
	want := map[string]bool{}
	for i := 0; i < 40; i++ {
		body := fmt.Sprintf("m%d", i)
		want[body] = true
		ok2(p.SendSync(ctx, message(topic, body, "", "")))
	}
	group := k.group()
	c := k.pullConsumer(group, topic, "*")
	got := &inbox{}
	eventually(90, "40 messages", func() bool {
		polled, err := c.Poll(ctx, 200*time.Millisecond)
		if err != nil {
			check(consumer.IsNoNewMsgError(err), "poll: %v", err)
			return false
		}
		for _, m := range polled.GetMsgList() {
			got.add(arrived(m, ""))
		}
		c.ACK(ctx, polled, consumer.ConsumeSuccess)
		return got.size() >= 40
	})
	got.exactly(want, 1)
	ok(c.PersistOffset(ctx, topic))
	ok(c.Shutdown())
	again := k.pullConsumer(group, topic, "*")
	ok2(p.SendSync(ctx, message(topic, "new", "", "")))
	fresh := &inbox{}
	eventually(60, "the new message", func() bool {
		polled, err := again.Poll(ctx, 200*time.Millisecond)
		if err != nil {
			return false
		}
		for _, m := range polled.GetMsgList() {
			fresh.add(arrived(m, ""))
		}
		again.ACK(ctx, polled, consumer.ConsumeSuccess)
		return fresh.size() > 0
	})
	fresh.exactly(map[string]bool{"new": true}, 1)
}

// retryThenSuccess: the server runs with messageDelayLevel `1s 1s 1s 2s 3s …`: the first retry is level 3.
func retryThenSuccess(k *kit) {
	topic := k.createdTopic(4)
	p := k.producer()
	group := k.group()
	got := &inbox{}
	c := k.pushConsumer(group)
	ok(c.Subscribe(topic, everything(), func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		m := messages[0]
		got.add(arrived(m, ""))
		if m.ReconsumeTimes == 0 {
			return consumer.ConsumeRetryLater, nil
		}
		if m.ReconsumeTimes == 1 {
			return consumer.ConsumeRetryLater, errors.New("on purpose")
		}
		return consumer.ConsumeSuccess, nil
	}))
	ok(c.Start())
	ids := map[string]string{}
	for i := 0; i < 20; i++ {
		body := fmt.Sprintf("m%d", i)
		ids[body] = must(p.SendSync(ctx, message(topic, body, "TagR", "key-"+body, "user", body))).MsgID
	}
	eventually(150, "60 deliveries", func() bool { return got.size() >= 60 })
	for body, id := range ids {
		attempts := []int{}
		for _, a := range got.of(body) {
			attempts = append(attempts, a.attempt)
			equal([]string{topic, id, "TagR", "key-" + body, body}, []string{a.topic, a.id, a.tags, a.keys, a.properties["user"]}, "attempt %d of %s", a.attempt, body)
			if a.attempt > 0 {
				equal(topic, a.properties[primitive.PropertyRetryTopic], "RETRY_TOPIC of attempt %d of %s", a.attempt, body)
			}
		}
		equal([]int{0, 1, 2}, attempts, "attempts of %s", body)
	}
	equal(60, got.size(), "deliveries")
	// Their progress is written down: after a restart nothing comes but what is new.
	ok(c.Shutdown())
	ok2(p.SendSync(ctx, message(topic, "new", "", "")))
	(&inbox{}).attach(k.pushConsumer(group), topic, everything(), "").exactly(map[string]bool{"new": true}, 60)
}

func retryUntilDeadLetter(k *kit) {
	topic := k.createdTopic(2)
	p := k.producer()
	group := k.group()
	got := &inbox{}
	c := k.pushConsumer(group, consumer.WithMaxReconsumeTimes(2))
	ok(c.Subscribe(topic, everything(), func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		got.add(arrived(messages[0], ""))
		if string(messages[0].Body) == "good" {
			return consumer.ConsumeSuccess, nil
		}
		return consumer.ConsumeRetryLater, nil
	}))
	ok(c.Start())
	sent := map[string]*primitive.SendResult{}
	for _, body := range []string{"bad", "good", "worse"} {
		sent[body] = must(p.SendSync(ctx, message(topic, body, "TagA", "key-"+body, "user", body)))
	}
	eventually(150, "7 deliveries", func() bool { return got.size() >= 7 })
	dead := "%DLQ%" + group
	a := k.admin()
	eventually(60, "the dead-letter topic", func() bool {
		found, err := a.FetchPublishMessageQueues(ctx, dead)
		return err == nil && len(found) == 1
	})
	reader := k.pullConsumer(k.group(), dead, "*")
	queue := k.queues(dead)[0]
	var letters []*primitive.MessageExt
	eventually(60, "2 dead letters", func() bool {
		letters = must(reader.PullFrom(ctx, queue, 0, 32)).GetMessageExts()
		return len(letters) >= 2
	})
	bodies := map[string]bool{}
	for _, m := range letters {
		body := string(m.Body)
		bodies[body] = true
		equal([]string{topic, sent[body].OffsetMsgID, "key-" + body, body, sent[body].MsgID},
			[]string{m.GetProperty(primitive.PropertyRetryTopic), m.GetProperty(primitive.PropertyOriginMessageId), m.GetKeys(), m.GetProperty("user"), m.MsgId},
			"properties of the dead letter %s", body)
		equal(int32(3), m.ReconsumeTimes, "reconsumeTimes of the dead letter %s", body)
	}
	equal(map[string]bool{"bad": true, "worse": true}, bodies, "dead letters")
	equal(2, len(letters), "dead letters")
	equal(7, got.size(), "deliveries")
}
