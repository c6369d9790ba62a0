// What the cases work with: fresh names, clients that are shut down when a case ends, waits with limits, and the runner.
'use strict';
const { execFile } = require('node:child_process');
const { isDeepStrictEqual, inspect } = require('node:util');
const { setTimeout: sleep } = require('node:timers/promises');
const { Producer, SimpleConsumer, PushConsumer, LitePushConsumerBuilder, ConsumeResult } = require('rocketmq-client-nodejs');

const { ENDPOINT, NAMESRV, HOOK = '', ADMIN = '', GRPC_DEFAULT_SSL_ROOTS_FILE_PATH: TRUSTED } = process.env;
const PATIENCE = Number(process.env.PATIENCE ?? 3); // busy machines: waits may last so many times as long; they end when what they wait for has come
const RUN = Date.now().toString(36); // no run sees the messages of another
const silent = { info() {}, warn() {}, error() {}, debug() {} };
let counter = 0;

function check(holds, what) {
  if (!holds) throw new Error(what);
}

function brief(value) {
  const text = inspect(value, { breakLength: Infinity, depth: 4, maxArrayLength: 20, maxStringLength: 200 });
  return text.length > 500 ? text.slice(0, 500) + '…' : text;
}

function equal(want, got, what) {
  if (Array.isArray(want) && want.length > 50 && typeof want[0] === 'string') {
    const [ less, more ] = [[ want, got ], [ got, want ]].map(([ a, b ]) => a.filter((x, i) => x === a[i - 1] || !b.includes(x)));
    check(want.length === got.length && !less.length && !more.length, `${what}: too much: ${brief(more)}, missing: ${brief(less)}`);
  }
  check(isDeepStrictEqual(want, got), `${what}: want ${brief(want)}, got ${brief(got)}`);
}

function command(line, ...words) {
  const [ program, ...first ] = line.split(' ');
  return new Promise((resolve, reject) => execFile(program, [ ...first, ...words ], { timeout: 120_000 }, (e, out, err) =>
    (e ? reject(new Error(`${words}: ${e.message} ${out}${err}`)) : resolve(out))));
}

const admin = (name, ...words) => command(ADMIN, name, '-n', NAMESRV, ...words);
const hook = verb => command(HOOK, verb); // start, stop or kill the broker

async function eventually(seconds, what, condition) {
  const end = Date.now() + seconds * 1000 * PATIENCE;
  for (;;) {
    const value = await condition();
    if (value) return value;
    check(Date.now() < end, `not within ${seconds * PATIENCE} s: ${typeof what === 'function' ? what() : what}`);
    await sleep(10);
  }
}

// The call fails with this code (of the server), or with an error of this class (of the client).
async function raises(code, call) {
  let result;
  try {
    result = await call();
  } catch (e) {
    check(typeof code === 'number' ? e.code === code : e.constructor === code, `want ${code.name ?? code}, got ${e.name} ${e.code}: ${e.message}`);
    return e;
  }
  throw new Error(`want ${code}, but it succeeded: ${brief(result)}`);
}

// The same bytes for the same seed; they do not compress.
function noise(seed, length) {
  const out = Buffer.alloc(length);
  for (let i = 0, state = seed; i < length; i++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    out[i] = state >>> 24;
  }
  return out;
}

const bodyOf = view => view.body.toString();

// What a consumer got, in the order in which it got it. `verdict(view)` false: consumption fails.
class Inbox {
  constructor(verdict = () => true) {
    this.got = [];
    this.consume = async view => {
      // The client counts the attempt of a view up when it retries by itself.
      this.got.push({ view, body: bodyOf(view), attempt: view.deliveryAttempt, at: Date.now() });
      return verdict(view) ? ConsumeResult.SUCCESS : ConsumeResult.FAILURE;
    };
  }

  bodies() {
    return this.got.map(m => m.body);
  }

  missing(want) {
    const got = new Set(this.bodies());
    return [ ...want ].filter(body => !got.has(body));
  }

  // Waits until each body has come, however often.
  async awaitAll(want, seconds) {
    await eventually(seconds, () => `${brief(this.missing(want))} of ${[ ...want ].length}`, () => this.missing(want).length === 0);
  }

  // Waits until each body has come; nothing else did, and nothing twice.
  async exactly(want, seconds) {
    await this.awaitAll(want, seconds);
    equal([ ...want ].sort(), this.bodies().sort(), 'deliveries');
  }
}

class Kit {
  constructor(name) {
    Object.assign(this, { name: name.replaceAll('.', '_'), notes: [], endings: [] });
  }

  note(text) {
    this.notes.push(text);
  }

  fresh(kind) {
    return `${kind}_js_${this.name}_${++counter}_${RUN}`;
  }

