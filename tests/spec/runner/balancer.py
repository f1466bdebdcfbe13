# SPDX-License-Identifier: Apache-2.0
"""The balancer under test: its files, its process, its log, its admin socket."""
import asyncio
import json
import os
import resource
import re
import signal
import socket

from .grammar import Fail, value_of
from .wire import hold_port, written

EXAMPLES = os.path.join(os.path.dirname(__file__), "../../../packaging/examples")
# Everything a spec does not say: quiet checks, no slow start, bytes unchanged, so that a play is deterministic.
LISTENER = {"mode": "smtp", "direction": "outbound", "hostname": "lb.test", "pool": "main", "add_received": "never"}
POOL = {"balance": "first", "slow_start": "0s",
        "health": {"interval": "1h", "fast_interval": "1h", "down_interval": "1h", "rise": 1, "fall": 1}}
NODE = {"node": "n1", "workers": 1, "shutdown_grace": "5s", "log": {"target": "stderr", "level": "debug"},
        "admin": {"listen": []}}


def put(document, dotted, value):
    """document[a][b][c] = value for "a.b.c"."""
    *path, last = dotted.split(".")
    for key in path:
        document = document.setdefault(key, {})
    document[last] = value


def unescape(match):
    return chr(int(match[1][1:], 16)) if len(match[1]) == 3 else match[1]


def parse_logfmt(line):
    pairs = re.findall(r'([^\s=]+)=("(?:[^"\\]|\\.)*"|\S*)', line)
    out = {}
    for key, value in pairs:
        if value.startswith('"'):
            value = re.sub(r"\\(x[0-9a-f]{2}|.)", unescape, value[1:-1])
        out[key] = value
    return out


