# SPDX-License-Identifier: Apache-2.0
"""A node of one's own for each test: free loopback ports, a temporary directory, an SMTP sink behind it."""
import copy
import hashlib
import http.client
import json
import os
import pathlib
import random
import signal
import socket
import socketserver
import ssl
import subprocess
import threading
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("POSTROADD", str(ROOT / "build/bin/postroadd"))
DEADLINE = 15.0

TOKENS = {"viewer": "pr_viewer-token", "operator": "pr_operator-token", "admin": "pr_admin-token", "expired": "pr_expired-token"}


def sha256(text):
    return hashlib.sha256(text.encode()).hexdigest()


given = set()


def free_port():
    """One that nobody has, that was not returned before, and that the kernel gives to no connection meanwhile (ip(7),
    ip_local_port_range: from 32768)."""
    while True:
        port = random.randrange(16384, 32768)
        with socket.socket() as s:
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in given:
            given.add(port)
            return port


def wait_for(condition, what, seconds=DEADLINE):
    """Polls until condition() is true and returns its value."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {what}")
        time.sleep(0.02)


def smtp(node):
    """A connection to its listener, greeted: (socket, file)."""
    s = socket.create_connection(("127.0.0.1", node.smtp_port), 10)
    f = s.makefile("rwb")
    assert f.readline().startswith(b"220 ")
    return s, f


def ask(f, line):
    """The last line of the reply."""
    f.write(line.encode() + b"\r\n")
    f.flush()
    reply = f.readline()
    while reply[3:4] == b"-":
        reply = f.readline()
    return reply.decode()


class SinkHandler(socketserver.StreamRequestHandler):
    def handle(self):
        self.wfile.write(b"220 sink ESMTP\r\n")
        for line in self.rfile:
            verb = line[:4].upper()
            if verb == b"EHLO":
                self.wfile.write(b"250-sink\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 SIZE 1000000\r\n")
            elif verb == b"QUIT":
                self.wfile.write(b"221 bye\r\n")
                return
            elif verb == b"DATA":
                self.wfile.write(b"354 go\r\n")
                for body in self.rfile:
                    if body == b".\r\n":
                        break
                self.wfile.write(b"250 2.0.0 queued\r\n")
            else:
                self.wfile.write(b"250 2.0.0 ok\r\n")


class Sink(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


@pytest.fixture
def sink():
    server = Sink(("127.0.0.1", 0), SinkHandler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=DEADLINE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


class Answer:
    def __init__(self, response):
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    @property
    def json(self):
        return json.loads(self.body)

    @property
    def etag(self):
        return self.headers["ETag"]

    @property
    def problem(self):
        """The last part of a problem document's type."""
        assert self.headers["Content-Type"] == "application/problem+json", self.body
        document = self.json
        assert document["status"] == self.status
        assert document["title"] and document["instance"].startswith("/")
        return document["type"].rpartition(":")[2]


def send(connection, method, path, body=None, headers=None):
    headers = dict(headers or {})
    if body is not None and not isinstance(body, (bytes, str)):
        body = json.dumps(body)
    if body is not None and not any(k.lower() == "content-type" for k in headers):
        headers["Content-Type"] = "application/merge-patch+json" if method == "PATCH" else "application/json"
    connection.request(method, path, body=body, headers=headers)
    return Answer(connection.getresponse())


