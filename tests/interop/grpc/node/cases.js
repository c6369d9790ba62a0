// The cases with the Node.js client; arguments: parts of the names of the cases to run. What the server is to do: docs/protocol/grpc-apache.md.
'use strict';
const { FilterExpression, PushConsumer } = require('rocketmq-client-nodejs');
const { TransactionResolution, FilterType } = require('rocketmq-client-nodejs/proto/apache/rocketmq/v2/definition_pb');
const { Inbox, admin, bodyOf, brief, check, drain, equal, eventually, hook, noise, raises, run, sleep } = require('./kit');

const { COMMIT, ROLLBACK, TRANSACTION_RESOLUTION_UNSPECIFIED: UNKNOWN } = TransactionResolution;
const BODIES = {
  one: Buffer.from('x'),
  text: Buffer.from('Grüße, 世界 🚀'),
  binary: Buffer.from(Array.from({ length: 768 }, (_, i) => i % 256)),
  large: noise(7, 1024 * 1024),
};
const sorted = values => [ ...values ].sort();
const message = (topic, body, more = {}) => ({ topic, body: Buffer.from(body), ...more });
const numbers = count => Array.from({ length: count }, (_, i) => i);

// `decide(body, times asked)` answers the server's questions.
function checker(decide) {
  const asked = new Map();
  return {
    asked,
    async check(view) {
      const body = bodyOf(view);
      asked.set(body, [ ...asked.get(body) ?? [], view ]);
      return decide(body, asked.get(body).length);
    },
  };
}

// Everything of a message is kept exactly.
async function sendNormal(kit, more = {}) {
  const topic = await kit.topic();
  const producer = await kit.producer(topic, more);
  const consumer = await kit.simple(await kit.group(), topic, '*', more);
  const properties = new Map([[ 'plain', '1' ], [ 'schlüssel', 'Wert mit Leerzeichen = 世界' ], [ 'long', 'v'.repeat(4000) ]]);
  const sent = {};
  for (const [ name, body ] of Object.entries(BODIES)) {
    sent[name] = (await producer.send({ topic, body, tag: 'tag-ä', keys: [ `k1-${name}`, 'k2' ], properties })).messageId;
  }
  sent.bare = (await producer.send(message(topic, 'bare'))).messageId;
  const got = new Map((await drain(consumer, 5, 20)).map(view => [ view.messageId, view ]));
  equal(sorted(Object.values(sent)), sorted(got.keys()), 'message ids');
  for (const [ name, body ] of Object.entries(BODIES)) {
    const view = got.get(sent[name]);
    check(view.body.equals(body) && !view.corrupted, `the body ${name} differs`);
    equal([ topic, 'tag-ä', [ `k1-${name}`, 'k2' ], properties, 1 ], [ view.topic, view.tag, view.keys, view.properties, view.deliveryAttempt ], name);
    check(Math.abs(view.bornTimestamp - Date.now()) < 60_000, `born ${view.bornTimestamp}`);
  }
  const bare = got.get(sent.bare);
  equal([ 'bare', '', [], new Map(), '' ], [ bodyOf(bare), bare.tag, bare.keys, bare.properties, bare.messageGroup ], 'bare');
}

// Each message group comes in its order, to a push consumer and to a simple one.
async function sendFifo(kit) {
  const topic = await kit.topic('FIFO');
  const producer = await kit.producer(topic);
  const inbox = await kit.push(await kit.group('-o', 'true'), topic, new Inbox());
  const simple = await kit.simple(await kit.group('-o', 'true'), topic);
  const want = numbers(100).map(i => [ `g${i % 5}`, String(i).padStart(3, '0') ]);
  for (const [ messageGroup, body ] of want) await producer.send(message(topic, body, { messageGroup }));
  await inbox.exactly(want.map(([ , body ]) => body), 40);
  for (const got of [ inbox.got.map(m => m.view), await drain(simple, 100, 60) ]) {
    equal(100, got.length, 'messages');
    for (const group of new Set(want.map(([ g ]) => g))) {
      equal(want.filter(([ g ]) => g === group).map(([ , b ]) => b), got.filter(v => v.messageGroup === group).map(bodyOf), group);
    }
  }
}