class Balancer:
    def __init__(self, play, binary):
        self.play, self.binary = play, binary
        self.dir = os.path.join(play.dir, "lb")
        self.node = json.loads(json.dumps(NODE))
        self.document = {"version": 1, "listeners": {}, "pools": {}}
        self.hosts, self.ports, self.holders = {}, {}, []
        self.process = self.watcher = None
        self.most_descriptors = None
        self.log, self.parsed = [], []
        self.exit = None

    def view(self):
        return {"exit": self.exit, "lines": len(self.log)}

    # ---- configuration ----

    def host(self, listener):
        return self.hosts.get(listener, "127.0.0.1")

    def port(self, listener):
        if listener not in self.ports:
            holder = hold_port(self.host(listener))
            self.holders.append(holder)
            self.ports[listener] = holder.getsockname()[1]
        return self.ports[listener]

    def configure(self, statements):
        for s in statements:
            getattr(self, "conf_" + s.verb, self.conf_unknown)(s)
        if not self.document["listeners"]:
            self.add_listener("in", {})
        if not self.document["pools"]:
            self.add_pool("main", {}, ",".join(self.play.backends))

    def conf_unknown(self, s):
        raise Fail("%s:%d: lb: no such line: %s" % (s.file, s.line, s))

    @staticmethod
    def name_of(s, default):
        return str(s.args[0]) if s.args else default

    def conf_listener(self, s):
        pairs, name = dict(s.pairs), self.name_of(s, "in")
        if "at" in pairs:
            self.hosts[name] = value_of(pairs.pop("at"))
        self.add_listener(name, pairs)

    def add_listener(self, name, pairs):
        base = LISTENER if str(pairs.get("mode")) != "tcp" else {"pool": "main"}
        li = self.document["listeners"].setdefault(name, dict(base, bind=[written(self.host(name), self.port(name))]))
        for key, value in pairs.items():
            put(li, key, value_of(value))

    def conf_pool(self, s):
        pairs = dict(s.pairs)
        servers = pairs.pop("servers", None)
        self.add_pool(self.name_of(s, "main"), pairs, str(servers) if servers else ",".join(self.play.backends))

    def add_pool(self, name, pairs, servers):
        pool = self.document["pools"].setdefault(name, json.loads(json.dumps(POOL)))
        for server in filter(None, servers.split(",")):
            backend = self.play.backends.get(server)
            address = written(*backend.address) if backend else server
            known = pool.setdefault("servers", {})
            known[server if backend else "s%d" % len(known)] = {"address": address}
        for key, value in pairs.items():
            put(pool, key, value_of(value))

    def conf_server(self, s):
        """server POOL/NAME key=value …"""
        pool, name = self.name_of(s, "").split("/")
        for key, value in s.pairs.items():
            self.document["pools"][pool]["servers"][name][key] = value_of(value)

    def conf_route(self, s):
        route = {"name": self.name_of(s, ""), "when": {}}
        for key, value in s.pairs.items():
            put(route, key, value_of(value))
        self.document.setdefault("routes", []).append(route)

    def conf_example(self, s):
        """example FILE: one of packaging/examples as it stands, but for what only its operator has: addresses, certificates."""
        with open(os.path.join(EXAMPLES, str(s.args[0])), encoding="utf-8") as f:
            self.document = json.load(f)
        for name, li in self.document["listeners"].items():
            li["bind"] = [written(self.host(name), self.port(name))]
        for pool in self.document["pools"].values():
            for name, server in pool["servers"].items():
                server["address"] = written(*self.play.backends[name].address)
        for own in self.document["certificates"].values():
            own.update(certificate_file="@tls/server@", key_file="@tls/server-key@")

    def conf_certificate(self, s):
        self.add_object("certificates", s)

    def conf_user(self, s):
        self.add_object("users", s)

    def add_object(self, section, s):
        known = self.document.setdefault(section, {}).setdefault(self.name_of(s, ""), {})
        for key, value in s.pairs.items():
            put(known, key, value_of(value))

    def conf_set(self, s):
        """set a.b.c=value: anywhere in the document."""
        for key, value in s.pairs.items():
            put(self.document, key, value_of(value))

    def conf_node(self, s):
        for key, value in s.pairs.items():
            put(self.node, key, value_of(value))

    def write_files(self):
        for sub in ("state", "run"):
            os.makedirs(os.path.join(self.dir, sub), mode=0o700, exist_ok=True)
        node = dict(self.node, state_dir=self.dir + "/state", run_dir=self.dir + "/run", initial_config=self.document)
        with open(self.dir + "/node.json", "w") as f:
            f.write(self.play.fill_in(json.dumps(node, indent=1)))

    # ---- the process ----

    async def launch(self):
        if not self.binary or not os.path.exists(self.binary):
            raise Fail("no balancer to test: build it, or say --bin FILE")
        self.exit = None
        self.process = await asyncio.create_subprocess_exec(
            self.binary, "-c", self.dir + "/node.json", stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT, limit=1 << 20)
        self.watcher = self.play.spawn(self.watch(self.process))

    async def watch(self, process):
        with open(self.dir + "/log", "ab") as f:
            async for raw in process.stdout:
                f.write(raw)
                f.flush()
                text = raw.decode("utf-8", "replace").rstrip("\n")
                self.log.append(text)
                self.parsed.append(parse_logfmt(text))
                self.play.note("lb", "|", text)
                self.play.pulse()
        self.exit = await process.wait()
        self.play.note("lb", "x", "exit %d" % self.exit)
        self.play.pulse()

    def listening(self):
        """By the kernel's word, so that no connection of ours is in the log."""
        want = {"%04X" % port for port in self.ports.values()}
        rows = []
        for table in filter(os.path.exists, ("/proc/net/tcp", "/proc/net/tcp6")):
            with open(table) as f:
                rows += [line.split() for line in f.readlines()[1:]]
        return want <= {row[1].split(":")[1] for row in rows if row[3] == "0A"}

    async def ready(self, seconds=12):
        def settled():
            return self.exit is not None or self.listening()
        await self.play.until(settled, seconds, "the balancer does not listen")
        if self.exit is not None:
            raise Fail("the balancer ended with %d: %s" % (self.exit, " | ".join(self.log[-5:])))

    def signal(self, name):
        if self.process is not None and self.exit is None:
            self.play.note("lb", "x", "SIG" + name)
            self.process.send_signal(getattr(signal, "SIG" + name))

    def stopped(self):
        """Every thread of it: SIGSTOP takes its time to reach them."""
        states = []
        for task in os.listdir("/proc/%d/task" % self.process.pid):
            with open("/proc/%d/task/%s/stat" % (self.process.pid, task)) as f:
                states.append(f.read().rpartition(")")[2].split()[0])
        return set(states) == {"T"}

    # ---- its descriptors ----

    def free_descriptors(self, below):
        taken = {int(name) for name in os.listdir("/proc/%d/fd" % self.process.pid)}
        return [number for number in range(below) if number not in taken]

    def leave_descriptors(self, count):
        """It can open so many more, or (None) as many as at its start."""
        if self.most_descriptors is None:
            self.most_descriptors = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
        most, hard = self.most_descriptors
        if count is not None:
            most = self.free_descriptors(most if most < 65536 else 65536)[count]
        resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE, (most, hard))

    async def used_up(self, seconds):
        """None is free, nor becomes so for half a second: what comes and goes has gone."""
        looks = 0

        def stays_so():
            nonlocal looks
            below, _ = resource.prlimit(self.process.pid, resource.RLIMIT_NOFILE)
            looks = 0 if self.free_descriptors(below) else looks + 1
            return looks >= 25  # until() looks each 20 ms, or more often
        await self.play.until(stays_so, seconds, "the balancer has descriptors left")

    async def ended(self, seconds=10):
        await self.play.until(lambda: self.exit is not None, seconds, "the balancer does not end")

    async def check_clean_end(self):
        """Stops it if it still runs; a crash or a sanitizer's word fails the spec."""
        if self.process is None:
            return
        if self.exit is None:
            self.signal("TERM")
            await self.ended()
            if self.exit != 0:
                raise Fail("the balancer ended with %d after SIGTERM" % self.exit)
        for line in self.log:
            if "Sanitizer" in line or "runtime error:" in line:
                raise Fail("a sanitizer spoke: " + line)

    def kill(self):
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
        for holder in self.holders:
            holder.close()

    # ---- the admin socket ----

    async def http(self, method, target, body=b"", headers=()):
        reader, writer = await asyncio.open_unix_connection(self.dir + "/run/admin.sock")
        lines = ["%s %s HTTP/1.0" % (method, target), "Host: localhost", "Content-Length: %d" % len(body)]
        if body:
            lines.append("Content-Type: application/json")
        if method in ("PUT", "PATCH", "DELETE") and "/config" in target:
            lines.append("If-Match: *")
        writer.write("\r\n".join(lines + list(headers) + ["", ""]).encode() + body)
        raw = await reader.read()
        writer.close()
        head, _, content = raw.partition(b"\r\n\r\n")
        if not head.startswith(b"HTTP/"):
            raise Fail("no HTTP answer to %s %s: %r" % (method, target, raw[:100]))
        status = int(head.split()[1])
        shown = "…" if "/metrics" in target else content[:600].decode("utf-8", "replace")
        self.play.note("admin", ".", "%s %s %s -> %d %s" % (method, target, body.decode(), status, shown))
        return status, content

    async def json(self, target):
        status, content = await self.http("GET", target)
        if status != 200:
            raise Fail("GET %s: %d" % (target, status))
        return json.loads(content)

    async def metric(self, name, labels):
        """The sum of all series of a family that carry these labels; None = no such family."""
        _, content = await self.http("GET", "/metrics")
        total = None
        for line in content.decode().splitlines():
            m = re.fullmatch(r"([a-zA-Z_:]+)(?:\{(.*)\})? (\S+)(?: \S+)?", line)
            if not m or m[1] != name:
                continue
            have = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', m[2] or ""))
            if all(have.get(k) == v for k, v in labels.items()):
                total = (total or 0) + float(m[3])
        return total
