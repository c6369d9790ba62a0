package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	rocketmq "github.com/apache/rocketmq-client-go/v2"
	"github.com/apache/rocketmq-client-go/v2/admin"
	"github.com/apache/rocketmq-client-go/v2/consumer"
	"github.com/apache/rocketmq-client-go/v2/primitive"
	"github.com/apache/rocketmq-client-go/v2/producer"
)

var (
	// Addresses of the name server under test and of its broker.
	nameServer = primitive.NamesrvAddr{os.Getenv("NAMESRV")}
	broker     = os.Getenv("BROKER")
	// Command that takes start, stop or kill and does that to the broker; empty: it cannot be done.
	hookCommand = os.Getenv("HOOK")
	// Due times are kept to the millisecond; Apache rounds them down to seconds.
	exactTimes = os.Getenv("EXACT_TIMES") != ""
	// Differs from run to run, so that no run sees the messages of another.
	runName = strconv.FormatInt(time.Now().UnixNano()/1_000_000%10_000_000_000, 36)
	counter int64
	ctx     = context.Background()
)

// kit is what a case works with: fresh names, clients that are shut down when it ends, waits with limits, checks.
type kit struct {
	name    string
	mutex   sync.Mutex
	noted   []string
	endings []func()
}

func (k *kit) fresh(kind string) string {
	return fmt.Sprintf("%s_go_%s_%d_%s", kind, k.name, atomic.AddInt64(&counter, 1), runName)
}

func (k *kit) group() string { return k.fresh("G") }

// note adds to what the case's line shows.
func (k *kit) note(format string, args ...interface{}) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.noted = append(k.noted, fmt.Sprintf(format, args...))
}

func (k *kit) notes() string {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return strings.Join(k.noted, "; ")
}

func (k *kit) atEnd(ending func()) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.endings = append(k.endings, ending)
}

func (k *kit) close() {
	k.mutex.Lock()
	endings := k.endings
	k.mutex.Unlock()
	for i := len(endings) - 1; i >= 0; i-- {
		endings[i]()
	}
}

// producer starts one; each client has an instance name of its own, or clients would share connections.
func (k *kit) producer(options ...producer.Option) rocketmq.Producer {
	options = append([]producer.Option{
		producer.WithNameServer(nameServer),
		producer.WithGroupName(k.group()),
		producer.WithInstanceName(k.fresh("I")),
	}, options...)
	p := must(rocketmq.NewProducer(options...))
	check(p.Start() == nil, "a producer did not start")
	k.atEnd(func() { _ = p.Shutdown() })
	return p
}

func (k *kit) transactionProducer(listener primitive.TransactionListener) rocketmq.TransactionProducer {
	p := must(rocketmq.NewTransactionProducer(listener,
		producer.WithNameServer(nameServer),
		producer.WithGroupName(k.group()),
		producer.WithInstanceName(k.fresh("I"))))
	check(p.Start() == nil, "a producer did not start")
	k.atEnd(func() { _ = p.Shutdown() })
	return p
}

// pushConsumer is not started yet. A group without offsets starts at the first message.
func (k *kit) pushConsumer(group string, options ...consumer.Option) rocketmq.PushConsumer {
	options = append([]consumer.Option{
		consumer.WithNameServer(nameServer),
		consumer.WithGroupName(group),
		consumer.WithInstance(k.fresh("I")),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset),
	}, options...)
	c := must(rocketmq.NewPushConsumer(options...))
	k.atEnd(func() { _ = c.Shutdown() })
	return c
}

// pullConsumer is started, for one topic.
func (k *kit) pullConsumer(group, topic, tags string) rocketmq.PullConsumer {
	c := must(rocketmq.NewPullConsumer(
		consumer.WithNameServer(nameServer),
		consumer.WithGroupName(group),
		consumer.WithInstance(k.fresh("I")),
		consumer.WithConsumeFromWhere(consumer.ConsumeFromFirstOffset)))
	ok(c.Subscribe(topic, consumer.MessageSelector{Type: consumer.TAG, Expression: tags}))
	ok(c.Start())
	k.atEnd(func() { _ = c.Shutdown() })
	return c
}

func (k *kit) admin() admin.Admin {
	a := must(admin.NewAdmin(admin.WithResolver(primitive.NewPassthroughResolver(nameServer))))
	k.atEnd(func() { _ = a.Close() })
	return a
}

// createdTopic creates a topic with as many queues and waits until its route is known.
func (k *kit) createdTopic(queues int) string {
	topic := k.fresh("T")
	a := k.admin()
	eventually(60, "the topic "+topic, func() bool {
		err := a.CreateTopic(ctx, admin.WithTopicCreate(topic), admin.WithBrokerAddrCreate(broker),
			admin.WithReadQueueNums(queues), admin.WithWriteQueueNums(queues))
		if err != nil {
			return false
		}
		found, err := a.FetchPublishMessageQueues(ctx, topic)
		return err == nil && len(found) == queues
	})
	return topic
}

// queues of a topic in the order of their ids.
func (k *kit) queues(topic string) []*primitive.MessageQueue {
	found := must(k.admin().FetchPublishMessageQueues(ctx, topic))
	sort.Slice(found, func(i, j int) bool { return found[i].QueueId < found[j].QueueId })
	return found
}

