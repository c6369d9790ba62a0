//! What a process is to be, from flags, file and environment, in this order.

use crate::cli;
use crate::config::{Role, Values};
use anyhow::{Context, Result, bail};
use kerolox_broker::BrokerConfig;
use kerolox_broker::config::parse_delay_levels;
use kerolox_namesrv::NamesrvConfig;
use kerolox_net::{Limits, TlsPolicy};
use kerolox_proxy::http2;
use kerolox_store::{FlushPolicy, StoreConfig};
use kerolox_wire::body::MessageRequestMode;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// What Apache calls the file of the key-value table.
const KV_FILE: &str = "kvConfig.json";
pub(crate) const NAMESRV_PORT: u16 = 9876;
pub(crate) const BROKER_PORT: u16 = 10911;
pub(crate) const GRPC_PORT: u16 = 8081;

#[derive(Debug)]
pub(crate) struct Namesrv {
    pub(crate) bind: SocketAddr,
    pub(crate) limits: Limits,
    pub(crate) config: NamesrvConfig,
    /// The file of the key-value table.
    pub(crate) kv_path: PathBuf,
}

#[derive(Debug)]
pub(crate) struct Broker {
    pub(crate) data: PathBuf,
    pub(crate) bind: SocketAddr,
    /// `host:port` each; none in a standalone process, which has its own.
    pub(crate) namesrv: Vec<String>,
    pub(crate) register_every: Duration,
    pub(crate) register_timeout: Duration,
    pub(crate) store: StoreConfig,
    pub(crate) broker: BrokerConfig,
    /// Bytes of a file of the timer log that Apache is to find.
    pub(crate) timer_file_bytes: u64,
    pub(crate) limits: Limits,
}

/// The gRPC face.
#[derive(Debug)]
pub(crate) struct Grpc {
    pub(crate) bind: SocketAddr,
    /// Somebody said that it shall be there: it is an error if it cannot.
    pub(crate) wanted: bool,
    pub(crate) advertise: Option<String>,
    pub(crate) tls: TlsPolicy,
    /// Certificate and key.
    pub(crate) certificate: Option<(PathBuf, PathBuf)>,
    /// Where the broker of the process has its data.
    pub(crate) data: Option<PathBuf>,
    /// `host:port` each, for one without a broker.
    pub(crate) namesrv: Vec<String>,
    pub(crate) body_bytes_max: usize,
    pub(crate) delay_ms_max: i64,
    pub(crate) check_message_types: bool,
    pub(crate) limits: Limits,
    pub(crate) http2: http2::Limits,
}

/// Clients beat every 10 s; what is silent for longer is gone. Apache's `grpcClientIdleTimeMills`.
const GRPC_IDLE_S: u64 = 120;

/// A call goes through the face's thread several times: between them no connection may keep it for long.
const GRPC_READ_BYTES: usize = 64 << 10;

/// The face of a broker (or, with name servers, one of its own); `None`: not wanted.
fn grpc(
    values: &Values,
    network: &cli::Network,
    ip: IpAddr,
    broker: Option<&Broker>,
) -> Result<Option<Grpc>> {
    let number = |name, default: usize| values.number(name).map_or(default, |v| v as usize);
    let port = values.number("grpcServerPort").unwrap_or(i64::from(GRPC_PORT));
    let Some(port) = u16::try_from(port).ok().filter(|port| *port > 0) else { return Ok(None) };
    let tls = match values.text("tlsServerMode") {
        Some("disabled") => TlsPolicy::Disabled,
        Some("enforcing") => TlsPolicy::Enforcing,
        _ => TlsPolicy::Permissive,
    };
    let path = |name| values.text(name).map(PathBuf::from);
    let certificate = match (path("tlsCertPath"), path("tlsKeyPath")) {
        (Some(certificate), Some(key)) => Some((certificate, key)),
        (None, None) => None,
        _ => bail!("tlsCertPath and tlsKeyPath belong together: set both, or none"),
    };
    let default = http2::Limits::default();
    Ok(Some(Grpc {
        bind: SocketAddr::new(ip, offset(port, network)?),
        wanted: values.number("grpcServerPort").is_some(),
        advertise: values.text("grpcAdvertise").map(str::to_owned),
        tls,
        certificate,
        data: broker.map(|broker| broker.data.clone()),
        namesrv: Vec::new(),
        body_bytes_max: number("maxMessageSize", 4 << 20),
        delay_ms_max: broker.map_or(3 * 86_400_000, |broker| broker.broker.timer_max_delay_ms),
        check_message_types: values.flag("enableTopicMessageTypeCheck").unwrap_or(true),
        limits: Limits { idle_s_max: GRPC_IDLE_S, read_bytes: GRPC_READ_BYTES, ..Limits::default() },
        http2: http2::Limits {
            message_bytes_max: number("grpcMaxInboundMessageSize", default.message_bytes_max),
            streams_max: number("grpcMaxConcurrentCallsPerConnection", default.streams_max as usize) as u32,
            ..default
        },
    }))
}

