//! Settings, shown and changed while the name server runs (codes 318 and 319). Changes are in memory only: the next start goes by
//! the configuration file again.

use crate::{Namesrv, Refusal};
use kerolox_wire::{Command, ResponseCode, java_properties};

/// Bytes of a list of changes.
const CHANGES_BYTES_MAX: usize = 64 << 10;
/// Apache's `configBlackList`, and what it adds to it.
const NEVER: [&str; 3] = ["configBlackList", "configStorePath", "kvConfigPath"];

/// What is set by Apache's `namesrv.conf`, under the same names.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // they are Apache's
pub struct NamesrvConfig {
    /// Routes carry the topic's value of the namespace `ORDER_TOPIC_CONFIG`.
    pub order_message_enable: bool,
    /// Registrations are answered with that whole namespace.
    pub return_order_topic_config_to_broker: bool,
    /// With its master gone, the replica with the lowest id takes the master's place in routes, for reading.
    pub support_acting_master: bool,
    pub enable_all_topic_list: bool,
    pub enable_topic_list: bool,
    /// A registration is the broker's whole list: topics that it does not name any more are dropped at once.
    pub delete_topic_with_broker_registration: bool,
}

impl Default for NamesrvConfig {
    fn default() -> Self {
        Self {
            order_message_enable: false,
            return_order_topic_config_to_broker: true,
            support_acting_master: false,
            enable_all_topic_list: true,
            enable_topic_list: true,
            delete_topic_with_broker_registration: false,
        }
    }
}

impl NamesrvConfig {
    /// All settings by Apache's name. Every one is a flag: none is a path or a command (that was CVE-2023-37582).
    fn flags(&mut self) -> [(&'static str, &mut bool); 6] {
        [
            ("deleteTopicWithBrokerRegistration", &mut self.delete_topic_with_broker_registration),
            ("enableAllTopicList", &mut self.enable_all_topic_list),
            ("enableTopicList", &mut self.enable_topic_list),
            ("orderMessageEnable", &mut self.order_message_enable),
            ("returnOrderTopicConfigToBroker", &mut self.return_order_topic_config_to_broker),
            ("supportActingMaster", &mut self.support_acting_master),
        ]
    }
}

impl Namesrv {
    /// Code 318: all changes, or none.
    pub(crate) fn update_config(&mut self, request: &Command) -> Result<Command, Refusal> {
        let invalid = |remark: String| Refusal::new(ResponseCode::INVALID_PARAMETER, remark);
        if request.body.len() > CHANGES_BYTES_MAX {
            return Err(invalid(format!("the list of changes exceeds {CHANGES_BYTES_MAX} bytes")));
        }
        let entries = java_properties::parse(&java_properties::text_of(&request.body))
            .map_err(|(line, why)| invalid(format!("line {line}: {why}")))?;
        let mut config = self.config.clone();
        for entry in entries {
            let (name, value) = (entry.key.trim(), entry.value.trim());
            if NEVER.contains(&name) {
                return Err(Refusal::new(
                    ResponseCode::NO_PERMISSION,
                    "Can not update config in black list.",
                ));
            }
            let (name, value) = (shortened(name), shortened(value));
            let flag = config.flags().into_iter().find(|(known, _)| *known == name);
            match (flag, &*value) {
                (Some((_, flag)), "true") => *flag = true,
                (Some((_, flag)), "false") => *flag = false,
                (Some(_), _) => {
                    return Err(invalid(format!("{name}={value} is not valid: it must be true or false")));
                }
                (None, _) => {
                    let remark = format!(
                        "{name} cannot be changed while the name server runs: set it in the configuration file and restart"
                    );
                    return Err(Refusal::new(ResponseCode::NO_PERMISSION, remark));
                }
            }
        }
        self.config = config;
        Ok(request.respond(ResponseCode::SUCCESS))
    }

    /// Code 319.
    pub(crate) fn show_config(&self, request: &Command) -> Command {
        let mut config = self.config.clone();
        let text: String = config.flags().iter().map(|(name, flag)| format!("{name}={flag}\n")).collect();
        request.respond(ResponseCode::SUCCESS).with_body(text.into_bytes())
    }
}

fn shortened(text: &str) -> String {
    text.chars().take(64).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use kerolox_wire::RequestCode;

    fn ask(namesrv: &mut Namesrv, code: RequestCode, body: &str) -> (i32, String, String) {
        let answer = namesrv.handle(0, 1, &Command::request(code).with_body(body.as_bytes().to_vec()));
        let text = String::from_utf8(answer.body.to_vec()).unwrap();
        (answer.code, answer.remark.unwrap_or_default(), text)
    }

    #[test]
    fn flags_change_at_run_time_all_or_none() {
        let mut namesrv = Namesrv::new();
        let update = RequestCode::UPDATE_NAMESRV_CONFIG;
        let (code, _, before) = ask(&mut namesrv, RequestCode::GET_NAMESRV_CONFIG, "");
        assert_eq!(code, 0);
        assert!(before.contains("orderMessageEnable=false\n"), "{before}");
        let (code, remark, _) = ask(&mut namesrv, update, "orderMessageEnable=true\nenableTopicList=maybe\n");
        assert_eq!((code, &*remark), (29, "enableTopicList=maybe is not valid: it must be true or false"));
        assert_eq!(ask(&mut namesrv, RequestCode::GET_NAMESRV_CONFIG, "").2, before);
        assert_eq!(ask(&mut namesrv, update, "orderMessageEnable=true").0, 0);
        let (_, _, after) = ask(&mut namesrv, RequestCode::GET_NAMESRV_CONFIG, "");
        assert_eq!(after, before.replace("orderMessageEnable=false", "orderMessageEnable=true"));
    }

    #[test]
    fn cve_2023_37582_no_path_can_be_set() {
        let mut namesrv = Namesrv::new();
        for key in
            ["configStorePath", "kvConfigPath", "configBlackList", "rocketmqHome", "listenPort", "nothing"]
        {
            let body = format!("{key}=/etc/cron.d/x\\n* * * * * root id");
            let (code, remark, _) = ask(&mut namesrv, RequestCode::UPDATE_NAMESRV_CONFIG, &body);
            assert_eq!(code, 16, "{key}: {remark}");
        }
    }
}
