# SPDX-License-Identifier: Apache-2.0
"""A node that answers from a script, on a Unix socket, and the command that talks to it.

The fake knows nothing of the API: each test says what is answered to which call, and sees the calls made.
"""

import http.server
import json
import os
import pathlib
import socketserver
import subprocess
import threading

import pytest

DEADLINE = 30


def build_dir():
    return pathlib.Path(os.environ.get("BUILD") or "build").resolve()


class Reply:
    def __init__(self, body=None, status=200, headers=None, raw=None):
        problem = status >= 400 and isinstance(body, dict)
        self.status = status
        self.raw = raw if raw is not None else b"" if body is None else json.dumps(body).encode()
        self.headers = {"Content-Type": "application/problem+json" if problem else "application/json", **(headers or {})}


class Call:
    def __init__(self, method, path, headers, body):
        self.method, self.path, self.headers = method, path, headers
        self.text = body.decode()
        self.json = json.loads(body) if body else None

    def __repr__(self):
        return f"{self.method} {self.path}"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = DEADLINE

    def answer(self):
        node = self.server.node
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        call = Call(self.command, self.path, dict(self.headers.items()), body)
        reply = node.take(call)
        self.send_response(reply.status)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(reply.raw)))
        self.end_headers()
        self.wfile.write(reply.raw)

    do_GET = do_PUT = do_POST = do_PATCH = do_DELETE = answer

    def address_string(self):
        return "local"

    def log_message(self, *args):
        pass


class UnixServer(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True


class Node:
    """`node["GET /api/v1/status"] = reply` sets an answer; a list is given out one by one, its last for ever."""

    def __init__(self, socket_path):
        self.socket = str(socket_path)
        self.calls, self.replies = [], {}
        self.lock = threading.Lock()
        self.server = UnixServer(self.socket, Handler)
        self.server.node = self
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def __setitem__(self, call, reply):
        replies = reply if isinstance(reply, list) else [reply]
        self.replies[call] = [r if isinstance(r, Reply) else Reply(r) for r in replies]

    def take(self, call):
        with self.lock:
            self.calls.append(call)
            replies = self.replies.get(repr(call))
            if replies is None:
                return Reply({"title": "not in the script", "detail": repr(call)}, status=404)
            return replies.pop(0) if len(replies) > 1 else replies[0]

    def made(self):
        return [repr(c) for c in self.calls]

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(DEADLINE)


@pytest.fixture
def node(tmp_path):
    n = Node(tmp_path / "admin.sock")
    yield n
    n.close()


class Result:
    def __init__(self, done):
        self.code, self.out, self.err = done.returncode, done.stdout, done.stderr

    @property
    def json(self):
        return json.loads(self.out)

    @property
    def lines(self):
        return self.out.splitlines()


@pytest.fixture
def postroad(tmp_path, request):
    """Runs the command; with a `node` fixture in the test, against that node."""
    fake = request.getfixturevalue("node") if "node" in request.fixturenames else None

    def run(*args, stdin="", env=None):
        environment = {"PATH": os.environ["PATH"], "TMPDIR": str(tmp_path), "LANG": "C.UTF-8", **(env or {})}
        if fake is not None:
            environment.setdefault("POSTROAD_SOCKET", fake.socket)
        for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LD_LIBRARY_PATH"):
            if name in os.environ:
                environment[name] = os.environ[name]
        done = subprocess.run([str(build_dir() / "bin" / "postroad"), *args], input=stdin, env=environment, text=True,
                              capture_output=True, timeout=DEADLINE)
        return Result(done)

    return run
