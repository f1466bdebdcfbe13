# SPDX-License-Identifier: Apache-2.0
"""TLS sessions outlive the node that began them: whoever takes a virtual address over opens the tickets of the one before.

Needs root and `make peers`.
"""
import os
import pathlib
import ssl
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.lab.cluster import product, services  # noqa: E402
from tests.lab.cluster.lab import TOOLS, Lab  # noqa: E402
from tests.lab.cluster.mail import Backends  # noqa: E402
from tests.lab.cluster.observers import Owners  # noqa: E402
from tests.lab.cluster.waiting import Seen, until  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
SECONDS = 30

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not all((BUILD / f"peers/{p}/.unpacked").exists() for p in ("corosync", "keepalived"))
    or not all((BUILD / t).exists() for t in TOOLS), reason="needs root, `make peers` and `make bench-tools`")


def certificate(directory):
    """One of its own, as text: it goes to all nodes with the configuration."""
    directory.mkdir(parents=True, exist_ok=True)
    pem, key = directory / "mx.pem", directory / "mx.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=mx.lab.test", "-out", str(pem), "-keyout", str(key)], check=True, capture_output=True, timeout=60)
    return {"certificate_pem": pem.read_text(), "key_pem": key.read_text()}


class Place:
    def __init__(self, lab):
        self.lab, self.nodes, self.address = lab, lab.nodes, lab.vip()
        self.owners = Owners(lab, self.address)
        tls = services.listener([f"{self.address}:465"], {"tls": {"mode": "implicit", "certificates": ["main"]}})
        document = services.configuration([self.address], Backends(lab).addresses, more={
            "vips": {"a": {"addresses": [f"{self.address}/24"], "interface": "eth0", "nodes": [n.name for n in lab.nodes]}},
            "certificates": {"main": certificate(lab.home / "tls")}})
        document["listeners"]["tls"] = tls
        for node in self.nodes:
            product.start(node, lab, document)
        for node in self.nodes:
            node.await_ready()
        product.form(self.nodes)
        self.await_owner("n1")

    def tell(self):
        return "\n".join(f"== {n.name}\n{n.tail('postroadd', 2500)}\n-- ha\n{n.tail('postroad-ha', 1500)}" for n in self.nodes)

    def await_owner(self, name):
        until(lambda: Seen(self.owners.now() == [name], (self.owners.now(), self.tell())), SECONDS, f"{name} holds it")

    def await_candidate(self, node):
        def look():
            seen = self.nodes[-1].call("GET", "/api/v1/vips")[2]["vips"]["a"]["nodes"][node]
            return Seen(seen.get("may_hold") and seen["state"] == "backup", (seen, self.tell()))
        until(look, SECONDS, f"{node} could have it")

    def visit(self, context, session=None):
        """One greeting and one good-bye. (the session to go on with, was this one resumed)"""
        raw = self.lab.client.anchor.socket()
        raw.settimeout(10)
        raw.connect((self.address, 465))
        with context.wrap_socket(raw, session=session) as tls:
            f = tls.makefile("rwb")
            assert f.readline().startswith(b"220")
            f.write(b"QUIT\r\n")
            f.flush()
            assert f.readline().startswith(b"221")
            return tls.session, tls.session_reused


@pytest.fixture(name="place")
def fixture_place():
    with Lab(BUILD, BUILD / "lab/tickets", nodes=3) as lab:
        yield Place(lab)
        assert lab.supervisor.trouble == []


def contexts():
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        context.minimum_version = context.maximum_version = version
        yield context


@pytest.mark.long
def test_a_session_is_resumed_by_the_node_that_takes_the_vip_over(place):
    clients = [(c, place.visit(c)) for c in contexts()]
    assert [reused for _, (_, reused) in clients] == [False, False]
    place.await_candidate("n2")
    assert place.nodes[2].call("POST", "/api/v1/vips/a/move", {"node": "n2"})[0] == 200
    place.await_owner("n2")
    clients = [(c, place.visit(c, session)) for c, (session, _) in clients]
    assert [reused for _, (_, reused) in clients] == [True, True]
    # Tickets of the second one, and its end is no planned one.
    place.await_candidate("n1")
    place.nodes[1].power_off()
    place.await_owner("n1")
    assert [place.visit(c, session)[1] for c, (session, _) in clients] == [True, True]
    # A session that nobody here began is none.
    stranger = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    stranger.check_hostname, stranger.verify_mode = False, ssl.CERT_NONE
    assert place.visit(stranger)[1] is False
