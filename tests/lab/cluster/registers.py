# SPDX-License-Identifier: Apache-2.0
"""Concurrent writers on random nodes: weights of servers (written blindly) and domain sets (with If-Match), and the history.

Each write has an Idempotency-Key and a value of its own. A write without an answer is tried again under its key, on any node,
until its outcome is known or the deadline of the writer is over: then it counts as unknown.
"""
import random
import threading
import time
import uuid

from tests.lab.cluster import linear
from tests.lab.cluster.linear import CAS, READ, WRITE, Op
from tests.lab.cluster.waiting import LabError

ANSWERED = {200: linear.OK, 201: linear.OK, 204: linear.OK, 412: linear.STALE, 409: linear.REFUSED, 503: linear.REFUSED,
            507: linear.REFUSED, 202: linear.UNKNOWN}
READ_ANSWERED = {200: linear.OK, 503: linear.REFUSED}
PAUSE_SECONDS = 0.02
REFUSED_SECONDS, REFUSED_SECONDS_MAX = 0.25, 4  # twice as long with each refusal in a row: a refused value is gone, and there are not many
WEIGHTS = range(101, 1001)  # 100 is what a server has at first
LEAST = 3  # writes made: a history with fewer says nothing, and is no proof that all was well


class Weight:
    """The weight of a server: written blindly, read from the pool."""

    kinds = (READ, WRITE)

    def __init__(self, pool, server, values=WEIGHTS):
        """`values`: those it may write. A refused one is gone, too."""
        self.name = f"weight:{pool}/{server}"
        self.pool, self.server = pool, server
        self.left = iter(values)

    def fresh(self, _):
        """None = every weight there is has been written."""
        return next(self.left, None)

    def read(self, call):
        status, headers, body = call("GET", f"/api/v1/pools/{self.pool}")
        return status, headers, body["servers"][self.server]["weight"] if status == 200 else None

    def write(self, call, value, headers):
        return call("PUT", f"/api/v1/pools/{self.pool}/servers/{self.server}/weight", {"weight": value}, headers)


class Document:
    """A small object of the configuration: written on top of what was read (If-Match). It must exist."""

    kinds = (READ, CAS)

    def __init__(self, name, section="domain_sets"):
        self.name, self.path = f"{section}:{name}", f"/api/v1/config/{section}/{name}"

    def fresh(self, rng):
        return f"v{rng.getrandbits(48):x}.lab.test"

    def read(self, call):
        status, headers, body = call("GET", self.path)
        return status, headers, next((k for k in body if k != "comment"), None) if status == 200 else None

    def write(self, call, value, headers):
        return call("PUT", self.path, {value: True}, headers)


