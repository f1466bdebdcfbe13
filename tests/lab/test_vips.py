# SPDX-License-Identifier: Apache-2.0
"""Virtual addresses by the real postroadd, postroad-ha and keepalived: taken after a start, let go of when mail would not be
taken, changed one without touching the others.

Needs root and `make peers`. Times are printed beside their bounds.
"""
import os
import pathlib
import sys
import time

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.lab.cluster import product, services  # noqa: E402
from tests.lab.cluster.lab import TOOLS, Lab  # noqa: E402
from tests.lab.cluster.mail import Backends  # noqa: E402
from tests.lab.cluster.observers import Owners, Prober  # noqa: E402
from tests.lab.cluster.waiting import Seen, until  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
SECONDS = 30

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not (BUILD / "peers/keepalived/.unpacked").exists() or not all((BUILD / t).exists() for t in TOOLS),
    reason="needs root, `make peers` and `make bench-tools`")


def vip_config(address, nodes, **more):
    return {"addresses": [f"{address}/24"], "interface": "eth0", "nodes": nodes, **more}


class One:
    """A node alone, with two VIPs."""

    def __init__(self, lab):
        self.lab, self.node = lab, lab.nodes[0]
        self.vips = [lab.vip(0), lab.vip(1), lab.vip(2)]
        self.backends = Backends(lab)
        document = services.configuration(self.vips, self.backends.addresses, more={
            "vips": {"a": vip_config(self.vips[0], ["n1"]), "b": vip_config(self.vips[1], ["n1", "n2"])}})
        self.owners = {v: Owners(lab, v) for v in self.vips}
        self.node.supervise("postroad-ha", [str(lab.bin("postroad-ha")), "--user", "root"])
        services.start_postroadd(self.node, lab.bin("postroadd"), document)
        self.node.await_ready()

    def vip(self, name):
        return self.node.call("GET", "/api/v1/vips")[2]["vips"].get(name)

    def await_held(self, address, held=True, seconds=SECONDS):
        names = ["n1"] if held else []
        return until(lambda: Seen(self.owners[address].now() == names, (self.owners[address].now(), self.node.tail("postroadd"),
                                                                        self.node.tail("postroad-ha"))),
                     seconds, f"{address} is {'held' if held else 'let go of'}")

    def patch(self, change):
        status, _, answer = self.node.call("PATCH", "/api/v1/config", change, {"If-Match": "*"})
        assert status == 200, answer
        return answer


@pytest.fixture(scope="module")
def one():
    with Lab(BUILD, BUILD / "lab/vips", nodes=1) as lab:
        yield One(lab)
        assert lab.supervisor.trouble == []


def test_a_node_alone_takes_its_vips_after_the_start(one):
    for address in one.vips[:2]:
        one.await_held(address)
    said = until(lambda: v if (v := one.vip("a"))["holders"] == ["n1"] else None, SECONDS, "the API says who has it")
    assert said["nodes"]["n1"]["holds"] and said["nodes"]["n1"]["may_hold"] and said["why"]
    assert one.node.call("GET", "/api/v1/status")[2]["vips"]["a"] == ["n1"]


def test_postroadd_killed_lets_go_and_a_new_one_takes_again(one):
    one.await_held(one.vips[0])
    began = time.monotonic()
    one.node.kill("postroadd")
    one.await_held(one.vips[0], held=False)
    print(f"  postroadd killed: let go of within {time.monotonic() - began:.3f} s")
    one.await_held(one.vips[0])


def test_a_daemon_that_hangs_lets_go(one):
    one.await_held(one.vips[0])
    began = time.monotonic()
    one.node.freeze("postroadd")
    one.await_held(one.vips[0], held=False)
    print(f"  postroadd stopped: let go of within {time.monotonic() - began:.3f} s; bound 1.0 s and the skew")
    one.node.thaw("postroadd")
    one.await_held(one.vips[0])


def test_a_vip_comes_and_goes_without_the_others(one):
    for address in one.vips[:2]:
        one.await_held(address)
    since = time.clock_gettime(time.CLOCK_MONOTONIC)
    one.patch({"vips": {"c": vip_config(one.vips[2], ["n1"])}})
    one.await_held(one.vips[2])
    one.patch({"vips": {"c": None}})
    one.await_held(one.vips[2], held=False)
    assert one.vip("c") is None
    for address in one.vips[:2]:
        assert one.owners[address].absences(since) == []


def test_a_node_without_a_part_in_a_vip_does_not_take_it(one):
    one.patch({"vips": {"c": vip_config(one.vips[2], ["n2"])}})
    until(lambda: one.vip("c"), SECONDS, "it is configured")
    assert one.owners[one.vips[2]].now() == [] and one.vip("c")["holders"] == []
    one.patch({"vips": {"c": None}})


# ---- three nodes ----


