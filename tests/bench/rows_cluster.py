# SPDX-License-Identifier: Apache-2.0
"""Rows about several nodes: how long a write takes until all have it, and what the nodes say to one another while mail
flows. Three nodes in network namespaces (tests/lab/cluster), the network between them their own.

The hard thing is what to compare with: a write waits for the ring's token and for disks, so both are measured in the
same rounds, on the same ring and the same file system.
"""
import http.client
import itertools
import os
import re
import shutil
import socket
import statistics
import threading
import time

from tests.bench import measure
from tests.bench.judging import Goal
from tests.lab.cluster import product, services
from tests.lab.cluster.lab import Lab
from tests.lab.cluster.mail import Backends
from tests.lab.cluster.observers import Traffic
from tests.lab.cluster.waiting import LabError

NODES = 3
WRITES = 20  # through each node, in each round
SYNC_BYTES = 1024
SEEN_SECONDS = 10
SETTLE_SECONDS, WINDOW_SECONDS, WINDOW_LEAST = 3, 20, 10
RATES = {"one": (0.8, 1.2), "full": (120, float("inf"))}  # messages a second that each load must be
WEIGHT = "/api/v1/pools/mta/servers/sink1/weight"


class Formed:
    """A cluster of three, and mail servers behind it; the state of each node on the disk that the benchmark's directory is on."""

    def __init__(self, run):
        bench = run.bench
        self.dir = bench.dir / "state"
        shutil.rmtree(self.dir, ignore_errors=True)
        try:
            self.lab = Lab(bench.build, bench.dir / "lab", NODES, out=bench.bins.parent)
        except LabError as e:
            raise measure.NotMeasured(str(e)) from e

    def __enter__(self):
        self.lab.__enter__()
        try:
            self.nodes = self.lab.nodes
            sinks = Backends(self.lab).addresses
            for node in self.nodes:
                product.start(node, self.lab, services.configuration(["0.0.0.0"], sinks), more=self._node_file(node))
            for node in self.nodes:
                node.await_ready()
            product.form(self.nodes)
        except BaseException:
            self.lab.close()
            raise
        return self

    def _node_file(self, node):
        path = self.dir / node.name
        path.mkdir(parents=True)
        return {"state_dir": str(path), "log": {"target": "stderr", "level": "warning"}}

    def __exit__(self, *_):
        self.lab.close()


# ---- commit ----


def connect(node, timeout=30):
    """A connection to a node's API that stays open."""
    conn = http.client.HTTPConnection("localhost")
    conn.sock = socket.socket(socket.AF_UNIX)
    conn.sock.settimeout(timeout)
    conn.sock.connect(str(node.path("/run/postroad/admin.sock")))
    return conn


class Watcher(threading.Thread):
    """When a node tells that a weight is in force there, by its stream of events."""

    def __init__(self, node):
        super().__init__(daemon=True)
        self.conn, self.seen, self.changed = connect(node, None), {}, threading.Condition()
        self.conn.request("GET", "/api/v1/events")
        self.stream = self.conn.getresponse()
        self.start()

    def run(self):
        try:
            for line in self.stream:
                found = re.search(rb'"weight": *(\d+)', line)
                if found:
                    with self.changed:
                        self.seen[int(found[1])] = time.monotonic()
                        self.changed.notify_all()
        except (OSError, ValueError):
            pass  # the lab ends

    def when(self, weight):
        with self.changed:
            if not self.changed.wait_for(lambda: weight in self.seen, SEEN_SECONDS):
                raise measure.LoadError(f"the weight {weight} is not seen within {SEEN_SECONDS} s")
            return self.seen.pop(weight)


def tokens(node):
    """How many of the ring's tokens this node has had."""
    out = node.run(["corosync-cmapctl", "-m", "stats", "-g", "stats.srp.orf_token_rx"])
    return int(out.split()[-1])


def sync_seconds(file):
    """A small write made durable, as the log's are."""
    os.write(file.fileno(), bytes(SYNC_BYTES))
    began = time.monotonic()
    os.fdatasync(file.fileno())
    return time.monotonic() - began


def write_once(conn, watchers, weight):
    """Seconds until it is answered, and until it is in force on all nodes."""
    began = time.monotonic()
    conn.request("PUT", WEIGHT, b'{"weight":%d}' % weight, {"Content-Type": "application/json"})
    answer = conn.getresponse()
    answered, body = time.monotonic() - began, answer.read()
    if answer.status != 200:
        raise measure.LoadError(f"a write was answered {answer.status}: {body!r}")
    return answered, max(w.when(weight) for w in watchers) - began


def row_commit(run):
    results = {f"n{i + 1}": [] for i in range(NODES)}
    weights = itertools.cycle(range(101, 1001))
    with Formed(run) as formed:
        watchers = [Watcher(n) for n in formed.nodes]
        for number in range(-1, run.rounds):
            for node in formed.nodes:
                figures = _commit_round(formed, node, watchers, itertools.islice(weights, WRITES))
                if number >= 0:
                    results[node.name].append(figures)
                    run.log(f"    round {number + 1} {node.name:6} " + ", ".join(f"{k} {v:.4g}" for k, v in figures.items()))
    return results


