package main

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
)

// Over plain connections.
var plainCases = []testCase{
	{"plain.kept", kept},
	{"plain.push_filters", pushFilters},
}

// Over TLS.
var cases = []testCase{
	{"load.burst", burst},
	{"simple.not_acked", notAcked},
	{"simple.invisible", changedInvisible},
	{"push.dead_letter", deadLetter},
	{"push.fifo_dead_letter", fifoDeadLetter},
	{"send.kept", kept},
	{"send.delay", delay},
	{"send.recall", recall},
	{"send.transaction", transaction},
	{"send.fifo_order", fifoOrder},
	{"send.priority", priority},
	{"simple.fifo_waits", fifoWaits},
	{"simple.filters", filters},
	{"simple.wakes", wakes},
	{"push.retried", retried},
	{"push.fifo_retried", fifoRetried},
	{"push.filters", pushFilters},
	{"push.wakes", pushWakes},
	{"lite.topics", liteTopics},
	{"error.send", errorSend},
	{"error.topic", errorTopic},
	{"error.receive", errorReceive},
	{"error.group", errorGroup},
}

func kept(k *kit) {
	topic := k.topic("NORMAL", 4)
	p := k.producer(nil, topic)
	before := time.Now().Add(-time.Millisecond)
	sent := map[string]*rmq.Message{}
	for _, body := range []string{"x", "žluťoučký 🐎\n\x00", noise(256), noise(5000), noise(1 << 20)} {
		m := message(topic, body, fmt.Sprintf("tag-%d", len(body)), "city", "Köln 🏙", "a b", "1=2;3")
		m.SetKeys("key-a", "ключ")
		sent[send(p, m).MessageID] = m
	}
	bare := message(topic, "bare", "")
	sent[send(p, bare).MessageID] = bare
	for _, view := range take(k.simple(k.group(), topic, rmq.SUB_ALL, 5*time.Second), 6, 30) {
		m := sent[view.GetMessageId()]
		delete(sent, view.GetMessageId())
		check(m != nil, "an id that was not sent, or twice: %s", view.GetMessageId())
		check(string(m.Body) == string(view.GetBody()), "body of %d bytes", len(m.Body))
		equal(topic, view.GetTopic(), "topic")
		equal(m.GetTag(), view.GetTag(), "tag")
		sameSet(m.GetKeys(), view.GetKeys(), "keys")
		check(maps.Equal(m.GetProperties(), view.GetProperties()), "properties: want %v, got %v", m.GetProperties(), view.GetProperties())
		equal(int32(1), view.GetDeliveryAttempt(), "attempt")
		check(view.GetBornTimestamp().After(before) && view.GetBornTimestamp().Before(time.Now()) && *view.GetBornHost() != "", "born")
	}
	equal(0, len(sent), "messages that did not come")
}

func delay(k *kit) {
	topic := k.topic("DELAY", 4)
	p := k.producer(nil, topic)
	box := &inbox{}
	k.push(k.group(), topic, rmq.SUB_ALL, box.listener(nil))
	now := time.Now().Truncate(time.Millisecond)
	due := map[string]time.Time{"past": now.Add(-5 * time.Second), "2s": now.Add(2 * time.Second), "3.5s": now.Add(3500 * time.Millisecond)}
	for body, at := range due {
		m := message(topic, body, "t")
		m.SetDelayTimestamp(at)
		send(p, m)
	}
	box.exactly(slices.Collect(maps.Keys(due)), 30)
	for _, a := range box.all() {
		late := a.at.Sub(due[a.body])
		k.note("%s: %d ms late", a.body, late.Milliseconds())
		check(late >= 0 && (a.body == "past" || late < 2500*time.Millisecond), "%s came %v after it was due", a.body, late)
		check(a.view.GetDeliveryTimestamp().Equal(due[a.body]), "due time of %s: %v", a.body, a.view.GetDeliveryTimestamp())
	}
}