// hook does start, stop or kill to the broker under test.
func hook(verb string) {
	command := exec.Command("bash", "-c", hookCommand+" "+verb)
	command.Stderr = os.Stderr
	ok(command.Run())
}

// message with a tag (unless empty), one key (unless empty) and properties in pairs.
func message(topic, body, tag, key string, properties ...string) *primitive.Message {
	m := primitive.NewMessage(topic, []byte(body))
	if tag != "" {
		m.WithTag(tag)
	}
	if key != "" {
		m.WithKeys([]string{key})
	}
	for i := 0; i+1 < len(properties); i += 2 {
		m.WithProperty(properties[i], properties[i+1])
	}
	return m
}

// eventually waits until the condition holds, looking every few milliseconds.
func eventually(seconds int, what string, condition func() bool) {
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for !condition() {
		check(time.Now().Before(end), "not within %d s: %s", seconds, what)
		time.Sleep(5 * time.Millisecond)
	}
}

func check(holds bool, format string, args ...interface{}) {
	if !holds {
		panic(fmt.Sprintf(format, args...))
	}
}

func ok(err error) {
	if err != nil {
		panic(err)
	}
}

func must[T any](value T, err error) T {
	ok(err)
	return value
}

func equal(want, got interface{}, format string, args ...interface{}) {
	if !reflect.DeepEqual(want, got) {
		panic(fmt.Sprintf(format, args...) + fmt.Sprintf(": want %s, got %s", brief(want), brief(got)))
	}
}

func brief(value interface{}) string {
	text := fmt.Sprintf("%v", value)
	if len(text) > 300 {
		return text[:300] + "…"
	}
	return text
}

// noise gives the same bytes for the same seed; they do not compress.
func noise(seed uint64, length int) string {
	var out bytes.Buffer
	state := seed*0x9E3779B97F4A7C15 + 1
	for i := 0; i < length; i++ {
		state ^= state << 13
		state ^= state >> 7
		state ^= state << 17
		out.WriteByte(byte(state))
	}
	return out.String()
}

// arrival is one delivery, as it was at that moment: the client changes its messages later.
type arrival struct {
	body, topic, id, offsetID, keys, tags, who string
	properties                                 map[string]string
	queue                                      int
	offset                                     int64
	attempt                                    int
	at                                         time.Time
	stored                                     int64
}

func arrived(m *primitive.MessageExt, who string) arrival {
	return arrival{
		body: string(m.Body), topic: m.Topic, id: m.MsgId, offsetID: m.OffsetMsgId, keys: m.GetKeys(), tags: m.GetTags(), who: who,
		properties: m.GetProperties(), queue: m.Queue.QueueId, offset: m.QueueOffset, attempt: int(m.ReconsumeTimes),
		at: time.Now(), stored: m.StoreTimestamp,
	}
}

// inbox is what a consumer got, in the order in which it got it.
type inbox struct {
	mutex sync.Mutex
	got   []arrival
}

func (b *inbox) add(a arrival) {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	b.got = append(b.got, a)
}

func (b *inbox) all() []arrival {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return append([]arrival{}, b.got...)
}

func (b *inbox) size() int {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return len(b.got)
}

func (b *inbox) of(body string) []arrival {
	found := []arrival{}
	for _, a := range b.all() {
		if a.body == body {
			found = append(found, a)
		}
	}
	return found
}

// attach subscribes, takes everything at once and starts.
func (b *inbox) attach(c rocketmq.PushConsumer, topic string, selector consumer.MessageSelector, who string) *inbox {
	ok(c.Subscribe(topic, selector, func(_ context.Context, messages ...*primitive.MessageExt) (consumer.ConsumeResult, error) {
		for _, m := range messages {
			b.add(arrived(m, who))
		}
		return consumer.ConsumeSuccess, nil
	}))
	ok(c.Start())
	return b
}

func everything() consumer.MessageSelector {
	return consumer.MessageSelector{Type: consumer.TAG, Expression: "*"}
}

// await waits until every body has come, however often.
func (b *inbox) await(want map[string]bool, seconds int) {
	seen := map[string]bool{}
	missing := func() []string {
		for _, a := range b.all() {
			seen[a.body] = true
		}
		return without(want, seen)
	}
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for {
		left := missing()
		if len(left) == 0 {
			return
		}
		check(time.Now().Before(end), "%d of %d missing after %d s: %s", len(left), len(want), seconds, brief(left))
		time.Sleep(10 * time.Millisecond)
	}
}

// exactly waits until every body has come and checks that nothing else did, and nothing twice.
func (b *inbox) exactly(want map[string]bool, seconds int) {
	b.await(want, seconds)
	got := map[string]bool{}
	for _, a := range b.all() {
		got[a.body] = true
	}
	check(len(without(got, want)) == 0, "too much: %s", brief(without(got, want)))
	equal(len(want), b.size(), "deliveries")
}

// without gives what is in a and not in b, sorted.
func without(a, b map[string]bool) []string {
	left := []string{}
	for body := range a {
		if !b[body] {
			left = append(left, body)
		}
	}
	sort.Strings(left)
	return left
}
