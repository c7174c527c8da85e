"""Posts files over TLS. usage: post.py MODE URL CA_PEM BODY_FILE...

MODE, of which several may be joined by commas:
  one          all on one connection
  many         a connection for each file
  threads      four threads, each with its share of the files and a connection of its own
  shared       four threads that take turns on one connection
  asyncio      all at once, each on a connection of its own, through a memory BIO
  forget=PATH  removes this file once the TLS library is loaded
  wait=FILE    begins when this file exists
  pause        waits a little: a library that nobody has seen before is looked at when it is loaded, which takes
               some tens of milliseconds, and what is sent before that is not read (ADR 0011)
"""

import asyncio
import contextlib
import http.client
import os
import ssl
import sys
import threading
import time
from urllib.parse import urlsplit

THREADS = 4
PAUSE_S = 0.3
HEADERS = {"Content-Type": "application/json", "X-Api-Key": "none"}

modes = sys.argv[1].split(",")
url = urlsplit(sys.argv[2])
context = ssl.create_default_context(cafile=sys.argv[3])
files = sys.argv[4:]
failures = []


def read(file):
    with open(file, "rb") as opened:
        return opened.read()


def connect():
    return http.client.HTTPSConnection(url.hostname, url.port, context=context, timeout=60)


def exchange(connection, file):
    connection.request("POST", "/v1/messages", read(file), HEADERS)
    answer = connection.getresponse()
    answer.read()
    if answer.status != 200:
        failures.append(answer.status)


def one(files, connection=None, lock=None):
    connection = connection or connect()
    for file in files:
        with lock or contextlib.nullcontext():
            exchange(connection, file)
    if not lock:
        connection.close()


def many(files):
    for file in files:
        one([file])


def in_threads(files, shared):
    connection, lock = (connect(), threading.Lock()) if shared else (None, None)
    threads = [
        threading.Thread(target=one, args=(files[n::THREADS], connection, lock))
        for n in range(THREADS)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


async def post(file):
    reader, writer = await asyncio.open_connection(url.hostname, url.port, ssl=context)
    body = read(file)
    head = (
        f"POST /v1/messages HTTP/1.1\r\nHost: {url.netloc}\r\nConnection: close\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    writer.write(head.encode() + body)
    await writer.drain()
    answer = await reader.read()
    if not answer.startswith(b"HTTP/1.1 200"):
        failures.append(answer[:80])
    writer.close()


async def all_at_once(files):
    await asyncio.gather(*(post(file) for file in files))


for mode in modes:
    name, _, value = mode.partition("=")
    if name == "forget":
        os.unlink(value)
    elif name == "wait":
        while not os.path.exists(value):
            time.sleep(0.01)
    elif name == "pause":
        time.sleep(PAUSE_S)
    elif name == "one":
        one(files)
    elif name == "many":
        many(files)
    elif name in ("threads", "shared"):
        in_threads(files, name == "shared")
    elif name == "asyncio":
        asyncio.run(all_at_once(files))
    else:
        sys.exit(f"no such mode: {mode}")
sys.exit(f"failed: {failures}" if failures else 0)