func recall(k *kit) {
	topic := k.topic("DELAY", 4)
	p := k.producer(nil, topic)
	box := &inbox{}
	k.push(k.group(), topic, rmq.SUB_ALL, box.listener(nil))
	due := time.Now().Add(5 * time.Second)
	later := func(body string, at time.Time) *rmq.SendReceipt {
		m := message(topic, body, "")
		m.SetDelayTimestamp(at)
		return send(p, m)
	}
	later("before", due)
	recalled := later("recalled", due)
	later("after", due)
	equal(recalled.MessageID, must(p.Recall(ctx, topic, recalled.RecallHandle)), "id")
	last := later("last", due.Add(1500*time.Millisecond))
	box.exactly([]string{"before", "after", "last"}, 40)
	for _, handle := range []string{"nonsense", last.RecallHandle} {
		_, err := p.Recall(ctx, topic, handle)
		check(code(err) != 0, "recalled with %s: %v", handle, err)
		k.note("%d", code(err))
	}
}

func transaction(k *kit) {
	topic := k.topic("TRANSACTION", 4)
	var mutex sync.Mutex
	asked, ids, wrong := map[string]int{}, map[string]string{}, []string{}
	p := k.producer(func(view *rmq.MessageView) rmq.TransactionResolution {
		mutex.Lock()
		defer mutex.Unlock()
		body := string(view.GetBody())
		asked[body]++
		if view.GetMessageId() != ids[body] || view.GetTopic() != topic || *view.GetTag() != "t" || view.GetProperties()["p"] != body {
			wrong = append(wrong, fmt.Sprint(view))
		}
		switch {
		case body == "check-rollback":
			return rmq.ROLLBACK
		case body == "check-later" && asked[body] < 3:
			return rmq.UNKNOWN
		}
		return rmq.COMMIT
	}, topic)
	for _, body := range []string{"commit", "rollback", "check-commit", "check-rollback", "check-later"} {
		t := p.BeginTransaction()
		receipts := must(p.SendWithTransaction(ctx, message(topic, body, "t", "p", body), t))
		mutex.Lock()
		ids[body] = receipts[0].MessageID
		mutex.Unlock()
		switch body {
		case "commit":
			ok(t.Commit())
		case "rollback":
			ok(t.RollBack())
		}
	}
	c := k.simple(k.group(), topic, rmq.SUB_ALL, 5*time.Second)
	got := take(c, 3, 60)
	count := func(body string) int {
		mutex.Lock()
		defer mutex.Unlock()
		return asked[body]
	}
	eventually(30, "asked about the one to roll back", func() bool { return count("check-rollback") > 0 })
	nothing(c)
	sameSet([]string{"commit", "check-commit", "check-later"}, bodies(got), "committed")
	for _, view := range got {
		equal(ids[string(view.GetBody())], view.GetMessageId(), "id")
		equal("t", *view.GetTag(), "tag")
		equal(string(view.GetBody()), view.GetProperties()["p"], "property")
	}
	equal([]string{}, wrong, "what the checker saw")
	equal([]int{0, 0, 1, 1, 3}, []int{count("commit"), count("rollback"), count("check-commit"), count("check-rollback"), count("check-later")}, "asked how often")
}

func fifoOrder(k *kit) {
	topic := k.topic("FIFO", 4)
	p := k.producer(nil, topic)
	sent := []string{}
	for i := range 60 {
		body := fmt.Sprintf("g%d:%d", i%4, i)
		m := message(topic, body, "")
		m.SetMessageGroup(body[:2])
		send(p, m)
		sent = append(sent, body)
	}
	box := &inbox{}
	k.push(k.groupWith("-o true"), topic, rmq.SUB_ALL, box.listener(nil))
	taken := bodies(take(k.simple(k.groupWith("-o true"), topic, rmq.SUB_ALL, 5*time.Second), len(sent), 60))
	box.exactly(sent, 60)
	sameSet(sent, taken, "simple consumer")
	for g := range 4 {
		others := func(body string) bool { return !strings.HasPrefix(body, fmt.Sprintf("g%d:", g)) }
		want := slices.DeleteFunc(slices.Clone(sent), others)
		equal(want, slices.DeleteFunc(box.bodies(""), others), "order of a push consumer")
		equal(want, slices.DeleteFunc(slices.Clone(taken), others), "order of a simple consumer")
	}
	for _, a := range box.all() {
		equal(a.body[:2], *a.view.GetMessageGroup(), "message group")
	}
}

