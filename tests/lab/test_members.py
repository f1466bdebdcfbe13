# SPDX-License-Identifier: Apache-2.0
"""Members of a cluster over time: who is believed, what is left behind, voters, two links, certificates, backups."""
import json
import os
import pathlib
import socket
import ssl
import sys
import threading

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.lab.cluster import product  # noqa: E402
from tests.lab.cluster.lab import TOOLS  # noqa: E402
from tests.lab.cluster.members import Members, await_status, weight_of  # noqa: E402
from tests.lab.cluster.waiting import Seen, until  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
NEEDED = (*TOOLS, "bin/postroad-ha", "bin/postroad")
SECONDS = 40
CALL_PORT = 8426
DAYS = 24 * 3600
MANY = 1 << 30  # nodes with the VIP lose their power here: what was open there ends

pytestmark = [pytest.mark.long, pytest.mark.skipif(
    os.geteuid() != 0 or not all((BUILD / f"peers/{p}/.unpacked").exists() for p in ("corosync", "keepalived"))
    or not all((BUILD / t).exists() for t in NEEDED), reason="needs root, `make peers` and `make bench-tools`")]


@pytest.fixture(name="place")
def one_place(request):
    nodes, members, *networks = getattr(request, "param", (3, 3))
    place = Members(BUILD, BUILD / "lab/members", nodes, members, tuple(networks) or ("cluster",))
    yield place
    place.close()


def of(nodes, members, *networks):
    return pytest.mark.parametrize("place", [(nodes, members, *networks)], indirect=True, ids=[f"{members} of {nodes}"])


# ---- who is believed ----

class Impostor:
    """Answers calls between nodes at an address, with a certificate and key of its own; counts who came."""

    def __init__(self, host, address, certificate, key, answer):
        self.tries, self.told = 0, 0
        self._answer = json.dumps(answer).encode()
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.minimum_version = ssl.TLSVersion.TLSv1_3
        self._context.load_cert_chain(certificate, key)
        self._socket = host.anchor.socket()
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((address, CALL_PORT))
        self._socket.listen(16)
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.tries += 1
            try:
                connection.settimeout(2)
                with self._context.wrap_socket(connection, server_side=True) as tls:
                    tls.recv(65536)
                    self.told += 1
                    tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"
                                b"Content-Length: %d\r\n\r\n%s" % (len(self._answer), self._answer))
            except OSError:
                continue

    def close(self):
        self._socket.close()


@of(4, 4)
def test_a_former_member_cannot_tell_a_member_that_it_was_removed(place, tmp_path):
    with place.test(holder=None, cut=MANY):
        one, two, three, four = place.nodes
        for name in ("node.pem", "node.key", "ca.pem"):
            (tmp_path / name).write_bytes(four.path(f"/var/lib/postroad/trust/{name}").read_bytes())
        (tmp_path / "chain.pem").write_text((tmp_path / "node.pem").read_text() + (tmp_path / "ca.pem").read_text())
        product.ask(four, "POST", "leave")
        place.await_alone("n4")
        place.await_one(("n1", "n2", "n3"))
        # n3 alone asks everybody it knows of, at their addresses.
        one.power_off()
        two.power_off()
        place.lab.lan.ip(f"address add {one.addresses['cluster']}/24 dev eth1\n", four)
        three.run(["ip", "neighbour", "flush", "dev", "eth1"])
        impostor = Impostor(four, one.addresses["cluster"], tmp_path / "chain.pem", tmp_path / "node.key", {"removed": True})
        until(lambda: Seen(impostor.tries >= 4, impostor.tries), SECONDS, "n3 has asked several times")
        impostor.close()
        place.lab.lan.ip(f"address delete {one.addresses['cluster']}/24 dev eth1\n", four)
        assert product.status(three)["cluster"] == "postroad" and place.secrets(three), "it is still a member"
        one.power_on()
        two.power_on()
        place.await_one(("n1", "n2", "n3"))


# ---- what is left behind ----