// Not early, and soon after; what is recalled does not come.
async function sendDelay(kit) {
  const topic = await kit.topic('DELAY');
  const producer = await kit.producer(topic);
  const inbox = await kit.push(await kit.group(), topic, new Inbox());
  await producer.send(message(topic, 'over', { deliveryTimestamp: new Date(Date.now() - 5000) })); // its time is over: at once
  await inbox.awaitAll([ 'over' ], 20);
  const now = Date.now();
  const due = new Map([ -5000, 2500, 3700, 6000 ].map(ms => [ `d${ms}`, now + ms ]));
  const sent = new Map();
  for (const [ body, at ] of due) {
    await producer.send(message(topic, body, { deliveryTimestamp: new Date(at) }));
    sent.set(body, Date.now());
  }
  for (const i of numbers(3)) {
    const receipt = await producer.send(message(topic, `recalled${i}`, { delay: 4000 }));
    equal(receipt.messageId, (await producer.recallMessage(topic, receipt.recallHandle)).messageId, 'recalled');
  }
  const e = await raises(Error, () => producer.recallMessage(topic, 'no handle'));
  check(/code: (40000|50001)/.test(e.message), e.message); // Apache: the latter
  await inbox.exactly([ 'over', ...due.keys() ], 25);
  const got = inbox.got.filter(m => m.body !== 'over');
  const late = got.map(m => [ m.body, m.at - Math.max(due.get(m.body), sent.get(m.body) - 500) ]);
  kit.note(late.map(([ body, ms ]) => `${body} +${ms} ms`).join(', '));
  check(late.every(([ , ms ]) => ms >= 0 && ms < 3000), brief(late));
  for (const m of got) equal(due.get(m.body), m.view.deliveryTimestamp.getTime(), 'delivery timestamp');
}

// Commit, roll back; undecided ones are asked about until they are decided.
async function sendTransaction(kit) {
  const topic = await kit.topic('TRANSACTION');
  const decider = checker((body, times) => (times === 1 ? UNKNOWN : body.includes('rollback') ? ROLLBACK : COMMIT));
  const producer = await kit.producer(topic, { checker: decider });
  const inbox = await kit.push(await kit.group(), topic, new Inbox());
  const ids = {};
  for (const body of [ 'commit', 'rollback', 'asked-commit', 'asked-rollback' ]) {
    const transaction = producer.beginTransaction();
    const more = { tag: 't', keys: [ 'k' ], properties: new Map([[ 'p', body ]]) };
    ids[body] = (await producer.send(message(topic, body, more), transaction)).messageId;
    if (!body.startsWith('asked')) await transaction[body]();
  }
  const times = body => (decider.asked.get(body) ?? []).length;
  await eventually(40, () => `asked twice, but ${[ ...decider.asked.keys() ].map(b => `${b} ${times(b)}`)}`,
    () => times('asked-commit') >= 2 && times('asked-rollback') >= 2);
  await inbox.awaitAll([ 'commit', 'asked-commit' ], 20);
  const last = producer.beginTransaction();
  await producer.send(message(topic, 'last'), last);
  await last.commit();
  await inbox.exactly([ 'commit', 'asked-commit', 'last' ], 20);
  equal([ 'asked-commit', 'asked-rollback' ], sorted(decider.asked.keys()), 'asked');
  for (const view of [ ...decider.asked.get('asked-commit'), ...inbox.got.filter(m => m.body === 'asked-commit').map(m => m.view) ]) {
    equal([ ids['asked-commit'], topic, 't', [ 'k' ], 'asked-commit' ], [ view.messageId, view.topic, view.tag, view.keys, view.properties.get('p') ], 'asked about');
  }
  kit.note(`asked ${times('asked-commit')} and ${times('asked-rollback')} times`);
}

// The priority is kept, and higher ones come first. (This client takes priority 0 for none.)
async function sendPriority(kit) {
  const topic = await kit.topic('PRIORITY');
  const producer = await kit.producer(topic);
  const want = [ 1, 2, 3 ].flatMap(priority => numbers(3).map(i => [ priority, `p${priority}-${i}` ]));
  for (const [ priority, body ] of want) await producer.send(message(topic, body, { priority }));
  const got = await drain(await kit.simple(await kit.group(), topic), 9, 20);
  equal(sorted(want.map(String)), sorted(got.map(view => String([ view.priority, bodyOf(view) ]))), 'messages');
  equal([ 3, 3, 3, 2, 2, 2, 1, 1, 1 ], got.map(view => view.priority), 'order');
}

