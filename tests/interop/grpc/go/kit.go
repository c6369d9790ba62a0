package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"reflect"
	"sort"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	rmq "github.com/apache/rocketmq-clients/golang/v5"
	"github.com/apache/rocketmq-clients/golang/v5/credentials"
)

var (
	endpoint = os.Getenv("ENDPOINT")
	nameServ = os.Getenv("NAMESRV")
	// Command that takes start, stop or kill and does that to the broker; empty: it cannot be done.
	hookCommand = os.Getenv("HOOK")
	// Differs from run to run, so that no run sees the messages of another.
	runName = strconv.FormatInt(time.Now().UnixMilli(), 36)
	counter int64
	ctx     = context.Background()
)

const invisible = 30 * time.Second

// kit is what a case works with: fresh names, clients that are stopped when it ends, waits with limits, checks.
type kit struct {
	name    string
	mutex   sync.Mutex
	noted   []string
	endings []func() error
}

// note adds to what the case's line shows.
func (k *kit) note(format string, args ...any) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.noted = append(k.noted, fmt.Sprintf(format, args...))
}

func (k *kit) notes() string {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	return strings.Join(k.noted, "; ")
}

func (k *kit) atEnd(ending func() error) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	k.endings = append(k.endings, ending)
}

// close stops the clients; push consumers take a long poll for it: nobody waits for them.
func (k *kit) close() {
	for _, ending := range k.endings {
		go ending()
	}
}

func (k *kit) fresh(kind string) string {
	return fmt.Sprintf("%s_go_%s_%d_%s", kind, k.name, atomic.AddInt64(&counter, 1), runName)
}

func shell(command string) string {
	output, err := exec.Command("bash", "-c", command+" </dev/null").CombinedOutput()
	check(err == nil, "%s: %v: %s", command, err, output)
	return string(output)
}

func admin(format string, args ...any) string {
	return shell(os.Getenv("ADMIN") + " " + fmt.Sprintf(format, args...))
}

func hook(verb string) { shell(hookCommand + " " + verb) }

func (k *kit) topic(kind string, queues int) string {
	topic := k.fresh("T")
	admin("updateTopic -n %s -c DefaultCluster -t %s -r %d -w %d -a +message.type=%s", nameServ, topic, queues, queues, kind)
	return topic
}

// group is made by the server at its first use.
func (k *kit) group() string { return k.fresh("G") }

func (k *kit) groupWith(settings string) string {
	group := k.group()
	admin("updateSubGroup -n %s -c DefaultCluster -g %s %s", nameServ, group, settings)
	return group
}

func config(group string) *rmq.Config {
	return &rmq.Config{Endpoint: endpoint, ConsumerGroup: group, Credentials: &credentials.SessionCredentials{}}
}

func (k *kit) producer(checker func(*rmq.MessageView) rmq.TransactionResolution, topics ...string) rmq.Producer {
	options := []rmq.ProducerOption{rmq.WithTopics(topics...)}
	if checker != nil {
		options = append(options, rmq.WithTransactionChecker(&rmq.TransactionChecker{Check: checker}))
	}
	p := must(rmq.NewProducer(config(""), options...))
	ok(p.Start())
	k.atEnd(p.GracefulStop)
	return p
}

func (k *kit) simple(group, topic string, filter *rmq.FilterExpression, await time.Duration) rmq.SimpleConsumer {
	c := must(rmq.NewSimpleConsumer(config(group), rmq.WithSimpleAwaitDuration(await),
		rmq.WithSimpleSubscriptionExpressions(map[string]*rmq.FilterExpression{topic: filter})))
	ok(c.Start())
	k.atEnd(c.GracefulStop)
	return c
}

func (k *kit) push(group, topic string, filter *rmq.FilterExpression, consume func(*rmq.MessageView) rmq.ConsumerResult) {
	c := must(rmq.NewPushConsumer(config(group), rmq.WithPushMessageListener(&rmq.FuncMessageListener{Consume: consume}),
		rmq.WithPushSubscriptionExpressions(map[string]*rmq.FilterExpression{topic: filter})))
	ok(c.Start())
	k.atEnd(c.GracefulStop)
}

// message with one tag (unless empty) and properties in pairs.
func message(topic, body, tag string, properties ...string) *rmq.Message {
	m := &rmq.Message{Topic: topic, Body: []byte(body)}
	if tag != "" {
		m.SetTag(tag)
	}
	for i := 0; i+1 < len(properties); i += 2 {
		m.AddProperty(properties[i], properties[i+1])
	}
	return m
}

func send(p rmq.Producer, m *rmq.Message) *rmq.SendReceipt {
	receipts := must(p.Send(ctx, m))
	equal(1, len(receipts), "receipts")
	return receipts[0]
}

