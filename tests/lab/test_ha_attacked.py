# SPDX-License-Identifier: Apache-2.0
"""What happens to virtual addresses when something around postroad-ha is wrong: its directories vanish, keepalived is not there, the
address is somebody else's already, nobody is heard after a start, there are fifty of them.

One node alone, or two, with the real postroadd, postroad-ha and keepalived. Needs root and `make peers`.
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
from tests.lab.cluster.lan import PREFIX  # noqa: E402
from tests.lab.cluster.mail import Backends  # noqa: E402
from tests.lab.cluster.observers import Owners  # noqa: E402
from tests.lab.cluster.waiting import Seen, until  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
SECONDS = 60
MANY = 50
KEEPALIVED = "/run/programs/keepalived"

pytestmark = [pytest.mark.long, pytest.mark.skipif(
    os.geteuid() != 0 or not (BUILD / "peers/keepalived/.unpacked").exists() or not all((BUILD / t).exists() for t in TOOLS),
    reason="needs root, `make peers` and `make bench-tools`")]


def vip_config(address):
    return {"addresses": [f"{address}/24"], "interface": "eth0", "nodes": ["n1"], "vrid": int(address.rpartition(".")[2])}


class One:
    """A node alone with one VIP; keepalived is where KEEPALIVED says, if it is there."""

    def __init__(self, lab, has_keepalived=True):
        self.lab, self.node, self.address = lab, lab.nodes[0], lab.vip()
        self.owners = Owners(lab, self.address)
        document = services.configuration([self.address], Backends(lab).addresses, more={"vips": {"a": vip_config(self.address)}})
        self.node.run(["mkdir", "-p", os.path.dirname(KEEPALIVED)])
        if has_keepalived:
            self.give_keepalived()
        self.node.supervise("postroad-ha", [str(lab.bin("postroad-ha")), "--user", "root", "--keepalived", KEEPALIVED])
        services.start_postroadd(self.node, lab.bin("postroadd"), document)
        self.node.await_ready()

    def give_keepalived(self):
        self.node.run(["ln", "-s", self.node.run(["which", "keepalived"]).strip(), KEEPALIVED])

    def tell(self):
        return self.node.tail("postroadd", 3000) + "\n-- ha\n" + self.node.tail("postroad-ha", 3000)

    def await_held(self, held=True, owners=None):
        names, owners = ["n1"] if held else [], owners or self.owners
        until(lambda: Seen(owners.now() == names, (owners.now(), self.tell())), SECONDS, f"{owners.address} is {'' if held else 'not '}held")

    def patch(self, change):
        status, _, answer = self.node.call("PATCH", "/api/v1/config", change, {"If-Match": "*"})
        assert status == 200, answer

    def warnings(self):
        return self.node.call("GET", "/api/v1/status")[2]["warnings"]

    def await_warning(self, part, there=True):
        def look():
            found = [w for w in self.warnings() if part in str(w)]
            return Seen(bool(found) == there, (self.warnings(), self.tell()))
        until(look, SECONDS, f"a warning of {part}" if there else f"no warning of {part}")

    def computed(self):
        """Seconds of a processor that keepalived's process has used."""
        pid = self.node.path("/run/postroad-ha/vrrp.pid").read_text().strip()
        fields = self.node.run(["cat", f"/proc/{pid}/stat"]).rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def vrrp(self):
        """The process that holds the addresses: its id there, its scheduling policy, its limit of real time."""
        pid = self.node.path("/run/postroad-ha/vrrp.pid").read_text().strip()
        policy = self.node.run(["cat", f"/proc/{pid}/stat"]).rsplit(")", 1)[1].split()[38]
        limit = next(line.split()[3:5] for line in self.node.run(["cat", f"/proc/{pid}/limits"]).splitlines() if "realtime timeout" in line)
        return pid, policy, limit


@pytest.fixture
def lab():
    with Lab(BUILD, BUILD / "lab/attacked", nodes=1) as made:
        yield made
        assert made.supervisor.trouble == []