func priority(k *kit) {
	topic := k.topic("PRIORITY", 4)
	p := k.producer(nil, topic)
	for i, urgent := range []int32{1, 0, 3, 2, 3, 1} {
		m := message(topic, fmt.Sprintf("p%d-%d", urgent, i), "")
		ok(m.SetPriority(urgent))
		send(p, m)
	}
	got := take(k.simple(k.group(), topic, rmq.SUB_ALL, 5*time.Second), 6, 30)
	equal([]string{"p3-2", "p3-4", "p2-3", "p1-0", "p1-5", "p0-1"}, bodies(got), "the most urgent first")
}

// What is not acknowledged comes again after its time; the old receipt is worth nothing then (this client does not tell it for acks).
func notAcked(k *kit) {
	topic := k.topic("NORMAL", 4)
	send(k.producer(nil, topic), message(topic, "x", ""))
	c := k.simple(k.group(), topic, rmq.SUB_ALL, 5*time.Second)
	first := one(c, 10*time.Second, 20)
	start := time.Now()
	second := one(c, invisible, 25)
	waited := time.Since(start)
	k.note("again after %.1f s", waited.Seconds())
	check(waited > 9*time.Second && waited < 13*time.Second, "came again after %v, not 10 s", waited)
	equal([]int32{1, 2}, []int32{first.GetDeliveryAttempt(), second.GetDeliveryAttempt()}, "attempts")
	refused(40013, c.ChangeInvisibleDuration(first, 20*time.Second))
	ok(c.Ack(ctx, second))
	nothing(c)
}

func changedInvisible(k *kit) {
	topic := k.topic("NORMAL", 4)
	send(k.producer(nil, topic), message(topic, "x", ""))
	c := k.simple(k.group(), topic, rmq.SUB_ALL, 5*time.Second)
	for attempt := int32(1); attempt <= 4; attempt++ {
		view := one(c, time.Minute, 20)
		equal(attempt, view.GetDeliveryAttempt(), "attempt")
		ok(c.ChangeInvisibleDuration(view, time.Second))
	}
	last := one(c, 10*time.Second, 20)
	ok(c.ChangeInvisibleDuration(last, 25*time.Second))
	// Longer than it was invisible at first.
	for start := time.Now(); time.Since(start) < 11*time.Second; {
		nothing(c)
	}
	ok(c.Ack(ctx, last))
	for start := time.Now(); time.Since(start) < 16*time.Second; {
		nothing(c)
	}
}

func fifoWaits(k *kit) {
	topic := k.topic("FIFO", 1)
	p := k.producer(nil, topic)
	for _, body := range []string{"1", "2", "3"} {
		m := message(topic, body, "")
		m.SetMessageGroup("g")
		send(p, m)
	}
	c := k.simple(k.groupWith("-o true"), topic, rmq.SUB_ALL, 5*time.Second)
	first := one(c, time.Minute, 20)
	nothing(c)
	ok(c.ChangeInvisibleDuration(first, time.Second))
	again := one(c, time.Minute, 20)
	equal([]any{"1", "1", int32(2)}, []any{string(first.GetBody()), string(again.GetBody()), again.GetDeliveryAttempt()}, "the first, twice")
	ok(c.Ack(ctx, again))
	equal([]string{"2", "3"}, bodies(take(c, 2, 20)), "the others")
}