class Node:
    def __init__(self, directory, sink):
        self.directory = directory
        self.smtp_port = free_port()
        self.admin_port = free_port()
        self.process = None
        self.arguments = []
        self.log_path = directory / "log"
        self.config = {
            "version": 1,
            "listeners": {
                "relay": {
                    "bind": [f"127.0.0.1:{self.smtp_port}"],
                    "direction": "outbound",
                    "hostname": "lb.test",
                    "pool": "main",
                    "allow": ["127.0.0.0/8"],
                }
            },
            "pools": {"main": {"servers": {"b1": {"address": sink}}}, "other": {"servers": {"o1": {"address": sink}}}},
            "routes": [
                {"name": "never", "when": {"recipient_domain": ["never.test"]}, "action": "reject", "text": "5.7.1 no"},
                {"name": "elsewhere", "when": {"sender_domain": ["elsewhere.test"]}, "pool": "other"},
            ],
            "tokens": {
                "v": {"role": "viewer", "sha256": sha256(TOKENS["viewer"])},
                "o": {"role": "operator", "sha256": sha256(TOKENS["operator"])},
                "a": {"role": "admin", "sha256": sha256(TOKENS["admin"])},
                "old": {"role": "admin", "sha256": sha256(TOKENS["expired"]), "expires": "2020-01-01T00:00:00Z"},
            },
        }
        self.file = {
            "node": "n1",
            "state_dir": str(directory / "state"),
            "run_dir": str(directory / "run"),
            "workers": 2,
            "shutdown_grace": "2s",
            "admin": {"listen": [f"127.0.0.1:{self.admin_port}"], "tls": "auto"},
            "initial_config": self.config,
        }

    # ---- the process ----

    def write_file(self):
        path = self.directory / "node.json"
        path.write_text(json.dumps(self.file))
        return str(path)

    def start(self, ready=True, **options):
        """options are Popen's."""
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([BINARY, "-c", self.write_file(), *self.arguments], stdout=log, stderr=log, **options)
        wait_for(self.answers, "the admin socket answers")
        if ready:
            wait_for(lambda: self.get("/readyz").status == 200, "the node is ready")
        return self

    def answers(self):
        assert self.process.poll() is None, self.log
        try:
            return self.get("/healthz").status == 200
        except OSError:
            return False

    def kill(self):
        self.process.kill()
        self.process.wait(DEADLINE)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(DEADLINE)

    @property
    def log(self):
        return self.log_path.read_text(errors="replace")

    # ---- requests ----

    def unix(self):
        return UnixConnection(str(self.directory / "run" / "admin.sock"))

    def tcp(self):
        if self.file["admin"].get("tls") == "off":
            return http.client.HTTPConnection("127.0.0.1", self.admin_port, timeout=DEADLINE)
        context = ssl.create_default_context(cafile=str(self.directory / "state" / "admin.crt"))
        return http.client.HTTPSConnection("127.0.0.1", self.admin_port, timeout=DEADLINE, context=context)

    def call(self, method, path, body=None, headers=None, token=None):
        """Over the Unix socket, or over TCP with a token ("" = without one)."""
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = "Bearer " + TOKENS.get(token, token)
        connection = self.unix() if token is None else self.tcp()
        try:
            return send(connection, method, path, body, headers)
        finally:
            connection.close()

    def get(self, path, **kw):
        return self.call("GET", path, **kw)

    def write(self, method, path, body=None, **kw):
        """A configuration write that takes what is there."""
        return self.call(method, path, body, headers={"If-Match": "*"}, **kw)

    def document(self):
        return self.get("/api/v1/config").json

    def revision(self):
        return self.get("/api/v1/status").json["revision"]

    def stored(self):
        """The initial configuration, to be changed at will."""
        return copy.deepcopy(self.config)


@pytest.fixture
def idle_node(tmp_path, sink):
    """Not started yet: its file may be changed."""
    n = Node(tmp_path, sink)
    yield n
    if n.process is None or n.process.poll() is not None:
        return
    try:
        # An orderly end, whatever the test left behind: this is where a sanitizer tells what leaked.
        assert n.stop() == 0, n.log
    finally:
        n.process.kill()
        n.process.wait()


@pytest.fixture
def node(idle_node):
    return idle_node.start()


class Stream:
    """Server-sent events, read one at a time."""

    def __init__(self, node, path, headers=None, token=None):
        self.connection = node.unix() if token is None else node.tcp()
        headers = dict(headers or {})
        if token:
            headers["Authorization"] = "Bearer " + TOKENS[token]
        self.connection.request("GET", path, headers=headers)
        self.response = self.connection.getresponse()
        self.status = self.response.status

    def next(self):
        event = {}
        for line in iter(self.response.readline, b""):
            line = line.decode().rstrip("\n")
            if line == "" and "data" in event:
                return event
            if line.startswith(":") or line == "":
                continue
            key, _, value = line.partition(": ")
            event[key] = json.loads(value) if key == "data" else value
        return None

    def until(self, kind):
        for event in iter(self.next, None):
            if event["event"] == kind:
                return event
        raise AssertionError(f"the stream ended before an event of the kind {kind}")

    def close(self):
        self.response.close()  # it holds the socket as well
        self.connection.close()


@pytest.fixture
def stream():
    opened = []

    def open_stream(*args, **kw):
        opened.append(Stream(*args, **kw))
        return opened[-1]

    yield open_stream
    for s in opened:
        s.close()
