//! Conversations with models, in the terms of the OpenTelemetry GenAI conventions (v1.41.1).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{KTime, ProcessKey};

/// One request to a model and its answer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LlmCall {
    /// Unique within the session: `llm-<n>`.
    pub id: String,
    /// `gen_ai.provider.name`: `anthropic`, `openai`, `gcp.gemini`, ... by the shape of the traffic.
    pub provider: String,
    /// The API dialect, such as `anthropic.messages` or `openai.responses`.
    pub api: String,
    /// Model that answered, or else the one that was asked for.
    pub model: Option<String>,
    /// Model that was asked for.
    pub request_model: Option<String>,
    /// `gen_ai.operation.name`: `chat`, `generate_content`, `text_completion`, `embeddings`; and our own
    /// `count_tokens`, which asks what a request would cost.
    pub operation: String,
    /// The process that called.
    pub process: ProcessKey,
    /// Scheme, host and path, with secrets replaced.
    pub endpoint: String,
    /// `http/1.1`, `h2`, `websocket`.
    pub transport: String,
    /// HTTP status; absent if no answer was seen.
    pub status: Option<u16>,
    /// When the first byte of the request was sent.
    pub started: KTime,
    /// When the first byte of the answer's body arrived.
    pub first_byte: Option<KTime>,
    /// When the answer ended, or the stream did.
    pub ended: KTime,
    /// Whether request and answer were both seen whole, to the dialect's own end mark.
    pub complete: bool,
    /// What was asked.
    pub request: LlmRequest,
    /// What was answered.
    pub response: LlmResponse,
    /// `gen_ai.response.finish_reasons`, as the provider spells them.
    pub finish_reasons: Vec<String>,
    /// Tokens.
    pub usage: Usage,
    /// What went wrong, if something did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<LlmError>,
    /// The pieces that are not text, of request and answer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parts: Vec<PartInfo>,
    /// Where messages, system instructions and tools lie, if they are not in the call itself: a ledger
    /// keeps each of them once, in an `llm.message` record before the first call that has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Box<ContentRefs>>,
    /// Texts of the request as they were sent, on their way to be compared with files.
    #[serde(skip)]
    pub texts: Vec<TextDigest>,
}

/// Names the content of a call by its digests. The request's messages are the first `shared` ones of the
/// request of `base`, followed by `messages`: so what a turn adds to the record is as large as what it
/// adds to the conversation.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentRefs {
    /// Id of an earlier call of the session whose request begins in the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<String>,
    /// How many of its messages come first.
    #[serde(default)]
    pub shared: u64,
    /// Digests of the messages that follow.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub messages: Vec<String>,
    /// Digest of the system instructions; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub system: Option<String>,
    /// Digest of the tools offered; absent if there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<String>,
    /// Digests of the answer's messages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub answers: Vec<String>,
}

/// A piece of conversations that calls refer to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LlmContent {
    /// SHA-256, in hexadecimal, of the piece as compact JSON: what stands under its name in `content`.
    pub sha256: String,
    /// The piece.
    pub content: ContentPiece,
}

/// What calls have in common with each other.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ContentPiece {
    /// One message.
    Message(Message),
    /// All system instructions of a call.
    System(Vec<Part>),
    /// All tools that a call offers.
    Tools(Vec<ToolDefinition>),
}

/// What was asked of a model.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LlmRequest {
    /// The conversation so far, oldest first.
    pub messages: Vec<Message>,
    /// System instructions.
    pub system: Vec<Part>,
    /// Tools that the model may call.
    pub tools: Vec<ToolDefinition>,
    /// Everything else that was asked for (temperature, limits, ...), as sent.
    pub parameters: Map<String, Value>,
    /// The body that carried it.
    pub body: BodyInfo,
}

/// What a model answered.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LlmResponse {
    /// The answer; one message a choice.
    pub messages: Vec<Message>,
    /// The provider's id of the answer.
    pub id: Option<String>,
    /// The body that carried it.
    pub body: BodyInfo,
    /// What else the answer says of itself, as sent: what it cost, who served it, how long it took, and
    /// counts beyond those of [`Usage`].
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra: Map<String, Value>,
}

/// Facts about a body, of its decoded form (transfer and content coding removed) before redaction.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BodyInfo {
    /// Bytes of the decoded body.
    pub bytes: u64,
    /// SHA-256 of the decoded body, in hexadecimal.
    pub sha256: String,
    /// Bytes of the body as transferred (transfer coding removed, content coding not).
    pub wire_bytes: u64,
    /// Content coding, such as `gzip`; absent if none.
    pub encoding: Option<String>,
    /// Whether every byte was seen, to the body's end.
    pub complete: bool,
}