  async topic(kind = 'NORMAL') {
    const name = this.fresh('T');
    await admin('updateTopic', '-c', 'DefaultCluster', '-t', name, '-r', '4', '-w', '4', '-a', `+message.type=${kind}`);
    return name;
  }

  async group(...flags) {
    const name = this.fresh('G');
    await admin('updateSubGroup', '-c', 'DefaultCluster', '-g', name, ...flags);
    return name;
  }

  async started(client, waits = true) {
    await client.startup();
    // A push consumer ends after its last long poll; nobody waits for that.
    this.endings.push(() => (waits ? client.shutdown() : void client.shutdown().catch(() => {})));
    return client;
  }

  base(more) {
    return { endpoints: ENDPOINT, namespace: '', requestTimeout: 10_000, logger: silent, ...more };
  }

  producer(topic, more = {}) {
    return this.started(new Producer(this.base({ topics: [ topic ], maxAttempts: 3, ...more })));
  }

  simple(consumerGroup, topic, filter = '*', more = {}) {
    return this.started(new SimpleConsumer(this.base({ consumerGroup, awaitDuration: 5000, subscriptions: new Map([[ topic, filter ]]), ...more })));
  }

  async push(consumerGroup, topic, inbox, filter = '*', more = {}) {
    await this.started(new PushConsumer(this.base({ consumerGroup, subscriptions: new Map([[ topic, filter ]]), messageListener: inbox, ...more })), false);
    return inbox;
  }

  async litePush(group, topic, inbox) {
    const consumer = await new LitePushConsumerBuilder().setClientConfiguration(this.base()).setConsumerGroup(group).bindTopic(topic)
      .setMessageListener(inbox).build();
    this.endings.push(() => void consumer.close().catch(() => {}));
    return consumer;
  }

  async close() {
    for (const ending of this.endings.reverse()) {
      await Promise.resolve().then(ending).catch(e => this.note(`while shutting down: ${e.message}`));
    }
  }
}

// Receives (and acknowledges) until as many messages have come; gives them.
async function drain(consumer, want, seconds, { invisible = 60_000, ack = true } = {}) {
  const got = [];
  const end = Date.now() + seconds * 1000 * PATIENCE;
  while (got.length < want && Date.now() < end) {
    const batch = await consumer.receive(32, invisible);
    if (ack) await Promise.all(batch.map(view => consumer.ack(view)));
    got.push(...batch);
  }
  return got;
}

// `cases`: [name, phase, body]; those of phase 0 side by side, then the others one by one (phase 2: needs HOOK).
async function run(cases, wanted) {
  const totals = { passed: 0, failed: 0, skipped: 0 };
  const start = Date.now();
  const stray = [];
  for (const event of [ 'uncaughtException', 'unhandledRejection' ]) process.on(event, e => stray.push(`${event}: ${e?.stack ?? e}`));

  async function one([ name, phase, body ]) {
    if (phase === 2 && !HOOK || name.startsWith('tls') && !TRUSTED) {
      totals.skipped++;
      return console.log(`SKIPPED js ${name}: ${HOOK ? 'no certificate' : 'no HOOK'}`);
    }
    const kit = new Kit(name);
    const begun = Date.now();
    let failure;
    await body(kit).catch(e => { failure = e; });
    await kit.close();
    totals[failure ? 'failed' : 'passed']++;
    console.log(`${failure ? 'FAILED' : 'ok    '} js ${name.padEnd(28)} ${((Date.now() - begun) / 1000).toFixed(1).padStart(6)} s  ${kit.notes.join('; ')}`);
    if (failure) {
      const where = (failure.stack ?? '').split('\n').filter(line => line.includes('cases.js')).map(line => line.trim());
      console.log([ `${failure.name} ${failure.code ?? ''}: ${failure.message}`, ...where ].map(line => `       ${line}`).join('\n'));
    }
  }

  const chosen = cases.filter(([ name ]) => !wanted.length || wanted.some(part => name.includes(part)));
  const waiting = chosen.filter(([ , phase ]) => phase === 0);
  await Promise.all(Array.from({ length: 8 }, async () => {
    while (waiting.length) await one(waiting.shift());
  }));
  for (const each of chosen.filter(([ , phase ]) => phase > 0)) await one(each);
  if (stray.length) {
    totals.failed++;
    console.log(`FAILED js errors that nobody caught, ${stray.length}: ${stray[0]}`);
  }
  const more = totals.skipped ? `, ${totals.skipped} skipped` : '';
  console.log(`${totals.passed} passed, ${totals.failed} failed${more} (js, ${((Date.now() - start) / 1000).toFixed(0)} s)`);
  process.exit(totals.failed ? 1 : 0);
}

module.exports = { Inbox, admin, bodyOf, brief, check, drain, equal, eventually, hook, noise, raises, run, sleep };
