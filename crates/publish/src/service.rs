//! The rpcs of `roomcast.v1.Publisher`.

use roomcast_proto::v1;
use roomcast_proto::v1::publisher_server::Publisher;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status, Streaming};

use crate::auth::Caller;
use crate::dispatch::Dispatch;
use crate::idempotency::IdempotencyKey;
use crate::publishing::Publishing;
use crate::stream;

#[tonic::async_trait]
impl<D: Dispatch> Publisher for Publishing<D> {
    async fn publish(
        &self,
        request: Request<v1::PublishRequest>,
    ) -> Result<Response<v1::PublishResponse>, Status> {
        let caller = caller_of(&request);
        let v1::PublishRequest { message, idempotency_key, report } = request.into_inner();
        let publish = async {
            let key = IdempotencyKey::new(&caller, &idempotency_key)?;
            let (broadcast, level) = self.check(message, report)?;
            match key {
                None => self.deliver(broadcast, level).await,
                Some(_) => {
                    let service = self.clone();
                    // In a place of its own: what it holds is large, and would be copied with every call, 9,000
                    // instructions.
                    Box::pin(self.once(key, async move { service.deliver(broadcast, level).await })).await
                }
            }
        };
        let v1::Published { message_id, reach } = self.measured(publish).await?;
        Ok(Response::new(v1::PublishResponse { message_id, reach }))
    }

    async fn publish_batch(
        &self,
        request: Request<v1::PublishBatchRequest>,
    ) -> Result<Response<v1::PublishBatchResponse>, Status> {
        let caller = caller_of(&request);
        self.measured(self.deliver_batch(request.into_inner(), &caller)).await.map(Response::new)
    }

    type PublishStreamStream = ReceiverStream<Result<v1::PublishStreamResponse, Status>>;

    async fn publish_stream(
        &self,
        request: Request<Streaming<v1::PublishStreamRequest>>,
    ) -> Result<Response<Self::PublishStreamStream>, Status> {
        let caller = request.extensions().get::<Caller>().cloned();
        Ok(Response::new(stream::answers(self.clone(), caller, request.into_inner())))
    }

    type CallStream = ReceiverStream<Result<v1::CallResponse, Status>>;

    async fn call(&self, request: Request<v1::CallRequest>) -> Result<Response<Self::CallStream>, Status> {
        self.measured(self.call(request.into_inner())).await.map(Response::new)
    }

    async fn join_rooms(
        &self,
        request: Request<v1::JoinRoomsRequest>,
    ) -> Result<Response<v1::JoinRoomsResponse>, Status> {
        self.measured(self.join_rooms(request.into_inner())).await.map(Response::new)
    }

    async fn leave_rooms(
        &self,
        request: Request<v1::LeaveRoomsRequest>,
    ) -> Result<Response<v1::LeaveRoomsResponse>, Status> {
        self.measured(self.leave_rooms(request.into_inner())).await.map(Response::new)
    }

    async fn disconnect_sockets(
        &self,
        request: Request<v1::DisconnectSocketsRequest>,
    ) -> Result<Response<v1::DisconnectSocketsResponse>, Status> {
        self.measured(self.disconnect_sockets(request.into_inner())).await.map(Response::new)
    }

    type FetchSocketsStream = ReceiverStream<Result<v1::FetchSocketsResponse, Status>>;

    async fn fetch_sockets(
        &self,
        request: Request<v1::FetchSocketsRequest>,
    ) -> Result<Response<Self::FetchSocketsStream>, Status> {
        self.measured(self.fetch_sockets(request.into_inner())).await.map(Response::new)
    }

    async fn count_sockets(
        &self,
        request: Request<v1::CountSocketsRequest>,
    ) -> Result<Response<v1::CountSocketsResponse>, Status> {
        self.measured(self.count_sockets(request.into_inner())).await.map(Response::new)
    }

    async fn list_rooms(
        &self,
        request: Request<v1::ListRoomsRequest>,
    ) -> Result<Response<v1::ListRoomsResponse>, Status> {
        self.measured(self.list_rooms(request.into_inner())).await.map(Response::new)
    }

    async fn server_side_emit(
        &self,
        request: Request<v1::ServerSideEmitRequest>,
    ) -> Result<Response<v1::ServerSideEmitResponse>, Status> {
        self.measured(self.server_side_emit(request.into_inner())).await.map(Response::new)
    }
}

/// The name of whoever calls; empty on a server without authentication.
fn caller_of<T>(request: &Request<T>) -> String {
    request.extensions().get::<Caller>().map(|caller| caller.identity.name.clone()).unwrap_or_default()
}
