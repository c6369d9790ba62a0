//! What Apache left beside its log, whatever its files and the messages of its own topics say: it is taken over or refused; what was
//! taken over is what the log says then, and Apache can have it back.

use kerolox_broker::{Adopted, ApacheFile, ApacheFiles, Broker, BrokerConfig, State};
use kerolox_store::disk::{CrashMode, HostileDisk};
use kerolox_store::{NewMessage, Opened, StateFold, Store, StoreConfig, state};
use kerolox_wire::names;
use kerolox_wire::properties::PropertiesBuf;

const NOW_MS: i64 = 1_700_000_000_000;
const REVIVE: &str = "rmq_sys_REVIVE_LOG_DefaultCluster";
/// Messages of the topic `T`.
const MESSAGES: usize = 8;
/// Files and messages of one input.
const ITEMS_MAX: usize = 40;

fn open(disk: &HostileDisk) -> (Opened<HostileDisk>, State) {
    let config = StoreConfig {
        segment_bytes: 64 << 10,
        run_bytes: 16 << 10,
        tail_bytes: 32 << 10,
        ahead_bytes: 16 << 10,
        store_host: ([127, 0, 0, 1], 10911).into(),
        ..StoreConfig::default()
    };
    let mut state = State::default();
    let opened = kerolox_store::open(disk.clone(), &config, &mut state, &mut |_| {}).unwrap();
    (opened, state)
}

fn put(store: &mut Store, topic: &str, properties: &[u8], body: &[u8]) {
    let message = NewMessage {
        topic,
        queue_id: 0,
        flag: 0,
        sys_flag: 0,
        born_ms: NOW_MS,
        born_host: ([127, 0, 0, 1], 1).into(),
        reconsume_times: 0,
        prepared_transaction_offset: 0,
        body,
        properties,
    };
    // Properties of the fuzzer's own may be none.
    let _ = store.append(NOW_MS, &message);
}

/// A check point or an acknowledgement; the first byte says which.
fn put_pop(store: &mut Store, topic: &str, content: &[u8]) {
    let Some((tag, body)) = content.split_first() else { return };
    let tag = ["ck", "ack", "bAck"][usize::from(tag % 3)];
    let due = (NOW_MS + 60_000).to_string();
    let properties = [("TAGS", tag), ("TIMER_OUT_MS", &due), ("REAL_TOPIC", REVIVE), ("REAL_QID", "0")];
    put(store, topic, properties.into_iter().collect::<PropertiesBuf>().as_bytes(), body);
}

/// Files and messages, one after the other: which (a byte), how long (two bytes), and what it says.
fn read(mut data: &[u8], store: &mut Store) -> ApacheFiles {
    let mut files = ApacheFiles::default();
    for _ in 0..ITEMS_MAX {
        let [which, high, low, rest @ ..] = data else { break };
        let len = usize::from(*high) << 8 | usize::from(*low);
        let (content, rest) = rest.split_at(len.min(rest.len()));
        data = rest;
        match which % 13 {
            8 => put(store, names::TRANS_HALF_TOPIC, b"REAL_TOPIC\x01T\x02REAL_QID\x010\x02", content),
            9 => put(store, names::TRANS_OP_HALF_TOPIC, b"TAGS\x01d\x02", content),
            10 => put(store, names::WHEEL_TIMER_TOPIC, content, b"timer"),
            11 => put_pop(store, names::WHEEL_TIMER_TOPIC, content),
            12 => put_pop(store, REVIVE, content),
            file => drop(files.0.insert(ApacheFile::ALL[usize::from(file)], content.to_vec().into())),
        }
    }
    files
}

fn apply(state: &mut State, stream: &[u8]) {
    for entry in state::entries(stream) {
        let (kind, payload) = entry.unwrap();
        state.apply(kind, payload).unwrap();
    }
}

/// The files and messages in `data`.
pub fn adopt(data: &[u8]) {
    let disk = HostileDisk::default();
    let (Opened { mut store, mut writer, .. }, _) = open(&disk);
    (0..MESSAGES).for_each(|_| put(&mut store, "T", b"", b"body"));
    let files = read(data, &mut store);
    let mut writes = Vec::new();
    store.take_writes(&mut writes);
    writer.write(&writes, true).unwrap();
    let (Opened { store, reader, mut writer, .. }, mut state) = open(&disk.crash(CrashMode::Kill, 0));
    let config = BrokerConfig::new("broker-a", ([127, 0, 0, 1], 10911).into());
    let before = state.dump();
    let adopted = match state.adopt(&config, &store, &files, &mut |plan| reader.execute(plan, NOW_MS)) {
        Ok(adopted) if adopted.files == 0 => return assert!(files.0.is_empty()),
        Ok(adopted) => adopted,
        Err(why) => {
            assert!(why.starts_with("config/"), "{why}");
            return assert!(state.dump() == before, "changed, though it was refused: {why}");
        }
    };
    let mut of_log = State::default();
    apply(&mut of_log, &before);
    apply(&mut of_log, &adopted.entries);
    assert_eq!(of_log.dump().escape_ascii().to_string(), state.dump().escape_ascii().to_string());
    let again = state.adopt(&config, &store, &files, &mut |plan| reader.execute(plan, NOW_MS));
    assert_eq!(again, Ok(Adopted::default()));
    let mut broker = Broker::new(config, NOW_MS, store, state);
    broker.take_over(NOW_MS, &adopted, &mut |batches| writer.write(batches, true)).unwrap();
    let given = broker.give_back(NOW_MS, &mut |plan| reader.execute(plan, NOW_MS)).unwrap();
    let files = ApacheFiles(given.files.into_iter().collect());
    let (Opened { store, reader, .. }, mut other) = open(&HostileDisk::default());
    let config = BrokerConfig::new("broker-a", ([127, 0, 0, 1], 10911).into());
    other.adopt(&config, &store, &files, &mut |plan| reader.execute(plan, NOW_MS)).unwrap();
}
