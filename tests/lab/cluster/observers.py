# SPDX-License-Identifier: Apache-2.0
"""Who looks on: a prober of a VIP, the kernels' own word about who holds it, and bytes on a network.

Times are those of CLOCK_MONOTONIC, which all namespaces share, in seconds.
"""
import socket
import time

from tests.lab.cluster.host import monotonic_ns
from tests.lab.cluster.waiting import LabError, until

PROBE_MS = 10
READY_SECONDS = 5
FIRST_SECONDS, NEXT_SECONDS = 2, 0.3
ERROR_MAX_SECONDS = 0.05  # a prober that stood still for longer has measured nothing
ERROR_SECONDS = 0.01  # what two watchers that wait for a processor may be apart


def verdict(value, error, bound):
    """"" = within its bound. A time as it was measured is never too short, so one within its bound is, however unsteady the
    observer was. One beyond it is excused by a small error alone: who stood still for longer has measured nothing."""
    if bound is None or value - min(error, ERROR_MAX_SECONDS) <= bound:
        return ""
    return "MISSED" if value - error > bound else "NOT MEASURED"


class Gap:
    """A time in which nobody answered."""

    def __init__(self, began, ended, error):
        self.began, self.ended, self.seconds, self.error = began, ended, ended - began, error

    def __str__(self):
        return f"{self.seconds * 1000:.0f} ms (± {self.error * 1000:.0f} ms)"


class Prober:
    """A SYN to a VIP each 10 ms, from the client (or another host), as long as it lives."""

    def __init__(self, lab, address, port=25, host=None, interval_ms=PROBE_MS):
        self.lab, self.host, self.interval = lab, host or lab.client, interval_ms / 1000
        self.name = f"probe-{address}-{port}".replace(":", "_")
        self.host.start(self.name, [lab.bin("lab-probe"), address, port, interval_ms])
        lab.observers.append(self)
        self._done = 0
        self.sent, self.answers, self.resets, self.errors = [], [], [], []
        until(self._has_lines, READY_SECONDS, f"a probe of {address} begins")

    def _has_lines(self):
        self.read()
        if not self.host.is_running(self.name):
            raise LabError(f"the prober ended: {self.host.tail(self.name)}")
        return self.sent or self.errors

    def read(self):
        """Takes in what the prober has written meanwhile."""
        with open(self.host.log(self.name), "rb") as f:
            f.seek(self._done)
            data = f.read()
        end = data.rfind(b"\n") + 1
        self._done += end
        for line in data[:end].decode().splitlines():
            kind, number, ns, *rest = line.split()
            row = (int(ns) / 1e9, int(number), *rest)
            {"S": self.sent, "A": self.answers, "R": self.resets, "E": self.errors}[kind].append(row)

    def await_answers(self, seconds=10, count=3, since=None):
        """Until so many attempts have been answered from now (or `since`) on."""
        since = monotonic_ns() / 1e9 if since is None else since

        def enough():
            self.read()
            return sum(a[0] > since for a in self.answers) >= count
        return until(enough, seconds, f"{self.name}: {count} answers")

    def gap(self, since=0.0, until_=None):
        """The longest time without an answer, from one answered attempt to the next; from `since`, if there was an attempt before,
        up to the last answer, or to `until_`.

        Its error: an attempt's distance from the next one on both sides, as it really was.
        """
        self.read()
        times = sorted(a[0] for a in self.answers if a[0] >= since and (until_ is None or a[0] <= until_))
        if len(times) < 2 and until_ is None:
            raise LabError(f"{self.name}: {len(times)} answers are no ground for a gap; sent {len(self.sent)}")
        if self.sent and self.sent[0][0] < since:
            times.insert(0, since)
        if until_ is not None:
            times.append(until_)
        if len(times) < 2:
            raise LabError(f"{self.name}: there is no time to look at; sent {len(self.sent)}")
        seconds, began = max((b - a, a) for a, b in zip(times, times[1:]))
        return Gap(began, began + seconds, self._error(began, began + seconds))

    def _error(self, began, ended):
        """The longest distance between two sendings around the ends of a gap."""
        tries = sorted(s[0] for s in [*self.sent, *self.errors] if began - 0.2 <= s[0] <= ended + 0.2)
        around = [b - a for a, b in zip(tries, tries[1:]) if a <= began + 0.05 or b >= ended - 0.05]
        return max(around, default=self.interval)

    def answered_by(self, since=0.0):
        """Names of those who answered, in order, each once for each time it began to."""
        self.read()
        macs = [a[2] for a in sorted(self.answers) if a[0] >= since]
        turns = [m for i, m in enumerate(macs) if i == 0 or macs[i - 1] != m]
        return [getattr(self.lab.node_of_mac(m), "name", m) for m in turns]

    def refused(self, since=0.0):
        """How many attempts were answered by a reset: somebody has the address, nobody listens."""
        self.read()
        return sum(r[0] >= since for r in self.resets)

    def close(self):
        if self.host.is_on() and self.host.is_running(self.name):
            self.read()
            self.host.stop(self.name)


