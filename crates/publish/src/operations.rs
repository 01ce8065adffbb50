//! The calls that act on sockets or tell about them: joins, leaves, disconnections, counts, rooms.

use std::time::Duration;

use adapter::{Action, Extent, Operation, Outcome, RoomKinds, Targets};
use roomcast_proto::v1;
use socketio::{NamespaceName, RoomName};
use tonic::Status;

use crate::config::size;
use crate::convert;
use crate::dispatch::{Coverage, Dispatch, ReportLevel, ServerAnswer};
use crate::error::{FieldFault, Rule};
use crate::publishing::Publishing;

const TIMEOUT_MS_DEFAULT: u32 = 5_000;
const TIMEOUT_MS_MAX: u32 = 60_000;
const ROOMS_PER_PAGE_DEFAULT: u32 = 1_000;
const ROOMS_PER_PAGE_MAX: u32 = 10_000;

impl<D: Dispatch> Publishing<D> {
    pub(crate) async fn join_rooms(
        &self,
        request: v1::JoinRoomsRequest,
    ) -> Result<v1::JoinRoomsResponse, Status> {
        let v1::JoinRoomsRequest { targets, rooms, report } = request;
        let action = Action::Join(self.rooms(&rooms)?);
        let (coverage, sockets_matched) = self.act(targets, action, report).await?;
        Ok(v1::JoinRoomsResponse { coverage, sockets_matched })
    }

    pub(crate) async fn leave_rooms(
        &self,
        request: v1::LeaveRoomsRequest,
    ) -> Result<v1::LeaveRoomsResponse, Status> {
        let v1::LeaveRoomsRequest { targets, rooms, report } = request;
        let action = Action::Leave(self.rooms(&rooms)?);
        let (coverage, sockets_matched) = self.act(targets, action, report).await?;
        Ok(v1::LeaveRoomsResponse { coverage, sockets_matched })
    }

    pub(crate) async fn disconnect_sockets(
        &self,
        request: v1::DisconnectSocketsRequest,
    ) -> Result<v1::DisconnectSocketsResponse, Status> {
        let v1::DisconnectSocketsRequest { targets, close, report } = request;
        let action = Action::Disconnect(if close { Extent::Connection } else { Extent::Namespace });
        let (coverage, sockets_matched) = self.act(targets, action, report).await?;
        Ok(v1::DisconnectSocketsResponse { coverage, sockets_matched })
    }

    pub(crate) async fn count_sockets(
        &self,
        request: v1::CountSocketsRequest,
    ) -> Result<v1::CountSocketsResponse, Status> {
        let timeout = timeout(request.timeout_ms)?;
        let operation = self.operation(request.targets, Action::Count)?;
        let (outcome, coverage) = self.dispatch.operate(operation, Some(timeout)).await?;
        Ok(v1::CountSocketsResponse {
            sockets: outcome.matched.into(),
            coverage: Some(convert::coverage(coverage)),
        })
    }

    pub(crate) async fn list_rooms(
        &self,
        request: v1::ListRoomsRequest,
    ) -> Result<v1::ListRoomsResponse, Status> {
        let timeout = timeout(request.timeout_ms)?;
        let page = page_size(request.page_size, ROOMS_PER_PAGE_DEFAULT, ROOMS_PER_PAGE_MAX)?;
        let kinds = if request.socket_rooms { RoomKinds::All } else { RoomKinds::Named };
        let namespace = convert::namespace(&request.namespace, &self.config)?;
        let operation =
            Operation { namespace, targets: Targets::default(), action: Action::ListRooms(kinds) };
        let (outcome, coverage) = self.dispatch.operate(operation, Some(timeout)).await?;
        Ok(rooms_page(outcome, coverage, &request.prefix, &request.page_token, page))
    }

    pub(crate) async fn server_side_emit(
        &self,
        request: v1::ServerSideEmitRequest,
    ) -> Result<v1::ServerSideEmitResponse, Status> {
        let v1::ServerSideEmitRequest { namespace, event, arguments, answers, timeout_ms } = request;
        let timeout = timeout(timeout_ms)?;
        let namespace = convert::namespace(&namespace, &self.config)?;
        let event = convert::server_event(&event, &arguments, &self.config)?;
        let wait = answers.then_some(timeout);
        let (answers, coverage) = self.dispatch.emit_to_servers(namespace, event, wait).await?;
        let answer = |ServerAnswer { node, value }| v1::ServerAnswer {
            node,
            value: String::from_utf8_lossy(&value).into_owned(),
        };
        Ok(v1::ServerSideEmitResponse {
            answers: answers.into_iter().map(answer).collect(),
            coverage: wait.map(|_| convert::coverage(coverage)),
        })
    }

