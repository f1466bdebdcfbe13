# SPDX-License-Identifier: Apache-2.0
"""Writes to a cluster: through any node, answered 200 only when a quorum has them on disk, made once, and there after
anything.

Disks are held so that a write stands between being asked for and being durable; then what took part in it is killed.
"""
import os
import pathlib
import random
import sys
import threading
import time

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.lab.cluster import power, product, registers, services  # noqa: E402
from tests.lab.cluster.disk import bytes_lost  # noqa: E402
from tests.lab.cluster.lab import TOOLS, Lab  # noqa: E402
from tests.lab.cluster.mail import Backends  # noqa: E402
from tests.lab.cluster.node import black_out  # noqa: E402
from tests.lab.cluster.waiting import LabError, Seen, until  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
SECONDS = 40
ANSWER_SECONDS = 15  # an answer comes within 10
FAULT_SECONDS = 60
NEVER_MS = 10 * 60 * 1000  # no sync comes back until the disk is made fast again
NEEDED = (*TOOLS, "bin/postroad-ha")
WEIGHT = "/api/v1/pools/mta/servers/sink1/weight"
SETS = ("one", "two", "three", "four", "five", "six")

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all((BUILD / f"peers/{p}/.unpacked").exists() for p in ("corosync", "keepalived"))
    or not all((BUILD / t).exists() for t in NEEDED), reason="needs root, `make peers` and `make bench-tools`")


@pytest.fixture
def nodes(request, tmp_path):
    with Lab(BUILD, BUILD / "lab/writes" / request.node.name.partition("[")[0][:40], request.param) as lab:
        sinks = Backends(lab).addresses
        sets = {"domain_sets": {name: {"first.lab.test": True} for name in SETS}}
        for node in lab.nodes:
            product.start(node, lab, services.configuration([lab.vip()], sinks, more=sets))
        for node in lab.nodes:
            node.await_ready()
        product.form(lab.nodes)
        yield lab.nodes
        assert lab.supervisor.trouble == []


two = pytest.mark.parametrize("nodes", [2], indirect=True)
three = pytest.mark.parametrize("nodes", [3], indirect=True)


class Asked(threading.Thread):
    """A write whose answer is awaited elsewhere."""

    def __init__(self, node, method, path, body, headers=None):
        super().__init__(daemon=True)
        self.arguments = node, method, path, body, headers
        self.answer = self.trouble = None
        self.start()

    def run(self):
        node, *rest = self.arguments
        try:
            self.answer = node.call(*rest, timeout=ANSWER_SECONDS)
        except (OSError, LabError) as e:
            self.trouble = repr(e)

    def wait(self):
        """(status, headers, body), None = there was no answer."""
        self.join(ANSWER_SECONDS + 5)
        assert not self.is_alive()
        return self.answer


def set_path(name):
    return f"/api/v1/config/domain_sets/{name}"


def put_set(node, name, value, headers=None, timeout=ANSWER_SECONDS):
    return node.call("PUT", set_path(name), {value: True}, {"If-Match": "*", **(headers or {})}, timeout=timeout)


def value_of(node, name):
    return next(iter(node.call("GET", set_path(name))[2]))


def weight_of(node):
    return node.call("GET", "/api/v1/pools/mta")[2]["servers"]["sink1"]["weight"]


def revisions(node):
    """{revision: ETag}."""
    return {r["revision"]: r["etag"] for r in node.call("GET", "/api/v1/config/revisions")[2]["revisions"]}


def await_set(nodes, name, value):
    for node in nodes:
        until(lambda n=node: Seen((v := value_of(n, name)) == value, v), SECONDS, f"{node.name} has {value}")


def await_active(nodes):
    for node in nodes:
        product.await_active(node)


def await_same(nodes):
    """All have applied the same."""
    until(lambda: Seen(len(p := {product.status(n)["position"] for n in nodes}) == 1 and not registers.differences(nodes), p), SECONDS,
          "all nodes agree")


def donor(nodes):
    """(the node that orders entries, the others)."""
    found = product.status(nodes[0])["donor"]
    first = next(n for n in nodes if n.name == found)
    return first, [n for n in nodes if n is not first]


