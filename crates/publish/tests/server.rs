//! What stands beside the publishes: health, and reflection.

#![allow(clippy::unwrap_used, reason = "a test that unwraps in vain has failed")]

mod support;

use publish::PublishConfig;
use support::{Recorder, Running, within};

use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1 as reflection, v1alpha};

const PUBLISHER: &str = "roomcast.v1.Publisher";

#[tokio::test]
async fn health_is_serving_until_the_server_stops() {
    let server = Running::start(Recorder::new(), PublishConfig::default()).await;
    let mut health = HealthClient::new(server.channel.clone());
    for service in ["", PUBLISHER] {
        let request = HealthCheckRequest { service: service.into() };
        let answer = within(health.check(request)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving);
    }
    let request = HealthCheckRequest { service: PUBLISHER.into() };
    let mut watch = within(health.watch(request)).await.unwrap().into_inner();
    assert_eq!(within(watch.message()).await.unwrap().unwrap().status(), ServingStatus::Serving);
    let server = server.stop();
    assert_eq!(within(watch.message()).await.unwrap().unwrap().status(), ServingStatus::NotServing);
    drop(watch);
    within(server).await.unwrap().unwrap();
}

#[tokio::test]
async fn reflection_lists_the_services_in_both_versions() {
    let server = Running::start(Recorder::new(), PublishConfig::default()).await;

    let mut client =
        reflection::server_reflection_client::ServerReflectionClient::new(server.channel.clone());
    let list = reflection::server_reflection_request::MessageRequest::ListServices(String::new());
    let request = reflection::ServerReflectionRequest { message_request: Some(list), ..Default::default() };
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = within(answers.message()).await.unwrap().unwrap().message_response.unwrap();
    let reflection::server_reflection_response::MessageResponse::ListServicesResponse(list) = answer else {
        panic!("not a list: {answer:?}");
    };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    assert!(names.contains(&PUBLISHER) && names.contains(&"grpc.health.v1.Health"), "{names:?}");

    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(server.channel.clone());
    let symbol = v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol(PUBLISHER.into());
    let request = v1alpha::ServerReflectionRequest { message_request: Some(symbol), ..Default::default() };
    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();
    let answer = within(answers.message()).await.unwrap().unwrap().message_response.unwrap();
    assert!(matches!(
        answer,
        v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse(_)
    ));
}
