# SPDX-License-Identifier: Apache-2.0
"""Mail through a VIP, and the books afterwards.

The sender is postroad-load on the client, which tries a message again until it is answered 250, as a mail server would; the
backends are postroad-sink on mx, which write down each message before they answer, or real Postfix. Every message has an id,
so at the end each one is looked for.
"""
import collections
import json
import os
import shutil
import signal
from pathlib import Path

from tests.lab.cluster.waiting import LabError, Seen, until
from tests.peers.postfix import Postfix

RETRIES = 1000
RETRY_MS = 100
TIMEOUT_MS = 10000  # for each answer; a connection whose peer lost its power is given up then
SINK_PORT = 25
QUEUE_SECONDS = 60
# Where a try may end early (tests/bench/load.c). At "quit" the message has its answer.
OPENING, TRANSACTION = ("connect", "tls", "banner", "ehlo", "starttls", "auth"), ("mail", "rcpt", "data", "dot")
MEMORY, PREFIX = Path("/dev/shm"), "postroad-lab-"


class Backends:
    """Sinks on mx, one address each, that keep what they accept."""

    def __init__(self, lab, count=2, options=()):
        self.lab, self.host = lab, lab.mx
        self.addresses, self.stores = {}, {}
        for i in range(count):
            name, address = f"sink{i + 1}", f"10.78.0.{201 + i}"
            lab.lan.ip(f"address add {address}/24 dev eth0\n", self.host)
            store = self.host.home / f"{name}.store"
            self.host.start(name, [lab.bin("postroad-sink"), "--listen", f"{address}:{SINK_PORT}", "--hostname", f"{name}.lab.test",
                                   "--store", store, *options])
            self.addresses[name], self.stores[name] = f"{address}:{SINK_PORT}", store

    def stored(self):
        """Ids of all stored messages, one for each copy."""
        found = []
        for store in self.stores.values():
            if store.exists():
                found += [line.split()[0].removeprefix("id=") for line in store.read_text(errors="replace").splitlines(True)]
        return found


class RealBackends:
    """Postfix on mx, one address each; queue and mail in memory."""

    def __init__(self, lab, count=2, build=None):
        self.lab, self.host = lab, lab.mx
        self.addresses, self.servers = {}, {}
        self.home = MEMORY / f"{PREFIX}{os.getpid()}"
        lab.observers.append(self)
        for i in range(count):
            name, address = f"mta{i + 1}", f"10.78.0.{201 + i}"
            lab.lan.ip(f"address add {address}/24 dev eth0\n", self.host)
            mta = Postfix(self.home / name, f"{address}:{SINK_PORT}", f"{name}.lab.test", build=build)
            self.servers[name], self.addresses[name] = mta, f"{address}:{SINK_PORT}"
            self.host.anchor.call(mta.start)

    def stored(self):
        """Ids of all delivered messages, one for each copy, when nothing is queued any more."""
        until(lambda: not sum(m.queued() for m in self.servers.values()), QUEUE_SECONDS, "the queues are empty")
        return [i for m in self.servers.values() for i in m.ids()]

    def close(self):
        for mta in self.servers.values():
            mta.stop()
        shutil.rmtree(self.home, ignore_errors=True)


def sweep():
    """What a lab that was killed has left in memory."""
    for path in MEMORY.glob(PREFIX + "*"):
        if not os.path.exists(f"/proc/{path.name.removeprefix(PREFIX)}"):
            shutil.rmtree(path, ignore_errors=True)


class Books:
    """What became of the messages of a sender. `lost` and `unexplained` must be empty."""

    def __init__(self, results, stored, figures, run):
        copies = collections.Counter(i for i in stored if i.startswith(run + "-"))
        self.sent = len(results)
        self.accepted = {r[0] for r in results if r[1] == "accepted"}
        self.refused = sorted(r[0] for r in results if r[1] != "accepted")
        self.delivered = sum(copies.values())
        self.lost = sorted(self.accepted - set(copies))
        may_repeat = {r[0]: int(r[4]) + int(r[5]) for r in results}
        # A try whose end was not told, or told with 4xx when the backend had gone silent, may have left a copy (RFC 1047).
        self.twice = {i: n for i, n in copies.items() if n > 1}
        self.unexplained = sorted(i for i, n in copies.items() if n - (i in self.accepted) > may_repeat.get(i, 0))
        self.retries = figures.get("retries", 0)
        lost_at = figures.get("lost_at", {})
        self.cut = sum(lost_at.get(s, 0) for s in TRANSACTION)
        self.not_opened = sum(lost_at.get(s, 0) for s in OPENING)
        self.lost_at, self.errors = lost_at, figures.get("errors", {})

    def check(self):
        """The promise: nothing accepted is lost, and no copy is without an explanation."""
        if self.lost or self.unexplained or self.refused:
            raise LabError(f"lost {self.lost[:5]}, unexplained copies {self.unexplained[:5]}, given up {self.refused[:5]}\n{self}")
        return self

    def rows(self):
        return [("sent", self.sent), ("accepted", len(self.accepted)), ("delivered", self.delivered), ("lost", len(self.lost)),
                ("twice", len(self.twice)), ("unexplained copies", len(self.unexplained)), ("transactions cut", self.cut),
                ("sessions refused, cut or unanswered before mail", self.not_opened), ("tried again", self.retries)]

    def __str__(self):
        return "\n".join(f"{name:<48} {value:>6}" for name, value in self.rows())


class Mail:
    """A sender at a steady rate until it is told to stop."""

    def __init__(self, lab, backends, vip, rate=50, run="mail", options=()):
        self.lab, self.backends, self.run, self.host = lab, backends, run, lab.client
        self.name, self.ids = f"load-{run}", lab.client.home / f"{run}.ids"
        to = f"{vip}:25" if ":" not in vip else f"[{vip}]:25"
        self.host.start(self.name, [lab.bin("postroad-load"), "--to", to, "--seconds", 3600, "--rate", rate, "--parallel", 20,
                                    "--per-connection", 5, "--retries", RETRIES, "--retry-delay", RETRY_MS, "--timeout", TIMEOUT_MS,
                                    "--from", "s%n@client.lab.test", "--rcpt", "r%n@mx.lab.test", "--run", run, "--ids", self.ids,
                                    *options])

    def accepted(self):
        text = self.ids.read_text() if self.ids.exists() else ""
        return text.count(" accepted ")

    def await_accepted(self, more, seconds=20):
        """Until so many more messages than now have been accepted."""
        wanted = self.accepted() + more
        return until(lambda: Seen(self.accepted() >= wanted, f"{self.accepted()} of {wanted}, {self.host.tail(self.name, 300)}"),
                     seconds, f"{more} more messages are accepted")

    def finish(self, seconds=60):
        """Ends the sender, when every message has its answer, and returns the books."""
        process = self.host.processes[self.name]
        self.host.send_signal(self.name, signal.SIGTERM)
        until(lambda: process.poll() is not None, seconds, f"every message of {self.run} has its answer")
        figures = json.loads(self.host.tail(self.name, 1 << 20).strip().splitlines()[-1])
        results = [line.split() for line in self.ids.read_text().splitlines()]
        # A store is written before the answer, so all that was answered is there now.
        return Books(results, self.backends.stored(), figures, self.run)
