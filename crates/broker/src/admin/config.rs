//! Settings, shown and changed while the broker runs (codes 25 and 26). What may be changed is in [`crate::hot`].

use crate::Broker;
use crate::effect::Effect;
use crate::hot;
use crate::input::ConnId;
use crate::produce::Refused;
use crate::state;
use kerolox_wire::body::to_json;
use kerolox_wire::header::ConfigVersion;
use kerolox_wire::{Command, ResponseCode, java_properties};
use std::collections::BTreeMap;

/// Bytes of a list of changes.
const CHANGES_BYTES_MAX: usize = 64 << 10;
/// Keys that Apache's tools want to see, with what holds here.
const SHOWN_TOO: [(&str, &str); 3] =
    [("filterServerNums", "0"), ("slaveReadEnable", "false"), ("useTLS", "false")];
/// Apache's `configBlackList`.
const NEVER: [&str; 2] = ["configBlackList", "brokerConfigPath"];

impl Broker {
    /// Code 25: all changes, or none. They are in the log, and go before the configuration file at the next start; an empty value
    /// takes back what was changed.
    pub(crate) fn update_config(
        &mut self,
        now_ms: i64,
        conn: ConnId,
        request: &Command,
        out: &mut Vec<Effect>,
    ) {
        let done = self.try_update_config(now_ms, request);
        self.reply_change(conn, request, done, out);
    }

    fn try_update_config(&mut self, now_ms: i64, request: &Command) -> Result<(), Refused> {
        self.refuse_if_draining()?;
        self.refuse_if_changes_wait()?;
        if request.body.len() > CHANGES_BYTES_MAX {
            return Err(invalid(format!("the list of changes exceeds {CHANGES_BYTES_MAX} bytes")));
        }
        let entries = java_properties::parse(&java_properties::text_of(&request.body))
            .map_err(|(line, why)| invalid(format!("line {line}: {why}")))?;
        let mut changed = self.state.config.clone();
        for entry in &entries {
            let (name, value) = (entry.key.trim(), entry.value.trim());
            // What another version took and this one does not know may still be taken back.
            if !(value.is_empty() && changed.contains_key(name)) {
                self.check_hot(name)?;
            }
            if value.is_empty() {
                changed.remove(name);
            } else {
                hot::set(&mut self.base.clone(), name, value).map_err(invalid)?;
                changed.insert(name.to_owned(), value.to_owned());
            }
        }
        let config = hot::with(&self.base, &changed);
        self.state.check_delays(&config.delay_levels_ms).map_err(invalid)?;
        for name in entries.iter().map(|entry| entry.key.trim()) {
            let value = changed.get(name).map_or("", String::as_str);
            state::put_config(&mut self.changes, name, value);
        }
        self.state.config = changed;
        self.take_config(now_ms, config);
        self.config_version.next(now_ms);
        Ok(())
    }

    fn check_hot(&self, name: &str) -> Result<(), Refused> {
        if NEVER.contains(&name) {
            return Err(Refused(ResponseCode::NO_PERMISSION, "Can not update config in black list.".into()));
        }
        if hot::is_hot(name) {
            return Ok(());
        }
        let name: String = name.chars().take(64).collect();
        match self.config.shown.contains_key(&name) {
            true => {
                let remark = format!(
                    "{name} cannot be changed while the broker runs: set it in the configuration file and restart"
                );
                Err(Refused(ResponseCode::NO_PERMISSION, remark))
            }
            false => {
                Err(invalid(format!("{name} is not a key that has an effect here; nothing was changed")))
            }
        }
    }

    /// Works by other settings from now on.
    pub(crate) fn take_config(&mut self, now_ms: i64, config: crate::BrokerConfig) {
        let permission = std::mem::replace(&mut self.config, config).permission;
        if permission != self.config.permission {
            // Name servers are told of topics what the broker lets clients do.
            self.state.topics.all_changed(now_ms);
            self.register_due = true;
        }
        self.own_properties = crate::sent::own_properties(&self.config);
        self.map_delays(now_ms);
        if self.state.topics.add_system(now_ms, &self.config, self.state.delay_queues_ms.len()) {
            self.register_due = true;
        }
        let changed = self.state.config.contains_key("fileReservedTime");
        // Nothing goes by the new time before it is known what has to stay.
        self.store.need_from(0);
        self.store.retain_for(changed.then_some(self.config.retention_hours * 3_600_000));
        self.retention_changed();
    }

    /// Code 26: Apache's properties text, with all keys that have an effect.
    pub(crate) fn show_config(&mut self, conn: ConnId, request: &Command, out: &mut Vec<Effect>) {
        let config = &self.config;
        let mut shown: BTreeMap<&str, String> =
            config.shown.iter().map(|(name, value)| (&**name, value.clone())).collect();
        for (name, value) in SHOWN_TOO {
            shown.insert(name, value.to_owned());
        }
        for (name, value) in [
            ("brokerClusterName", config.cluster.clone()),
            ("brokerName", config.name.clone()),
            ("brokerId", config.id.to_string()),
        ] {
            shown.insert(name, value);
        }
        for key in hot::KEYS {
            shown.insert(key.name, key.show(config));
        }
        let text: String = shown.iter().map(|(name, value)| format!("{name}={value}\n")).collect();
        let version = String::from_utf8(to_json(&self.config_version)).unwrap_or_default();
        let header = ConfigVersion { version: &version, ..Default::default() };
        let answer = request.respond(ResponseCode::SUCCESS).with_header(&header).with_body(text.into_bytes());
        self.reply(conn, request, answer, out);
    }

    /// What was changed at run time, which goes before the configuration file.
    pub fn changed_config(&self) -> &BTreeMap<String, String> {
        &self.state.config
    }
}

fn invalid(remark: String) -> Refused {
    Refused(ResponseCode::INVALID_PARAMETER, remark)
}