// A lite consumer gets its lite topics only.
async function sendLite(kit) {
  const topic = await kit.topic('LITE');
  const producer = await kit.producer(topic);
  const inbox = new Inbox();
  const consumer = await kit.litePush(await kit.group('--attributes', `+lite.bind.topic=${topic}`), topic, inbox);
  await consumer.subscribeLite('lite-x');
  await consumer.subscribeLite('lite-y');
  const want = numbers(15).map(i => [ `lite-${'xyz'[i % 3]}`, `lite-${'xyz'[i % 3]}:${i}` ]);
  for (const [ liteTopic, body ] of want) await producer.send(message(topic, body, { liteTopic, tag: 't' }));
  const mine = want.map(([ , body ]) => body).filter(body => !body.startsWith('lite-z'));
  await inbox.exactly(mine, 20);
  for (const m of inbox.got) equal(m.body.split(':')[0], m.view.liteTopic, 'lite topic');
  await consumer.unsubscribeLite('lite-y');
  for (const liteTopic of [ 'lite-y', 'lite-x' ]) await producer.send(message(topic, `${liteTopic}:more`, { liteTopic }));
  await inbox.exactly([ ...mine, 'lite-x:more' ], 20);
}

// Acknowledged ones do not come again, others do, with a growing attempt; a changed duration counts from its call.
async function simpleConsumer(kit) {
  const topic = await kit.topic();
  const producer = await kit.producer(topic);
  const consumer = await kit.simple(await kit.group(), topic);
  for (const body of [ 'ack', 'change', 'leave', 'extend' ]) await producer.send(message(topic, body));
  const got = {};
  const due = {};
  for (let last = Date.now(); Date.now() < last + 11_500;) { // until all that could come again would have
    for (const view of await consumer.receive(32, 10_000)) {
      const body = bodyOf(view);
      const now = last = Date.now();
      if (got[body]) {
        check(now >= due[body] - 100, `${body} came ${due[body] - now} ms early`);
        kit.note(`${body} ${view.deliveryAttempt} +${now - due[body]} ms`);
      }
      got[body] = [ ...got[body] ?? [], view.deliveryAttempt ];
      due[body] = now + 10_000;
      if (body === 'change' && got[body].length < 3) {
        await consumer.changeInvisibleDuration(view, 1500);
        due[body] = now + 1500;
      } else if (body === 'extend') {
        await consumer.changeInvisibleDuration(view, 120_000);
      } else if (body === 'ack' || got[body].length > 1) {
        await consumer.ack(view);
      }
    }
  }
  equal([[ 'ack', [ 1 ]], [ 'change', [ 1, 2, 3 ]], [ 'extend', [ 1 ]], [ 'leave', [ 1, 2 ]]], sorted(Object.entries(got)), 'attempts');
}

// Failed ones come again to the group, to one of its consumers, with a growing attempt.
async function pushConcurrent(kit) {
  const topic = await kit.topic();
  const group = await kit.group();
  const producer = await kit.producer(topic);
  const inboxes = numbers(2).map(() => new Inbox(view => !bodyOf(view).startsWith('fail') || view.deliveryAttempt > 1));
  for (const inbox of inboxes) await kit.push(group, topic, inbox);
  const want = [ ...numbers(190).map(i => `ok${i}`), ...numbers(10).map(i => `fail${i}`) ];
  for (const body of want) await producer.send(message(topic, body));
  const wanted = sorted([ ...want.map(b => `${b} 1`), ...want.filter(b => b.startsWith('fail')).map(b => `${b} 2`) ]);
  const got = () => sorted(inboxes.flatMap(inbox => inbox.got.map(m => `${m.body} ${m.attempt}`)));
  await eventually(40, () => `${got().length} of ${wanted.length}`, () => got().length >= wanted.length);
  equal(wanted, got(), 'deliveries');
  kit.note(inboxes.map(inbox => inbox.got.length).join(' and '));
}

