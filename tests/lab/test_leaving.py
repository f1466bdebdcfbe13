# SPDX-License-Identifier: Apache-2.0
"""What a node does that leaves its cluster: what was drained stays so, and one that only voted takes no mail."""
import os
import pathlib
import sys
import threading

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.lab.cluster import product  # noqa: E402
from tests.lab.cluster.lab import TOOLS, Lab  # noqa: E402
from tests.lab.test_forming import Bench, await_status, is_alone, votes  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
NEEDED = (*TOOLS, "bin/postroad-ha")

pytestmark = [pytest.mark.long, pytest.mark.skipif(
    os.geteuid() != 0 or not all((BUILD / f"peers/{p}/.unpacked").exists() for p in ("corosync", "keepalived"))
    or not all((BUILD / t).exists() for t in NEEDED), reason="needs root, `make peers` and `make bench-tools`")]


class Watch:
    """Looks again and again, until the end; keeps what it saw once."""

    def __init__(self, look):
        self.seen, self._over = set(), threading.Event()
        self._thread = threading.Thread(target=self._run, args=(look,))

    def _run(self, look):
        while not self._over.wait(0.02):
            self.seen.add(look())

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join(30)


def states(node):
    """Of a server and of the node, as they are in force."""
    server = node.call("GET", "/api/v1/pools/mta", timeout=15)[2]["servers"]["sink1"]
    return server["admin"], server["weight"]


def listens(node):
    return node.run(["ss", "-Hltn", "sport", "=", ":25"]).strip()


def test_what_was_drained_stays_so_and_a_voter_opens_no_listener(tmp_path):
    with Lab(BUILD, BUILD / "lab/leaving", 3) as lab:
        one, two, voter = (bench := Bench(lab, 2)).nodes
        assert len(bench.backends.addresses) > 1
        product.join(voter, one, voter_only=True)
        assert one.call("PUT", "/api/v1/pools/mta/servers/sink1/state", {"admin": "drain"}, timeout=15)[0] == 200
        assert one.call("PUT", "/api/v1/pools/mta/servers/sink1/weight", {"weight": 17}, timeout=15)[0] == 200
        await_status(voter, "votes", lambda s: votes(s).get("n3") == 1 and s["change"] is None)
        with Watch(lambda: listens(voter)) as watch:
            product.ask(voter, "POST", "leave")
            await_status(voter, "stands alone", is_alone)
            await_status(one, "is one of two", lambda s: votes(s).keys() == {"n1", "n2"} and s["change"] is None)
            voter.kill("postroadd")
            await_status(voter, "is back", is_alone)
        assert watch.seen == {""}
        assert "listeners" not in voter.call("GET", "/api/v1/config")[2]
        with Watch(lambda: states(two)) as watch:
            product.ask(two, "POST", "leave")
            await_status(two, "stands alone", is_alone)
        assert watch.seen == {("drain", 17)}
        two.kill("postroadd")
        two.await_ready()
        assert states(two) == ("drain", 17)
        assert lab.supervisor.trouble == []
