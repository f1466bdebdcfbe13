# SPDX-License-Identifier: Apache-2.0
"""Planned moves of virtual addresses, under long and short sessions: a drain and its end, a move by hand, a rebalance, failback, a
stop of the daemon.

Three nodes formed by the product; one VIP for each family. Nothing may be cut, refused or reset: what clients, the sender
and the prober say is compared with the resets that really arrive at the client. A gap longer than its bound, which is worked out from
what the nodes say of adverts and priorities, is a failure too; where BOUNDS=0 is set, for a busy machine, it is only printed.

Needs root and `make peers`.
"""
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.lab.cluster import product, services  # noqa: E402
from tests.lab.cluster.host import monotonic_ns  # noqa: E402
from tests.lab.cluster.lab import TOOLS, Lab  # noqa: E402
from tests.lab.cluster.lan import PREFIX6  # noqa: E402
from tests.lab.cluster.mail import Backends, Mail  # noqa: E402
from tests.lab.cluster.observers import Owners, Prober, verdict  # noqa: E402
from tests.lab.cluster.waiting import LabError, Seen, until  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
CLIENTS = pathlib.Path(__file__).with_name("drain_clients.py")
SECONDS = 40
SLACK = 0.05  # what a planned move may take beside the skew of who takes over
BOUNDS = os.environ.get("BOUNDS") != "0"
CLOSED_PORT = 9
RATE = int(os.environ.get("RATE", "80"))  # short sessions a second and family
DRAINS, SHORT_OPEN = 2, 20  # so many short sessions of a family may be open at each drain; 421 is said to those, not to who comes
NAMES = ("n1", "n2", "n3")

pytestmark = [pytest.mark.long, pytest.mark.skipif(
    os.geteuid() != 0 or not (BUILD / "peers/keepalived/.unpacked").exists() or not all((BUILD / t).exists() for t in TOOLS),
    reason="needs root, `make peers` and `make bench-tools`")]