// receive gives nothing, too, where this client has an error for it.
func receive(c rmq.SimpleConsumer, count int32, duration time.Duration) []*rmq.MessageView {
	got, err := c.Receive(ctx, count, duration)
	if code(err) == 40401 {
		return nil
	}
	return must(got, err)
}

// take receives until as many messages have come; they are acknowledged.
func take(c rmq.SimpleConsumer, count int, seconds int) []*rmq.MessageView {
	got := []*rmq.MessageView{}
	eventually(seconds, fmt.Sprintf("%d messages", count), func() bool {
		for _, view := range receive(c, 32, invisible) {
			got = append(got, view)
			ok(c.Ack(ctx, view))
		}
		return len(got) >= count
	})
	return got
}

func one(c rmq.SimpleConsumer, duration time.Duration, seconds int) *rmq.MessageView {
	got := []*rmq.MessageView{}
	eventually(seconds, "a message", func() bool {
		got = receive(c, 1, duration)
		return len(got) > 0
	})
	return got[0]
}

// nothing (more) comes within a poll.
func nothing(c rmq.SimpleConsumer) {
	equal([]string{}, bodies(receive(c, 32, invisible)), "came although nothing should")
}

func bodies(views []*rmq.MessageView) []string {
	all := []string{}
	for _, view := range views {
		all = append(all, string(view.GetBody()))
	}
	return all
}

// code of a refusal by the server, 0 for any other error.
func code(err error) int32 {
	for ; err != nil; err = errors.Unwrap(err) {
		if status, is := rmq.AsErrRpcStatus(err); is {
			return status.Code
		}
	}
	return 0
}

func refused(want int32, err error) {
	check(err != nil, "not refused, want code %d", want)
	check(code(err) == want, "want code %d, got %v", want, err)
}

// noise gives bytes that do not compress.
func noise(length int) string {
	random := rand.New(rand.NewSource(int64(length)))
	bytes := make([]byte, 0, length+8)
	for len(bytes) < length {
		bytes = binary.LittleEndian.AppendUint64(bytes, random.Uint64())
	}
	return string(bytes[:length])
}

// arrival is one delivery of a push consumer.
type arrival struct {
	body    string
	attempt int32
	at      time.Time
	view    *rmq.MessageView
}

// inbox is what a push consumer got, in that order.
type inbox struct {
	mutex sync.Mutex
	got   []arrival
}

// listener fails what is to fail.
func (b *inbox) listener(fails func(arrival) bool) func(*rmq.MessageView) rmq.ConsumerResult {
	return func(view *rmq.MessageView) rmq.ConsumerResult {
		a := arrival{string(view.GetBody()), view.GetDeliveryAttempt(), time.Now(), view}
		b.mutex.Lock()
		b.got = append(b.got, a)
		b.mutex.Unlock()
		if fails != nil && fails(a) {
			return rmq.FAILURE
		}
		return rmq.SUCCESS
	}
}

func (b *inbox) all() []arrival {
	b.mutex.Lock()
	defer b.mutex.Unlock()
	return append([]arrival{}, b.got...)
}

// bodies that begin so.
func (b *inbox) bodies(prefix string) []string {
	found := []string{}
	for _, a := range b.all() {
		if strings.HasPrefix(a.body, prefix) {
			found = append(found, a.body)
		}
	}
	return found
}

func (b *inbox) attempts(body string) []int32 {
	found := []int32{}
	for _, a := range b.all() {
		if a.body == body {
			found = append(found, a.attempt)
		}
	}
	return found
}

// exactly waits until all have come and checks that nothing else did, and nothing twice.
func (b *inbox) exactly(want []string, seconds int) {
	eventually(seconds, fmt.Sprintf("%d messages", len(want)), func() bool { return len(b.all()) >= len(want) })
	sameSet(want, b.bodies(""), "deliveries")
}

func eventually(seconds int, what string, condition func() bool) {
	end := time.Now().Add(time.Duration(seconds) * time.Second)
	for !condition() {
		check(time.Now().Before(end), "not within %d s: %s", seconds, what)
		time.Sleep(5 * time.Millisecond)
	}
}

func check(holds bool, format string, args ...any) {
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

func equal(want, got any, what string) {
	if !reflect.DeepEqual(want, got) {
		panic(fmt.Sprintf("%s: want %.300s, got %.300s", what, fmt.Sprint(want), fmt.Sprint(got)))
	}
}

func sameSet(want, got []string, what string) {
	equal(sorted(want), sorted(got), what)
}

func sorted(list []string) []string {
	list = append([]string{}, list...)
	sort.Strings(list)
	return list
}
