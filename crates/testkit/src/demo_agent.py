#!/usr/bin/env python3
"""A small agent: asks a model, does what it calls for, until it has an answer.

It is real where it matters to a watcher: TLS through the system's OpenSSL, streamed answers, shell commands
run by a shell, files written to disk. It needs nothing but Python's standard library.

usage: demo_agent.py --url URL [--ca FILE] [--dialect NAME] [--no-stream] [--gzip] [--model M] PROMPT
"""
import argparse
import gzip
import http.client
import json
import os
import ssl
import subprocess
import sys
import time
import urllib.parse
import zlib

SYSTEM = "You are a careful assistant. Use the tools to work in the current directory."
TOOLS = {
    "shell": ("Runs a command in a shell.", ["command"]),
    "write_file": ("Writes a file.", ["path", "content"]),
    "read_file": ("Reads a file.", ["path"]),
}
MAX_TURNS = 50
MAX_TOOL_OUTPUT = 64 * 1024


class AgentError(Exception):
    """Something that ends the agent with a message."""


# --- tools ---------------------------------------------------------------------------------------


def run_tool(name, arguments):
    """Runs a tool for real; returns its result as text and whether it failed."""
    try:
        if name == "shell":
            done = subprocess.run(
                ["/bin/sh", "-c", arguments["command"]], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, timeout=120, check=False)
            text = done.stdout.decode("utf-8", "replace")[:MAX_TOOL_OUTPUT]
            return (text if done.returncode == 0 else f"{text}exit code {done.returncode}"), done.returncode != 0
        if name == "write_file":
            with open(arguments["path"], "w", encoding="utf-8") as file:
                file.write(arguments["content"])
            return f"wrote {arguments['path']}", False
        if name == "read_file":
            with open(arguments["path"], encoding="utf-8", errors="replace") as file:
                return file.read(MAX_TOOL_OUTPUT), False
        return f"unknown tool {name}", True
    except (OSError, KeyError, TypeError, subprocess.SubprocessError) as error:
        return f"{type(error).__name__}: {error}", True


def schema(fields):
    return {"type": "object", "properties": {f: {"type": "string"} for f in fields}, "required": fields}


# --- dialects: what to send, how to read the answer, how to go on -----------------------------------


class Anthropic:
    def __init__(self, prompt):
        self.messages = [{"role": "user", "content": prompt}]

    def request(self, model, stream):
        tools = [{"name": n, "description": d, "input_schema": schema(f)} for n, (d, f) in TOOLS.items()]
        return "/v1/messages", {"model": model, "max_tokens": 1024, "system": SYSTEM, "messages": self.messages,
                                "tools": tools, "stream": stream}

    def headers(self, key):
        return {"x-api-key": key, "anthropic-version": "2023-06-01"}

    def from_events(self, events):
        blocks, stopped = [], False
        for event in events:
            kind = event["type"]
            if kind == "content_block_start":
                blocks.append(dict(event["content_block"], json=""))
            elif kind == "content_block_delta":
                delta, block = event["delta"], blocks[event["index"]]
                block["text"] = block.get("text", "") + delta.get("text", "")
                block["json"] += delta.get("partial_json", "")
                show(delta.get("text", ""))
            elif kind == "message_stop":
                stopped = True
        if not stopped:
            raise AgentError("the stream ended early")
        for block in blocks:
            if block["type"] == "tool_use":
                block["input"] = json.loads(block["json"] or "{}")
        return self.finish(blocks)

    def from_document(self, document):
        return self.finish(document["content"])

    def finish(self, blocks):
        text = "".join(b["text"] for b in blocks if b["type"] == "text")
        calls = [(b["id"], b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"]
        content = [{"type": "text", "text": text}] if text else []
        content += [{"type": "tool_use", "id": i, "name": n, "input": a} for i, n, a in calls]
        self.messages.append({"role": "assistant", "content": content})
        return text, calls

    def results(self, results):
        self.messages.append({"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": i, "content": text, "is_error": failed}
            for (i, _, _), text, failed in results]})