class Owners:
    """Which node's kernel has an address, from now on: the kernels tell each change, a loss of power is told by the lab. On `lo`,
    where one that gave it away keeps it for its sessions, the network does not see it: that is no holding."""

    def __init__(self, lab, address, nodes=None):
        self.lab, self.address = lab, address
        self.nodes = nodes or lab.nodes
        self.events = []  # (time, node, has it)
        self._done = {n.name: 0 for n in self.nodes}
        self.name = f"watch-{address}".replace(":", "_")
        lab.observers.append(self)
        for node in self.nodes:
            node.on_power.append(self._on_power)
            if node.is_on():
                self._watch(node)

    def _watch(self, node):
        # Outside the node's PID namespace: what it wrote is read after the node is gone.
        since = self._done[node.name]
        node.start(self.name, [self.lab.bin("lab-watch")], same_pids=False)
        until(lambda: b" .\n" in self._raw(node)[since:] or self._ended(node), READY_SECONDS, f"{node.name} tells its addresses")

    def _ended(self, node):
        if not node.is_running(self.name):
            raise LabError(f"lab-watch on {node.name} ended: {node.tail(self.name)}")
        return False

    def _raw(self, node):
        path = node.log(self.name)
        return path.read_bytes() if path.exists() else b""

    def _on_power(self, node, is_on):
        if not is_on:
            self.read()
            self.events.append((monotonic_ns() / 1e9, node.name, False))
        else:
            self._watch(node)

    def read(self):
        for node in self.nodes:
            data = self._raw(node)[self._done[node.name]:]
            data = data[:data.rfind(b"\n") + 1]
            self._done[node.name] += len(data)
            for line in data.decode().splitlines():
                ns, sign, *rest = line.split()
                if rest and rest[0] == self.address and rest[1] != "lo":
                    self.events.append((int(ns) / 1e9, node.name, sign == "+"))
        self.events.sort(key=lambda e: e[0])

    def now(self):
        """Names of those who hold it."""
        self.read()
        holders = set()
        for _, name, has in self.events:
            (holders.add if has else holders.discard)(name)
        return sorted(holders)

    def lost_by(self, name, since=0.0):
        """When this node's kernel had it no more, for the first time since then; None = it has not happened."""
        self.read()
        return next((at for at, node, has in self.events if at >= since and node == name and not has), None)

    def taken_by(self, name, since=0.0):
        """The same of having it."""
        self.read()
        return next((at for at, node, has in self.events if at >= since and node == name and has), None)

    def intervals(self, since=0.0):
        """[(began, ended, holders)]: who held it when, from the first word on until now."""
        self.read()
        found, holders, began = [], frozenset(), None
        end = monotonic_ns() / 1e9
        for at, name, has in self.events:
            after = holders | {name} if has else holders - {name}
            if after == holders:
                continue
            if began is not None:
                found.append((began, at, holders))
            holders, began = after, at
        if began is not None:
            found.append((began, end, holders))
        return [(max(a, since), b, tuple(sorted(h))) for a, b, h in found if b > since]

    def overlaps(self, since=0.0, longer_than=ERROR_SECONDS):
        """Times in which more than one held it."""
        return [i for i in self.intervals(since) if len(i[2]) > 1 and i[1] - i[0] > longer_than]

    def absences(self, since=0.0, longer_than=ERROR_SECONDS):
        """Times in which nobody did."""
        return [i for i in self.intervals(since) if not i[2] and i[1] - i[0] > longer_than]

    def close(self):
        for node in self.nodes:
            if node.is_on() and node.is_running(self.name):
                node.stop(self.name)


def datagrams(source, target, net="cluster", count=20):
    """How many of so many datagrams from one host to another arrive."""
    receiver, sender = (host.anchor.socket(kind=socket.SOCK_DGRAM) for host in (target, source))
    with receiver, sender:
        receiver.bind((target.addresses[net], 0))
        for i in range(count):
            sender.sendto(b"%d" % i, receiver.getsockname())
        arrived = 0
        receiver.settimeout(FIRST_SECONDS)  # the first one may have to wait for ARP
        try:
            while arrived < count:
                receiver.recv(100)
                arrived += 1
                receiver.settimeout(NEXT_SECONDS)
        except TimeoutError:
            pass
        return arrived


class Traffic:
    """Bytes a second that nodes put on a network, between two calls."""

    def __init__(self, lan, net="cluster", names=None):
        self.lan, self.net, self.names = lan, net, names
        self.rate()

    def rate(self):
        """Since the last call."""
        now, count = time.monotonic(), self.lan.bytes_sent(self.net, self.names)
        before = getattr(self, "_last", (now, count))
        self._last = (now, count)
        return (count - before[1]) / (now - before[0]) if now > before[0] else 0.0