    /// Does something with sockets; how many and where is told only if the caller wants to know.
    async fn act(
        &self,
        targets: Option<v1::Targets>,
        action: Action,
        report: i32,
    ) -> Result<(Option<v1::Coverage>, u64), Status> {
        let level = convert::report(report)?;
        let operation = self.operation(targets, action)?;
        let wait = match level {
            ReportLevel::Accepted => None,
            ReportLevel::Reach => Some(Duration::from_millis(TIMEOUT_MS_DEFAULT.into())),
        };
        let (outcome, coverage) = self.dispatch.operate(operation, wait).await?;
        Ok(match level {
            ReportLevel::Accepted => (None, 0),
            ReportLevel::Reach => (Some(convert::coverage(coverage)), outcome.matched.into()),
        })
    }

    pub(crate) fn operation(
        &self,
        targets: Option<v1::Targets>,
        action: Action,
    ) -> Result<Operation, FieldFault> {
        let targets = targets.ok_or_else(|| FieldFault::new("targets", Rule::Required))?;
        let (namespace, targets) = self.targets(&targets).map_err(|fault| fault.within("targets"))?;
        Ok(Operation { namespace, targets, action })
    }

    fn targets(&self, targets: &v1::Targets) -> Result<(NamespaceName, Targets), FieldFault> {
        let namespace = convert::namespace(&targets.namespace, &self.config)?;
        Ok((namespace, convert::targets(&targets.rooms, &targets.except, &self.config)?))
    }

    fn rooms(&self, rooms: &[String]) -> Result<Vec<RoomName>, FieldFault> {
        let (count, max) = (rooms.len(), size(self.config.rooms_per_message_max));
        match count {
            0 => Err(FieldFault::new("rooms", Rule::Required)),
            _ if count > max => Err(FieldFault::new("rooms", Rule::TooManyEntries { count, max })),
            _ => convert::room_names("rooms", rooms, &self.config),
        }
    }
}

/// How long nodes or clients may take to answer.
pub(crate) fn timeout(timeout_ms: u32) -> Result<Duration, FieldFault> {
    match timeout_ms {
        0 => Ok(Duration::from_millis(TIMEOUT_MS_DEFAULT.into())),
        1..=TIMEOUT_MS_MAX => Ok(Duration::from_millis(timeout_ms.into())),
        _ => Err(FieldFault::new("timeout_ms", Rule::TooLong { ms: timeout_ms, max: TIMEOUT_MS_MAX })),
    }
}

/// How many entries a page has: `default` if the caller does not say.
pub(crate) fn page_size(asked: u32, default: u32, max: u32) -> Result<usize, FieldFault> {
    match asked {
        0 => Ok(default as usize),
        _ if asked > max => {
            let (count, max) = (asked as usize, max as usize);
            Err(FieldFault::new("page_size", Rule::TooManyEntries { count, max }))
        }
        _ => Ok(asked as usize),
    }
}

/// The rooms behind `token`, which is the last room of the page before.
fn rooms_page(
    outcome: Outcome,
    coverage: Coverage,
    prefix: &str,
    token: &str,
    page: usize,
) -> v1::ListRoomsResponse {
    let wanted =
        |room: &RoomName| room.as_str().starts_with(prefix) && (token.is_empty() || room.as_str() > token);
    let mut rest = outcome.rooms.into_iter().filter(|(room, _)| wanted(room));
    let room = |(name, sockets): (RoomName, u32)| v1::Room {
        name: name.as_str().to_owned(),
        sockets: Some(sockets.into()),
    };
    let rooms: Vec<v1::Room> = rest.by_ref().take(page).map(room).collect();
    let next_page_token = match (rest.next(), rooms.last()) {
        (Some(_), Some(last)) => last.name.clone(),
        _ => String::new(),
    };
    v1::ListRoomsResponse { rooms, next_page_token, coverage: Some(convert::coverage(coverage)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(prefix: &str, token: &str, size: usize) -> (Vec<String>, String) {
        let rooms = ["a", "b1", "b2", "b3", "c"].map(|name| (RoomName::new(name), 1)).into_iter().collect();
        let outcome = Outcome { matched: 5, rooms, ..Outcome::default() };
        let response = rooms_page(outcome, Coverage::default(), prefix, token, size);
        (response.rooms.into_iter().map(|room| room.name).collect(), response.next_page_token)
    }

    #[test]
    fn pages_follow_each_other_and_end() {
        assert_eq!(page("", "", 3), (vec!["a".into(), "b1".into(), "b2".into()], "b2".into()));
        assert_eq!(page("", "b2", 3), (vec!["b3".into(), "c".into()], String::new()));
        assert_eq!(page("b", "", 3), (vec!["b1".into(), "b2".into(), "b3".into()], String::new()));
        assert_eq!(page("", "c", 3), (vec![], String::new()));
    }

    #[test]
    fn times_are_bounded() {
        assert_eq!(timeout(0), Ok(Duration::from_secs(5)));
        assert_eq!(timeout(60_000), Ok(Duration::from_secs(60)));
        assert!(timeout(60_001).is_err());
    }
}