class OpenAIChat:
    def __init__(self, prompt):
        self.messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": prompt}]

    def request(self, model, stream):
        tools = [{"type": "function", "function": {"name": n, "description": d, "parameters": schema(f)}}
                 for n, (d, f) in TOOLS.items()]
        body = {"model": model, "messages": self.messages, "tools": tools, "stream": stream}
        if stream:
            body["stream_options"] = {"include_usage": True}
        return "/v1/chat/completions", body

    def headers(self, key):
        return {"Authorization": f"Bearer {key}"}

    def from_events(self, events):
        text, calls, finished = "", [], False
        for event in events:
            for choice in event["choices"]:
                delta = choice["delta"]
                text += delta.get("content") or ""
                show(delta.get("content") or "")
                for call in delta.get("tool_calls", []):
                    if "id" in call:
                        calls.append([call["id"], call["function"]["name"], ""])
                    calls[call["index"]][2] += call["function"].get("arguments", "")
                finished = finished or bool(choice["finish_reason"])
        if not finished:
            raise AgentError("the stream ended early")
        return self.finish(text, calls)

    def from_document(self, document):
        message = document["choices"][0]["message"]
        calls = [(c["id"], c["function"]["name"], c["function"]["arguments"]) for c in message.get("tool_calls", [])]
        return self.finish(message["content"] or "", calls)

    def finish(self, text, calls):
        message = {"role": "assistant", "content": text or None}
        if calls:
            message["tool_calls"] = [{"id": i, "type": "function", "function": {"name": n, "arguments": a}}
                                     for i, n, a in calls]
        self.messages.append(message)
        return text, [(i, n, json.loads(a)) for i, n, a in calls]

    def results(self, results):
        for (call_id, _, _), text, _ in results:
            self.messages.append({"role": "tool", "tool_call_id": call_id, "content": text})


class OpenAIResponses:
    def __init__(self, prompt):
        self.input = [{"role": "user", "content": [{"type": "input_text", "text": prompt}]}]

    def request(self, model, stream):
        tools = [{"type": "function", "name": n, "description": d, "parameters": schema(f)}
                 for n, (d, f) in TOOLS.items()]
        return "/v1/responses", {"model": model, "instructions": SYSTEM, "input": self.input, "tools": tools,
                                 "stream": stream, "store": False}

    headers = OpenAIChat.headers

    def from_events(self, events):
        done = None
        for event in events:
            if event["type"] == "response.output_text.delta":
                show(event["delta"])
            elif event["type"] == "response.completed":
                done = event["response"]
        if done is None:
            raise AgentError("the stream ended early")
        return self.from_document(done)

    def from_document(self, document):
        text, calls = "", []
        for item in document["output"]:
            self.input.append(item)
            if item["type"] == "message":
                text += "".join(part["text"] for part in item["content"])
            elif item["type"] == "function_call":
                calls.append((item["call_id"], item["name"], json.loads(item["arguments"])))
        return text, calls

    def results(self, results):
        for (call_id, _, _), text, _ in results:
            self.input.append({"type": "function_call_output", "call_id": call_id, "output": text})


class Gemini:
    def __init__(self, prompt):
        self.contents = [{"role": "user", "parts": [{"text": prompt}]}]

    def request(self, model, stream):
        declarations = [{"name": n, "description": d, "parameters": schema(f)} for n, (d, f) in TOOLS.items()]
        verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
        return f"/v1beta/models/{model}:{verb}", {
            "systemInstruction": {"parts": [{"text": SYSTEM}]}, "contents": self.contents,
            "tools": [{"functionDeclarations": declarations}]}

    def headers(self, key):
        return {"x-goog-api-key": key}

    def from_events(self, events):
        parts, finished = [], False
        for event in events:
            candidate = event["candidates"][0]
            parts += candidate["content"]["parts"]
            for part in candidate["content"]["parts"]:
                show(part.get("text", ""))
            finished = finished or "finishReason" in candidate
        if not finished:
            raise AgentError("the stream ended early")
        return self.finish(parts)

    def from_document(self, document):
        return self.finish(document["candidates"][0]["content"]["parts"])

    def finish(self, parts):
        text = "".join(part.get("text", "") for part in parts)
        calls = [part["functionCall"] for part in parts if "functionCall" in part]
        kept = ([{"text": text}] if text else []) + [{"functionCall": c} for c in calls]
        self.contents.append({"role": "model", "parts": kept})
        return text, [(None, c["name"], c["args"]) for c in calls]

    def results(self, results):
        self.contents.append({"role": "user", "parts": [
            {"functionResponse": {"name": name, "response": {"output": text}}}
            for (_, name, _), text, _ in results]})


