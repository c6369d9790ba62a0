package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
)

var waitingCases = []testCase{
	{"delay.levels", false, delayLevels},
	{"delay.timer", false, delayTimer},
	{"transaction.ends", false, transactionEnds},
}

// delayLevels: the server runs with messageDelayLevel `1s 1s 1s 2s 3s 4s …`.
func delayLevels(k *kit) {
	topic := k.createdTopic(4)
	p := k.producer()
	got := (&inbox{}).attach(k.pushConsumer(k.group()), topic, everything(), "")
	due := map[string]time.Time{}
	want := map[string]bool{}
	for level := 1; level <= 6; level++ {
		for i := 0; i < 3; i++ {
			body := fmt.Sprintf("level%d-%d", level, i)
			m := message(topic, body, "TagD", "key-"+body, "user", body)
			m.WithDelayTimeLevel(level)
			wait := time.Duration([]int{0, 1, 1, 1, 2, 3, 4}[level]) * time.Second
			due[body], want[body] = time.Now().Add(wait), true
			equal(primitive.SendOK, must(p.SendSync(ctx, m)).Status, "status of %s", body)
		}
	}
	got.exactly(want, 60)
	latest := time.Duration(0)
	for _, a := range got.all() {
		by := a.at.Sub(due[a.body])
		check(by > -10*time.Millisecond, "%s came %v early", a.body, -by)
		check(by < 5*time.Second, "%s came %v late", a.body, by)
		if by > latest {
			latest = by
		}
		equal([]string{topic, "TagD", "key-" + a.body, a.body, a.body[5:6], topic},
			[]string{a.topic, a.tags, a.keys, a.properties["user"], a.properties[primitive.PropertyDelayTimeLevel], a.properties[primitive.PropertyRealTopic]},
			"contents of %s", a.body)
	}
	k.note("latest %v late", latest.Round(time.Millisecond))
}

// delayTimer: times of their own, by the property that this client has no call for.
func delayTimer(k *kit) {
	topic := k.createdTopic(4)
	p := k.producer()
	got := (&inbox{}).attach(k.pushConsumer(k.group()), topic, everything(), "")
	due := map[string]int64{}
	want := map[string]bool{}
	for i := 0; i < 40; i++ {
		body := fmt.Sprintf("m%d", i)
		at := time.Now().UnixMilli() + 2000 + int64(i)*37%3000
		due[body], want[body] = at, true
		ok2(p.SendSync(ctx, message(topic, body, "", "", "TIMER_DELIVER_MS", strconv.FormatInt(at, 10))))
	}
	got.exactly(want, 60)
	early := int64(1000)
	if exactTimes {
		early = 0
	}
	for _, a := range got.all() {
		by := a.stored - due[a.body]
		check(by >= -early && by < 5000, "%s was stored %d ms after its time", a.body, by)
	}
}

// decider says what is to become of a message by its body: `commit…`, `rollback…`, or `asked-…` when asked for the second time.
type decider struct {
	mutex sync.Mutex
	asked map[string]int
	wrong []string
}

func (d *decider) ExecuteLocalTransaction(m *primitive.Message) primitive.LocalTransactionState {
	body := string(m.Body)
	switch {
	case strings.HasPrefix(body, "commit"):
		return primitive.CommitMessageState
	case strings.HasPrefix(body, "rollback"):
		return primitive.RollbackMessageState
	}
	return primitive.UnknowState
}

func (d *decider) CheckLocalTransaction(m *primitive.MessageExt) primitive.LocalTransactionState {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	body := string(m.Body)
	d.asked[body]++
	if m.TransactionId == "" || m.TransactionId != m.GetProperty(primitive.PropertyUniqueClientMessageIdKeyIndex) {
		d.wrong = append(d.wrong, body+": transaction id "+m.TransactionId)
	}
	switch {
	case d.asked[body] < 2:
		return primitive.UnknowState
	case strings.HasPrefix(body, "asked-commit"):
		return primitive.CommitMessageState
	}
	return primitive.RollbackMessageState
}

func (d *decider) askedTwice() int {
	d.mutex.Lock()
	defer d.mutex.Unlock()
	count := 0
	for _, times := range d.asked {
		if times >= 2 {
			count++
		}
	}
	return count
}

func transactionEnds(k *kit) {
	topic := k.createdTopic(4)
	d := &decider{asked: map[string]int{}}
	p := k.transactionProducer(d)
	got := (&inbox{}).attach(k.pushConsumer(k.group()), topic, everything(), "")
	want := map[string]bool{}
	for i := 0; i < 10; i++ {
		for _, kind := range []string{"commit-", "rollback-", "asked-commit-", "asked-rollback-"} {
			body := fmt.Sprintf("%s%d", kind, i)
			result := must(p.SendMessageInTransaction(ctx, message(topic, body, "TagT", "key-"+body, "for", body)))
			equal(primitive.SendOK, result.Status, "status of %s", body)
			if strings.Contains(kind, "commit") {
				want[body] = true
			}
		}
	}
	got.await(want, 200)
	eventually(90, "all asked twice", func() bool { return d.askedTwice() == 20 })
	got.exactly(want, 10)
	equal(0, len(d.wrong), "what the listener was told wrongly (%v)", d.wrong)
	for _, a := range got.all() {
		equal([]string{topic, "TagT", "key-" + a.body, a.body}, []string{a.topic, a.tags, a.keys, a.properties["for"]}, "contents of %s", a.body)
	}
}
