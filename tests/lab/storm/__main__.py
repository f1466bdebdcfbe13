# SPDX-License-Identifier: Apache-2.0
"""Storm: mail flows while the configuration changes as fast as it can; no session and no transaction may notice.

    load ──► postroadd ──► s1 s2 (s3)      everything on loopback ports of its own
                 ▲
      PATCH /config, drain, ready, weights, SIGHUP, lists of sessions

Made for a build under ThreadSanitizer (SAN=thread), which must stay silent; it says the same of any build.
"""

import argparse
import json
import pathlib
import random
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[1] / "run"))

from node import Node, Sink, StartError, bin_dir, free_ports, sum_of  # noqa: E402

LOADS = (("--per-connection", "1"), ("--per-connection", "50", "--pipelining"), ("--per-connection", "7"))
LOAD_SECONDS = 300


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--build", default="build", help="where bin/postroadd is")
    p.add_argument("--messages", type=int, default=6000)
    p.add_argument("--seed", default=None)
    o = p.parse_args()
    o.seed = o.seed or str(random.SystemRandom().randrange(1 << 32))
    return o


def configuration(port, servers):
    return {
        "version": 1,
        "listeners": {"in": {"bind": [f"127.0.0.1:{port}"], "pool": "main", "hostname": "lb.test"}},
        "pools": {"main": {"servers": servers, "health": {"interval": "200ms", "fast_interval": "50ms"}}},
    }


class Changes:
    """Changes that no client may notice, chosen at random."""

    def __init__(self, node, seed, spare_port, third):
        self.node, self.random, self.spare_port, self.third = node, random.Random(seed), spare_port, third
        self.done = 0

    def expect(self, method, path, body, *statuses):
        status, text = self.node.call(method, path, body)
        if status not in statuses:
            raise AssertionError(f"{method} {path} {json.dumps(body)}: {status} {text}")

    def patch(self, change):
        status, text = call_if_match(self.node, change)
        if status != 200:
            raise AssertionError(f"PATCH {json.dumps(change)}: {status} {text}")

    def step(self):
        r = self.random
        what = r.randrange(8)
        if what == 0:
            self.patch({"pools": {"main": {"balance": r.choice(["leastconn", "roundrobin", "random", "source", "latency"])}}})
        elif what == 1:
            self.patch({"listeners": {"extra": r.choice([None, {"bind": [f"127.0.0.1:{self.spare_port}"], "pool": "main"}])}})
        elif what == 2:
            self.patch({"pools": {"main": {"servers": {"s3": r.choice([None, {"address": self.third}])}}}})
        elif what == 3:
            self.patch({"routes": [{"name": f"r{i}", "when": {"recipient_domain": [f"d{i}.test"]}, "pool": "main"}
                                   for i in range(r.randrange(20))]})
        elif what == 4:
            for admin in ("drain", "ready"):
                self.expect("PUT", "/api/v1/pools/main/servers/s1/state", {"admin": admin}, 200)
        elif what == 5:
            self.expect("PUT", "/api/v1/pools/main/servers/s2/weight", {"weight": r.randrange(1, 200)}, 200)
        elif what == 6:
            self.node.process.send_signal(signal.SIGHUP)
        else:
            self.expect("GET", "/api/v1/sessions", None, 200)
            self.expect("GET", "/metrics", None, 200)
        self.done += 1


def call_if_match(node, change):
    from node import _UnixConnection
    conn = _UnixConnection(node.socket)
    conn.request("PATCH", "/api/v1/config", json.dumps(change), {"Content-Type": "application/merge-patch+json", "If-Match": "*"})
    answer = conn.getresponse()
    result = answer.status, answer.read().decode()
    conn.close()
    return result


def start_loads(bins, port, messages):
    each = messages // len(LOADS)
    return each, [subprocess.Popen([bins / "postroad-load", "--to", f"127.0.0.1:{port}", "--messages", str(each), "--parallel", "10",
                                    "--size", "3000", *options], stdout=subprocess.PIPE, text=True) for options in LOADS]


def check_load(each, process):
    out, _ = process.communicate(timeout=LOAD_SECONDS)
    result = json.loads(out)
    if result["accepted"] != each or result["errors"] or result["lost"]:
        yield f"a load noticed: {json.dumps({k: result[k] for k in ('accepted', 'tempfail', 'permfail', 'lost', 'errors')})}"


def storm(options, bins, directory):
    ports = free_ports(5)
    sinks = [Sink(bins, f"127.0.0.1:{p}", directory / f"sink{p}.log").start() for p in ports[:3]]
    servers = {f"s{i + 1}": {"address": s.listen} for i, s in enumerate(sinks[:2])}
    node = Node(bins, directory / "n1", configuration(ports[3], servers))
    try:
        node.start()
        changes = Changes(node, options.seed, ports[4], sinks[2].listen)
        each, loads = start_loads(bins, ports[3], options.messages)
        while any(p.poll() is None for p in loads):
            changes.step()
        findings = [f for p in loads for f in check_load(each, p)]
        counted = sum_of(node.metrics(), "postroad_transactions_total", result="accepted")
        status = node.stop()
        findings += verdict(status, node, counted, each * len(LOADS), sinks)
        print(f"storm: seed {options.seed}, {each * len(LOADS)} messages, {changes.done} changes, {len(findings)} findings")
        return findings
    finally:
        for program in [node, *sinks]:
            program.stop()


def verdict(status, node, counted, sent, sinks):
    if status != 0:
        yield f"postroadd ended with status {status}"
    if counted != sent:
        yield f"{counted:.0f} messages counted as accepted, {sent} sent"
    stored = sum(s.counters()["messages"] for s in sinks)
    if stored != sent:
        yield f"{stored} messages stored, {sent} sent"
    log = node.tail(1 << 26)
    for mark in ("ThreadSanitizer", "AddressSanitizer", "runtime error", "panic at"):
        if mark in log:
            yield f"the log has {mark}:\n{log[log.index(mark):][:3000]}"


def main():
    options = arguments()
    try:
        bins = bin_dir(options.build)
        with tempfile.TemporaryDirectory(prefix="storm-") as directory:
            findings = storm(options, bins, pathlib.Path(directory))
    except StartError as e:
        findings = [str(e)]
    for finding in findings:
        print("storm: " + finding)
    return 1 if findings else 0


if __name__ == "__main__":
    sys.exit(main())