// A failing message holds up its message group only, and keeps its order; used up attempts lead to the dead letters.
async function pushFifo(kit) {
  const topic = await kit.topic('FIFO');
  const group = await kit.group('-o', 'true', '-r', '2');
  const producer = await kit.producer(topic);
  const tries = { 'a-2': 0, 'b-2': 0 };
  const inbox = new Inbox(view => !(bodyOf(view) in tries) || ++tries[bodyOf(view)] > 1 && bodyOf(view) === 'a-2');
  await kit.push(group, topic, inbox, '*', { enableFifoConsumeAccelerator: true });
  for (const i of numbers(6)) for (const g of 'abc') await producer.send(message(topic, `${g}-${i}`, { messageGroup: g }));
  const want = { a: [ 0, 1, 2, 2, 3, 4, 5 ], b: [ 0, 1, 2, 2, 2, 3, 4, 5 ], c: numbers(6) };
  await inbox.awaitAll(Object.entries(want).flatMap(([ g, list ]) => list.map(i => `${g}-${i}`)), 40);
  for (const [ g, list ] of Object.entries(want)) equal(list.map(i => `${g}-${i}`), inbox.bodies().filter(b => b[0] === g), `group ${g}`);
  await deadLetters(kit, group, [ 'b-2' ]);
}

// What a consumer finds in the dead-letter topic of the group.
async function deadLetters(kit, group, want) {
  const topic = `%DLQ%${group}`;
  await eventually(30, `route of ${topic}`, async () => (await admin('topicList')).includes(topic));
  const got = await drain(await kit.simple(await kit.group(), topic), want.length, 30);
  equal(sorted(want), sorted(got.map(bodyOf)), topic);
}

// A message that fails as often as the group allows is in %DLQ%group, and does not come again.
async function pushDeadLetter(kit) {
  const topic = await kit.topic();
  const group = await kit.group('-r', '1');
  const producer = await kit.producer(topic);
  const inbox = await kit.push(group, topic, new Inbox(view => bodyOf(view) !== 'bad'));
  for (const body of [ 'good', 'bad' ]) await producer.send(message(topic, body));
  await inbox.awaitAll([ 'good', 'bad' ], 20);
  await deadLetters(kit, group, [ 'bad' ]);
  equal([ 1, 2 ], inbox.got.filter(m => m.body === 'bad').map(m => m.attempt), 'attempts');
}

// By tags and by SQL, for simple and push consumers.
async function filters(kit) {
  const topic = await kit.topic();
  const producer = await kit.producer(topic);
  const both = [ 'a||b', new FilterExpression("n BETWEEN 3 AND 6 AND (city = 'Köln' OR TAGS = 'c')", FilterType.SQL) ];
  const boxes = await Promise.all(both.map(async filter => kit.push(await kit.group(), topic, new Inbox(), filter)));
  const simples = await Promise.all(both.map(async filter => kit.simple(await kit.group(), topic, filter)));
  const wants = [[], []];
  for (const i of numbers(40)) {
    const [ tag, n, city ] = [ 'abcd'[i % 4], i % 8, i % 3 ? 'Köln' : 'Bonn' ];
    await producer.send(message(topic, `${i}`, { tag, properties: new Map([[ 'n', `${n}` ], [ 'city', city ]]) }));
    if ('ab'.includes(tag)) wants[0].push(`${i}`);
    if (n >= 3 && n <= 6 && (city === 'Köln' || tag === 'c')) wants[1].push(`${i}`);
  }
  for (const i of [ 0, 1 ]) {
    await boxes[i].exactly(wants[i], 20);
    equal(sorted(wants[i]), sorted((await drain(simples[i], wants[i].length, 30)).map(bodyOf)), 'simple');
  }
}