/// A face of its own, for the brokers that name servers know.
pub(crate) fn proxy(args: &cli::Proxy) -> Result<(Grpc, Vec<String>)> {
    let values = read(args.config.as_deref(), Role::Broker)?;
    let from_environment = std::env::var("NAMESRV_ADDR").ok();
    let list = args.namesrv.as_deref().or(values.text("namesrvAddr")).or(from_environment.as_deref());
    let namesrv = name_servers(list.unwrap_or_default())?;
    if namesrv.is_empty() {
        bail!("a proxy needs a name server to find brokers by: give -n HOST:PORT");
    }
    let ip = listen_ip(&args.network, &values)?;
    let grpc = grpc(&values, &args.network, ip, None)?
        .context("grpcServerPort=0 leaves a proxy without anything to do: set a port")?;
    let advertise = args.advertise.clone().or(grpc.advertise);
    Ok((Grpc { wanted: true, namesrv, advertise, ..grpc }, values.warnings))
}

pub(crate) fn namesrv(args: &cli::Namesrv) -> Result<(Namesrv, Vec<String>)> {
    let values = read(args.config.as_deref(), Role::Namesrv)?;
    let ip = listen_ip(&args.network, &values)?;
    let bind = SocketAddr::new(ip, port(&values, NAMESRV_PORT, &args.network)?);
    let config = namesrv_config(&values);
    let home = std::env::home_dir().unwrap_or_default();
    let kv_path = kv_path(&values).unwrap_or_else(|| home.join("namesrv").join(KV_FILE));
    Ok((Namesrv { bind, limits: limits(&values), config, kv_path }, values.warnings))
}

fn kv_path(values: &Values) -> Option<PathBuf> {
    values.text("kvConfigPath").map(PathBuf::from)
}

fn namesrv_config(values: &Values) -> NamesrvConfig {
    let default = NamesrvConfig::default();
    let flag = |name, default| values.flag(name).unwrap_or(default);
    NamesrvConfig {
        order_message_enable: flag("orderMessageEnable", default.order_message_enable),
        return_order_topic_config_to_broker: flag(
            "returnOrderTopicConfigToBroker",
            default.return_order_topic_config_to_broker,
        ),
        support_acting_master: flag("supportActingMaster", default.support_acting_master),
        enable_all_topic_list: flag("enableAllTopicList", default.enable_all_topic_list),
        enable_topic_list: flag("enableTopicList", default.enable_topic_list),
        delete_topic_with_broker_registration: flag(
            "deleteTopicWithBrokerRegistration",
            default.delete_topic_with_broker_registration,
        ),
    }
}

