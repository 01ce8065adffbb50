//! The OpenAPI document, made from the proto and its comments.

use prost_reflect::prost_types::source_code_info::Location;
use prost_reflect::{Cardinality, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

use super::json::ARGS;
use super::{POOL, methods};

/// The fields that a request must have, and not empty; the proto cannot say so. By the name of the message.
const REQUIRED: [(&str, &[&str]); 10] = [
    ("Message", &["event"]),
    ("PublishRequest", &["message"]),
    ("PublishBatchRequest", &["messages"]),
    ("CallRequest", &["message"]),
    ("JoinRoomsRequest", &["targets", "rooms"]),
    ("LeaveRoomsRequest", &["targets", "rooms"]),
    ("DisconnectSocketsRequest", &["targets"]),
    ("FetchSocketsRequest", &["targets"]),
    ("CountSocketsRequest", &["targets"]),
    ("ServerSideEmitRequest", &["event"]),
];

/// The whole document, as JSON text.
pub(crate) fn document() -> String {
    let mut schemas = Schemas(BTreeMap::new());
    let mut paths = Map::new();
    for (method, path) in methods() {
        let (request, answer) = (schemas.reference(&method.input()), schemas.reference(&method.output()));
        let content = match method.is_server_streaming() {
            // One object per line or event.
            true => {
                json!({ "application/x-ndjson": { "schema": answer }, "text/event-stream": { "schema": answer } })
            }
            false => json!({ "application/json": { "schema": answer } }),
        };
        let operation = json!({ "post": {
            "operationId": method.name(),
            "description": comment(&method.parent_file(), method.path()),
            "requestBody": { "required": true, "content": { "application/json": { "schema": request } } },
            "responses": {
                "200": { "description": "The answer", "content": content },
                "default": { "$ref": "#/components/responses/Error" },
            },
        }});
        paths.insert(path.to_owned(), operation);
    }
    let document = json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Roomcast publish API",
            "version": "v1",
            "description": POOL.get_service_by_name("roomcast.v1.Publisher").map(|service| {
                comment(&service.parent_file(), service.path())
            }),
        },
        "security": [{}, { "bearer": [] }],
        "paths": paths,
        "components": {
            "securitySchemes": { "bearer": { "type": "http", "scheme": "bearer" } },
            "responses": { "Error": {
                "description": "Nothing was done, unless the message says otherwise",
                "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Fault" } } },
            }},
            "schemas": schemas.all(),
        },
    });
    document.to_string()
}

/// The schemas met so far, by the name of the message.
struct Schemas(BTreeMap<String, Value>);

impl Schemas {
    fn reference(&mut self, message: &MessageDescriptor) -> Value {
        let name = message.name().to_owned();
        if !self.0.contains_key(&name) {
            // Before its fields, which may refer to it.
            self.0.insert(name.clone(), Value::Null);
            let schema = self.message(message);
            self.0.insert(name.clone(), schema);
        }
        json!({ "$ref": format!("#/components/schemas/{name}") })
    }

    fn message(&mut self, message: &MessageDescriptor) -> Value {
        let required = REQUIRED.iter().find(|(name, _)| *name == message.name());
        let required = required.map_or(&[][..], |(_, fields)| fields);
        let mut properties = Map::new();
        for field in message.fields() {
            let mut schema = self.field(&field);
            if required.contains(&field.name()) {
                match (field.cardinality(), field.kind()) {
                    (Cardinality::Repeated, _) => schema["minItems"] = 1.into(),
                    (_, Kind::String) => schema["minLength"] = 1.into(),
                    _ => {}
                }
            }
            properties.insert(field.json_name().to_owned(), schema);
            if field.name() == "arguments" {
                let description =
                    "The same as JSON instead of its text; not together with arguments. Requests only.";
                properties.insert(ARGS.to_owned(), json!({ "type": "array", "description": description }));
            }
        }
        json!({
            "type": "object",
            "description": comment(&message.parent_file(), message.path()),
            "properties": properties,
            "required": required,
            "additionalProperties": false,
        })
    }

    fn field(&mut self, field: &FieldDescriptor) -> Value {
        let description = comment(&field.parent_message().parent_file(), field.path());
        let mut schema = self.kind(&field.kind());
        if field.cardinality() == Cardinality::Repeated {
            schema = json!({ "type": "array", "items": schema });
        }
        // Beside a $ref too, since OpenAPI 3.1.
        schema["description"] = description.into();
        schema
    }

    fn kind(&mut self, kind: &Kind) -> Value {
        match kind {
            Kind::Bool => json!({ "type": "boolean" }),
            Kind::Bytes => json!({ "type": "string", "contentEncoding": "base64" }),
            Kind::Uint32 => json!({ "type": "integer", "minimum": 0, "maximum": u32::MAX }),
            Kind::Int32 => json!({ "type": "integer" }),
            // As text, because JavaScript's numbers end at 2^53; numbers are taken too.
            Kind::Uint64 | Kind::Int64 => json!({ "type": ["string", "integer"] }),
            Kind::Double => json!({ "type": "number" }),
            Kind::Enum(words) => words_of(words),
            Kind::Message(message) => self.reference(message),
            _ => json!({ "type": "string" }),
        }
    }

    fn all(self) -> Value {
        let mut schemas: Map<String, Value> = self.0.into_iter().collect();
        schemas.insert(
            "Fault".to_owned(),
            json!({
                "type": "object",
                "properties": {
                    "code": { "type": "string", "description": "The gRPC status, such as INVALID_ARGUMENT" },
                    "message": { "type": "string", "description": "What happened, to what, and what to do" },
                    "field": { "type": "string", "description": "The way to the field at fault" },
                    "retryAfterMs": { "type": "integer", "description": "How long to wait before a retry" },
                },
                "required": ["code", "message"],
            }),
        );
        schemas.into()
    }
}

fn words_of(words: &EnumDescriptor) -> Value {
    let names: Vec<_> = words.values().map(|value| value.name().to_owned()).collect();
    json!({ "type": "string", "enum": names })
}

/// The comment above what stands at `path` of the file.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let locations =
        file.file_descriptor_proto().source_code_info.as_ref().map(|info| info.location.as_slice());
    let found = locations.unwrap_or_default().iter().find(|location| location.path == path);
    let lines = found.map(Location::leading_comments).unwrap_or_default().lines();
    lines.map(str::trim).collect::<Vec<_>>().join(" ").trim().to_owned()
}