// The codes of refused sends; what the client itself refuses is asked of the server with the client's checks off.
async function errorsSend(kit) {
  const [ topic, fifo, timed, transactional ] = await Promise.all([ 'NORMAL', 'FIFO', 'DELAY', 'TRANSACTION' ].map(kind => kit.topic(kind)));
  const [ producer, unchecked ] = [ await kit.producer(topic), await kit.producer(topic) ];
  unchecked.publishingSettings.isValidateMessageType = () => false;
  Object.defineProperty(unchecked.publishingSettings, 'maxBodySizeBytes', { value: 2 ** 30 });
  const refused = (code, by, ...rest) => raises(code, () => by.send(message(...rest)));
  await refused(40402, producer, kit.fresh('none'), 'x');
  await refused(TypeError, producer, fifo, 'x');
  await refused(40014, unchecked, fifo, 'x');
  await refused(40014, unchecked, topic, 'x', { messageGroup: 'g' });
  await refused(40014, unchecked, topic, 'x', { delay: 9000 });
  await refused(40014, unchecked, topic, 'x', { priority: 1 });
  await refused(40014, unchecked, topic, 'x', { liteTopic: 'l' });
  await refused(40014, unchecked, transactional, 'x');
  await refused(TypeError, producer, topic, Buffer.alloc(4 * 1024 * 1024 + 1));
  await refused(41301, unchecked, topic, Buffer.alloc(4 * 1024 * 1024 + 1));
  const empty = await raises(Error, () => producer.send(message(topic, '')).catch(e => { throw Object.assign(new Error(e.message), { cause: e }); }));
  equal(41302, empty.cause.code, 'code of an empty body');
  await refused(40007, producer, topic, 'x', { properties: new Map([[ 'KEYS', 'x' ]]) });
  await refused(43101, producer, topic, 'x', { properties: new Map(numbers(129).map(i => [ `p${i}`, 'v' ])) });
  await refused(43101, producer, topic, 'x', { properties: new Map([[ 'p', 'v'.repeat(16384) ]]) });
  await refused(40004, producer, topic, 'x', { tag: 'a|b' });
  await refused(40005, producer, topic, 'x', { keys: [ 'k\x01' ] });
  await refused(40006, unchecked, fifo, 'x', { messageGroup: 'g'.repeat(64) });
  await refused(40012, producer, timed, 'x', { delay: 41 * 86_400_000 }); // Apache takes a day, Kerolox forty
  await refused(40002, producer, 'RMQ_SYS_TRACE_TOPIC', 'x');
  await refused(40002, producer, 'no.dots', 'x');
  await producer.send(message(topic, Buffer.alloc(4 * 1024 * 1024 - 1024))); // more than this client can receive; its limit is 4 MiB for all of it
  equal([ 4 * 1024 * 1024 - 1024 ], (await drain(await kit.simple(await kit.group(), topic), 1, 20)).map(v => v.body.length), 'the one that was taken');
}

async function errorsReceive(kit) {
  const topic = await kit.topic();
  const group = kit.fresh('G_unknown');
  const producer = await kit.producer(topic);
  const consumer = await kit.simple(group, topic);
  for (const body of [ 'late', 'renewed', 'twice' ]) await producer.send(message(topic, body));
  const got = {};
  await eventually(20, '3 messages', async () => {
    for (const view of await consumer.receive(32, 60_000)) got[bodyOf(view)] = view;
    return Object.keys(got).length === 3;
  });
  check((await admin('getConsumerConfig', '-g', group)).includes(group), 'the unknown group was not created');
  const { late, renewed, twice } = got;
  await raises(40011, () => consumer.changeInvisibleDuration(twice, 13 * 3_600_000));
  await consumer.ack(twice);
  await consumer.ack(twice); // already acknowledged: no failure
  await consumer.changeInvisibleDuration(renewed, 60_000);
  await consumer.ack(renewed);
  await consumer.changeInvisibleDuration(late, 1000);
  const again = await eventually(20, 'the late one again', async () => {
    const views = await consumer.receive(32, 60_000);
    return views.length ? views : undefined;
  });
  equal([ 'late' ], again.map(bodyOf), 'again');
  await raises(40013, () => consumer.ack(late));
  await raises(40013, () => consumer.changeInvisibleDuration(late, 10_000));
  late.receiptHandle = late.receiptHandle.slice(0, 20);
  await raises(40013, () => consumer.ack(late));
  await consumer.ack(again[0]);
  await raises(40011, () => consumer.receive(1, 13 * 3_600_000));
  const startup = await raises(Error, async () => kit.simple(await kit.group(), kit.fresh('none')));
  equal(40402, startup.cause.cause.code, 'code of an unknown topic');
}

// A receive that finds nothing waits as long as it was asked to, and what comes meanwhile is delivered at once.
async function polls(kit) {
  const topic = await kit.topic();
  const producer = await kit.producer(topic);
  const consumer = await kit.simple(await kit.group(), topic, '*', { awaitDuration: 15_000 });
  const inbox = await kit.push(await kit.group(), topic, new Inbox());
  await producer.send(message(topic, 'first'));
  await Promise.all([ drain(consumer, 1, 20), inbox.awaitAll([ 'first' ], 20) ]);
  const delays = [];
  for (const i of numbers(8)) {
    const waiting = consumer.receive(1, 60_000);
    await sleep(700 + i * 100); // meanwhile it has arrived and waits
    await producer.send(message(topic, `m${i}`));
    const sent = Date.now();
    const [ view ] = await waiting;
    delays.push(Date.now() - sent);
    await consumer.ack(view);
    await inbox.awaitAll([ `m${i}` ], 10);
    delays.push(inbox.got.at(-1).at - sent);
  }
  delays.sort((a, b) => a - b);
  kit.note(`delivered ${delays[8]} ms after the send, ${delays[15]} ms at most`);
  check(delays[8] < 500 && delays[15] < 3000, brief(delays)); // a lost wake-up would take 10 s
  const empty = await kit.simple(await kit.group(), topic, 'nothing', { awaitDuration: 6000 });
  const start = Date.now();
  equal([], await empty.receive(1, 10_000), 'nothing');
  const took = Date.now() - start;
  kit.note(`an empty receive of 6 s took ${took} ms`);
  check(took > 5000 && took < 8500, `${took}`);
}

