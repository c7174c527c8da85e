"""Posts REQUESTS bodies of SIZE bytes over one TLS connection and checks that each comes back."""
import http.client
import os
import ssl
import sys
import urllib.parse

REQUESTS, SIZE = int(sys.argv[1]), int(sys.argv[2])
url = urllib.parse.urlsplit(os.environ["XTASK_ECHO_URL"])
context = ssl.create_default_context(cafile=os.environ["XTASK_ECHO_CA"])
connection = http.client.HTTPSConnection(url.hostname, url.port, context=context)
body = b"x" * SIZE
for _ in range(REQUESTS):
    connection.request("POST", "/echo", body)
    if connection.getresponse().read() != body:
        sys.exit("the echo differs")