/// The name server, the broker and the gRPC face of one process.
pub(crate) fn standalone(args: &cli::Standalone) -> Result<(Namesrv, Broker, Option<Grpc>, Vec<String>)> {
    let mut values = read(args.config.as_deref(), Role::Standalone)?;
    if values.text("namesrvAddr").is_some() {
        values
            .warnings
            .push("namesrvAddr has no effect: a standalone process has its own name server".into());
    }
    let broker = broker_of(&args.place, &args.network, args.advertise.as_deref(), &values, Vec::new())?;
    let namesrv_port = offset(NAMESRV_PORT, &args.network)?;
    if namesrv_port == broker.bind.port() {
        bail!("the name server and the broker cannot both listen on port {namesrv_port}: change listenPort");
    }
    let bind = SocketAddr::new(broker.bind.ip(), namesrv_port);
    let kv_path = kv_path(&values).unwrap_or_else(|| broker.data.join(KV_FILE));
    let namesrv = Namesrv { bind, limits: limits(&values), config: namesrv_config(&values), kv_path };
    let grpc = grpc(&values, &args.network, broker.bind.ip(), Some(&broker))?;
    Ok((namesrv, broker, grpc, values.warnings))
}

pub(crate) fn broker(args: &cli::Broker) -> Result<(Broker, Option<Grpc>, Vec<String>)> {
    let values = read(args.config.as_deref(), Role::Broker)?;
    let from_environment = std::env::var("NAMESRV_ADDR").ok();
    let list = args.namesrv.as_deref().or(values.text("namesrvAddr")).or(from_environment.as_deref());
    let namesrv = name_servers(list.unwrap_or_default())?;
    if namesrv.is_empty() {
        bail!(
            "a broker needs a name server to register with: give -n HOST:PORT (or run `kerolox standalone`)"
        );
    }
    let broker = broker_of(&args.place, &args.network, args.advertise.as_deref(), &values, namesrv)?;
    let grpc = grpc(&values, &args.network, broker.bind.ip(), Some(&broker))?;
    Ok((broker, grpc, values.warnings))
}

fn read(path: Option<&Path>, role: Role) -> Result<Values> {
    path.map_or_else(|| Ok(Values::default()), |path| Values::read(path, role))
}

fn broker_of(
    place: &cli::Place,
    network: &cli::Network,
    advertise: Option<&str>,
    values: &Values,
    namesrv: Vec<String>,
) -> Result<Broker> {
    let ip = listen_ip(network, values)?;
    let bind = SocketAddr::new(ip, port(values, BROKER_PORT, network)?);
    let advertise = advertised(advertise.or(values.text("brokerIP1")), bind)?;
    let host = store_host(&advertise, bind);
    let millis = |name, default: i64| Duration::from_millis(values.number(name).unwrap_or(default) as u64);
    Ok(Broker {
        data: place
            .data
            .clone()
            .unwrap_or_else(|| values.text("storePathRootDir").unwrap_or("./kerolox-data").into()),
        bind,
        namesrv,
        register_every: millis("registerNameServerPeriod", 30_000),
        register_timeout: millis("registerBrokerTimeoutMills", 24_000),
        store: store(values, host)?,
        broker: broker_config(values, advertise, host)?,
        timer_file_bytes: values.number("mappedFileSizeTimerLog").map_or(100 << 20, |bytes| bytes as u64),
        limits: limits(values),
    })
}