/// A tool that a model may call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ToolDefinition {
    /// Its name.
    pub name: String,
    /// What the model is told about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// JSON schema of its arguments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parameters: Option<Value>,
}

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool`.
    pub role: String,
    /// Its pieces, in order.
    pub parts: Vec<Part>,
}

/// A piece of a message, as in the GenAI conventions' message schema.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text.
    Text {
        /// The text.
        content: String,
    },
    /// The model's reasoning.
    Reasoning {
        /// The text, which may be a summary or empty (encrypted reasoning).
        content: String,
    },
    /// The model calls a tool.
    ToolCall {
        /// The provider's id of the call; absent where the dialect has none.
        id: Option<String>,
        /// The tool.
        name: String,
        /// Its arguments: parsed JSON, or the raw string where it does not parse.
        arguments: Value,
    },
    /// A tool's result, given to the model.
    ToolCallResponse {
        /// Id of the call that it answers.
        id: Option<String>,
        /// The tool, where the dialect says so.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        /// The result: a string or JSON.
        response: Value,
        /// Whether the tool said that it failed, where the dialect tells.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        is_error: Option<bool>,
    },
    /// Content that is not text, inline. The bytes themselves are not kept here.
    Blob {
        /// What it is.
        #[serde(flatten)]
        info: PartInfo,
    },
    /// Content by reference.
    Uri {
        /// Kind of content: `image`, `audio`, `video`, `document`, `file`.
        modality: String,
        /// Its type, where given.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        mime_type: Option<String>,
        /// Where it is, with secrets replaced; or a provider's file id.
        uri: String,
    },
    /// A piece that this version does not know, kept as it came.
    Other {
        /// The provider's name for it.
        name: String,
        /// The piece.
        content: Value,
    },
}

/// What is known of a piece of content that is not text.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct PartInfo {
    /// Kind of content: `image`, `audio`, `video`, `document`, `file`.
    pub modality: String,
    /// Type, by its first bytes where they tell, else as declared.
    pub mime_type: Option<String>,
    /// Type as declared, where the first bytes tell another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declared_mime_type: Option<String>,
    /// Bytes of the decoded content.
    pub bytes: u64,
    /// SHA-256 of the decoded content, in hexadecimal.
    pub sha256: String,
    /// Width in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub width: Option<u64>,
    /// Height in pixels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u64>,
    /// How long audio or video takes, in milliseconds, where its first bytes tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration_ms: Option<u64>,
    /// The file that the tree read with the same content. In the document only: it is found after the
    /// call, see [`LlmSources`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<SourceFile>,
}

/// Where content of a conversation comes from: files that the tree had read, with the same bytes. Follows
/// the call, as files are compared while the session goes on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LlmSources {
    /// Id of the call that had the content first.
    pub call: String,
    /// What was found, one for each piece of content.
    pub sources: Vec<ContentSource>,
    /// Pieces that were not looked for, because there was too much at once.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub unchecked: u64,
}

/// Content that is the content of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ContentSource {
    /// `text`, or the modality of a part.
    pub modality: String,
    /// Bytes of the file.
    pub bytes: u64,
    /// SHA-256 of the file's content, in hexadecimal: for a part, that of the part; for a text, that of
    /// the text before redaction, with or without a line feed at its end.
    pub sha256: String,
    /// For a text, the position of its message in the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<u64>,
    /// The file.
    pub file: SourceFile,
}

/// A file that content was read from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceFile {
    /// Its path.
    pub path: String,
    /// Its device (the kernel's encoding: major << 20 | minor).
    pub dev: u64,
    /// Its inode.
    pub ino: u64,
    /// The process that was seen to read it last.
    pub process: ProcessKey,
}

/// A text of a request that may be a file's content. Not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextDigest {
    /// Position of its message.
    pub message: u64,
    /// Bytes of the text.
    pub bytes: u64,
    /// SHA-256 of the text before redaction.
    pub sha256: [u8; 32],
    /// SHA-256 of the text with a line feed after it: tools often take the last one off.
    pub with_line_feed: [u8; 32],
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde wants a reference")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// Tokens of one call. `input_tokens` includes what was read from and written to a cache, and
/// `output_tokens` includes reasoning, as the conventions (v1.41.1) ask.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// `gen_ai.usage.input_tokens`.
    pub input_tokens: Option<u64>,
    /// `gen_ai.usage.output_tokens`.
    pub output_tokens: Option<u64>,
    /// `gen_ai.usage.cache_read.input_tokens`.
    pub cache_read_input_tokens: Option<u64>,
    /// `gen_ai.usage.cache_creation.input_tokens`.
    pub cache_creation_input_tokens: Option<u64>,
    /// `gen_ai.usage.reasoning.output_tokens`.
    pub reasoning_output_tokens: Option<u64>,
    /// Whether the counts are ours, made from the length of the text: the provider gave none.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub estimated: bool,
}

/// What went wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LlmError {
    /// `error.type`: the provider's word, or the status code, or `truncated`, `malformed`.
    pub kind: String,
    /// The provider's message, or ours.
    pub message: String,
}

/// What calls to a model cost, in US dollars for a million tokens: a line of a user's own price list.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ModelPrice {
    /// The model's name; with `*` at its end, every name that begins so.
    pub model: String,
    /// `gen_ai.provider.name`; any if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// Tokens of the request.
    pub input: f64,
    /// Tokens of the answer, reasoning included.
    pub output: f64,
    /// Tokens of the request that were read from a cache; as `input` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_read: Option<f64>,
    /// Tokens of the request that were written to a cache; as `input` if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cache_write: Option<f64>,
}