func filters(k *kit) {
	topic := k.topic("NORMAL", 4)
	p := k.producer(nil, topic)
	for i := range 12 {
		tag := []string{"a", "b", "c", "ab"}[i%4]
		send(p, message(topic, fmt.Sprint(tag, i), tag, "price", fmt.Sprint(i), "region", []string{"eu", "us"}[i%2]))
	}
	tags := k.simple(k.group(), topic, rmq.NewFilterExpression("a || b"), 5*time.Second)
	sql := k.simple(k.group(), topic, rmq.NewFilterExpressionWithType("price BETWEEN 3 AND 10 AND region = 'eu' AND TAGS IN ('a', 'c')", rmq.SQL92), 5*time.Second)
	sameSet([]string{"a0", "b1", "a4", "b5", "a8", "b9"}, bodies(take(tags, 6, 30)), "tags")
	sameSet([]string{"a4", "c6", "a8", "c10"}, bodies(take(sql, 4, 30)), "sql")
	nothing(tags)
	nothing(sql)
}

// woken checks how long messages took to a consumer that waited.
func woken(k *kit, times []time.Duration) {
	k.note("woken after %v", times)
	check(slices.Max(times) < 3*time.Second && slices.Min(times) < time.Second, "woken too late: %v", times)
}

func wakes(k *kit) {
	topic := k.topic("NORMAL", 4)
	p := k.producer(nil, topic)
	c := k.simple(k.group(), topic, rmq.SUB_ALL, 20*time.Second)
	send(p, message(topic, "first", ""))
	take(c, 1, 30)
	times := []time.Duration{}
	for round := range 4 {
		receiving := make(chan []*rmq.MessageView, 1)
		go func() {
			got, _ := c.Receive(ctx, 8, invisible)
			receiving <- got
		}()
		// Nothing shows that it waits at the server: it must still wait after this.
		select {
		case <-receiving:
			panic("the receive did not wait")
		case <-time.After(700 * time.Millisecond):
		}
		start := time.Now()
		send(p, message(topic, fmt.Sprint("r", round), ""))
		got := <-receiving
		times = append(times, time.Since(start).Round(time.Millisecond))
		equal([]string{fmt.Sprint("r", round)}, bodies(got), "woken with")
		ok(c.Ack(ctx, got[0]))
	}
	woken(k, times)
}

func pushWakes(k *kit) {
	topic := k.topic("NORMAL", 4)
	p := k.producer(nil, topic)
	box := &inbox{}
	k.push(k.group(), topic, rmq.SUB_ALL, box.listener(nil))
	send(p, message(topic, "first", ""))
	box.exactly([]string{"first"}, 30)
	times := []time.Duration{}
	for round := range 4 {
		// So that its next receive waits at the server.
		time.Sleep(700 * time.Millisecond)
		start := time.Now()
		send(p, message(topic, fmt.Sprint("r", round), ""))
		eventually(15, "woken", func() bool { return len(box.all()) == round+2 })
		times = append(times, time.Since(start).Round(time.Millisecond))
	}
	woken(k, times)
}

func sendMany(p rmq.Producer, topic string, count int) []string {
	sent := []string{}
	for i := range count {
		body := fmt.Sprint("m", i)
		m := message(topic, body, "t", "p", body)
		m.SetKeys("k-" + body)
		send(p, m)
		sent = append(sent, body)
	}
	return sent
}

func retried(k *kit) {
	topic := k.topic("NORMAL", 4)
	box := &inbox{}
	k.push(k.group(), topic, rmq.SUB_ALL, box.listener(func(a arrival) bool { return a.body == "m1" && a.attempt < 3 }))
	sent := sendMany(k.producer(nil, topic), topic, 10)
	box.exactly(append(sent, "m1", "m1"), 60)
	equal([]int32{1, 2, 3}, box.attempts("m1"), "attempts")
	times := []time.Time{}
	for _, a := range box.all() {
		if a.body == "m1" {
			times = append(times, a.at)
		}
	}
	once, twice := times[1].Sub(times[0]), times[2].Sub(times[1])
	k.note("again after %v, then %v", once.Round(time.Millisecond), twice.Round(time.Millisecond))
	check(once > 900*time.Millisecond && twice > once, "retries wait longer each time")
}