def _commit_round(formed, node, watchers, weights):
    times, conn = [], connect(node)
    with open(formed.dir / node.name / "sync", "wb", buffering=0) as file:
        had, began = tokens(node), time.monotonic()
        for weight in weights:
            times.append((*write_once(conn, watchers, weight), sync_seconds(file)))
        rotation = (time.monotonic() - began) / max(1, tokens(node) - had)
    conn.close()
    answered, seen, sync = (statistics.median(t) for t in zip(*times))
    bound = 2 * rotation + 3 * sync
    return {"answered_ms": answered * 1e3, "seen_ms": seen * 1e3, "rotation_ms": rotation * 1e3, "fdatasync_ms": sync * 1e3,
            "bound_ms": bound * 1e3, "seen_by_bound": seen / bound}


# ---- traffic ----


def as_installed(node):
    """Corosync runs with the priority that its file asks for on an installed node. Labs leave it out, as several on one machine
    could starve it; here the question is what it says while all processors are taken by mail."""
    pid = product.child(node, "corosync")
    for tid in os.listdir(f"/proc/{pid}/task"):
        os.sched_setscheduler(int(tid), os.SCHED_RR, os.sched_param(os.sched_get_priority_min(os.SCHED_RR)))


class Sender:
    """Mail to every node until it is told to stop: as fast as it is taken, or one message a second in all."""

    def __init__(self, formed, options, run):
        self.lab, self.names = formed.lab, []
        targets = formed.nodes if "--rate" not in options else formed.nodes[:1]
        for node in targets:
            name = f"load-{run}-{node.name}"
            self.lab.client.start(name, [self.lab.bin("postroad-load"), "--to", f"{node.addresses['lan']}:25", "--seconds", 3600,
                                         "--from", "s%n@client.lab.test", "--rcpt", "r%n@mx.lab.test", *options])
            self.names.append(name)

    def end(self):
        ended = [name for name in self.names if not self.lab.client.is_running(name)]
        if ended:
            raise measure.LoadError(f"{ended} ended by itself: {self.lab.client.tail(ended[0])}")
        for name in self.names:
            self.lab.client.stop(name)


def accepted(formed):
    return sum(v for n in formed.nodes for k, v in n.metrics().items() if k.startswith("postroad_transactions_total") and 'result="accepted"' in k)


def check_rate(load, rate):
    """Two windows without mail would be alike, too: raises LoadError unless so much was accepted as the load is named after."""
    low, high = RATES[load]
    if not low <= rate <= high:
        raise measure.LoadError(f"{load}: {rate:.2f} messages a second were accepted, not {low} to {high}")


def row_traffic(run):
    results = {"full": [], "one": []}
    loads = {"one": ["--rate", 1, "--parallel", 1], "full": ["--parallel", 4, "--per-connection", 10]}
    with Formed(run) as formed:
        for node in formed.nodes:
            as_installed(node)
        traffic = Traffic(formed.lab.lan, "cluster", [n.name for n in formed.nodes])
        for number in range(-1, run.rounds):
            for name in ("one", "full"):
                sender = Sender(formed, loads[name], f"{name}{number}")
                figures = _traffic_window(formed, traffic, max(WINDOW_LEAST, WINDOW_SECONDS * run.scale))
                sender.end()
                check_rate(name, figures["messages_per_second"])
                if number >= 0:
                    results[name].append(figures)
                    run.log(f"    round {number + 1} {name:6} " + ", ".join(f"{k} {v:.5g}" for k, v in figures.items()))
    return results


def _traffic_window(formed, traffic, seconds):
    time.sleep(SETTLE_SECONDS)
    before, had, began = accepted(formed), tokens(formed.nodes[0]), time.monotonic()
    traffic.rate()
    time.sleep(seconds)
    rate, lasted = traffic.rate(), time.monotonic() - began
    return {"bytes_per_second": rate, "messages_per_second": (accepted(formed) - before) / lasted,
            "tokens_per_second": (tokens(formed.nodes[0]) - had) / lasted}


COMMIT_KEYS = ["answered_ms", "seen_ms", "rotation_ms", "fdatasync_ms", "bound_ms", "seen_by_bound"]
COMMIT_GOALS = [Goal(f"through {n}: seen on all ÷ (2 rotations + 3 fdatasync)", "seen_by_bound", None, "<=", 1.0, n)
                for n in ("n1", "n2", "n3")]
TRAFFIC_KEYS = ["bytes_per_second", "messages_per_second", "tokens_per_second"]
TRAFFIC_GOALS = [Goal("bytes/s at full load ÷ at 1 message/s", "bytes_per_second", "one", sign, bound, "full")
                 for sign, bound in (("<=", 1.1), (">=", 0.9))]
