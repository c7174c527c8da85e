"""Sends what looks like TLS, from a record layer that nobody knows. usage: strange.py MODE PORT

MODE: plain, encrypted-hello (a ClientHello with ECH, RFC 9849), quic (an Initial packet, RFC 9000).
Prints the time of the hello, in seconds since the epoch, and stays for two seconds after it.
"""

import os
import socket
import struct
import sys
import time

mode, port = sys.argv[1], int(sys.argv[2])


def prefixed(bytes_, size):
    return len(bytes_).to_bytes(size, "big") + bytes_


def extension(number, content):
    return struct.pack(">H", number) + prefixed(content, 2)


def client_hello():
    name = b"strange.example"
    extensions = extension(0, prefixed(b"\0" + prefixed(name, 2), 2))
    extensions += extension(16, prefixed(prefixed(b"h2", 1) + prefixed(b"http/1.1", 1), 2))
    if mode == "encrypted-hello":
        inner = b"\0\0\1\0\1\7" + prefixed(os.urandom(32), 2) + prefixed(os.urandom(144), 2)
        extensions += extension(0xFE0D, inner)
    body = b"\3\3" + os.urandom(32) + prefixed(os.urandom(32), 1)
    body += prefixed(b"\x13\1\x13\2", 2) + b"\1\0" + prefixed(extensions, 2)
    return record(22, b"\1" + prefixed(body, 3))


def record(kind, content):
    return bytes([kind, 3, 3]) + prefixed(content, 2)


if mode == "quic":
    link = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    link.connect(("127.0.0.1", port))
    head = b"\xc3\0\0\0\1" + prefixed(os.urandom(8), 1) + b"\0\0"
    # A length of two bytes; a client's first datagram has 1200 at least.
    hello = head + struct.pack(">H", 0x4000 | 1184) + os.urandom(1184)
else:
    link = socket.create_connection(("127.0.0.1", port))
    hello = client_hello()
begun = time.time()
print(f"{begun:.6f}", flush=True)
link.send(hello)
while time.time() < begun + 2:
    time.sleep(0.1)
    link.send(os.urandom(200) if mode == "quic" else record(23, os.urandom(200)))