// A push consumer ends by itself when its poll does, and what it has taken is done.
async function shutdown(kit) {
  const topic = await kit.topic();
  const producer = await kit.producer(topic);
  const inbox = new Inbox();
  const consumer = new PushConsumer(kit.base({ consumerGroup: await kit.group(), subscriptions: new Map([[ topic, '*' ]]), messageListener: inbox }));
  await consumer.startup();
  await producer.send(message(topic, 'x'));
  await inbox.awaitAll([ 'x' ], 20);
  const start = Date.now();
  await consumer.shutdown();
  kit.note(`took ${((Date.now() - start) / 1000).toFixed(1)} s`);
  check(Date.now() - start < 25_000, 'more than a poll');
}

// 5,000 messages, two push consumers of one group and one simple consumer: the exact set, none doubled.
async function burst(kit) {
  const topic = await kit.topic();
  const group = await kit.group();
  const producer = await kit.producer(topic);
  const inboxes = [ new Inbox(), new Inbox() ];
  for (const inbox of inboxes) await kit.push(group, topic, inbox);
  const simple = await kit.simple(await kit.group(), topic);
  const want = numbers(5000).map(i => String(i).padStart(5, '0'));
  const start = Date.now();
  const left = [ ...want ];
  await Promise.all(numbers(16).map(async () => {
    while (left.length) await producer.send(message(topic, left.pop()));
  }));
  const sent = Date.now();
  const bodies = () => inboxes.flatMap(inbox => inbox.bodies());
  await eventually(120, () => `${new Set(bodies()).size} different messages of 5000`, () => new Set(bodies()).size === 5000);
  kit.note(`sent in ${(sent - start) / 1000} s, consumed ${(Date.now() - sent) / 1000} s later by ${inboxes.map(i => i.got.length)}`);
  equal(want, sorted((await drain(simple, 5000, 120, { invisible: 600_000, ack: false })).map(bodyOf)), 'simple');
  equal(want, sorted(bodies()), 'push');
}

