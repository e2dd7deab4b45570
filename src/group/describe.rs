//! What administrators see: DescribeGroups, ListGroups, DeleteGroups.

use std::{collections::BTreeSet, sync::Arc};

use super::{
    classic::{ClassicGroup, Member, State},
    consumer,
    machine::{Outcome, Then, Waiter},
    records::Record,
    shard::Shard,
};
use crate::protocol::{
    ErrorCode, StrBytes,
    messages::{
        DeleteGroupsResponse, DescribeGroupsResponse, GroupId, ListGroupsRequest, ListGroupsResponse,
        delete_groups_response::DeletableGroupResult,
        describe_groups_response::{DescribedGroup, DescribedGroupMember},
        list_groups_response::ListedGroup,
    },
};

/// From this version on a group that does not exist is an error; before, it is a dead one (KIP-1043).
const GROUP_ID_NOT_FOUND_VERSION: i16 = 6;
const CLASSIC: &str = "classic";
const CONSUMER: &str = "consumer";

impl Shard {
    pub(super) fn describe_groups(&self, asked: &[GroupId], version: i16) -> DescribeGroupsResponse {
        let groups = asked.iter().map(|id| {
            let answer = DescribedGroup::default().with_group_id(id.clone());
            match self.groups.get(id.as_str()) {
                Some(group) => describe(group, answer),
                None => {
                    let is = match self.consumers.contains_key(id.as_str()) {
                        true => "is not a classic group",
                        false => "not found",
                    };
                    let answer = answer.with_group_state(StrBytes::from_static_str("Dead"));
                    if version < GROUP_ID_NOT_FOUND_VERSION {
                        return answer;
                    }
                    let message = StrBytes::from_string(format!("Group {} {is}.", id.as_str()));
                    answer.with_error_code(ErrorCode::GroupIdNotFound.code()).with_error_message(Some(message))
                }
            }
        });
        DescribeGroupsResponse::default().with_groups(groups.collect())
    }

    pub(super) fn list_groups(&self, request: &ListGroupsRequest) -> ListGroupsResponse {
        let wanted = |names: &[StrBytes]| names.iter().map(|name| name.to_lowercase()).collect::<BTreeSet<String>>();
        let types = wanted(&request.types_filter);
        let states: BTreeSet<String> =
            wanted(&request.states_filter).iter().map(|state| state.trim().to_owned()).collect();
        let groups = self.groups.values().filter(|group| {
            (states.is_empty() || states.contains(&group.state().to_string().to_lowercase()))
                && (types.is_empty() || types.contains(CLASSIC))
        });
        let groups = groups.map(|group| {
            ListedGroup::default()
                .with_group_id(GroupId(string(&group.id)))
                .with_protocol_type(string(group.protocol_type().unwrap_or_default()))
                .with_group_state(StrBytes::from_string(group.state().to_string()))
                .with_group_type(StrBytes::from_static_str(CLASSIC))
        });
        let mut listed: Vec<ListedGroup> = groups.collect();
        if types.is_empty() || types.contains(CONSUMER) {
            listed.extend(self.list_consumers(&states));
        }
        ListGroupsResponse::default().with_groups(listed)
    }

    /// Deletes groups without members, with their offsets.
    pub(super) fn delete_groups(&mut self, asked: &[GroupId], waiter: Waiter, out: &mut Outcome) {
        let (mut results, mut records) = (Vec::new(), Vec::new());
        let mut seen = BTreeSet::new();
        for id in asked.iter().filter(|id| seen.insert(id.as_str())) {
            let code = match self.groups.get(id.as_str()).map(ClassicGroup::state) {
                None => match self.consumers.get(id.as_str()) {
                    Some(group) if group.state() == consumer::State::Empty => {
                        records.extend(self.tombstones_of_offsets(&group.id));
                        records.extend(Self::tombstones_of_consumers(group));
                        ErrorCode::None
                    }
                    Some(_) => ErrorCode::NonEmptyGroup,
                    None => ErrorCode::GroupIdNotFound,
                },
                Some(State::Empty) => {
                    let group: Arc<str> = id.as_str().into();
                    records.extend(self.tombstones_of_offsets(&group));
                    records.push(Record::Group { group, value: None });
                    ErrorCode::None
                }
                Some(_) => ErrorCode::NonEmptyGroup,
            };
            results.push(DeletableGroupResult::default().with_group_id(id.clone()).with_error_code(code.code()));
        }
        let response = DeleteGroupsResponse::default().with_results(results);
        out.write(records, Then::Answer(waiter, Box::new(response.into()), None));
    }
}

fn describe(group: &ClassicGroup, answer: DescribedGroup) -> DescribedGroup {
    // What members say of themselves is settled only when all have their assignments; those of the generation before
    // still stand while the next one forms.
    let is_stable = group.state() == State::Stable;
    let member = |member: &Member| {
        let answer = DescribedGroupMember::default()
            .with_member_id(string(&member.id))
            .with_group_instance_id(member.instance.as_deref().map(string))
            .with_client_id(string(&member.client_id))
            .with_client_host(string(&member.client_host));
        let answer = answer.with_member_assignment(member.assignment.clone());
        if is_stable { answer.with_member_metadata(member.metadata(group.protocol())) } else { answer }
    };
    answer
        .with_group_state(StrBytes::from_string(group.state().to_string()))
        .with_protocol_type(string(group.protocol_type().unwrap_or_default()))
        .with_protocol_data(string(group.protocol().filter(|_| is_stable).unwrap_or_default()))
        .with_members(group.members.values().map(member).collect())
}

fn string(text: &str) -> StrBytes {
    StrBytes::from_string(text.to_owned())
}
