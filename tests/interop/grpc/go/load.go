package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
)

var restartCases = []testCase{
	{"restart.stop", func(k *kit) { restart(k, "stop") }},
	{"restart.kill", func(k *kit) { restart(k, "kill") }},
}

func burst(k *kit) {
	topic := k.topic("NORMAL", 4)
	p := k.producer(nil, topic)
	box := &inbox{}
	k.push(k.group(), topic, rmq.SUB_ALL, box.listener(nil))
	start := time.Now()
	sent := []string{}
	window := make(chan struct{}, 32)
	var failures atomic.Int32
	for i := range 5000 {
		sent = append(sent, fmt.Sprint("m", i))
		window <- struct{}{}
		p.SendAsync(ctx, message(topic, sent[i], ""), func(_ context.Context, _ []*rmq.SendReceipt, err error) {
			if err != nil {
				failures.Add(1)
			}
			<-window
		})
	}
	for range cap(window) {
		window <- struct{}{}
	}
	k.note("sent in %.1f s", time.Since(start).Seconds())
	equal(int32(0), failures.Load(), "sends that failed")
	box.exactly(sent, 90)
	k.note("all there after %.1f s", time.Since(start).Seconds())
}

// names is a set that several goroutines use.
type names struct {
	mutex sync.Mutex
	all   map[string]bool
}

func (n *names) add(name string) {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	if n.all == nil {
		n.all = map[string]bool{}
	}
	n.all[name] = true
}

func (n *names) size() int {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	return len(n.all)
}

func (n *names) has(others *names) bool {
	n.mutex.Lock()
	defer n.mutex.Unlock()
	others.mutex.Lock()
	defer others.mutex.Unlock()
	for name := range others.all {
		if !n.all[name] {
			return false
		}
	}
	return true
}

// Sending and consuming go on; all that was acknowledged to a sender reaches each group.
func restart(k *kit, verb string) {
	topic := k.topic("NORMAL", 4)
	p := k.producer(nil, topic)
	c := k.simple(k.group(), topic, rmq.SUB_ALL, 5*time.Second)
	var pushed, taken, acknowledged names
	k.push(k.group(), topic, rmq.SUB_ALL, func(view *rmq.MessageView) rmq.ConsumerResult {
		pushed.add(string(view.GetBody()))
		return rmq.SUCCESS
	})
	var over atomic.Bool
	sending := make(chan bool)
	go func() {
		for i := 0; !over.Load(); i++ {
			body := fmt.Sprint("m", i)
			if _, err := p.Send(ctx, message(topic, body, "")); err == nil {
				acknowledged.add(body)
			}
			time.Sleep(2 * time.Millisecond)
		}
		close(sending)
	}()
	done := make(chan bool)
	k.atEnd(func() error { close(done); return nil })
	go func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			got, err := c.Receive(ctx, 32, 10*time.Second)
			if err != nil {
				time.Sleep(10 * time.Millisecond)
			}
			for _, view := range got {
				taken.add(string(view.GetBody()))
				_ = c.Ack(ctx, view)
			}
		}
	}()
	eventually(40, "both run", func() bool { return pushed.size() > 100 && taken.size() > 100 })
	hook(verb)
	time.Sleep(300 * time.Millisecond)
	hook("start")
	start := time.Now()
	resumed := func(who string, set *names, more int) {
		before := set.size()
		eventually(90, who+" goes on", func() bool { return set.size() > before+more })
		k.note("%s after %.1f s", who, time.Since(start).Seconds())
	}
	resumed("sends", &acknowledged, 1)
	resumed("push consumer", &pushed, 50)
	resumed("simple consumer", &taken, 50)
	over.Store(true)
	<-sending
	// What was under way with the restart comes again after 60 s at the latest.
	eventually(90, "all that was acknowledged, at both", func() bool { return pushed.has(&acknowledged) && taken.has(&acknowledged) })
	k.note("%d messages, all after %.1f s", acknowledged.size(), time.Since(start).Seconds())
}