fn broker_config(values: &Values, address: String, host: SocketAddr) -> Result<BrokerConfig> {
    let name = values.text("brokerName").map_or_else(host_name, str::to_owned);
    let default = BrokerConfig::new(&name, host);
    let text = |name, default: String| values.text(name).map_or(default, str::to_owned);
    let flag = |name, default| values.flag(name).unwrap_or(default);
    let delays = values.text("messageDelayLevel").map(parse_delay_levels).transpose();
    let trace_topic =
        flag("traceTopicEnable", false).then(|| text("msgTraceTopicName", "RMQ_SYS_TRACE_TOPIC".into()));
    Ok(BrokerConfig {
        cluster: text("brokerClusterName", default.cluster),
        address,
        region: text("regionId", default.region),
        trace_on: flag("traceOn", default.trace_on),
        permission: values.number("brokerPermission").map_or(default.permission, |v| v as i32),
        auto_create_topic: flag("autoCreateTopicEnable", default.auto_create_topic),
        auto_create_group: flag("autoCreateSubscriptionGroup", default.auto_create_group),
        default_queues: values.number("defaultTopicQueueNums").map_or(default.default_queues, |v| v as u32),
        cluster_topic: flag("clusterTopicEnable", default.cluster_topic),
        broker_topic: flag("brokerTopicEnable", default.broker_topic),
        trace_topic,
        message_bytes_max: values.number("maxMessageSize").map_or(default.message_bytes_max, |v| v as usize),
        delay_levels_ms: delays.map_err(anyhow::Error::msg)?.unwrap_or(default.delay_levels_ms),
        reject_transactions: flag("rejectTransactionMessage", default.reject_transactions),
        transaction_timeout_ms: values.number("transactionTimeOut").unwrap_or(default.transaction_timeout_ms),
        transaction_check_interval_ms: values
            .number("transactionCheckInterval")
            .unwrap_or(default.transaction_check_interval_ms),
        transaction_check_max: values
            .number("transactionCheckMax")
            .map_or(default.transaction_check_max, |v| v as u32),
        timer_max_delay_ms: values
            .number("timerMaxDelaySec")
            .map_or(default.timer_max_delay_ms, |seconds| seconds * 1_000),
        recall: flag("recallMessageEnable", default.recall),
        lmq: flag("enableLmq", default.lmq) && flag("enableMultiDispatch", default.lmq),
        long_polling: flag("longPollingEnable", default.long_polling),
        short_polling_ms: values.number("shortPollingTimeMills").unwrap_or(default.short_polling_ms),
        sql92: flag("enablePropertyFilter", default.sql92),
        check_message_types: flag("enableTopicMessageTypeCheck", default.check_message_types),
        mixed_types: flag("enableMixedMessageType", default.mixed_types),
        notify_changes: flag("notifyConsumerIdsChangedEnable", default.notify_changes),
        reject_pull_consumers: flag("rejectPullConsumerEnable", default.reject_pull_consumers),
        store_replies: flag("storeReplyMessageEnable", default.store_replies),
        server_side_reset: flag("useServerSideResetOffset", default.server_side_reset),
        lite_pull: flag("litePullMessageEnable", default.lite_pull),
        request_mode: values
            .text("defaultMessageRequestMode")
            .and_then(MessageRequestMode::from_name)
            .unwrap_or(default.request_mode),
        pop_share: values.number("defaultPopShareQueueNum").map_or(default.pop_share, |v| v as i32),
        young_bytes: memory_bytes().map_or(default.young_bytes, |bytes| {
            bytes / 100 * values.number("accessMessageInMemoryMaxRatio").map_or(40, |v| v as u64)
        }),
        keep_unread: flag("keepUnreadMessages", default.keep_unread),
        retention_hours: values.number("fileReservedTime").unwrap_or(default.retention_hours),
        shown: values.shown(),
        seed: seed(),
        ..default
    })
}

/// The machine's memory, if it can be told.
fn memory_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let total = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1024)
}

/// Different in each process; nothing depends on more.
fn seed() -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one("kerolox")
}

fn store(values: &Values, store_host: SocketAddr) -> Result<StoreConfig> {
    let number = |name, default: i64| values.number(name).unwrap_or(default);
    let clean = number("diskSpaceCleanForciblyRatio", 85);
    let full = number("diskSpaceWarningLevelRatio", 90);
    if clean > full {
        bail!("diskSpaceCleanForciblyRatio={clean} must not exceed diskSpaceWarningLevelRatio={full}");
    }
    let flush = match values.text("flushDiskType") {
        Some("ASYNC_FLUSH") => {
            FlushPolicy::Async { interval_ms: number("flushIntervalCommitLog", 500) as u64 }
        }
        _ => FlushPolicy::Sync,
    };
    Ok(StoreConfig {
        segment_bytes: number("mappedFileSizeCommitLog", 1 << 30) as u64,
        flush,
        message_bytes_max: number("maxMessageSize", 4 << 20) as usize,
        retention_ms: number("fileReservedTime", 72) * 3_600_000,
        retention_bytes: match number("fileReservedBytes", 0) {
            0 => u64::MAX,
            bytes => bytes.unsigned_abs(),
        },
        disk_clean_ratio: clean as f64 / 100.0,
        disk_full_ratio: full as f64 / 100.0,
        store_host,
        ..StoreConfig::default()
    })
}