def family(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def cut(heard, in_transactions):
    """Sessions that ended otherwise than by a word: all, or those that were in a transaction."""
    return [c for c in heard["cuts"] if not in_transactions or c[2] in ("RCPT", "DATA", "content", "dot")]


class World:
    """Three nodes, a VIP for each family, and clients of all kinds."""

    def __init__(self, lab, **more):
        self.lab, self.nodes = lab, lab.nodes
        self.vips = {"a": lab.vip(), "b": f"{PREFIX6['lan']}50"}
        self.backends = Backends(lab)
        vips = {name: {"addresses": [f"{self.vips[name]}/{bits}"], "interface": "eth0", "nodes": list(NAMES), **more}
                for name, bits in (("a", 24), ("b", 64))}
        document = services.configuration([self.vips["a"], f"[{self.vips['b']}]"], self.backends.addresses, more={"vips": vips})
        document["listeners"]["vip"].update({"allow": ["10.0.0.0/8", "fd00::/8"]})
        self.owners = {name: Owners(lab, address) for name, address in self.vips.items()}
        for node in self.nodes:
            product.start(node, lab, document, more={"shutdown_grace": "20s"})
        for node in self.nodes:
            node.await_ready()
        product.form(self.nodes)
        self.await_owner("n1")
        self.await_candidates("n2", "n3")
        self.trouble, self.known = [], {}

    def start_clients(self):
        self.probers = {name: Prober(self.lab, address) for name, address in self.vips.items()}
        self._start_clients()
        self.mails = [Mail(self.lab, self.backends, address, RATE, f"short-{name}", ["--per-connection", 1])
                      for name, address in self.vips.items()]

    def _start_clients(self):
        anchor = self.lab.client.anchor
        argv = ["/usr/bin/python3", str(CLIENTS)]
        self.lab.client.start("resets", [*argv, "resets", *self.vips.values()])
        until(lambda: "ready" in self.lab.client.tail("resets"), SECONDS, "resets are looked for")
        self._show_resets_are_seen()
        self.sessions = anchor.spawn([*argv, "sessions", *self.vips.values()], log=self.lab.client.log("sessions"),
                                     stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def _show_resets_are_seen(self):
        """One of each family, from a port where nobody listens: who looks for them would see any other."""
        for vip in self.vips.values():
            with self.lab.client.anchor.socket(family(vip)) as s, pytest.raises(ConnectionRefusedError):
                s.settimeout(SECONDS)
                s.connect((vip, CLOSED_PORT))
            until(lambda v=vip: Seen(any(f" {v} {CLOSED_PORT} " in line for line in self.resets()), self.resets()), SECONDS,
                  f"a reset from {vip} is seen")
        self.known["resets"] = len(self.resets())

    # ---- what the nodes say ----

    def node(self, name):
        return self.nodes[NAMES.index(name)]

    def tell(self):
        return "\n".join(f"== {n.name}\n{n.tail('postroadd', 2500)}\n-- ha\n{n.tail('postroad-ha', 1500)}" for n in self.nodes)

    def cli(self, node, *args, timeout=90):
        return self.node(node).run([self.lab.bin("postroad"), *args], timeout=timeout)

    def await_owner(self, name):
        for vip, owners in self.owners.items():
            until(lambda o=owners: Seen(o.now() == [name], (o.now(), self.tell())), SECONDS, f"{name} has {vip}")

    def await_candidates(self, *names, by="n1"):
        def look():
            vips = self.node(by).call("GET", "/api/v1/vips")[2]["vips"]
            said = [vips[v]["nodes"][n] for v in self.vips for n in names]
            return Seen(all(s.get("may_hold") and s["state"] == "backup" for s in said), (vips, self.tell()))
        until(look, SECONDS, f"{names} could have them")

    def words(self):
        """{VIP: where it was moved by hand, or null}."""
        return {name: v["moved_to"] for name, v in self.node("n1").call("GET", "/api/v1/vips")[2]["vips"].items()}

    def bound(self, vip, heir):
        """Seconds for a planned move to this node: its skew (RFC 5798, section 6.1) by what it says, and the slack."""
        said = self.node(heir).call("GET", "/api/v1/vips")[2]["vips"][vip]
        return (256 - said["nodes"][heir]["priority"]) * said["advert"] / 256 + SLACK

    # ---- what the clients say ----

    def heard(self):
        self.sessions.stdin.write(b"\n")
        self.sessions.stdin.flush()
        return json.loads(self.sessions.stdout.readline())

    def resets(self):
        if not self.lab.client.is_running("resets"):
            raise LabError(f"nobody looks for resets: {self.lab.client.tail('resets')}")
        lines = self.lab.client.log("resets").read_text().splitlines()
        return [line for line in lines if line != "ready"]

    def await_messages(self, more):
        """Long and short sessions have gone on, each kind by so many messages."""
        wanted = self.heard()["messages"] + more
        until(lambda: Seen(self.heard()["messages"] >= wanted, self.heard()), SECONDS, f"{more} more messages in long sessions")
        for mail in self.mails:
            mail.await_accepted(more)

    def judge(self, title, since, heir, by, resets=False):
        """What was measured since then, beside what is promised. `heir`: whose skew it is; `by`: who may have had it; `resets`: there
        may be some."""
        for name, prober in self.probers.items():
            self._judge_gap(title, name, prober, since, heir)
            holders = {h for _, _, names in self.owners[name].intervals(since) for h in names}
            if not holders <= set(by):
                self.trouble.append(f"{title}: {name} was on {holders}: a node between took it")
            if self.owners[name].overlaps(since):
                self.trouble.append(f"{title}: {name} was on two nodes: {self.owners[name].overlaps(since)}")
            if prober.refused(since):
                self.trouble.append(f"{title}: {name}: {prober.refused(since)} attempts refused")
        heard = self.heard()
        for kind, found in (("cuts", cut(heard, resets)), ("refused", [] if resets else heard["refused"]),
                            ("resets", [] if resets else self.resets())):
            if found[self.known.get(kind, 0):]:
                self.trouble.append(f"{title}: {len(found) - self.known.get(kind, 0)} {kind}: {found[self.known.get(kind, 0):][:5]}")
                print(f"  {self.trouble[-1]}", flush=True)
            self.known[kind] = len(found)

    def _judge_gap(self, title, name, prober, since, heir):
        prober.await_answers()
        gap, bound = prober.gap(since=since), self.bound(name, heir)
        said = verdict(gap.seconds, gap.error, bound)
        print(f"  {title:<44} {name}: gap {gap}, bound {bound * 1000:.0f} ms  {said}", flush=True)
        if said and BOUNDS:
            self.trouble.append(f"{title}: {name}: gap {gap}, bound {bound * 1000:.0f} ms: {said}")

    def finish(self, resets=False):
        out, _ = self.sessions.communicate(timeout=SECONDS)
        heard = json.loads(out.splitlines()[-1])
        books = [mail.finish().check() for mail in self.mails]
        print("  long: " + ", ".join(f"{k} {len(v) if isinstance(v, list) else v}" for k, v in heard.items()))
        for book in books:
            print(f"  short: {len(book.accepted)} accepted, {len(book.lost)} lost, {book.cut} cut, {book.not_opened} not connected, "
                  f"lost at {book.lost_at}, errors {book.errors}")
            assert book.cut == 0 and (resets or not any(book.lost_at.values())), f"{book}, lost at {book.lost_at}"
            assert resets or book.errors.get("421", 0) <= DRAINS * SHORT_OPEN, f"told to come later: {book.errors}"
        late = [] if resets else self.resets()[self.known["resets"]:]
        assert self.trouble + late == [], "\n".join([*self.trouble, *late, self.tell()])
        assert cut(heard, resets) == [] and (resets or heard["refused"] == []) and heard["slow"] > 0, heard


@pytest.fixture
def lab():
    with Lab(BUILD, BUILD / "lab/drain", nodes=3) as made:
        yield made
        assert made.supervisor.trouble == []


@pytest.fixture
def world(lab):
    return World(lab)


def now():
    return monotonic_ns() / 1e9


def test_nothing_is_cut_by_any_planned_move(world):
    world.start_clients()
    world.await_messages(10)
    # A drain, ordered on another node.
    began = now()
    slow = world.heard()["slow"]
    print(world.cli("n2", "node", "drain", "n1", "--yes", "--wait", "--timeout", "60").strip())
    world.await_owner("n2")
    # What was under way has ended well, and the others were told.
    until(lambda: Seen((h := world.heard())["slow"] >= slow + 2 and h["edges"] >= 14, h), SECONDS, "all have come from n1")
    assert world.node("n1").call("GET", "/api/v1/sessions")[2]["sessions"] == []
    world.await_messages(20)
    world.judge("drain of the owner", began, "n2", ("n1", "n2"))
    # It ends: the address stays where it is.
    began = now()
    world.cli("n1", "node", "ready", "n1")
    world.await_candidates("n1", "n3", by="n2")
    world.await_owner("n2")
    world.judge("its end", began, "n2", ("n2",))
    # By hand to the third, whom flows of the second are not new to.
    began = now()
    for vip in world.vips:
        world.cli("n1", "vip", "move", vip, "n3")
    world.await_owner("n3")
    world.await_messages(20)
    world.judge("move by hand", began, "n3", ("n2", "n3"))
    world.await_candidates("n1", "n2", by="n3")
    began = now()
    world.cli("n3", "vip", "rebalance")
    world.await_owner("n1")
    world.await_messages(20)
    world.judge("rebalance", began, "n1", ("n3", "n1"))
    # Where all is in place, the words of moves by hand end.
    world.cli("n3", "vip", "rebalance")
    until(lambda: Seen(not any((w := world.words()).values()), w), SECONDS, "no move by hand is left")
    # Nor is its owner cut off by mistake.
    code, _, problem = world.node("n3").call("DELETE", "/api/v1/cluster/members/n1")
    assert code == 409 and "VIP" in problem["detail"] and "drain n1" in problem["detail"], (code, problem)
    # The daemon is stopped, and started again by its supervisor.
    world.await_candidates("n2", "n3")
    began = now()
    world.node("n1").send_signal("postroadd", signal.SIGTERM)
    world.await_owner("n2")
    world.await_messages(20)
    world.await_candidates("n1", "n3", by="n2")
    world.judge("stop of the daemon", began, "n2", ("n1", "n2"))
    # What was away is preferred again, and has its addresses back by itself.
    began = now()
    for vip in world.vips:
        assert world.node("n3").call("PATCH", "/api/v1/config", {"vips": {vip: {"failback": True}}}, {"If-Match": "*"})[0] == 200
    world.await_owner("n1")
    world.await_messages(20)
    world.judge("failback", began, "n1", ("n2", "n1"))
    world.finish()


class Session:
    """One session, word by word."""

    def __init__(self, world, vip):
        self.socket = world.lab.client.anchor.socket(family(world.vips[vip]))
        self.socket.settimeout(SECONDS)
        self.socket.connect((world.vips[vip], 25))
        self.file = self.socket.makefile("rb")
        self.hear(b"220")

    def hear(self, code):
        while (raw := self.file.readline())[3:4] == b"-":
            pass
        assert raw.startswith(code), raw

    def say(self, line, code):
        self.socket.sendall(line + b"\r\n")
        self.hear(code)


def test_sessions_of_a_node_that_left_the_cluster_go_on_and_those_of_a_dead_one_are_reset(world):
    sessions = [Session(world, vip) for vip in world.vips]
    for vip in world.vips:
        world.cli("n1", "vip", "move", vip, "n2")
    world.await_owner("n2")
    fault = world.lab.lan.partition([["n1"], ["n2", "n3"]])

    def row():
        return world.node("n2").call("GET", "/api/v1/nodes")[2]["nodes"]["n1"]
    until(lambda: Seen(row()["state"] == "gone", row()), SECONDS, "n1 has left the view")
    ended = [n.tail("postroadd", 1 << 22).count("event=vip_lost") for n in world.nodes]
    began = now()
    while now() - began < 8:  # longer than it takes until the network was asked
        for session in sessions:
            session.say(b"NOOP", b"250")
        time.sleep(0.1)
    assert ended == [0, 0, 0]
    world.lab.lan.heal(fault)
    until(lambda: Seen(row()["state"] != "gone", row()), SECONDS, "n1 is back")
    for session in sessions:
        session.say(b"NOOP", b"250")
    began = now()
    world.node("n1").power_off()
    for session in sessions:
        with pytest.raises(OSError) as error:
            while True:
                session.say(b"NOOP", b"250")
        assert isinstance(error.value, ConnectionResetError), error.value
        print(f"  reset {now() - began:.1f} s after the loss of power")


def test_where_connections_cannot_be_handed_over_sessions_end_at_their_edges_first(world):
    # As where nodes share no link: who is asked to take says why not.
    for name in ("n2", "n3"):
        world.node(name).run(["nft", "-f", "-"], text="table netdev postroad { map flows4 { type inet_service : ipv4_addr; }; "
                                                      "map flows6 { type inet_service : ipv6_addr; }; }")
    world.start_clients()
    world.await_messages(10)
    began, slow = now(), world.heard()["slow"]
    world.cli("n2", "node", "drain", "n1", "--yes", "--wait", "--timeout", "60")
    world.await_owner("n2")
    warnings = world.node("n1").call("GET", "/api/v1/status")[2]["warnings"]
    assert {"vip_move/a", "vip_move/b"} <= {w.get("key") for w in warnings}, warnings
    until(lambda: Seen((h := world.heard())["slow"] >= slow + 2 and h["edges"] >= 14, h), SECONDS, "all have come from n1")
    world.await_messages(20)
    # Who had just been told to come later is reset by the new owner, which knows nothing of it; no transaction is.
    world.judge("drain without handing over", began, "n2", ("n1", "n2"), resets=True)
    world.finish(resets=True)
