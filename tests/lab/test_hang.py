# SPDX-License-Identifier: Apache-2.0
"""One thread of postroadd hangs, and no other: mail goes on, the VIP moves where it must, and the process ends by itself.

Needs root and `make peers`. Times are printed beside their bounds.
"""
import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.lab.cluster import product, services  # noqa: E402
from tests.lab.cluster.lab import TOOLS, Lab  # noqa: E402
from tests.lab.cluster.mail import Backends, Mail  # noqa: E402
from tests.lab.cluster.observers import Owners  # noqa: E402
from tests.lab.cluster.waiting import Seen, until  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
HOLD = REPOSITORY / "tests/lib/hold"
SECONDS = 40

pytestmark = [pytest.mark.long, pytest.mark.skipif(
    os.geteuid() != 0 or not (BUILD / "peers/keepalived/.unpacked").exists() or not all((BUILD / t).exists() for t in TOOLS),
    reason="needs root, `make peers` and `make bench-tools`")]


class Bench:
    def __init__(self, lab):
        self.lab, self.nodes, self.vip = lab, lab.nodes, lab.vip()
        self.backends = Backends(lab)
        document = services.configuration([self.vip], self.backends.addresses, more={"vips": {"a": {
            "addresses": [f"{self.vip}/24"], "interface": "eth0", "nodes": [n.name for n in self.nodes]}}})
        self.owners = Owners(lab, self.vip)
        for node in self.nodes:
            product.start(node, lab, document, more={"workers": 2})
        for node in self.nodes:
            node.await_ready()
        product.form(self.nodes)

    def await_owner(self, other_than=None):
        def look():
            now = self.owners.now()
            return Seen(len(now) == 1 and (other_than is None or now != [other_than.name]), now)
        until(look, SECONDS, "one node has the VIP")
        return next(n for n in self.nodes if [n.name] == self.owners.now())

    def settle(self):
        for node in self.nodes:
            node.await_ready()
            product.await_active(node)
        self.lab.supervisor.expected.clear()
        assert self.lab.supervisor.trouble == []
        return self.await_owner()


@pytest.fixture(scope="module")
def bench():
    with Lab(BUILD, BUILD / "lab/hang", nodes=3) as lab:
        yield Bench(lab)
        assert lab.supervisor.trouble == []


def thread(node, name):
    pid = node.pid_of("postroadd")
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text().strip() == name:
            return int(task.name)
    raise AssertionError(f"no thread {name}")


@contextlib.contextmanager
def held(tid):
    """This thread stands still, and no other."""
    with subprocess.Popen([str(HOLD), str(tid)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout.readline() == "held\n"
        yield
        holder.stdin.close()


def await_named(node, name, starts):
    """The watchdog has named this thread, and the supervisor has started another process."""
    until(lambda: Seen(f"thread {name} has not come round" in node.tail("postroadd", 20000), node.tail("postroadd")), SECONDS,
          f"{name} is named")
    service = node.service("postroadd")
    until(lambda: Seen(service.starts > starts, service.starts), SECONDS, "it is started again")


def test_a_worker_that_hangs_loses_the_vip_and_then_the_process(bench):
    owner = bench.settle()
    starts, began = owner.service("postroadd").starts, time.monotonic()
    owner.expect_end("postroadd", signal.SIGABRT)
    with held(thread(owner, "worker 1")):
        bench.await_owner(other_than=owner)
        print(f"  worker hung: VIP elsewhere after {time.monotonic() - began:.2f} s; bound 1.0 s, the skew and 0.1 s")
        assert owner.service("postroadd").starts == starts
        await_named(owner, "worker 1", starts)
        print(f"  worker hung: process ended after {time.monotonic() - began:.2f} s; bound 5 s and two rounds of 0.25 s")


def test_mail_goes_on_while_the_cluster_thread_hangs(bench):
    owner = bench.settle()
    other = next(n for n in bench.nodes if n is not owner)
    starts = other.service("postroadd").starts
    mail = Mail(bench.lab, bench.backends, bench.vip, rate=50, run="cluster")
    other.expect_end("postroadd", signal.SIGABRT)
    with held(thread(other, "cluster")):
        mail.await_accepted(100)
        await_named(other, "cluster", starts)
    books = mail.finish().check()
    assert books.cut == 0 and books.not_opened == 0, books
    bench.settle()


def test_corosync_that_hangs_ends_no_postroadd(bench):
    owner = bench.settle()
    starts = owner.service("postroadd").starts
    mail = Mail(bench.lab, bench.backends, bench.vip, rate=50, run="corosync")
    pid = next(p for p in owner.family("postroad-ha") if pathlib.Path(f"/proc/{p}/comm").read_text().strip() == "corosync")
    os.kill(pid, signal.SIGSTOP)
    # postroad-ha kills it at 30 s: until then, and after, this process is the same.
    until(lambda: Seen(not pathlib.Path(f"/proc/{pid}").exists(), pid), 60, "postroad-ha kills it")
    bench.settle()
    assert owner.service("postroadd").starts == starts
    books = mail.finish().check()
    assert books.cut == 0 and books.not_opened == 0, books


def test_a_disk_that_hangs_ends_no_postroadd(bench):
    owner = bench.settle()
    starts = owner.service("postroadd").starts
    mail = Mail(bench.lab, bench.backends, bench.vip, rate=50, run="disk")
    owner.hang_disk()
    try:
        # Entries are written on it while others commit them; that takes its time.
        code = owner.call("PUT", "/api/v1/pools/mta/servers/sink1/weight", {"weight": 77}, timeout=20)[0]
        assert code in (200, 202, 503)
        began = time.monotonic()
        until(lambda: time.monotonic() - began > 7, 20, "longer than a thread may hang")
        mail.await_accepted(100)
        assert owner.service("postroadd").starts == starts and owner.is_running("postroadd")
    finally:
        owner.hang_disk(False)
    bench.settle()
    assert owner.service("postroadd").starts == starts
    mail.finish().check()