fn limits(values: &Values) -> Limits {
    let default = Limits::default();
    let idle_s_max =
        values.number("serverChannelMaxIdleTimeSeconds").map_or(default.idle_s_max, |v| v as u64);
    Limits { idle_s_max, ..default }
}

fn listen_ip(network: &cli::Network, values: &Values) -> Result<IpAddr> {
    match (network.listen, values.text("bindAddress")) {
        (Some(ip), _) => Ok(ip),
        (None, Some(text)) => {
            text.parse().with_context(|| format!("bindAddress={text} is not valid: it must be an IP address"))
        }
        (None, None) => Ok(IpAddr::V4(Ipv4Addr::LOCALHOST)),
    }
}

fn port(values: &Values, default: u16, network: &cli::Network) -> Result<u16> {
    let port = values.number("listenPort").and_then(|p| u16::try_from(p).ok()).unwrap_or(default);
    offset(port, network)
}

fn offset(port: u16, network: &cli::Network) -> Result<u16> {
    match u16::try_from(i32::from(port).saturating_add(network.port_offset)) {
        Ok(shifted) if shifted > 0 => Ok(shifted),
        _ => bail!("--port-offset {} shifts port {port} out of 1 to 65535", network.port_offset),
    }
}

/// The parts of a `;`-separated list, each `host:port`.
fn name_servers(list: &str) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for part in list.split(';').map(str::trim).filter(|p| !p.is_empty()) {
        let part = part.trim_start_matches("http://");
        match part.rsplit_once(':').map(|(host, port)| (host, port.parse::<u16>())) {
            Some((host, Ok(port))) if !host.is_empty() && port > 0 => all.push(part.to_owned()),
            _ => bail!("the name server {part:?} is not valid: it must be HOST:PORT"),
        }
    }
    Ok(all)
}

/// `HOST[:PORT]` completed, or found out.
fn advertised(wanted: Option<&str>, bind: SocketAddr) -> Result<String> {
    let host = match wanted {
        Some(wanted) => {
            let valid = |host: &str| !host.is_empty() && !host.contains(char::is_whitespace);
            match wanted.rsplit_once(':') {
                // A bare IPv6 address has colons of its own.
                Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
                    return match port.parse::<u16>() {
                        Ok(port) if port > 0 && valid(host) => Ok(format!("{host}:{port}")),
                        _ => bail!(
                            "the address to advertise, {wanted:?}, is not valid: it must be HOST or HOST:PORT"
                        ),
                    };
                }
                _ if valid(wanted) => wanted.to_owned(),
                _ => {
                    bail!("the address to advertise, {wanted:?}, is not valid: it must be HOST or HOST:PORT")
                }
            }
        }
        None if !bind.ip().is_unspecified() => bind.ip().to_string(),
        None => own_ip(bind.ip())
            .context("cannot find out this machine's address: give --advertise HOST")?
            .to_string(),
    };
    let host = if host.contains(':') && !host.starts_with('[') { format!("[{host}]") } else { host };
    Ok(format!("{host}:{}", bind.port()))
}

/// The address from which this machine would reach the world. Nothing is sent.
fn own_ip(any: IpAddr) -> std::io::Result<IpAddr> {
    let (from, to) = match any {
        IpAddr::V4(_) => ("0.0.0.0:0", "192.0.2.1:9"),
        IpAddr::V6(_) => ("[::]:0", "[2001:db8::1]:9"),
    };
    let socket = UdpSocket::bind(from)?;
    socket.connect(to)?;
    Ok(socket.local_addr()?.ip())
}