# ---- on any node ----


@pytest.mark.long
@two
def test_what_was_read_on_one_node_is_written_on_another(nodes):
    one, other = nodes
    for path in ("/api/v1/config", set_path("one")):
        assert one.call("GET", path)[1]["ETag"] == other.call("GET", path)[1]["ETag"], path
    seen = one.call("GET", set_path("one"))[1]["ETag"]
    status, headers, body = put_set(other, "one", "b.lab.test", {"If-Match": seen})
    assert status == 200, body
    assert put_set(one, "one", "c.lab.test", {"If-Match": seen})[0] == 412
    assert put_set(one, "one", "c.lab.test", {"If-Match": headers["ETag"]})[0] == 200
    # At once, over and over: who was answered by one node is ahead of the other for a moment.
    tag = "*"
    for turn in range(60):
        node = nodes[turn % 2]
        status, headers, body = put_set(node, "two", f"t{turn}.lab.test", {"If-Match": tag})
        assert status == 200, (turn, body)
        tag = headers["ETag"]
    for turn in range(20):
        assert nodes[turn % 2].call("PUT", set_path("new"), {"a.lab.test": True}, {"If-None-Match": "*"})[0] == 201
        assert nodes[1 - turn % 2].call("DELETE", set_path("new"), None, {"If-Match": "*"})[0] == 200
    await_same(nodes)
    assert revisions(one) == revisions(other)
    # Another key on all: a reader of before reads again, and that is all.
    await_same(nodes)
    before = one.call("GET", "/api/v1/config")[1]["ETag"]
    product.ask(one, "POST", "rotate-keys")
    until(lambda: all(n.call("GET", "/api/v1/config")[1]["ETag"] != before for n in nodes), SECONDS, "tags are others")
    for node in nodes:
        product.await_active(node, lambda s: s["change"] is None)
    after = one.call("GET", "/api/v1/config")[1]["ETag"]
    assert other.call("GET", "/api/v1/config")[1]["ETag"] == after
    assert other.call("PATCH", "/api/v1/config", {"comment": "new"}, {"If-Match": before})[0] == 412
    assert other.call("PATCH", "/api/v1/config", {"comment": "new"}, {"If-Match": after})[0] == 200
    # A node that is alone again is itself again.
    product.ask(other, "POST", "leave")
    until(lambda: Seen((s := product.status(other))["cluster"] is None and s["state"] == "ACTIVE", s), SECONDS, "n2 is alone")
    assert other.call("GET", "/api/v1/config")[1]["ETag"] != one.call("GET", "/api/v1/config")[1]["ETag"]


@pytest.mark.long
@two
def test_a_key_repeated_on_another_node_is_answered_with_what_it_did(nodes):
    one, other = nodes
    headers = {"Idempotency-Key": "once"}
    status, _, first = put_set(one, "one", "b.lab.test", headers)
    assert status == 200
    status, _, again = put_set(other, "one", "b.lab.test", headers)
    assert status == 200 and again["replayed"] and again["revision"] == first["revision"]
    assert put_set(other, "one", "c.lab.test", headers)[0] == 422
    assert one.call("PUT", WEIGHT, {"weight": 7}, {"Idempotency-Key": "heavy"})[0] == 200
    assert one.call("PUT", WEIGHT, {"weight": 8})[0] == 200
    assert other.call("PUT", WEIGHT, {"weight": 7}, {"Idempotency-Key": "heavy"})[0] == 200
    await_same(nodes)
    assert weight_of(other) == 8
    assert other.call("PUT", WEIGHT, {"weight": 9}, {"Idempotency-Key": "heavy"})[0] == 422


# ---- between asking and the answer ----