class Writers:
    """Threads that read and write; `calls` are functions (method, path, body, headers) of one node each, by name."""

    def __init__(self, calls, registers, threads=6, seed=0, give_up=5.0, pause=PAUSE_SECONDS, before=()):
        """`before`: values that earlier writers left there: a node that is behind may still say one of them."""
        self.before = frozenset(before)
        self.calls, self.registers, self.give_up, self.pause = calls, registers, give_up, pause
        self.history, self.lock = [], threading.Lock()
        self.trouble = []
        self._ending = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(random.Random(f"{seed}/{i}"),), daemon=True) for i in range(threads)]
        self.initial = {r.name: self._initial(r) for r in registers}

    def _initial(self, register):
        status, _, value = register.read(next(iter(self.calls.values())))
        if status != 200:
            raise LabError(f"{register.name}: {status} before anything was written")
        return value

    def start(self):
        for t in self._threads:
            t.start()
        return self

    def _run(self, rng):
        refused = 0  # in a row
        try:
            while not self._ending.is_set():
                register = rng.choice(self.registers)
                kind = rng.choice(register.kinds)
                if kind == READ:
                    self._read(rng, register)
                else:
                    refused = refused + 1 if self._write(rng, register, kind) == linear.REFUSED else 0
                    self._ending.wait(min(REFUSED_SECONDS * 2 ** (refused - 1), REFUSED_SECONDS_MAX) if refused else 0)
                time.sleep(self.pause * rng.random())
        except Exception as e:  # pylint: disable=broad-except
            self.trouble.append(repr(e))  # an answer that is none of those expected

    def _add(self, op):
        with self.lock:
            self.history.append(op)

    def _read(self, rng, register):
        """(value, headers), or None where there was no answer, or 503. Any other answer is trouble."""
        node, began, outcome = rng.choice(sorted(self.calls)), time.monotonic(), linear.UNKNOWN
        headers = value = None
        try:
            status, headers, value = register.read(self.calls[node])
            if status not in READ_ANSWERED:
                raise ValueError(f"{register.name}: {node} answers a read {status}")
            outcome = READ_ANSWERED[status]
        except (OSError, LabError):
            pass
        self._add(Op(register.name, READ, value, began, time.monotonic(), outcome, node=node))
        return (value, headers) if outcome == linear.OK else None

    def _write(self, rng, register, kind):
        """The outcome, or None where nothing was written."""
        headers, expected = {"Idempotency-Key": str(uuid.UUID(int=rng.getrandbits(128)))}, None
        if kind == CAS:
            seen = self._read(rng, register)
            if seen is None:
                return None
            expected, headers["If-Match"] = seen[0], seen[1]["ETag"]
        with self.lock:
            value = register.fresh(rng)
        if value is None:
            return None
        began = time.monotonic()
        outcome, node = self._until_known(rng, register, value, headers)
        self._add(Op(register.name, kind, value, began, time.monotonic(), outcome, expected, node, headers["Idempotency-Key"]))
        return outcome

    def _until_known(self, rng, register, value, headers):
        deadline, was_unknown = time.monotonic() + self.give_up, False
        while True:
            node = rng.choice(sorted(self.calls))
            try:
                status, _, body = register.write(self.calls[node], value, headers)
                if status not in ANSWERED:
                    raise ValueError(f"{register.name}: {status} {body}")
                outcome = ANSWERED[status]
            except (OSError, LabError):
                outcome = linear.UNKNOWN
            was_unknown = was_unknown or outcome == linear.UNKNOWN
            # Refused now says nothing about a first try that got no answer: its key must be answered with what it did.
            if outcome == linear.OK or (outcome != linear.UNKNOWN and not was_unknown):
                return outcome, node
            if outcome == linear.STALE:
                return outcome, node
            if time.monotonic() > deadline or self._ending.is_set():
                return linear.UNKNOWN, node
            time.sleep(PAUSE_SECONDS)

    def stop(self):
        self._ending.set()
        for t in self._threads:
            t.join(self.give_up + 15)
        if self.trouble:
            raise LabError("; ".join(self.trouble[:3]))
        return self

    def finish(self, stale_reads=False, least=LEAST):
        """Stops, reads every register on every node, and returns the findings: nothing found = right. Fewer writes made than
        `least` are a finding.

        The last reads count as reads of one moment, so they must agree on all nodes, and with what was answered 200.
        """
        self.stop()
        findings, last = [], []
        if self.done() < least:
            findings.append(f"{self.done()} writes were made, which is fewer than {least}: {self.counts()}; nothing is known")
        for register in self.registers:
            values = {}
            for node, call in self.calls.items():
                began = time.monotonic()
                status, _, value = register.read(call)
                if status != 200:
                    findings.append(f"{register.name}: {node} answers {status} at the end")
                    continue
                values[node] = value
                last.append(Op(register.name, READ, value, began, time.monotonic(), node=node))
            if len(set(values.values())) > 1:
                findings.append(f"{register.name}: nodes differ at the end: {values}")
        # Strict for the last ones, even where earlier reads may have been old.
        return findings + linear.check((self._loosened() if stale_reads else self.history) + last, self.initial)

    def _loosened(self):
        return [op for op in linear.loosened(self.history)
                if not op.stale or op.value not in self.before or op.value == self.initial[op.register]]

    def values(self):
        """All that was ever to be written, and what was there at the beginning."""
        with self.lock:
            return {op.value for op in self.history if op.kind != READ} | set(self.initial.values())

    def done(self):
        """How many writes were answered as made."""
        with self.lock:
            return sum(op.kind != READ and op.outcome == linear.OK for op in self.history)

    def counts(self):
        found = {}
        with self.lock:
            history = list(self.history)
        for op in history:
            found[f"{op.kind} {op.outcome}"] = found.get(f"{op.kind} {op.outcome}", 0) + 1
        return dict(sorted(found.items()))


def differences(nodes, paths=("/api/v1/config",)):
    """{path: {node: answer}} of what these nodes do not answer alike. Empty = they agree."""
    found = {}
    for path in paths:
        answers = {n.name: n.call("GET", path)[2] for n in nodes}
        if any(a != answers[nodes[0].name] for a in answers.values()):
            found[path] = answers
    return found