/// What is written into records as the place where they are stored: the advertised address, if it is one.
fn store_host(advertise: &str, bind: SocketAddr) -> SocketAddr {
    let resolved = advertise.to_socket_addrs().ok().and_then(|mut all| all.next());
    resolved.unwrap_or(bind)
}

fn host_name() -> String {
    let name = rustix::system::uname().nodename().to_string_lossy().into_owned();
    if crate::config::key::Kind::Name.admits(&name) { name } else { "broker-a".into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advertised_addresses() {
        let bind = "127.0.0.1:10911".parse().unwrap();
        for (wanted, want) in [
            (None, Ok("127.0.0.1:10911")),
            (Some("example.org"), Ok("example.org:10911")),
            (Some("example.org:1234"), Ok("example.org:1234")),
            (Some("::1"), Ok("[::1]:10911")),
            (Some("[::1]:1234"), Ok("[::1]:1234")),
            (
                Some("a:0"),
                Err("the address to advertise, \"a:0\", is not valid: it must be HOST or HOST:PORT"),
            ),
            (
                Some("a b"),
                Err("the address to advertise, \"a b\", is not valid: it must be HOST or HOST:PORT"),
            ),
            (Some(""), Err("the address to advertise, \"\", is not valid: it must be HOST or HOST:PORT")),
        ] {
            let got = advertised(wanted, bind).map_err(|e| e.to_string());
            assert_eq!(got.as_deref().map_err(String::as_str), want, "{wanted:?}");
        }
    }

    #[test]
    fn a_wildcard_advertises_an_address_of_this_machine() {
        if let Ok(address) = advertised(None, "0.0.0.0:10911".parse().unwrap()) {
            let ip: SocketAddr = address.parse().unwrap();
            assert!(!ip.ip().is_unspecified() && ip.port() == 10911, "{address}");
        }
    }

    #[test]
    fn lists_of_name_servers() {
        assert_eq!(name_servers("a:1; b:2;").unwrap(), ["a:1", "b:2"]);
        for bad in ["a", "a:", ":1", "a:0", "a:70000", "a:1;b"] {
            assert!(name_servers(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_setting_of_a_name_server_is_a_key() {
        let text = "orderMessageEnable=true\nreturnOrderTopicConfigToBroker=false\nsupportActingMaster=true\n\
            enableAllTopicList=false\nenableTopicList=false\ndeleteTopicWithBrokerRegistration=true\n";
        let want = NamesrvConfig {
            order_message_enable: true,
            return_order_topic_config_to_broker: false,
            support_acting_master: true,
            enable_all_topic_list: false,
            enable_topic_list: false,
            delete_topic_with_broker_registration: true,
        };
        for role in [Role::Namesrv, Role::Standalone] {
            let values = Values::parse(text, "namesrv.conf", role).unwrap();
            assert_eq!(values.warnings, [""; 0]);
            assert_eq!(namesrv_config(&values), want);
        }
        let error = Values::parse("enableTopicList=yes", "namesrv.conf", Role::Standalone).unwrap_err();
        assert_eq!(
            error.to_string(),
            "namesrv.conf:1: enableTopicList=yes is not valid: it must be true or false"
        );
        let values = Values::parse("orderMessageEnable=true", "broker.conf", Role::Broker).unwrap();
        assert_eq!(
            values.warnings,
            ["broker.conf:1: orderMessageEnable has no effect here: it belongs in namesrv.conf"]
        );
    }

    #[test]
    fn ports_shift_within_bounds() {
        let network = |port_offset| cli::Network { listen: None, port_offset };
        assert_eq!(offset(9876, &network(1000)).unwrap(), 10876);
        let error = offset(10911, &network(60_000)).unwrap_err().to_string();
        assert_eq!(error, "--port-offset 60000 shifts port 10911 out of 1 to 65535");
        assert!(offset(9876, &network(-9876)).is_err());
        // Overflowed.
        assert!(offset(9876, &network(i32::MAX)).is_err() && offset(9876, &network(i32::MIN)).is_err());
    }
}
