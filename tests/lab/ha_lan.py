# SPDX-License-Identifier: Apache-2.0
"""Nodes on one bridge, each a network namespace with postroad-ha, its keepalived, and a driver in postroadd's place.

The hard thing is to see who holds an address without trusting those who are tested: it is asked of each namespace's kernel,
and of the network by a client that sends a datagram each 10 ms.
"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import threading
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.peers import unpacking  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
SECONDS = 20
PORT = 5300
ADVERT = 200
PRIORITIES = (250, 240, 230)

RESPONDER = """
import select, socket, sys
name, port, addresses = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
socks = []
for a in addresses:
    v6 = ":" in a
    s = socket.socket(socket.AF_INET6 if v6 else socket.AF_INET, socket.SOCK_DGRAM)
    s.setsockopt(socket.IPPROTO_IPV6 if v6 else socket.SOL_IP, 78 if v6 else 15, 1)  # FREEBIND: before the address is there
    s.bind((a, port))
    socks.append(s)
print("ready", flush=True)
while True:
    for s in select.select(socks, [], [])[0]:
        data, peer = s.recvfrom(64)
        try:
            s.sendto(data + b" " + name.encode(), peer)
        except OSError:
            pass  # the address has just gone
"""

PROBER = """
import select, socket, sys, time
address, port = sys.argv[1], int(sys.argv[2])
s = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM)
s.setblocking(False)
last, gap, who, next_at = None, 0.0, None, time.monotonic()
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    try:
        s.sendto(repr(time.monotonic()).encode(), (address, port))
    except OSError:
        pass
    next_at += 0.01
    while True:
        wait = next_at - time.monotonic()
        if wait <= 0 or not select.select([s], [], [], wait)[0]:
            break
        try:
            sent, name = s.recv(100).decode().split()
        except OSError:
            continue
        sent = float(sent)
        if last is not None and sent - last > gap:
            gap = sent - last
        last = sent
        if who != name:
            who = name
            print("who", name, sent, flush=True)
print("gap", gap, 0, flush=True)
"""


ECHO = """
import socket, sys, threading
def serve(c):
    c.sendall(sys.argv[1].encode() + b"\\n")
    while data := c.recv(4096):
        c.sendall(data)
s = socket.socket()
s.setsockopt(socket.SOL_IP, 15, 1)
s.bind((sys.argv[2], int(sys.argv[3])))
s.listen(100)
print("ready", flush=True)
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
"""

TALKER = """
import socket, sys
print("ready", flush=True)
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
f = s.makefile("rw")
print(f.readline().strip(), flush=True)
for line in sys.stdin:
    f.write(line)
    f.flush()
    print(f.readline().strip(), flush=True)
"""


def ip(*args, check=True):
    return subprocess.run(["ip", *map(str, args)], check=check, capture_output=True, text=True, timeout=SECONDS).stdout


def until(condition, what, seconds=SECONDS, every=0.05):
    """What the condition gives, once that is true."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        assert time.monotonic() < deadline, f"{what() if callable(what) else what}: not within {seconds} s"
        time.sleep(every)


def process_state(pid):
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return None


class Vip:
    def __init__(self, name, vrid, addresses, failback=False, order=(1, 2, 3), v6=False):
        self.name, self.vrid, self.addresses, self.failback, self.order, self.v6 = name, vrid, addresses, failback, order, v6

    def line(self, node):
        """The driver's command for a node."""
        source = f"2001:db8::{node}" if self.v6 else f"192.0.2.{node}"
        peers = [source[:-1] + str(n) for n in self.order if n != node] or ["-"]
        return (f"vip {self.name} eth0 {self.vrid} {PRIORITIES[self.order.index(node)]} {ADVERT} {int(self.failback)} {source} "
                f"{','.join(peers)} {','.join(self.addresses)}")