@pytest.mark.long
@three
def test_no_answer_200_before_a_quorum_has_it_on_disk(nodes):
    first, others = donor(nodes)
    assert put_set(others[0], "one", "a.lab.test")[0] == 200
    sizes = [log_of(n).stat().st_size for n in others]
    for node in others:
        node.slow_disk(NEVER_MS)  # they write it, and do not have it
    asked = [Asked(nodes[0], "PUT", set_path("two"), {"b.lab.test": True}, {"If-Match": "*"}),
             Asked(nodes[1], "PUT", WEIGHT, {"weight": 7})]
    answers = [a.wait() for a in asked]
    assert [a and a[0] for a in answers] == [202, 202]
    assert all(log_of(n).stat().st_size > size for n, size in zip(others, sizes)), "what is waited for is their syncs alone"
    # Behind a write that is not decided there is no place.
    status, _, body = put_set(nodes[2], "three", "b.lab.test")
    assert status == 503, body
    assert all(value_of(n, "two") == value_of(n, "three") == "first.lab.test" and weight_of(n) == 100 for n in nodes)
    for node in others:
        node.slow_disk(0)
    # Made after all, and every node knows it.
    for node in nodes:
        for answer in answers:
            until(lambda n=node, a=answer: Seen((o := n.call("GET", a[1]["Location"]))[0] == 200 and o[2]["state"] == "committed", o),
                  SECONDS, f"{node.name} knows {answer[2]['operation']}")
    await_set(nodes, "two", "b.lab.test")
    assert all(weight_of(n) == 7 and value_of(n, "three") == "first.lab.test" for n in nodes)
    # And what no quorum had when the power went may be gone, but on all nodes alike; what was answered is there.
    for node in others:
        node.slow_disk(NEVER_MS)
    status, headers, _ = put_set(others[0], "one", "c.lab.test")
    assert status == 202
    assert all(is_on_disk(n, "c.lab.test") for n in others)
    lost = black_out(nodes, torn=True, seed=1)
    assert bytes_lost({n.name: lost[n.name] for n in others}, power.LOG) > 0 and bytes_lost({first.name: lost[first.name]}, power.LOG) == 0
    for node in others:
        node.slow_disk(0)
    for node in nodes:
        node.power_on()
    await_active(nodes)
    await_same(nodes)
    made = value_of(first, "one") == "c.lab.test"
    assert made or value_of(first, "one") == "a.lab.test"
    for node in nodes:
        status, _, body = node.call("GET", headers["Location"])
        assert (status == 200 and body["state"] == "committed") == made, (node.name, body)
    assert all(weight_of(n) == 7 and value_of(n, "two") == "b.lab.test" for n in nodes)


@pytest.mark.long
@three
@pytest.mark.parametrize("who", ["proposer", "donor"])
def test_a_write_whose_node_dies_before_the_answer_is_made_once(nodes, who):
    first, (second, third) = donor(nodes)
    dies, repeats = (second, third) if who == "proposer" else (first, second)
    headers, before = {"Idempotency-Key": "once", "If-Match": "*"}, revisions(first)
    for node in nodes:
        if node is not first:
            node.hang_disk()
    asked = Asked(second, "PUT", set_path("one"), {"b.lab.test": True}, headers)
    # The donor has it on its disk, which is no quorum.
    until(lambda: is_on_disk(first, "b.lab.test"), SECONDS, "the donor has written it")
    assert asked.answer is None and value_of(repeats, "one") == "first.lab.test"
    dies.power_off(torn=True, seed=2)
    for node in nodes:
        node.hang_disk(False)
    until(lambda: Seen((a := put_set(repeats, "one", "b.lab.test", headers))[0] == 200, a), SECONDS, "it is made through another node")
    dies.power_on()
    await_active(nodes)
    await_same(nodes)
    assert value_of(dies, "one") == "b.lab.test"
    for node in nodes:
        assert len(revisions(node)) == len(before) + 1, revisions(node)
        assert put_set(node, "one", "b.lab.test", headers)[2]["replayed"]


def log_of(node):
    return node.stable.seen(node.name, "state") / power.LOG


def is_on_disk(node, text):
    """Written, which is not synced."""
    return text.encode() in log_of(node).read_bytes()


# ---- many writers ----


def seed_of():
    """SEED=N plays the same faults and the same questions again; how they meet is the machine's."""
    seed = int(os.environ.get("SEED") or random.randrange(1 << 32))
    print(f"\nSEED={seed}")
    return seed


