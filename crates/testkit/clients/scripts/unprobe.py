"""Takes the probes out of its own TLS library, as a program that wants to hide might.

usage: unprobe.py URL CA_PEM BODY_FILE...

Posts the first file, writes the library's own bytes over whatever is at the beginning of SSL_write_ex and
SSL_read_ex in its memory, and posts the others but for the last on the same connection, which it closes. After a
second it posts the last one on a new connection.
"""

import ctypes
import http.client
import ssl
import sys
import time
from urllib.parse import urlsplit

PAGE = 4096
FUNCTIONS = ("SSL_write_ex", "SSL_read_ex")
HEADERS = {"Content-Type": "application/json", "X-Api-Key": "none"}

url = urlsplit(sys.argv[1])
context = ssl.create_default_context(cafile=sys.argv[2])
first, *hidden, last = sys.argv[3:]


def connect():
    return http.client.HTTPSConnection(url.hostname, url.port, context=context, timeout=60)


def post(connection, file):
    with open(file, "rb") as opened:
        connection.request("POST", "/v1/messages", opened.read(), HEADERS)
    connection.getresponse().read()


def mapping_of(address):
    """Path, and the file offset that the address has."""
    with open("/proc/self/maps") as maps:
        for line in maps:
            bounds, _, offset, _, _, *path = line.split()
            start, end = (int(bound, 16) for bound in bounds.split("-"))
            if start <= address < end:
                return path[0], int(offset, 16) + address - start
    raise SystemExit("the library is nowhere")


def restore(function):
    libc = ctypes.CDLL(None)
    path = next(line.split()[-1] for line in open("/proc/self/maps") if "libssl" in line)
    address = ctypes.cast(getattr(ctypes.CDLL(path), function), ctypes.c_void_p).value
    path, offset = mapping_of(address)
    with open(path, "rb") as library:
        library.seek(offset)
        original = library.read(16)
    page = ctypes.c_void_p(address & -PAGE)
    if libc.mprotect(page, 2 * PAGE, 7):
        raise SystemExit("mprotect failed")
    changed = ctypes.string_at(address, 16) != original
    ctypes.memmove(address, original, 16)
    libc.mprotect(page, 2 * PAGE, 5)
    return changed


connection = connect()
post(connection, first)
print(sum(restore(function) for function in FUNCTIONS), flush=True)
for file in hidden:
    post(connection, file)
connection.close()
time.sleep(1)
connection = connect()
post(connection, last)
connection.close()
