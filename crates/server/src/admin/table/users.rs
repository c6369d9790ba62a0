//! Users and permissions.

use super::super::auth;
use super::super::flags::{Flag, flag};
use super::{Ask, BROKER, CLUSTER, Family, here};

const USERNAME: Flag = flag("u", "username", "USER", "Name of the user");
const PASSWORD: Flag = flag("p", "password", "PASSWORD", "The password");
const USER_TYPE: Flag = flag("t", "userType", "TYPE", "Super or Normal");
const FROM_BROKER: Flag = flag("f", "fromBroker", "HOST:PORT", "Broker to copy from");
const TO_BROKER: Flag = flag("t", "toBroker", "HOST:PORT", "Broker to copy to");
const SUBJECT: Flag = flag("s", "subject", "SUBJECT", "Whom the rules are about, as User:NAME");
const RESOURCES: Flag =
    flag("r", "resources", "LIST", "Resources, as Topic:NAME or Group:NAME, separated by commas");
const ACTIONS: Flag =
    flag("a", "actions", "LIST", "Pub, Sub, Create, Update, Delete, Get, List or All, separated by commas");
const SOURCES: Flag = flag("i", "sourceIp", "LIST", "Addresses that the rule is for, separated by commas");
const DECISION: Flag = flag("d", "decision", "DECISION", "Allow or Deny");

pub(super) const FAMILY: Family = Family {
    title: "Users and permissions",
    commands: &[
        here("createUser", auth::create_user, "Create a user.").asks(&[Ask::AUTH_CREATE_USER]).takes(&[
            CLUSTER.one_of(0),
            BROKER.one_of(0),
            USERNAME.needed(),
            PASSWORD.needed(),
            USER_TYPE,
        ]),
        here("updateUser", auth::update_user, "Change a user.").asks(&[Ask::AUTH_UPDATE_USER]).takes(&[
            CLUSTER.one_of(0),
            BROKER.one_of(0),
            USERNAME.needed(),
            PASSWORD.one_of(1),
            USER_TYPE.one_of(1),
            flag("s", "userStatus", "STATUS", "enable or disable").one_of(1),
        ]),
        here("deleteUser", auth::delete_user, "Delete a user.").asks(&[Ask::AUTH_DELETE_USER]).takes(&[
            CLUSTER.one_of(0),
            BROKER.one_of(0),
            USERNAME.needed(),
        ]),
        here("getUser", auth::get_user, "Show a user.").asks(&[Ask::AUTH_GET_USER]).takes(&[
            BROKER.one_of(0),
            CLUSTER.one_of(0),
            USERNAME,
        ]),
        here("listUser", auth::list_users, "List users.").asks(&[Ask::AUTH_LIST_USER]).takes(&[
            BROKER.one_of(0),
            CLUSTER.one_of(0),
            flag("f", "filter", "TEXT", "Only users with this in the name"),
        ]),
        here("copyUser", auth::copy_users, "Copy users from one broker to another.")
            .asks(&[Ask::AUTH_LIST_USER, Ask::AUTH_GET_USER, Ask::AUTH_CREATE_USER, Ask::AUTH_UPDATE_USER])
            .takes(&[
                FROM_BROKER.needed(),
                TO_BROKER.needed(),
                flag("u", "usernames", "LIST", "Only these users, separated by commas"),
            ]),
        here("createAcl", auth::create_acl, "Create rules of what a user may do.")
            .asks(&[Ask::AUTH_CREATE_ACL])
            .takes(&[
                CLUSTER.one_of(0),
                BROKER.one_of(0),
                SUBJECT.needed(),
                RESOURCES.needed(),
                ACTIONS.needed(),
                SOURCES,
                DECISION.needed(),
            ]),
        here("updateAcl", auth::update_acl, "Change rules of what a user may do.")
            .asks(&[Ask::AUTH_UPDATE_ACL])
            .takes(&[
                CLUSTER.one_of(0),
                BROKER.one_of(0),
                SUBJECT.needed(),
                RESOURCES.needed(),
                ACTIONS.needed(),
                DECISION.needed(),
                SOURCES,
            ]),
        here("deleteAcl", auth::delete_acl, "Delete rules of what a user may do.")
            .asks(&[Ask::AUTH_DELETE_ACL])
            .takes(&[CLUSTER.one_of(0), BROKER.one_of(0), SUBJECT.needed(), RESOURCES]),
        here("getAcl", auth::get_acl, "Show what a user may do.").asks(&[Ask::AUTH_GET_ACL]).takes(&[
            BROKER.one_of(0),
            CLUSTER.one_of(0),
            SUBJECT,
        ]),
        here("listAcl", auth::list_acls, "List what users may do.").asks(&[Ask::AUTH_LIST_ACL]).takes(&[
            BROKER.one_of(0),
            CLUSTER.one_of(0),
            SUBJECT,
            flag("r", "resource", "RESOURCE", "Only rules about this resource"),
        ]),
        here("copyAcl", auth::copy_acls, "Copy rules from one broker to another.")
            .asks(&[Ask::AUTH_LIST_ACL, Ask::AUTH_GET_ACL, Ask::AUTH_CREATE_ACL, Ask::AUTH_UPDATE_ACL])
            .takes(&[
                FROM_BROKER.needed(),
                TO_BROKER.needed(),
                flag("s", "subjects", "LIST", "Only these subjects, separated by commas"),
            ]),
    ],
};