def things():
    return [registers.Weight("mta", "sink1"), registers.Weight("mta", "sink2"), *(registers.Document(s) for s in SETS)]


def calls_of(nodes, timeout):
    return {n.name: lambda *args, n=n: n.call(*args, timeout=timeout) for n in nodes}


class Faults:
    """One after the other, each until the others have noticed and written on without it, then taken back."""

    def __init__(self, nodes, writers, seed):
        self.nodes, self.writers, self.rng, self.seed = nodes, writers, random.Random(seed), seed
        self.turn, self.kinds = 0, []

    def one(self):
        self.kinds = self.kinds or self.rng.sample([self.corosync, self.postroadd, self.cut_off, self.stand_still, self.power], 5)
        fault, victim = self.kinds.pop(), self.rng.choice(self.nodes)
        print(f"    {fault.__name__} {victim.name}; {self.writers.done()} written")
        self.turn += 1
        fault(victim, [n for n in self.nodes if n is not victim])
        self.go_on()
        await_active(self.nodes)

    def go_on(self):
        wanted = self.writers.done() + 10
        until(lambda: Seen(self.writers.done() >= wanted or self.writers.trouble, self.writers.counts()), SECONDS, "writers go on")

    def until_missed(self, victim, others):
        def missed():
            seen = [product.status(n)["members"][victim.name]["present"] for n in others]
            return Seen(not any(seen), seen)
        until(missed, SECONDS, f"{victim.name} is missed")
        self.go_on()

    def corosync(self, victim, _):
        victim.run(["pkill", "-KILL", "-x", "corosync"])

    def postroadd(self, victim, _):
        victim.kill("postroadd")

    def cut_off(self, victim, others):
        cut = victim.lan.partition([[victim.name], [n.name for n in others]])
        self.until_missed(victim, others)
        victim.lan.heal(cut)

    def stand_still(self, victim, others):
        victim.pause()
        self.until_missed(victim, others)
        victim.resume()

    def power(self, victim, others):
        victim.power_off(torn=self.rng.random() < 0.5, seed=f"{self.seed}/{self.turn}")
        self.until_missed(victim, others)
        victim.power_on()


@pytest.mark.long
@three
def test_writers_on_all_nodes_find_one_order_whatever_fails(nodes):
    seed = seed_of()
    writers = registers.Writers(calls_of(nodes, 3), things(), threads=5, seed=seed).start()
    faults, end = Faults(nodes, writers, seed), time.monotonic() + FAULT_SECONDS
    while time.monotonic() < end:
        faults.one()
    writers.stop()
    await_same(nodes)
    findings = writers.finish(stale_reads=True)
    print(f"{faults.turn} faults; {writers.counts()}")
    assert not findings, f"SEED={seed}: {findings}"


# ---- loss of power ----


@pytest.mark.long
@three
def test_what_was_answered_is_there_when_all_lose_their_power(nodes):
    """Several times, with what was not synced dropped, or torn."""
    seed, registers_, dropped = seed_of(), things(), 0
    for turn in range(4):
        writers = registers.Writers(calls_of(nodes, ANSWER_SECONDS), registers_, seed=f"{seed}/{turn}").start()
        until(lambda w=writers: Seen(w.done() >= 40 + 10 * turn, w.counts()), SECONDS, "writers write")
        lost = power.strike(nodes, writers, turn % 2 == 1, f"{seed}/{turn}", turn)
        dropped += bytes_lost(lost, power.LOG)
        writers.stop()
        for node in nodes:
            node.power_on()
        await_active(nodes)
        await_same(nodes)
        findings = writers.finish(stale_reads=True, least=40 + 10 * turn + power.MADE)
        print(f"turn {turn}: {writers.counts()}; the disks lost {lost}")
        assert not findings, f"SEED={seed}, turn {turn}: {findings}"
        # What a node said of its files in a change of members had to be true of its disk.
        assert not {p for files in lost.values() for p in files if not p.startswith(power.LOG)}, lost
    assert dropped > 0, "no write stood in a file without being on its disk: nothing was shown"