class Three:
    """A cluster with one VIP, and clients that go on while it moves."""

    def __init__(self, lab):
        self.lab, self.nodes, self.address = lab, lab.nodes, lab.vip()
        self.backends = Backends(lab)
        document = services.configuration([self.address], self.backends.addresses, more={
            "vips": {"a": vip_config(self.address, ["n1", "n2", "n3"])}})
        self.owners = Owners(lab, self.address)
        for node in self.nodes:
            product.start(node, lab, document)
        for node in self.nodes:
            node.await_ready()
        product.form(self.nodes)
        self.await_owner("n1")
        self.await_candidates("n2", "n3")

    def tell(self):
        return "\n".join(f"== {n.name}\n{n.tail('postroadd', 2500)}\n-- ha\n{n.tail('postroad-ha', 1500)}" for n in self.nodes)

    def await_owner(self, *names):
        until(lambda: Seen(self.owners.now() == sorted(names), (self.owners.now(), self.tell())), SECONDS, f"{names} hold it")

    def vip(self, node=None):
        return (node or self.nodes[0]).call("GET", "/api/v1/vips")[2]["vips"]["a"]

    def await_candidates(self, *names):
        until(lambda: Seen(all(self.vip()["nodes"][n].get("may_hold") and self.vip()["nodes"][n]["state"] == "backup" for n in names),
                           (self.vip(), self.tell())), SECONDS, f"{names} could have it")

    def client(self):
        """A session through the VIP, greeted."""
        s = self.lab.client.anchor.socket()
        s.settimeout(10)
        s.connect((self.address, 25))
        f = s.makefile("rwb")
        assert f.readline().startswith(b"220")
        return s, f


@pytest.fixture
def three():
    with Lab(BUILD, BUILD / "lab/vips3", nodes=3) as lab:
        yield Three(lab)
        assert lab.supervisor.trouble == []


def say(session, line, code):
    session[1].write(line + b"\r\n")
    session[1].flush()
    while (reply := session[1].readline())[3:4] == b"-":
        pass
    assert reply.startswith(code), reply
    return reply


@pytest.mark.long
def test_a_move_by_hand_cuts_no_session_and_a_drain_brings_it_on(three):
    one, two, _ = three.nodes
    session = three.client()
    say(session, b"EHLO lab.test", b"250")
    say(session, b"MAIL FROM:<a@lab.test>", b"250")
    say(session, b"RCPT TO:<b@lab.test>", b"250")
    prober = Prober(three.lab, three.address)
    prober.await_answers()
    status, _, answer = two.call("POST", "/api/v1/vips/a/move", {"node": "n2"})
    assert status == 200 and answer["moves"]["a"] == {"from": "n1", "to": "n2"}, answer
    three.await_owner("n2")
    prober.await_answers()
    print(f"  moved by hand: gap {prober.gap()}")
    # The session of before goes on at the node that was left.
    say(session, b"DATA", b"354")
    say(session, b"Subject: moved\r\n\r\nx\r\n.", b"250")
    assert prober.refused() == 0
    # The new owner is drained: to the first in order, with the session of now.
    three.await_candidates("n1", "n3")
    later = three.client()
    say(later, b"EHLO lab.test", b"250")
    say(later, b"MAIL FROM:<a@lab.test>", b"250")
    say(later, b"RCPT TO:<b@lab.test>", b"250")
    status, _, answer = one.call("PUT", "/api/v1/nodes/n2/state", {"admin": "drain"})
    assert status == 200, answer
    three.await_owner("n1")
    say(later, b"DATA", b"354")
    say(later, b"Subject: drained\r\n\r\nx\r\n.", b"250")
    until(lambda: Seen((n := one.call("GET", "/api/v1/nodes")[2]["nodes"]["n2"])["safe_to_stop"], n), SECONDS, "n2 may be stopped")
    assert prober.refused() == 0
    print(f"  all moves: gap {prober.gap()}")
    assert two.call("PUT", "/api/v1/nodes/n2/state", {"admin": "ready"})[0] == 200
    session[0].close()


@pytest.mark.long
def test_the_last_ready_node_is_drained_by_force_only(three):
    one, two, three_ = three.nodes
    for node in (two, three_):
        assert one.call("PUT", f"/api/v1/nodes/{node.name}/state", {"admin": "drain"})[0] == 200
    until(lambda: Seen((s := one.call("PUT", "/api/v1/nodes/n1/state", {"admin": "drain"}))[0] == 409, s), SECONDS, "the last one is kept")
    three.await_owner("n1")


@pytest.mark.long
def test_the_holder_dies(three):
    three.nodes[0].power_off()
    until(lambda: Seen("n2" in three.owners.now(), (three.owners.now(), three.tell())), SECONDS, "the next in order has it")


@pytest.mark.long
def test_nodes_that_restart_without_contact_to_each_other_stay_one_system(three):
    one, two, _ = three.nodes
    three.lab.lan.partition([["n1"], ["n2"], ["n3"]], "cluster")
    for node in three.nodes[1:]:
        node.kill("postroadd")
    # Their own tables are in force, made without a word of anybody.
    for node in three.nodes[1:]:
        until(lambda n=node: Seen("somebody has the address" in (why := three.vip(n)["nodes"][n.name].get("why") or ""), (why, three.tell())),
              SECONDS, f"{node.name} asks the network and hears of the holder")
        # keepalived's peers are in it: else one who takes the VIP would not hear the one who comes back.
        assert f"\t{one.addresses['lan']}\n" in node.path("/run/postroad-ha/keepalived.conf").read_text()
    assert three.owners.now() == ["n1"]
    since = time.clock_gettime(time.CLOCK_MONOTONIC)
    one.kill("postroad-ha")
    until(lambda: three.owners.lost_by("n1", since), SECONDS, "n1 has lost it")

    def is_settled():
        began, ended, holders = three.owners.intervals(since)[-1]
        return Seen(len(holders) == 1 and ended - began > 8, (holders, three.tell()))
    until(is_settled, 2 * SECONDS, "one has it and stays")
    shared = three.owners.overlaps(since)
    print(f"  postroad-ha of the holder killed while nobody is heard: {three.owners.intervals(since)}, on two nodes: {shared}")
    assert sum(o[1] - o[0] for o in shared) < 0.5, (shared, three.tell())