@of(3, 3)
def test_a_node_that_leaves_keeps_what_was_in_force_over_a_restart_and_takes_no_vip(place):
    with place.test():
        one, _, three = place.nodes
        code, _, answer = one.call("PATCH", "/api/v1/config", {"pools": {"mta": {"slow_start": "7s"}}}, {"If-Match": "*"})
        assert code == 200, answer
        until(lambda: Seen((s := slow_start(three)) == "7s", s), SECONDS, "n3 knows the change")
        product.ask(three, "POST", "leave")
        place.await_alone("n3")
        three.kill("postroadd")
        three.await_ready()
        assert slow_start(three) == "7s", "what was in force is"
        assert "vips" not in three.call("GET", "/api/v1/config")[2], "VIPs are the cluster's"
        # It is a node like any other: it writes, and may come back.
        place.write_by(three)
        product.join(three, one)
        place.await_one(("n1", "n2", "n3"))
        assert "a" in three.call("GET", "/api/v1/config")[2]["vips"]


@of(3, 3)
def test_the_holder_of_a_vip_is_drained_and_leaves_and_nothing_is_cut(place):
    with place.test(holder=None):
        one, two, _ = place.nodes
        until(lambda: Seen((o := place.owners.now()) == ["n2"], o), SECONDS, "n2 holds the VIP")
        # What would cut mail is not done by mistake.
        assert "drain" in product.ask(two, "POST", "leave", wanted=409)["detail"]
        one.run([place.lab.bin("postroad"), "node", "drain", "n2", "--yes", "--wait", "--timeout", "60"], timeout=70)
        product.ask(two, "POST", "leave")
        place.await_alone("n2")
        place.await_one(("n1", "n3"))
        assert place.owners.now() in (["n1"], ["n3"])
        product.join(two, one)
        place.await_one(("n1", "n2", "n3"))


def slow_start(node):
    return node.call("GET", "/api/v1/config")[2]["pools"]["mta"].get("slow_start")


# ---- certificates ----

def fingerprint(node):
    return ssl.PEM_cert_to_DER_cert(node.path("/var/lib/postroad/trust/node.pem").read_text())


@of(3, 2)
def test_certificates_are_renewed_in_time(place):
    with place.test():
        one, two, voter = place.nodes
        product.join(voter, one, voter_only=True)
        place.await_one(("n1", "n2", "n3"))
        before = [fingerprint(n) for n in place.nodes]
        expiry = [n.metrics()['postroad_certificate_expiry_timestamp_seconds{certificate="cluster/node"}'] for n in place.nodes]
        for node in place.nodes:
            node.clock_step(250 * DAYS)
        for node, old in zip(place.nodes, before):
            until(lambda n=node, o=old: Seen(fingerprint(n) != o, n.tail("postroadd", 1500)), SECONDS, f"{node.name} has a next one")
        for node, old in zip(place.nodes, expiry):
            name = 'postroad_certificate_expiry_timestamp_seconds{certificate="cluster/node"}'
            until(lambda n=node, o=old: Seen((v := n.metrics()[name]) > o + 200 * DAYS, v), SECONDS, f"{node.name} shows it")
        # Calls between nodes go by it: a node that was off asks the others for the table before its corosync starts.
        one.power_off()
        await_status(two, "misses n1", lambda s: not s["members"]["n1"]["present"])
        one.power_on()
        place.await_one(("n1", "n2", "n3"))
        for node in (one, two):
            assert not node.path("/var/lib/postroad/trust/node.next.key").exists()


# ---- other shapes ----

@of(3, 2)
def test_two_and_a_voter_that_carries_no_mail(place):
    with place.test():
        one, _, voter = place.nodes
        product.join(voter, one, voter_only=True)
        place.await_one(("n1", "n2", "n3"))
        status = product.status(one)["members"]
        assert status["n3"]["voter_only"] and not any(m["tie_breaker"] for m in status.values())
        until(lambda: Seen(not listens(voter), listens(voter)), SECONDS, "the voter takes no mail")
        assert listens(one), "the others do"
        vip = one.call("GET", "/api/v1/vips")[2]["vips"]["a"]
        assert not vip["nodes"].get("n3", {}).get("may_hold"), vip
        # With it the other one decides alone.
        one.power_off(torn=True)
        await_status(place.nodes[1], "misses n1", lambda s: not s["members"]["n1"]["present"])
        place.write_by(place.nodes[1])
        one.power_on()
        place.await_one(("n1", "n2", "n3"))
        # Also after a start.
        voter.kill("postroadd")
        await_status(voter, "is back", lambda s: s["state"] == "ACTIVE")
        assert not listens(voter)