// A failure is repeated at its place; other groups go on.
func fifoRetried(k *kit) {
	topic := k.topic("FIFO", 4)
	p := k.producer(nil, topic)
	box := &inbox{}
	k.push(k.groupWith("-o true"), topic, rmq.SUB_ALL, box.listener(func(a arrival) bool { return a.body == "a2" && a.attempt < 3 }))
	for i := range 5 {
		for _, group := range []string{"a", "b"} {
			m := message(topic, fmt.Sprint(group, i), "")
			m.SetMessageGroup(group)
			send(p, m)
		}
		if i == 2 {
			// This client goes on with the rest of what it received when one fails: what follows must not come with it.
			eventually(30, "the one that fails", func() bool { return len(box.attempts("a2")) > 0 })
		}
	}
	eventually(60, "all of them", func() bool { return len(box.all()) >= 12 })
	equal([]string{"a0", "a1", "a2", "a2", "a2", "a3", "a4"}, box.bodies("a"), "group a")
	equal([]string{"b0", "b1", "b2", "b3", "b4"}, box.bodies("b"), "group b")
	equal([]int32{1, 2, 3}, box.attempts("a2"), "attempts")
}

func deadLetters(k *kit, group string, want ...string) {
	dead := "%DLQ%" + group
	eventually(60, "dead letters", func() bool {
		defer func() { _ = recover() }()
		return admin("topicStatus -n %s -t %s", nameServ, dead) != ""
	})
	c := k.simple(k.group(), dead, rmq.SUB_ALL, 5*time.Second)
	got := take(c, len(want), 30)
	sameSet(want, bodies(got), "dead letters")
	for _, view := range got {
		body := string(view.GetBody())
		equal([]any{"t", []string{"k-" + body}, body}, []any{*view.GetTag(), view.GetKeys(), view.GetProperties()["p"]}, "tag, keys, property")
	}
	nothing(c)
}

// One retry is allowed: the third time it is a dead letter.
func deadLetter(k *kit) {
	topic := k.topic("NORMAL", 4)
	group := k.groupWith("-r 1")
	box := &inbox{}
	k.push(group, topic, rmq.SUB_ALL, box.listener(func(a arrival) bool { return a.body == "m0" || a.body == "m3" }))
	sendMany(k.producer(nil, topic), topic, 5)
	deadLetters(k, group, "m0", "m3")
	sameSet([]string{"m0", "m0", "m1", "m2", "m3", "m3", "m4"}, box.bodies(""), "deliveries")
	equal([]int32{1, 2}, box.attempts("m0"), "attempts")
}

func fifoDeadLetter(k *kit) {
	topic := k.topic("FIFO", 1)
	group := k.groupWith("-o true -r 1")
	p := k.producer(nil, topic)
	box := &inbox{}
	k.push(group, topic, rmq.SUB_ALL, box.listener(func(a arrival) bool { return a.body == "m1" }))
	for _, body := range []string{"m0", "m1", "m2"} {
		m := message(topic, body, "t", "p", body)
		m.SetKeys("k-" + body)
		m.SetMessageGroup("g")
		send(p, m)
		// As in fifoRetried: nothing comes together with the one that fails.
		eventually(30, "it came", func() bool { return body == "m2" || len(box.attempts(body)) > 0 })
	}
	deadLetters(k, group, "m1")
	eventually(30, "the last", func() bool { return len(box.all()) == 4 })
	equal([]string{"m0", "m1", "m1", "m2"}, box.bodies(""), "order")
	equal([]int32{1, 2}, box.attempts("m1"), "attempts")
}

