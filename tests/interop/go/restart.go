package main

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

var restartCases = []testCase{
	{"restart.under_load", true, restartUnderLoad},
	{"restart.transactions_and_delays", true, restartWaiting},
}

// restartUnderLoad: the broker is killed while messages are sent and consumed. What was acknowledged comes, and both go on by themselves.
func restartUnderLoad(k *kit) {
	topic := k.createdTopic(4)
	p := k.producer(producer.WithRetry(0))
	got := (&inbox{}).attach(k.pushConsumer(k.group()), topic, everything(), "")
	var mutex sync.Mutex
	acknowledged := map[string]bool{}
	count := func() int {
		mutex.Lock()
		defer mutex.Unlock()
		return len(acknowledged)
	}
	var stop, failed int64
	var senders sync.WaitGroup
	for s := 0; s < 4; s++ {
		s := s
		senders.Add(1)
		go func() {
			defer senders.Done()
			for i := 0; atomic.LoadInt64(&stop) == 0; i++ {
				body := fmt.Sprintf("s%d-%d", s, i)
				result, err := p.SendSync(ctx, message(topic, body, "", ""))
				if err != nil || result.Status != primitive.SendOK {
					atomic.AddInt64(&failed, 1)
					time.Sleep(10 * time.Millisecond)
					continue
				}
				mutex.Lock()
				acknowledged[body] = true
				mutex.Unlock()
				time.Sleep(2 * time.Millisecond)
			}
		}()
	}
	for _, verb := range []string{"kill", "stop"} {
		before, received := count(), got.size()
		eventually(60, "500 more acknowledged, and consumption under way", func() bool {
			return count() > before+500 && got.size() > received
		})
		hook(verb)
		down := time.Now()
		hook("start")
		before = count()
		eventually(90, "acknowledged after the restart", func() bool { return count() > before })
		sending := time.Since(down)
		received = got.size()
		eventually(120, "the consumer goes on", func() bool { return got.size() > received })
		k.note("after %s acknowledging again after %.1f s, delivering after %.1f s", verb, sending.Seconds(), time.Since(down).Seconds())
	}
	atomic.StoreInt64(&stop, 1)
	senders.Wait()
	got.await(acknowledged, 120)
	k.note("%d acknowledged, %d delivered, %d sends failed", len(acknowledged), got.size(), failed)
}

// restartWaiting: the broker is killed while half messages and delayed ones wait: all that is to come comes, and nothing else.
func restartWaiting(k *kit) {
	topic := k.createdTopic(4)
	d := &decider{asked: map[string]int{}}
	halves := k.transactionProducer(d)
	p := k.producer()
	got := (&inbox{}).attach(k.pushConsumer(k.group()), topic, everything(), "")
	want := map[string]bool{}
	for i := 0; i < 20; i++ {
		kind := []string{"asked-commit", "asked-rollback"}[i%2]
		body := fmt.Sprintf("%s-%d", kind, i)
		ok2(halves.SendMessageInTransaction(ctx, message(topic, body, "", "")))
		delayed := message(topic, fmt.Sprintf("delayed-%d", i), "", "")
		delayed.WithDelayTimeLevel(4 + i%4)
		ok2(p.SendSync(ctx, delayed))
		want[fmt.Sprintf("delayed-%d", i)] = true
		if i%2 == 0 {
			want[body] = true
		}
	}
	hook("kill")
	hook("start")
	got.await(want, 150)
	eventually(120, "all asked twice", func() bool { return d.askedTwice() == 20 })
	for _, a := range got.all() {
		check(want[a.body], "%s was delivered", a.body)
	}
	k.note("%d delivered for %d", got.size(), len(want))
}