def test_fifty_vips_come_and_go_and_the_first_one_never_moves(lab):
    one = One(lab)
    one.await_held()
    since = time.clock_gettime(time.CLOCK_MONOTONIC)
    before = one.vrrp()
    others = [lab.vip(i) for i in range(1, MANY)]
    for _ in range(2):
        began = time.monotonic()
        one.patch({"vips": {f"v{i}": vip_config(a) for i, a in enumerate(others)}})

        def held():
            out = one.node.run(["ip", "-o", "address", "show", "dev", "eth0"])
            return sum(f" {a}/" in out for a in others)
        until(lambda: Seen(held() == len(others), (held(), one.tell())), SECONDS, "all are held")
        print(f"  {len(others)} more VIPs: held after {time.monotonic() - began:.2f} s")
        began = time.monotonic()
        one.patch({"vips": {f"v{i}": None for i in range(len(others))}})
        until(lambda: Seen(held() == 0, (held(), one.tell())), SECONDS, "all are gone")
        print(f"  and gone after {time.monotonic() - began:.2f} s")
    for i in range(4):  # each is a reload or two
        one.patch({"vips": {"x": vip_config(others[0])}})
        until(lambda: Seen(f" {others[0]}/" in one.node.run(["ip", "-o", "address"]), one.tell()), SECONDS, "it is held")
        one.patch({"vips": {"x": None}})
        until(lambda: Seen(f" {others[0]}/" not in one.node.run(["ip", "-o", "address"]), one.tell()), SECONDS, "it is gone")
    print(f"  keepalived before {before}, after {one.vrrp()}; it has computed for {one.computed():.2f} s in all")
    assert one.vrrp() == before, one.tell()
    assert one.owners.absences(since) == []


@pytest.mark.parametrize("directory", ["/run/postroad-ha", "/run/postroad-ha/track", "/run/postroad"])
def test_a_directory_that_vanishes_is_made_anew_and_the_vip_is_back(lab, directory):
    one = One(lab)
    one.await_held()
    if directory != "/run/postroad":
        one.node.expect_end("postroad-ha", 1)  # keepalived would not see another directory, so both are started anew
    one.node.run(["sh", "-c", f"rm -rf {directory}/* {directory}; ls -la /run"])
    began = time.monotonic()
    if directory != "/run/postroad":
        one.await_held(False)
        one.await_held()
        print(f"  {directory}: held again {time.monotonic() - began:.1f} s later")
        assert one.owners.absences(longer_than=15) == []
        return
    # The two go on talking; a daemon that starts anew finds the other again.
    one.node.run(["mkdir", "-p", directory])
    one.node.kill("postroadd")
    one.await_held(False)
    one.await_held()


def test_without_keepalived_nothing_is_held_and_it_is_said_why_until_it_is_there(lab):
    one = One(lab, has_keepalived=False)
    one.await_warning("vip_table")
    print(f"  {one.warnings()}")
    assert one.owners.now() == []
    one.give_keepalived()
    one.await_held()
    one.await_warning("vip_table", False)


def test_an_address_that_somebody_else_has_is_told_until_he_has_not(lab):
    lab.lan.ip(f"address add {PREFIX['lan']}.50/32 dev eth0\n", lab.client)
    one = One(lab)
    one.await_held()
    one.await_warning("vip_elsewhere/a")
    print(f"  {[w for w in one.warnings() if 'vip_elsewhere' in str(w)]}")
    lab.lan.ip(f"address delete {PREFIX['lan']}.50/32 dev eth0\n", lab.client)
    one.await_warning("vip_elsewhere/a", False)


def test_a_node_that_starts_and_hears_nobody_asks_the_network_first():
    with Lab(BUILD, BUILD / "lab/attacked", nodes=2) as lab:
        address, first = lab.vip(), lab.nodes[0]
        vip = {**vip_config(address), "nodes": ["n1", "n2"]}
        document = services.configuration([address], Backends(lab).addresses, more={"vips": {"a": vip}})
        owners = Owners(lab, address)
        for node in lab.nodes:
            product.start(node, lab, document)
        for node in lab.nodes:
            node.await_ready()
        product.form(lab.nodes)
        until(lambda: Seen(owners.now() == ["n1"], owners.now()), SECONDS, "n1 has it")
        for node in lab.nodes:
            node.power_off()
        lab.lan.ip(f"address add {address}/32 dev eth0\n", lab.client)
        first.power_on()

        def said():
            return first.call("GET", "/api/v1/vips")[2]["vips"]["a"]["nodes"]["n1"]
        first.await_ready()
        until(lambda: Seen("somebody has the address" in str(said().get("why")), said()), SECONDS, "it says why it does not take it")
        assert owners.now() == []
        lab.lan.ip(f"address delete {address}/32 dev eth0\n", lab.client)
        until(lambda: Seen(owners.now() == ["n1"], (owners.now(), said())), SECONDS, "n1 takes it when nobody answers")
        assert lab.supervisor.trouble == []