func pushFilters(k *kit) {
	topic := k.topic("NORMAL", 4)
	p := k.producer(nil, topic)
	tags, sql := &inbox{}, &inbox{}
	k.push(k.group(), topic, rmq.NewFilterExpression("a||b"), tags.listener(nil))
	k.push(k.group(), topic, rmq.NewFilterExpressionWithType("n > 5 OR s STARTSWITH 'x'", rmq.SQL92), sql.listener(nil))
	for i := range 9 {
		tag := []string{"a", "b", "c"}[i%3]
		send(p, message(topic, fmt.Sprint(tag, i), tag, "n", fmt.Sprint(i), "s", map[bool]string{true: "xy", false: "yx"}[i == 2]))
	}
	tags.exactly([]string{"a0", "b1", "a3", "b4", "a6", "b7"}, 30)
	sql.exactly([]string{"c2", "a6", "b7", "c8"}, 30)
}

func liteTopics(k *kit) {
	topic := k.topic("LITE", 4)
	p := k.producer(nil, topic)
	box := &inbox{}
	c := must(rmq.NewLitePushConsumer(config(k.groupWith("-o true --attributes +lite.bind.topic="+topic)), rmq.NewLitePushConsumerConfig(topic, invisible),
		rmq.WithPushMessageListener(&rmq.FuncMessageListener{Consume: box.listener(func(a arrival) bool { return a.body == "a2" && a.attempt < 2 })})))
	ok(c.Start())
	k.atEnd(c.GracefulStop)
	ok(c.SubscribeLite("a"))
	ok(c.SubscribeLite("b"))
	lite := func(name, body string) {
		m := message(topic, body, "t", "p", name)
		m.SetLiteTopic(name)
		send(p, m)
	}
	for i := range 5 {
		for _, name := range []string{"a", "b", "c"} {
			lite(name, fmt.Sprint(name, i))
		}
	}
	eventually(60, "all of them", func() bool { return len(box.all()) >= 11 })
	// (This client takes nothing of a group that consumes in order: the failed one does not hold up those behind it.)
	equal([]string{"a0", "a1", "a2", "a2", "a3", "a4"}, slices.Sorted(slices.Values(box.bodies("a"))), "lite topic a")
	equal([]string{"b0", "b1", "b2", "b3", "b4"}, box.bodies("b"), "lite topic b")
	equal(11, len(box.all()), "deliveries")
	for _, a := range box.all() {
		check(a.view.GetLiteTopic() == a.body[:1] && a.view.GetProperties()["p"] == a.body[:1], "lite topic and property: %v", a.view)
	}
	ok(c.UnSubscribeLite("a"))
	lite("a", "a-new")
	lite("b", "b-new")
	eventually(30, "b", func() bool { return len(box.bodies("b-new")) == 1 })
	ok(c.SubscribeLite("a"))
	eventually(30, "a, now that it is subscribed again", func() bool { return len(box.bodies("a-new")) == 1 })
}

