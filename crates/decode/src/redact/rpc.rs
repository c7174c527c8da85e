//! Credentials in requests over JSON-RPC.

use agentsight_model::{RpcCall, RpcPeer, RpcTask};

use super::Redactor;

impl Redactor {
    /// Replaces credentials in everything that a request and its answer say. Digests and sizes stay those of
    /// what was sent.
    pub fn rpc(&self, call: &mut RpcCall) {
        call.endpoint = self.url(&call.endpoint);
        self.string(&mut call.method);
        if let Some(id) = &mut call.request_id {
            self.json(id);
        }
        self.json(&mut call.params);
        if let Some(result) = &mut call.result {
            self.json(result);
        }
        if let Some(error) = &mut call.error {
            self.string(&mut error.message);
            if let Some(data) = &mut error.data {
                self.json(data);
            }
        }
        let peers = [&mut call.client_info, &mut call.server_info];
        for RpcPeer { name, version } in peers.into_iter().flatten() {
            self.string(name);
            self.optional(version);
        }
        if let Some(RpcTask { id, context, state }) = &mut call.task {
            for text in [id, context, state] {
                self.optional(text);
            }
        }
        if let Some(name) = &mut call.name {
            *name = self.url(name);
        }
        self.optional(&mut call.revision);
        self.optional(&mut call.traceparent);
        for part in &mut call.parts {
            self.optional(&mut part.mime_type);
        }
    }

    fn optional(&self, text: &mut Option<String>) {
        if let Some(text) = text {
            self.string(text);
        }
    }
}
