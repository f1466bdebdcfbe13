# SPDX-License-Identifier: Apache-2.0
"""Starts and stops a balancer node and sinks, for `make run` and `make bench`.

Everything lives in one directory: node file, state, admin socket, logs. No root, nothing outside it.
"""
import http.client
import json
import os
import signal
import socket
import subprocess
import time
from pathlib import Path


class StartError(Exception):
    """Says what does not start, with the end of its log."""


class Program:
    """A child process with its output in a file; ended by its id."""

    def __init__(self, argv, log, netns=None, env=None):
        self.argv = (["ip", "netns", "exec", netns] if netns else []) + [str(a) for a in argv]
        self.log = Path(log)
        self.env = None if env is None else {**os.environ, **env}
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.process = None

    def start(self):
        with open(self.log, "wb") as out:
            # A session of its own: Ctrl-C reaches this program alone, which then ends its children in order.
            self.process = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL, stdout=out, stderr=subprocess.STDOUT,
                                            start_new_session=True, env=self.env)
        return self

    @property
    def pid(self):
        return self.process.pid

    def alive(self):
        return self.process is not None and self.process.poll() is None

    def tail(self, size=2000):
        return self.log.read_text(errors="replace")[-size:] if self.log.exists() else ""

    def wait_until(self, condition, what, timeout=20):
        deadline = time.monotonic() + timeout
        while not condition():
            if not self.alive() or time.monotonic() > deadline:
                raise StartError(f"{what}: not within {timeout} s, or it ended\n{' '.join(self.argv)}\n{self.tail()}")
            time.sleep(0.02)

    def stop(self, timeout=15, sig=signal.SIGTERM):
        """Returns the exit status; negative = it had to be killed."""
        if self.process is None:
            return 0
        self.process.send_signal(sig)
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            status = self.process.wait()
        self.process = None
        return status


class Sink(Program):
    """postroad-sink on one address."""

    def __init__(self, bin_dir, listen, log, *options):
        super().__init__([Path(bin_dir) / "postroad-sink", "--listen", listen, *options], log)
        self.listen = listen

    def start(self):
        super().start()
        host, _, port = self.listen.rpartition(":")
        self.wait_until(lambda: connects(host, int(port)), f"sink on {self.listen}")
        return self

    def counters(self):
        """Its counters now."""
        before = self.tail(1 << 20).count("\n")
        self.process.send_signal(signal.SIGUSR1)
        self.wait_until(lambda: self.tail(1 << 20).count("\n") > before, "counters of the sink", 5)
        return json.loads(self.tail().splitlines()[-1])


class Node(Program):
    """postroadd in a directory. `config` is the cluster configuration it starts with; `node` adds to the node file."""

    def __init__(self, bin_dir, dir, config, node=None, netns=None, env=None):
        self.dir = Path(dir).resolve()
        self.file = self.dir / "node.json"
        super().__init__([Path(bin_dir) / "postroadd", "-c", self.file], self.dir / "log", netns, env)
        self.config = config
        self.node = {
            "node": "n1", "state_dir": str(self.dir / "state"), "run_dir": str(self.dir / "run"),
            "log": {"target": "stderr", "level": "info"}, "admin": {"listen": [], "tls": "off"},
        }
        self.node.update(node or {})

    @property
    def socket(self):
        return self.dir / "run" / "admin.sock"

    def forget(self):
        """Empties its state, so that it starts with `config` again."""
        for path in sorted((self.dir / "state").glob("**/*"), reverse=True):
            if path.is_dir() and not path.is_symlink():
                path.rmdir()
            else:
                path.unlink()

    def write(self):
        for name in ("state", "run"):
            (self.dir / name).mkdir(parents=True, exist_ok=True)
        self.file.write_text(json.dumps(dict(self.node, initial_config=self.config), indent=2) + "\n")

    def start(self, timeout=30):
        """Starts it and returns when it is ready for mail."""
        self.write()
        super().start()
        self.wait_until(self.ready, "postroadd", timeout)
        return self

    def ready(self):
        try:
            return self.get("/readyz")[0] == 200
        except OSError:
            return False

    def get(self, path):
        """(status, body) over the admin socket."""
        return self.call("GET", path)

    def call(self, method, path, body=None):
        conn = _UnixConnection(self.socket)
        try:
            data = None if body is None else json.dumps(body)
            conn.request(method, path, data, {"Content-Type": "application/json"} if data else {})
            answer = conn.getresponse()
            return answer.status, answer.read().decode()
        except http.client.HTTPException as e:
            raise ConnectionError(str(e)) from e
        finally:
            conn.close()

    def metrics(self):
        """{'name{labels}': value} of /metrics."""
        values = {}
        for line in self.get("/metrics")[1].splitlines():
            name, _, value = line.rpartition(" ")
            if name and not line.startswith("#"):
                values[name] = float(value)
        return values


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=10)
        self.path = str(path)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self.path)


def sum_of(metrics, name, **labels):
    """Adds up the series of one metric whose labels match."""
    total = 0.0
    for series, value in metrics.items():
        base, _, rest = series.partition("{")
        if base == name and all(f'{k}="{v}"' in rest for k, v in labels.items()):
            total += value
    return total


def connects(host, port):
    try:
        socket.create_connection((host, port), 1).close()
        return True
    except OSError:
        return False


def free_ports(count):
    """Ports of the loopback that are free now, all different."""
    held = [socket.socket() for _ in range(count)]
    for s in held:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in held]
    for s in held:
        s.close()
    return ports


def repository():
    return Path(__file__).resolve().parents[2]


def bin_dir(out):
    """build/bin, with a clear word when something is not built."""
    path = Path(out).resolve() / "bin"
    for name in ("postroadd", "postroad-sink", "postroad-load"):
        if not os.access(path / name, os.X_OK):
            raise StartError(f"{path / name} is not built: run make")
    return path