class Node:
    """A namespace with a node's programs."""

    def __init__(self, lan, number):
        self.lan, self.number, self.name = lan, number, f"n{number}"
        self.netns = f"{lan.name}-{self.name}"
        self.directory = lan.directory / self.name
        self.directory.mkdir(parents=True)
        self.ha = self.driver = self.responder = None
        self.log_to = None  # a descriptor to log to, if it is not the file
        self.heard, self.lock, self.running, self.extra = [], threading.Lock(), [], []
        lan.namespace(self.netns, number)

    # ---- programs ----

    def start_ha(self, *options):
        # corosync's lock is in /run, and each node has its own; corosync's parts are looked for in /usr.
        script = 'mount -t tmpfs run /run && mount -t overlay overlay -o "lowerdir=$1/usr:/usr" /usr && shift && exec "$@"'
        argv = ["ip", "netns", "exec", self.netns, "sh", "-c", script, "sh", self.lan.corosync_root, BUILD / "bin/postroad-ha", "--run-dir", self.directory / "run", "--state-dir",
                self.directory / "ha", "--corosync-dir", self.directory / "corosync", "--user", "nobody", "--keepalived",
                self.lan.keepalived, *options]
        with open(self.directory / "ha.log", "ab") as log:
            self.ha = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stderr=self.log_to or log, stdout=log)
        until((self.directory / "run/ha.sock").exists, f"{self.name}: the socket")

    def start_driver(self):
        self.driver = subprocess.Popen([BUILD / "lab/ha-driver", self.directory / "run", self.name], stdin=subprocess.PIPE,
                                       stdout=subprocess.PIPE, text=True, bufsize=1)
        with self.lock:
            self.heard = []
        threading.Thread(target=self._listen, args=(self.driver,), daemon=True).start()

    def _listen(self, driver):
        for line in driver.stdout:
            with self.lock:
                if driver is self.driver:
                    self.heard.append(json.loads(line))

    def start_responder(self, addresses):
        self.responder = self.lan.script(self.netns, RESPONDER, self.name, PORT, *addresses)

    def begin_to_stop(self):
        """Also ends what is stopped, or has lost its parent."""
        self.running = [p for p in (self.driver, self.responder, self.ha, *self.extra) if p is not None and p.poll() is None]
        for process in self.running:
            process.terminate()
            process.send_signal(signal.SIGCONT)

    def echo(self, address, port):
        """A TCP server at an address that need not be there yet."""
        self.extra.append(self.lan.script(self.netns, ECHO, self.name, address, port))

    def stop(self):
        for process in self.running:
            try:
                process.wait(SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pid in self.inside():
            os.kill(pid, signal.SIGKILL)

    def inside(self):
        """The processes in the namespace."""
        return [int(p) for p in ip("netns", "pids", self.netns, check=False).split()]

    def kill_ha(self):
        self.ha.kill()
        self.ha.wait()

    def keepalived_pids(self):
        """The process that postroad-ha started, and the one that does VRRP."""
        read = lambda name: int((self.directory / "ha" / name).read_text())  # noqa: E731
        return read("keepalived.pid"), read("vrrp.pid")

    # ---- what it is told and says ----

    def tell(self, *lines):
        self.driver.stdin.write("".join(line + "\n" for line in lines))
        self.driver.stdin.flush()

    def table(self, generation, vips):
        self.tell(*[v.line(self.number) for v in vips if self.number in v.order], f"table {generation}")

    def all_heard(self, event):
        with self.lock:
            return [h for h in self.heard if h["event"] == event]

    def report(self):
        reports = self.all_heard("report")
        return reports[-1] if reports else {"generation": 0, "keepalived": False, "vips": {}}

    def answer(self, ticket, events=("done", "error", "probed", "flows")):
        """The answer to a request, once it is there."""
        return until(lambda: [h for e in events for h in self.all_heard(e) if h.get("ticket") == ticket],
                     lambda: f"{self.name}: an answer to {ticket}\n{self.log()}")[0]

    def has(self, address):
        """Whether the kernel has the address on the interface: the one truth."""
        return f" {address}/" in ip("-n", self.netns, "-o", "address", "show", "dev", "eth0")

    def log(self):
        return (self.directory / "ha.log").read_text()[-3000:]


class Lan:
    """The bridge, the client, and the nodes."""

    def __init__(self, directory, count=3):
        self.directory, self.name, self.nodes, self.names = directory, f"prha{os.getpid()}", [], []
        self.bridge, self.client = f"{self.name}-sw", f"{self.name}-cl"
        self.keepalived = directory / "keepalived"
        self.corosync = directory / "corosync"
        self.corosync_root = unpacking.unpack("corosync", BUILD)
        for program in (self.keepalived, self.corosync):
            root = unpacking.unpack(program.name, BUILD)
            program.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH="{unpacking.library_path(root)}" exec "{root}/usr/sbin/{program.name}" "$@"\n')
            program.chmod(0o755)
        try:
            ip("netns", "add", self.bridge)
            self.names.append(self.bridge)
            ip("-n", self.bridge, "link", "add", "br0", "type", "bridge", "stp_state", 0, "forward_delay", 0, "mcast_snooping", 0)
            ip("-n", self.bridge, "link", "set", "br0", "up")
            self.namespace(self.client, 9)
            for number in range(1, count + 1):
                self.nodes.append(Node(self, number))
        except BaseException:
            self.close()
            raise

    def namespace(self, name, number):
        """A namespace whose eth0 is on the bridge, with the addresses of that number."""
        ip("netns", "add", name)
        self.names.append(name)
        ip("-n", name, "link", "set", "lo", "up")
        ip("-n", name, "link", "add", "eth0", "address", f"02:00:00:00:00:{number:02x}", "type", "veth", "peer", "name", f"p{number}",
           "netns", self.bridge)
        ip("-n", self.bridge, "link", "set", f"p{number}", "master", "br0", "up")
        ip("-n", name, "address", "add", f"192.0.2.{number}/24", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "address", "add", f"2001:db8::{number}/64", "dev", "eth0", "nodad")

    def script(self, netns, text, *args):
        process = subprocess.Popen(["ip", "netns", "exec", netns, "/usr/bin/python3", "-c", text, *map(str, args)],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout.readline() == "ready\n"
        return process

    def up(self, vips, generation=1):
        """Every node runs, knows the VIPs, and may hold them; returns when each VIP has its one owner."""
        addresses = [a.split("/")[0] for v in vips for a in v.addresses]
        for node in self.nodes:
            node.start_ha()
            node.start_driver()
            node.start_responder(addresses)
        for node in self.nodes:
            node.table(generation, vips)
        for node in self.nodes:
            until(lambda: node.report()["generation"] == generation, lambda: f"{node.name}: the table\n{node.log()}")
        # The first in order first: who is asked first takes it, and without failback keeps it.
        for allowed in (lambda v, n: v.order[0] == n, lambda v, n: n in v.order):
            for node in self.nodes:
                node.tell("health " + " ".join(f"{v.name}=1" for v in vips if allowed(v, node.number)))
            for vip in vips:
                until(lambda: len(self.owners(vip)) == 1, lambda: f"one owner of {vip.name}\n{self.nodes[0].log()}")
        for node in self.nodes:
            until(lambda: all(v["state"] in ("master", "backup") for v in node.report()["vips"].values()), f"{node.name} is ready")

    def owners(self, vip):
        address = vip.addresses[0].split("/")[0]
        return [n for n in self.nodes if n.has(address)]

    def owner(self, vip):
        """The one that has it; waits until it is one."""
        return until(lambda: self.owners(vip) if len(self.owners(vip)) == 1 else None, f"one owner of {vip.name}")[0]

    def moved(self, vip, old):
        """The new owner, when the old one has it no more."""
        return until(lambda: [n for n in self.owners(vip) if n is not old] if old not in self.owners(vip) else None,
                     lambda: f"{vip.name} leaves {old.name}\n{old.log()}")[0]

    def prober(self, vip, index=0):
        return Prober(self, vip.addresses[index].split("/")[0])

    def close(self):
        for node in self.nodes:
            node.begin_to_stop()
        for node in self.nodes:
            node.stop()
        for name in self.names:
            ip("netns", "delete", name, check=False)


class Prober:
    """Sends a datagram to an address each 10 ms; knows the longest time without an answer, and who answered since when."""

    def __init__(self, lan, address):
        self.who, self.gap = [], None
        self.process = lan.script(lan.client, PROBER, address, PORT)
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()

    def _read(self):
        for line in self.process.stdout:
            what, value, at = line.split()
            if what == "gap":
                self.gap = float(value)
            else:
                self.who.append((value, float(at)))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()

    def heard(self, count):
        """Waits for the first `count` who answered one after another; their names and when they began."""
        until(lambda: len(self.who) >= count, f"{count} answer one after another, not {self.who}", every=0.01)
        return self.who

    def end(self):
        """The gap in seconds."""
        self.process.stdin.write("end\n")
        self.process.stdin.flush()
        self.reader.join(SECONDS)
        return self.gap


def greet(node):
    """A connection of one's own to a node's postroad-ha, to say anything."""
    s = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    s.settimeout(SECONDS)
    s.connect(str(node.directory / "run/ha.sock"))
    return s


class Talker:
    """A TCP session from the client to an address: `server` is who answered, say() what comes back."""

    def __init__(self, lan, address, port):
        self.process = lan.script(lan.client, TALKER, address, port)
        self.server = self.process.stdout.readline().strip()

    def say(self, text):
        self.process.stdin.write(text + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def close(self):
        self.process.kill()
        self.process.wait()