func errorSend(k *kit) {
	normal, fifo, due := k.topic("NORMAL", 4), k.topic("FIFO", 4), k.topic("DELAY", 4)
	p := k.producer(nil, normal, fifo, due)
	try := func(topic string, change func(*rmq.Message)) error {
		m := message(topic, "x", "")
		change(m)
		_, err := p.Send(ctx, m)
		return err
	}
	keep := func(*rmq.Message) {}
	group := func(name string) func(*rmq.Message) { return func(m *rmq.Message) { m.SetMessageGroup(name) } }
	at := func(after time.Duration) func(*rmq.Message) {
		return func(m *rmq.Message) { m.SetDelayTimestamp(time.Now().Add(after)) }
	}
	// Refused by the client itself, by what the server's settings and routes say.
	for _, err := range []error{try(normal, at(time.Second)), try(normal, group("g")), try(fifo, keep), try(due, keep)} {
		check(err != nil && strings.Contains(err.Error(), "message type not match"), "wrong type: %v", err)
	}
	err := try(normal, func(m *rmq.Message) { m.Body = make([]byte, 4<<20+1) })
	check(err != nil && strings.Contains(err.Error(), "exceeds the threshold"), "too large: %v", err)
	ok(try(normal, func(m *rmq.Message) { m.Body = make([]byte, 4<<20) }))
	// Refused by the server.
	refused(41302, try(normal, func(m *rmq.Message) { m.Body = nil }))
	refused(40007, try(normal, func(m *rmq.Message) { m.AddProperty("TAGS", "t") }))
	refused(40004, try(normal, func(m *rmq.Message) { m.SetTag("a|b") }))
	refused(40004, try(normal, func(m *rmq.Message) { m.SetTag(" ") }))
	refused(40005, try(normal, func(m *rmq.Message) { m.SetKeys(" ") }))
	refused(40006, try(fifo, group(strings.Repeat("g", 64))))
	// Apache's proxy allows a day, Kerolox what its broker allows: forty.
	refused(40012, try(due, at(41*24*time.Hour)))
	refused(43101, try(normal, func(m *rmq.Message) { m.AddProperty("p", strings.Repeat("v", 16384)) }))
	ok(try(normal, keep))
	got := take(k.simple(k.group(), normal, rmq.SUB_ALL, 5*time.Second), 2, 30)
	equal([]int{1, 4 << 20}, slices.Sorted(slices.Values([]int{len(got[0].GetBody()), len(got[1].GetBody())})), "arrived")
}

func errorTopic(k *kit) {
	topic, unknown := k.topic("NORMAL", 4), k.fresh("U")
	p := k.producer(nil, topic)
	_, err := p.Send(ctx, message(unknown, "x", ""))
	refused(40402, err)
	// Here the client keeps only the text.
	err = must(rmq.NewProducer(config(""), rmq.WithTopics(unknown))).Start()
	check(err != nil && strings.Contains(err.Error(), "TOPIC_NOT_FOUND"), "unknown topic: %v", err)
	for _, bad := range []string{"SCHEDULE_TOPIC_XXXX", "a.b", " ", strings.Repeat("t", 128)} {
		_, err = p.Send(ctx, message(bad, "x", ""))
		refused(40002, err)
	}
}

func errorReceive(k *kit) {
	topic := k.topic("NORMAL", 4)
	send(k.producer(nil, topic), message(topic, "x", ""))
	c := k.simple(k.group(), topic, rmq.SUB_ALL, 5*time.Second)
	for _, wrong := range []time.Duration{9 * time.Second, 13 * time.Hour} {
		_, err := c.Receive(ctx, 1, wrong)
		refused(40011, err)
	}
	view := one(c, invisible, 20)
	refused(40011, c.ChangeInvisibleDuration(view, 13*time.Hour))
	_, err := k.simple(k.group(), topic, rmq.NewFilterExpressionWithType("price >", rmq.SQL92), 5*time.Second).Receive(ctx, 1, invisible)
	refused(40010, err)
}

// A group that nobody has made is made; one of a system is not to be used.
func errorGroup(k *kit) {
	topic, group := k.topic("NORMAL", 4), k.group()
	c := k.simple(group, topic, rmq.SUB_ALL, 5*time.Second)
	send(k.producer(nil, topic), message(topic, "x", ""))
	equal([]string{"x"}, bodies(take(c, 1, 30)), "taken by a new group")
	check(strings.Contains(admin("getConsumerConfig -n %s -g %s", nameServ, group), group), "the group is there")
	for _, bad := range []string{"CID_RMQ_SYS_x", strings.Repeat("g", 121)} {
		err := must(rmq.NewSimpleConsumer(config(bad), rmq.WithSimpleAwaitDuration(5*time.Second),
			rmq.WithSimpleSubscriptionExpressions(map[string]*rmq.FilterExpression{topic: rmq.SUB_ALL}))).Start()
		check(err != nil && !reflect.ValueOf(err).IsZero(), "the group %s was not refused", bad)
	}
}
