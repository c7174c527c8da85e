"""A client and a server of MCP over standard input and output, without any library.

    mcp.py client CHANNEL [FILE]    CHANNEL: pipe, socket or terminal
    mcp.py server

The client starts the server, asks it for what the tests look for, answers what it is asked itself, and
prints what it was told. The server reads a file, runs a program, gives 200,000 bytes at once, asks its
client for a sample, and fails on demand.
"""

import json
import os
import pty
import socket
import subprocess
import sys
import tty

BIG = "0123456789" * 20_000


class Channel:
    """Lines of JSON, read and written without a buffer of the interpreter's."""

    def __init__(self, read_fd, write_fd):
        self.read_fd, self.write_fd, self.rest = read_fd, write_fd, b""

    def send(self, message):
        data = json.dumps({"jsonrpc": "2.0", **message}).encode() + b"\n"
        while data:
            data = data[os.write(self.write_fd, data):]

    def receive(self):
        while b"\n" not in self.rest:
            try:
                piece = os.read(self.read_fd, 65536)
            except OSError:
                piece = b""
            if not piece:
                return None
            self.rest += piece
        line, self.rest = self.rest.split(b"\n", 1)
        return json.loads(line)


def text(content, **more):
    return {"content": [{"type": "text", "text": content}], **more}


def call_tool(channel, name, arguments):
    if name == "read_file":
        with open(arguments["path"], encoding="utf-8") as file:
            return text(file.read())
    if name == "run":
        return text(subprocess.run(["/bin/echo", arguments["word"]], stdout=subprocess.PIPE, text=True).stdout)
    if name == "big":
        return text(BIG)
    if name == "sample":
        channel.send({"id": "s1", "method": "sampling/createMessage", "params": {"messages": [], "maxTokens": 5}})
        return text(channel.receive()["result"]["content"]["text"])
    return text("no such tool", isError=True)


def serve():
    channel = Channel(0, 1)
    while (message := channel.receive()) is not None:
        method, params = message["method"], message.get("params", {})
        if "id" not in message:
            continue
        answer = {"id": message["id"]}
        if method == "initialize":
            answer["result"] = {
                "protocolVersion": "2025-06-18", "capabilities": {"tools": {}},
                "serverInfo": {"name": "test-server", "version": "1.2"}}
        elif method == "tools/call":
            answer["result"] = call_tool(channel, params["name"], params.get("arguments", {}))
        else:
            answer["error"] = {"code": -32601, "message": f"no method {method}"}
        channel.send(answer)


def start(kind):
    """The server, and a channel to it."""
    command = [sys.executable, os.path.abspath(__file__), "server"]
    if kind == "pipe":
        server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0)
        return server, Channel(server.stdout.fileno(), server.stdin.fileno())
    if kind == "socket":
        ours, theirs = socket.socketpair()
        server = subprocess.Popen(command, stdin=theirs, stdout=theirs)
        theirs.close()
        fd = ours.detach()
        return server, Channel(fd, fd)
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    server = subprocess.Popen(command, stdin=theirs, stdout=theirs)
    os.close(theirs)
    return server, Channel(ours, ours)


def main(kind, path):
    server, channel = start(kind)
    last = 0

    def ask(method, params):
        nonlocal last
        last += 1
        channel.send({"id": last, "method": method, "params": params})
        while True:
            message = channel.receive()
            if message.get("method") == "sampling/createMessage":
                content = {"type": "text", "text": "sampled"}
                channel.send({"id": message["id"], "result": {"role": "assistant", "content": content}})
                continue
            return message

    ask("initialize", {"protocolVersion": "2025-11-25", "capabilities": {"sampling": {}},
                       "clientInfo": {"name": "test-client", "version": "1"}})
    channel.send({"method": "notifications/initialized"})
    for name, arguments in [
        ("read_file", {"path": path}), ("run", {"word": "RUN-mcp-5521"}), ("big", {}), ("sample", {}), ("none", {}),
    ]:
        result = ask("tools/call", {"name": name, "arguments": arguments})["result"]
        print(name, len(result["content"][0]["text"]), result.get("isError", False))
    print("prompts", ask("prompts/list", {})["error"]["code"])
    if kind == "pipe":
        os.close(channel.write_fd)
        server.stdin = None
    else:
        server.terminate()
    server.wait(10)


if __name__ == "__main__":
    if sys.argv[1] == "server":
        serve()
    else:
        main(sys.argv[2], sys.argv[3])