def listens(node):
    """Whether anything at this node has port 25."""
    return node.run(["ss", "-Hltn", "sport", "=", ":25"]).strip()


@of(3, 3, "cluster", "lan")
def test_a_cluster_forms_with_two_links(place):
    with place.test():
        one = place.nodes[0]
        links = product.status(one)["members"]["n2"]["links"]
        assert links == [place.nodes[1].addresses["cluster"], place.nodes[1].addresses["lan"]]
        for node in place.nodes:
            until(lambda n=node: Seen((c := links_up(n)) == 4, c), SECONDS, f"{node.name} reaches two others by two links")
        ring = product.status(one)["corosync"]["ring"]
        place.lab.lan.cut("n2", "cluster")
        until(lambda: Seen((c := links_up(one)) == 3, c), SECONDS, "a link is seen to be cut")
        place.write_by(one)
        place.lab.lan.plug_in("n2", "cluster")
        until(lambda: Seen((c := links_up(one)) == 4, c), SECONDS, "it is back")
        assert product.status(one)["corosync"]["ring"] == ring
        place.await_one(("n1", "n2", "n3"))


def links_up(node):
    report = node.call("GET", "/api/v1/nodes")[2]["nodes"][node.name]
    return sum(link["up"] for link in report["links"])


# ---- given up ----

@of(4, 3)
def test_a_join_that_is_cancelled_leaves_two_and_one(place):
    with place.test():
        one, _, _, four = place.nodes
        token = place.token("n1")
        # Its part of the work cannot be done: postroad-ha stands still.
        code, _, answer = place.ask_join(four, token)
        assert code == 200, answer
        four.freeze("postroad-ha")
        waiting = await_status(one, "has a change or a member more", lambda s: s["change"] is not None or "n4" in s["members"])
        print(f"  cancelled at {waiting['change'] and waiting['change']['step']}")
        code, _, answer = one.call("DELETE", "/api/v1/cluster/change")
        assert code == 200, answer
        four.thaw("postroad-ha")
        await_status(one, "has no change", lambda s: s["change"] is None)
        place.await_one(("n1", "n2", "n3"))
        place.await_alone("n4")
        place.write_by(four)


# ---- a copy ----

@of(4, 3)
def test_a_backup_makes_a_new_cluster_when_all_are_gone(place):
    with place.test(holder=None, cut=MANY):
        one, two, three, four = place.nodes
        secret = "$6$abcdefgh$yVfUwsw5T.JApa8POvClA1pQ5peiq97DUNyXCZN5IrF.BMSkiaLQ5kvpuEm/VQ1Tvh/KV2TcaWh8qinoW5dhA1"
        code, _, answer = one.call("PATCH", "/api/v1/config", {"users": {"relay": {"password": secret}}}, {"If-Match": "*"})
        assert code == 200, answer
        place.write_by(two)
        one.write("/run/passphrase", "a long passphrase\n", 0o600)
        one.run([place.lab.bin("postroad"), "cluster", "backup", "--passphrase-file", "/run/passphrase", "/run/copy"])
        copy = one.path("/run/copy").read_bytes()
        assert secret.encode() not in copy and b"sink1" not in copy
        weight = weight_of(one)
        for node in (one, two, three):
            place.wipe(node.name)
        four.write("/run/passphrase", "a long passphrase\n", 0o600)
        four.write("/run/copy", copy, 0o600)
        four.run([place.lab.bin("postroad"), "cluster", "restore", "--yes", "--passphrase-file", "/run/passphrase", "/run/copy"])
        assert weight_of(four) == weight
        assert secret.encode() in four.path("/var/lib/postroad/store.log").read_bytes(), "secrets are restored"
        product.init(four)
        for name in ("n1", "n2"):
            place.set_up(name)
            product.join(place.named(name)[0], four)
        place.await_one(("n1", "n2", "n4"))
        assert weight_of(one) == place.weight
        assert secret.encode() in one.path("/var/lib/postroad/store.log").read_bytes(), "and given to the new members"
