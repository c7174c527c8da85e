//! Credentials in conversations with models.

use agentsight_model::{LlmCall, Message, Part, ToolDefinition};

use super::Redactor;

impl Redactor {
    /// Replaces credentials in everything that a call says. Digests and sizes of bodies stay those of
    /// what was sent.
    pub fn call(&self, call: &mut LlmCall) {
        call.endpoint = self.url(&call.endpoint);
        let models = [&mut call.model, &mut call.request_model];
        models
            .into_iter()
            .flatten()
            .for_each(|model| self.string(model));
        self.messages(&mut call.request.messages);
        self.parts(&mut call.request.system);
        call.request
            .tools
            .iter_mut()
            .for_each(|tool| self.tool(tool));
        self.object(&mut call.request.parameters);
        self.messages(&mut call.response.messages);
        self.object(&mut call.response.extra);
        if let Some(id) = &mut call.response.id {
            self.string(id);
        }
        call.finish_reasons
            .iter_mut()
            .for_each(|reason| self.string(reason));
        if let Some(error) = &mut call.error {
            self.string(&mut error.kind);
            self.string(&mut error.message);
        }
    }

    fn messages(&self, messages: &mut [Message]) {
        for message in messages {
            self.string(&mut message.role);
            self.parts(&mut message.parts);
        }
    }

    fn tool(&self, tool: &mut ToolDefinition) {
        self.string(&mut tool.name);
        if let Some(description) = &mut tool.description {
            self.string(description);
        }
        if let Some(parameters) = &mut tool.parameters {
            self.json(parameters);
        }
    }

    fn parts(&self, parts: &mut [Part]) {
        for part in parts {
            self.part(part);
        }
    }

    fn part(&self, part: &mut Part) {
        match part {
            Part::Text { content } | Part::Reasoning { content } => self.string(content),
            // The id joins a call to its result and must stay what it is.
            Part::ToolCall {
                name, arguments, ..
            } => {
                self.string(name);
                self.json(arguments);
            }
            Part::ToolCallResponse { name, response, .. } => {
                if let Some(name) = name {
                    self.string(name);
                }
                self.json(response);
            }
            Part::Uri { uri, .. } => *uri = self.url(uri),
            Part::Other { name, content } => {
                self.string(name);
                self.json(content);
            }
            Part::Blob { info } => {
                if let Some(mime_type) = &mut info.mime_type {
                    self.string(mime_type);
                }
            }
        }
    }
}
