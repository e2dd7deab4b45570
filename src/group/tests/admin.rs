//! What administrators see of groups.

use super::*;
use crate::protocol::messages::{ListGroupsRequest, describe_groups_response::DescribedGroup};

impl Desk {
    fn describe(&mut self, version: i16) -> DescribedGroup {
        match self.ask(version, GroupRequest::DescribeGroups(vec![group()])) {
            Ok(ResponseKind::DescribeGroups(response)) => response.groups[0].clone(),
            other => panic!("no description was answered: {other:?}"),
        }
    }

    /// The ids of the groups in these states and of these types; none asked for means all.
    fn list(&mut self, states: &[&str], types: &[&str]) -> Vec<String> {
        let names = |names: &[&str]| names.iter().map(|name| string(name)).collect();
        let request = ListGroupsRequest::default().with_states_filter(names(states)).with_types_filter(names(types));
        match self.ask(5, GroupRequest::ListGroups(request)) {
            Ok(ResponseKind::ListGroups(response)) => {
                response.groups.iter().map(|group| group.group_id.to_string()).collect()
            }
            other => panic!("no list was answered: {other:?}"),
        }
    }
}

#[test]
fn a_group_is_described_in_each_of_its_states() {
    let mut desk = Desk::new();
    assert_eq!((&*desk.describe(5).group_state, desk.describe(5).error_code), ("Dead", 0));
    assert_eq!(desk.describe(6).error_code, ErrorCode::GroupIdNotFound.code());
    let (ids, generation) = desk.stable_group(2);
    let stable = desk.describe(6);
    assert_eq!((&*stable.protocol_type, &*stable.protocol_data), ("consumer", "range"));
    for member in &stable.members {
        assert_eq!((&*member.client_id, &*member.client_host), ("c", "/h"));
        assert_eq!(member.member_metadata, subscription(&["t"]));
        assert_eq!(member.member_assignment, member.member_id.as_bytes());
    }
    // While the members come to terms nobody knows what they speak; what they had still stands.
    let leader = desk.join(&ids[0], None, &["t"]);
    let unsettled = |desk: &mut Desk| {
        let described = desk.describe(6);
        let members = described.members.iter();
        let told: Vec<(&[u8], &[u8])> =
            members.map(|member| (&*member.member_metadata, &*member.member_assignment)).collect();
        let members = stable.members.iter();
        let before: Vec<(&[u8], &[u8])> = members.map(|member| (&[][..], &*member.member_assignment)).collect();
        assert_eq!((&*described.protocol_data, told), ("", before));
        described.group_state.to_string()
    };
    assert_eq!(unsettled(&mut desk), "PreparingRebalance");
    let follower = desk.join(&ids[1], None, &["t"]);
    assert_eq!(unsettled(&mut desk), "CompletingRebalance");
    for waiter in [leader, follower] {
        assert_eq!(desk.joined(waiter).generation_id, generation + 1);
    }
    ids.iter().for_each(|id| assert_eq!(desk.leave(id), ErrorCode::None));
    let empty = desk.describe(6);
    assert_eq!((&*empty.group_state, &*empty.protocol_type, empty.members.len()), ("Empty", "consumer", 0));
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let mut desk = Desk::new();
    desk.stable_group(1);
    assert_eq!(desk.list(&[], &[]), ["g"]);
    assert_eq!(desk.list(&[" stable ", "Empty"], &["Classic"]), ["g"]);
    for (states, types) in [(&["Empty"][..], &[][..]), (&["Stable"], &["consumer"]), (&["nonsense"], &[])] {
        assert_eq!(desk.list(states, types), [""; 0], "{states:?} {types:?}");
    }
}
