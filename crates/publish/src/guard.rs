//! In front of every rpc: what its caller may do, how often, and how many at once.

use std::fmt::Display;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use roomcast_proto::v1;
use roomcast_proto::v1::publisher_server::Publisher;
use tokio_stream::Stream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, Streaming};

use crate::auth::{Caller, InFlight, Operation};
use crate::dispatch::Dispatch;
use crate::publishing::{Checked, CheckedBatch, Publishing, batch_response};
use crate::texts::Texts;
use crate::wire::{BatchRef, MessageRef, PublishRef};

/// The service, for callers whose identity the layer before has left in the request's extensions. A request without
/// one comes to a server without authentication, and may do everything.
#[derive(Clone)]
pub(crate) struct Guarded<D>(pub(crate) Publishing<D>);

impl<D: Dispatch> Guarded<D> {
    /// Checks the rights of one call and takes its place among those that its identity may have open.
    fn admit<T>(
        &self,
        request: &Request<T>,
        operation: Operation,
        rights: impl FnOnce(&Caller, &T) -> Result<(), Status>,
    ) -> Result<Option<InFlight>, Status> {
        let Some(caller) = request.extensions().get::<Caller>() else { return Ok(None) };
        let started = Instant::now();
        let admitted = caller
            .operation(operation)
            .and_then(|()| rights(caller, request.get_ref()))
            .and_then(|()| caller.begin());
        // What goes through is counted with its answer.
        admitted
            .map(Some)
            .inspect_err(|status| self.0.metrics.answered(status.code().into(), started.elapsed()))
    }

    /// Checks a message of `caller`, and takes its place among the calls that the caller may have open.
    pub(crate) fn admit_publish(
        &self,
        caller: Option<&Caller>,
        request: &PublishRef<'_>,
    ) -> Result<(Checked, Option<InFlight>), Status> {
        let in_flight = place(caller, |caller| {
            caller.operation(Operation::Publish)?;
            request.message.as_ref().map_or(Ok(()), |part| message(caller, part, "message"))?;
            caller.spend(1)
        })?;
        Ok((self.0.check(name(caller), request, &mut Texts::default())?, in_flight))
    }

    /// The same for a batch.
    pub(crate) fn admit_batch(
        &self,
        caller: Option<&Caller>,
        request: &BatchRef<'_>,
    ) -> Result<(CheckedBatch, Option<InFlight>), Status> {
        let in_flight = place(caller, |caller| {
            caller.operation(Operation::Publish)?;
            for (nth, part) in request.messages.iter().enumerate() {
                message(caller, part, format_args!("messages[{nth}]"))?;
            }
            caller.spend(request.messages.len())
        })?;
        Ok((self.0.check_batch(name(caller), request)?, in_flight))
    }

    /// Lets `caller` open a stream, whose messages are checked one by one as they come.
    pub(crate) fn admit_stream(&self, caller: Option<&Caller>) -> Result<Option<InFlight>, Status> {
        let started = Instant::now();
        let admitted = place(caller, |caller| caller.operation(Operation::Publish));
        admitted.inspect_err(|status| self.0.metrics.answered(status.code().into(), started.elapsed()))
    }

    /// Checks one message of a stream, whose JSON is written among `texts`.
    #[inline]
    pub(crate) fn check_streamed(
        &self,
        caller: Option<&Caller>,
        request: &PublishRef<'_>,
        texts: &mut Texts,
    ) -> Result<Checked, Status> {
        if let (Some(caller), Some(part)) = (caller, &request.message) {
            message(caller, part, "message")?;
            caller.spend(1)?;
        }
        Ok(self.0.check(name(caller), request, texts)?)
    }
}

/// Takes a place among the calls that the caller may have open, if it has the rights.
fn place(
    caller: Option<&Caller>,
    rights: impl FnOnce(&Caller) -> Result<(), Status>,
) -> Result<Option<InFlight>, Status> {
    let Some(caller) = caller else { return Ok(None) };
    rights(caller)?;
    caller.begin().map(Some)
}

/// Empty on a server without authentication.
fn name(caller: Option<&Caller>) -> &str {
    caller.map_or("", |caller| &caller.identity.name)
}

/// What the caller needs to publish one message, `field` being the way to it.
fn message(caller: &Caller, message: &MessageRef<'_>, field: impl Display + Copy) -> Result<(), Status> {
    emit(caller, Operation::Publish, message.namespace, &message.rooms, field)
}

fn emit(
    caller: &Caller,
    operation: Operation,
    namespace: &str,
    rooms: &[impl AsRef<str>],
    // Written only into a refusal.
    field: impl Display + Copy,
) -> Result<(), Status> {
    caller.namespace(operation, namespace, format_args!("{field}.namespace"))?;
    // `except` only takes sockets away.
    caller.targets(operation, rooms, format_args!("{field}.rooms"))
}

/// A request without targets is refused behind this, for the field it lacks.
fn targets(caller: &Caller, operation: Operation, targets: Option<&v1::Targets>) -> Result<(), Status> {
    let Some(targets) = targets else { return Ok(()) };
    caller.namespace(operation, &targets.namespace, "targets.namespace")?;
    caller.targets(operation, &targets.rooms, "targets.rooms")
}

/// A stream of answers that keeps its call's place until its end.
pub(crate) struct Held<S> {
    answers: S,
    _in_flight: Option<InFlight>,
}

impl<S: Stream + Unpin> Stream for Held<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        Pin::new(&mut self.answers).poll_next(context)
    }
}

fn held<S>(answers: S, in_flight: Option<InFlight>) -> Held<S> {
    Held { answers, _in_flight: in_flight }
}

