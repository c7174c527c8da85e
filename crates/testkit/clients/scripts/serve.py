"""A model over TLS that answers each request with its length. usage: serve.py CERTIFICATE KEY PORT_FILE COUNT

Ends after COUNT connections, with a thread for each of them.
"""

import http.server
import json
import os
import ssl
import sys

certificate, key, port_file, count = sys.argv[1:]


class Model(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        answer = {
            "id": f"msg_{self.client_address[1]}",
            "type": "message",
            "role": "assistant",
            "model": json.loads(body)["model"],
            "content": [{"type": "text", "text": f"That was {len(body)} bytes. " * 2000}],
            "stop_reason": "end_turn",
            "usage": {"input_tokens": 1, "output_tokens": 1},
        }
        answer = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *arguments):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
server.daemon_threads = False
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(certificate, key)
server.socket = context.wrap_socket(server.socket, server_side=True)
with open(port_file + ".new", "w") as file:
    file.write(str(server.server_port))
os.rename(port_file + ".new", port_file)
for _ in range(int(count)):
    server.handle_request()
server.server_close()