// Killed, then stopped, under load: what was acknowledged comes, what waited goes on waiting, and all clients go on by themselves.
async function restart(kit) {
  const [ topic, fifo, delay, transactional ] = await Promise.all([ 'NORMAL', 'FIFO', 'DELAY', 'TRANSACTION' ].map(kind => kit.topic(kind)));
  const decider = checker(body => (body.includes('rollback') ? ROLLBACK : COMMIT));
  const [ producer, ordering, timing, halves ] = await Promise.all([ kit.producer(topic), kit.producer(fifo), kit.producer(delay), kit.producer(transactional, { checker: decider }) ]);
  const [ inbox, ordered, delayed, decided, taken ] = numbers(5).map(() => new Inbox());
  await Promise.all([
    kit.push(await kit.group(), topic, inbox), kit.push(await kit.group('-o', 'true'), fifo, ordered, '*', { enableFifoConsumeAccelerator: true }),
    kit.push(await kit.group(), delay, delayed), kit.push(await kit.group(), transactional, decided) ]);
  const simple = await kit.simple(await kit.group(), topic);
  const sent = { normal: [], fifo: [] };
  const failures = { sends: 0, receives: 0 };
  let over = false;
  async function sender(by, target, list) {
    for (let i = 1; !over; i++) {
      const body = String(i).padStart(6, '0');
      await by.send(message(target, body, target === fifo ? { messageGroup: `g${i % 3}` } : {}))
        .then(() => list.push(body) && sleep(3), () => ++failures.sends && sleep(20));
    }
  }
  async function receiver() {
    while (!over || taken.missing(sent.normal).length) {
      try {
        for (const view of await simple.receive(32, 20_000)) {
          await taken.consume(view);
          await simple.ack(view);
        }
      } catch {
        failures.receives++;
        await sleep(100);
      }
    }
  }
  const running = [ sender(producer, topic, sent.normal), sender(ordering, fifo, sent.fifo) ];
  void receiver();
  const progress = () => ({ 'send normal': sent.normal.length, 'send fifo': sent.fifo.length, push: inbox.got.length, fifo: ordered.got.length, simple: taken.got.length });
  const due = new Map();
  for (const i of numbers(5)) {
    await halves.send(message(transactional, `${[ 'commit', 'rollback' ][i % 2]}${i}`), halves.beginTransaction());
    due.set(`d${i}`, Date.now() + 6000 + 4000 * i);
    await timing.send(message(delay, `d${i}`, { deliveryTimestamp: new Date(due.get(`d${i}`)) }));
  }
  for (const verb of [ 'kill', 'stop' ]) {
    const start = progress();
    await eventually(60, '100 more of everything', () => Object.entries(progress()).every(([ name, n ]) => n >= start[name] + 100));
    await hook(verb);
    await hook('start');
    const [ back, before, took ] = [ Date.now(), progress(), {} ];
    await eventually(90, () => `all go on after ${verb}: ${brief(took)}`, () => {
      for (const [ name, n ] of Object.entries(progress())) if (n > before[name]) took[name] ??= (Date.now() - back) / 1000;
      return Object.keys(took).length === Object.keys(before).length;
    });
    kit.note(`after ${verb}: ${Object.entries(took).map(([ name, s ]) => `${name} ${s.toFixed(1)} s`).join(', ')}`);
  }
  over = true;
  await Promise.all(running);
  for (const [ name, want, box ] of [[ 'push', sent.normal, inbox ], [ 'fifo', sent.fifo, ordered ], [ 'simple', sent.normal, taken ]]) {
    await box.awaitAll(want, 90);
    kit.note(`${name}: ${want.length} acknowledged, ${box.got.length} delivered`);
  }
  for (const g of numbers(3)) {
    const bodies = [ ...new Set(ordered.bodies()) ].filter(body => Number(body) % 3 === g);
    equal(sorted(bodies), bodies, `order of message group g${g}`);
  }
  await delayed.awaitAll([ ...due.keys() ], 60);
  equal([], delayed.got.filter(m => m.at < due.get(m.body)).map(m => m.body), 'early ones');
  await decided.awaitAll([ 'commit0', 'commit2', 'commit4' ], 60);
  equal([ 'commit0', 'commit2', 'commit4' ], sorted(new Set(decided.bodies())), 'decided');
  kit.note(`failed: ${brief(failures)}`);
}

async function tls(kit) {
  await sendNormal(kit, { sslEnabled: true });
  const topic = await kit.topic();
  const inbox = await kit.push(await kit.group(), topic, new Inbox(), '*', { sslEnabled: true });
  const producers = [ await kit.producer(topic, { sslEnabled: true }), await kit.producer(topic) ];
  for (const i of numbers(100)) await producers[i % 2].send(message(topic, `${i}`));
  await inbox.exactly(numbers(100).map(String), 20);
}

const [ TOGETHER, ALONE, RESTARTS ] = [ 0, 1, 2 ];
run([
  [ 'polls', TOGETHER, polls ],
  [ 'dead_letter.push', TOGETHER, pushDeadLetter ],
  [ 'push.fifo', TOGETHER, pushFifo ],
  [ 'simple', TOGETHER, simpleConsumer ],
  [ 'send.transaction', TOGETHER, sendTransaction ],
  [ 'send.delay_recall', TOGETHER, sendDelay ],
  [ 'send.normal', TOGETHER, sendNormal ],
  [ 'send.fifo', TOGETHER, sendFifo ],
  [ 'send.priority', TOGETHER, sendPriority ],
  [ 'send.lite', TOGETHER, sendLite ],
  [ 'push.concurrent', TOGETHER, pushConcurrent ],
  [ 'filters', TOGETHER, filters ],
  [ 'errors.send', TOGETHER, errorsSend ],
  [ 'errors.receive', TOGETHER, errorsReceive ],
  [ 'shutdown', TOGETHER, shutdown ],
  [ 'tls', TOGETHER, tls ],
  [ 'burst', ALONE, burst ],
  [ 'restart', RESTARTS, restart ],
], process.argv.slice(2));
