//! In front of every rpc: what its caller may do, how often, and how many at once.

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
use crate::publishing::Publishing;

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
}

/// What the caller needs to publish one message, `field` being the way to it.
pub(crate) fn message(caller: &Caller, message: &v1::Message, field: &str) -> Result<(), Status> {
    emit(caller, Operation::Publish, message, field)
}

fn emit(caller: &Caller, operation: Operation, message: &v1::Message, field: &str) -> Result<(), Status> {
    caller.namespace(operation, &message.namespace, &format!("{field}.namespace"))?;
    // `except` only takes sockets away.
    caller.targets(operation, &message.rooms, &format!("{field}.rooms"))
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

fn held<S>(response: Response<S>, in_flight: Option<InFlight>) -> Response<Held<S>> {
    response.map(|answers| Held { answers, _in_flight: in_flight })
}

#[tonic::async_trait]
impl<D: Dispatch> Publisher for Guarded<D> {
    async fn publish(
        &self,
        request: Request<v1::PublishRequest>,
    ) -> Result<Response<v1::PublishResponse>, Status> {
        let _in_flight = self.admit(&request, Operation::Publish, |caller, request| {
            request.message.as_ref().map_or(Ok(()), |part| message(caller, part, "message"))?;
            caller.spend(1)
        })?;
        Publisher::publish(&self.0, request).await
    }

    async fn publish_batch(
        &self,
        request: Request<v1::PublishBatchRequest>,
    ) -> Result<Response<v1::PublishBatchResponse>, Status> {
        let _in_flight = self.admit(&request, Operation::Publish, |caller, request| {
            for (nth, part) in request.messages.iter().enumerate() {
                message(caller, part, &format!("messages[{nth}]"))?;
            }
            caller.spend(request.messages.len())
        })?;
        Publisher::publish_batch(&self.0, request).await
    }

    type PublishStreamStream = Held<<Publishing<D> as Publisher>::PublishStreamStream>;

    async fn publish_stream(
        &self,
        request: Request<Streaming<v1::PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        // Its messages are checked one by one as they come.
        let in_flight = self.admit(&request, Operation::Publish, |_, _| Ok(()))?;
        Ok(held(Publisher::publish_stream(&self.0, request).await?, in_flight))
    }

    type CallStream = BoxStream<v1::CallResponse>;

    async fn call(&self, request: Request<v1::CallRequest>) -> Result<Response<Self::CallStream>, Status> {
        let in_flight = self.admit(&request, Operation::Call, |caller, request| {
            let checked = request.message.as_ref();
            checked.map_or(Ok(()), |message| emit(caller, Operation::Call, message, "message"))?;
            caller.spend(1)
        })?;
        Ok(held(Publisher::call(&self.0, request).await?, in_flight).map(|answers| Box::pin(answers) as _))
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
        Publisher::join_rooms(&self.0, request).await
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
        Publisher::leave_rooms(&self.0, request).await
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
        Publisher::disconnect_sockets(&self.0, request).await
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
        let answer = Publisher::fetch_sockets(&self.0, request).await?;
        Ok(held(answer, in_flight).map(|answers| Box::pin(answers) as _))
    }

    async fn count_sockets(
        &self,
        request: Request<v1::CountSocketsRequest>,
    ) -> Result<Response<v1::CountSocketsResponse>, Status> {
        let _in_flight = self.admit(&request, Operation::Count, |caller, request| {
            targets(caller, Operation::Count, request.targets.as_ref())?;
            caller.spend(1)
        })?;
        Publisher::count_sockets(&self.0, request).await
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
        Publisher::list_rooms(&self.0, request).await
    }

    async fn server_side_emit(
        &self,
        request: Request<v1::ServerSideEmitRequest>,
    ) -> Result<Response<v1::ServerSideEmitResponse>, Status> {
        let _in_flight = self.admit(&request, Operation::ServerSideEmit, |caller, request| {
            caller.namespace(Operation::ServerSideEmit, &request.namespace, "namespace")?;
            caller.spend(1)
        })?;
        Publisher::server_side_emit(&self.0, request).await
    }
}