DIALECTS = {"anthropic": Anthropic, "openai-chat": OpenAIChat, "openai-responses": OpenAIResponses,
            "gemini": Gemini}


# --- transport -------------------------------------------------------------------------------------


def show(text):
    sys.stdout.write(text)
    sys.stdout.flush()


def decoded(response):
    """The body of a response, piece by piece as it arrives, its content coding removed."""
    inflate = None
    if response.getheader("Content-Encoding") == "gzip":
        inflate = zlib.decompressobj(wbits=31)
    while True:
        piece = response.read1(65536)
        if not piece:
            response.read()  # marks the response as done, which read1 does not; the connection is free again
            return
        yield inflate.decompress(piece) if inflate else piece


def sse(pieces):
    """The JSON data of each server-sent event."""
    buffer = b""
    for piece in pieces:
        buffer += piece
        while b"\n\n" in buffer:
            event, buffer = buffer.split(b"\n\n", 1)
            data = b"\n".join(line[5:].lstrip() for line in event.split(b"\n") if line.startswith(b"data:"))
            if data and data != b"[DONE]":
                yield json.loads(data)


class Client:
    """One kept-alive connection."""

    def __init__(self, options):
        self.options = options
        url = urllib.parse.urlsplit(options.url)
        context = ssl.create_default_context(cafile=options.ca)
        self.connection = http.client.HTTPSConnection(url.hostname, url.port, context=context, timeout=60)
        self.prefix = url.path.rstrip("/")

    def ask(self, dialect):
        path, body = dialect.request(self.options.model, self.options.stream)
        key = os.environ.get("DEMO_API_KEY", "sk-demo-0123456789abcdef0123456789abcdef")
        headers = {"Content-Type": "application/json", **dialect.headers(key)}
        payload = json.dumps(body).encode()
        if self.options.gzip:
            headers.update({"Accept-Encoding": "gzip", "Content-Encoding": "gzip"})
            payload = gzip.compress(payload)
        for attempt in range(3):
            self.connection.request("POST", self.prefix + path, payload, headers)
            response = self.connection.getresponse()
            if response.status == 200:
                break
            message = response.read().decode("utf-8", "replace")
            if response.status not in (429, 500, 503, 529) or attempt == 2:
                raise AgentError(f"the model answered with status {response.status}: {message[:500]}")
            time.sleep(float(response.getheader("Retry-After", "0.1")))
        if self.options.stream:
            return dialect.from_events(sse(decoded(response)))
        return dialect.from_document(json.loads(b"".join(decoded(response))))


def main():
    parser = argparse.ArgumentParser(description="A small agent.")
    parser.add_argument("--url", required=True, help="base URL of the model server")
    parser.add_argument("--ca", help="PEM file of the authority to trust")
    parser.add_argument("--dialect", choices=sorted(DIALECTS), default="anthropic")
    parser.add_argument("--model", default="scripted-model")
    parser.add_argument("--no-stream", dest="stream", action="store_false")
    parser.add_argument("--gzip", action="store_true", help="compress requests, accept compressed answers")
    parser.add_argument("prompt")
    options = parser.parse_args()
    dialect, client = DIALECTS[options.dialect](options.prompt), Client(options)
    for _ in range(MAX_TURNS):
        text, calls = client.ask(dialect)
        if text:
            show("\n" if options.stream else f"{text}\n")
        if not calls:
            return
        results = []
        for call in calls:
            print(f"  [{call[1]}] {json.dumps(call[2])[:100]}", flush=True)
            results.append((call, *run_tool(call[1], call[2])))
        dialect.results(results)
    raise AgentError(f"no answer after {MAX_TURNS} turns")


if __name__ == "__main__":
    try:
        main()
    except (AgentError, OSError, http.client.HTTPException, ValueError, KeyError, IndexError, TypeError,
            zlib.error) as failure:
        print(f"error: {type(failure).__name__}: {failure}", file=sys.stderr)
        sys.exit(1)