#[tonic::async_trait]
impl<D: Dispatch> Publisher for Guarded<D> {
    async fn publish(
        &self,
        request: Request<v1::PublishRequest>,
    ) -> Result<Response<v1::PublishResponse>, Status> {
        let publish = async {
            let caller = request.extensions().get::<Caller>();
            let (checked, _in_flight) = self.admit_publish(caller, &request.get_ref().into())?;
            self.0.publish(checked).await
        };
        let v1::Published { message_id, reach } = self.0.measured(publish).await?.into();
        Ok(Response::new(v1::PublishResponse { message_id, reach }))
    }

    async fn publish_batch(
        &self,
        request: Request<v1::PublishBatchRequest>,
    ) -> Result<Response<v1::PublishBatchResponse>, Status> {
        let publish = async {
            let caller = request.extensions().get::<Caller>();
            let (checked, _in_flight) = self.admit_batch(caller, &request.get_ref().into())?;
            self.0.publish_batch(checked).await.map(batch_response)
        };
        self.0.measured(publish).await.map(Response::new)
    }

    type PublishStreamStream = BoxStream<v1::PublishStreamResponse>;

    /// Only over HTTP/1.1: those over HTTP/2 are served by `stream`.
    async fn publish_stream(
        &self,
        _: Request<Streaming<v1::PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        Err(Status::unimplemented("PublishStream needs HTTP/2"))
    }

    type CallStream = BoxStream<v1::CallResponse>;

    async fn call(&self, request: Request<v1::CallRequest>) -> Result<Response<Self::CallStream>, Status> {
        let in_flight = self.admit(&request, Operation::Call, |caller, request| {
            let checked = request.message.as_ref();
            checked.map_or(Ok(()), |message| {
                emit(caller, Operation::Call, &message.namespace, &message.rooms, "message")
            })?;
            caller.spend(1)
        })?;
        let answers = self.0.measured(self.0.call(request.into_inner())).await?;
        Ok(Response::new(Box::pin(held(answers, in_flight))))
    }

    async fn join_rooms(
        &self,
        request: Request<v1::JoinRoomsRequest>,
    ) -> Result<Response<v1::JoinRoomsResponse>, Status> {
        let _in_flight = self.admit(&request, Operation::Join, |caller, request| {
            targets(caller, Operation::Join, request.targets.as_ref())?;
            // Whoever is in a room hears what is sent to it.
            caller.rooms(Operation::Join, &request.rooms, "rooms")?;
            caller.spend(1)
        })?;
        self.0.measured(self.0.join_rooms(request.into_inner())).await.map(Response::new)
    }

    async fn leave_rooms(
        &self,
        request: Request<v1::LeaveRoomsRequest>,
    ) -> Result<Response<v1::LeaveRoomsResponse>, Status> {
        let _in_flight = self.admit(&request, Operation::Leave, |caller, request| {
            targets(caller, Operation::Leave, request.targets.as_ref())?;
            caller.rooms(Operation::Leave, &request.rooms, "rooms")?;
            caller.spend(1)
        })?;
        self.0.measured(self.0.leave_rooms(request.into_inner())).await.map(Response::new)
    }

    async fn disconnect_sockets(
        &self,
        request: Request<v1::DisconnectSocketsRequest>,
    ) -> Result<Response<v1::DisconnectSocketsResponse>, Status> {
        let _in_flight = self.admit(&request, Operation::Disconnect, |caller, request| {
            targets(caller, Operation::Disconnect, request.targets.as_ref())?;
            // A connection carries the client's sockets in other namespaces too.
            if request.close {
                caller.all_namespaces(Operation::Disconnect, "close")?;
            }
            caller.spend(1)
        })?;
        self.0.measured(self.0.disconnect_sockets(request.into_inner())).await.map(Response::new)
    }

    type FetchSocketsStream = BoxStream<v1::FetchSocketsResponse>;

    async fn fetch_sockets(
        &self,
        request: Request<v1::FetchSocketsRequest>,
    ) -> Result<Response<Self::FetchSocketsStream>, Status> {
        let in_flight = self.admit(&request, Operation::Fetch, |caller, request| {
            targets(caller, Operation::Fetch, request.targets.as_ref())?;
            caller.spend(1)
        })?;
        let answers = self.0.measured(self.0.fetch_sockets(request.into_inner())).await?;
        Ok(Response::new(Box::pin(held(answers, in_flight))))
    }

    async fn count_sockets(
        &self,
        request: Request<v1::CountSocketsRequest>,
    ) -> Result<Response<v1::CountSocketsResponse>, Status> {
        let _in_flight = self.admit(&request, Operation::Count, |caller, request| {
            targets(caller, Operation::Count, request.targets.as_ref())?;
            caller.spend(1)
        })?;
        self.0.measured(self.0.count_sockets(request.into_inner())).await.map(Response::new)
    }

    async fn list_rooms(
        &self,
        request: Request<v1::ListRoomsRequest>,
    ) -> Result<Response<v1::ListRoomsResponse>, Status> {
        let _in_flight = self.admit(&request, Operation::ListRooms, |caller, request| {
            caller.namespace(Operation::ListRooms, &request.namespace, "namespace")?;
            caller.rooms_with_prefix(Operation::ListRooms, &request.prefix)?;
            caller.spend(1)
        })?;
        self.0.measured(self.0.list_rooms(request.into_inner())).await.map(Response::new)
    }

    async fn server_side_emit(
        &self,
        request: Request<v1::ServerSideEmitRequest>,
    ) -> Result<Response<v1::ServerSideEmitResponse>, Status> {
        let _in_flight = self.admit(&request, Operation::ServerSideEmit, |caller, request| {
            caller.namespace(Operation::ServerSideEmit, &request.namespace, "namespace")?;
            caller.spend(1)
        })?;
        self.0.measured(self.0.server_side_emit(request.into_inner())).await.map(Response::new)
    }
}
