# SPDX-License-Identifier: Apache-2.0
"""The units of packaging/systemd on booted machines: three nodes with systemd form a cluster, and whatever ends is brought back.

Needs root, debootstrap and systemd-nspawn; the first run makes a Debian in build/nodes.
"""
import json
import os
import pathlib
import re
import signal
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.lab.cluster import booted, services  # noqa: E402
from tests.lab.cluster.mail import Backends, Mail  # noqa: E402
from tests.lab.cluster.waiting import LabError, Seen, until  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
SECONDS = 60
OURS = ("postroadd", "postroad-ha", "postroad-corosync")

pytestmark = [pytest.mark.long, pytest.mark.skipif(booted.missing() != "", reason=booted.missing())]


class Bench:
    def __init__(self, lab):
        self.lab, self.nodes, self.vip = lab, lab.nodes, lab.vip()
        self.backends = Backends(lab)
        names = [n.name for n in self.nodes]
        document = services.configuration([self.vip], self.backends.addresses, more={
            "vips": {"a": {"addresses": [f"{self.vip}/24"], "interface": "eth0", "nodes": names}}})
        for node in self.nodes:
            node.install(document)
            node.power_on()
        for node in self.nodes:
            node.await_ready()

    def form(self):
        """As an administrator does, on one node after the other."""
        first = self.nodes[0]
        first.sh(["postroad", "cluster", "init", "--link", first.addresses["cluster"]])
        await_active(first, 1)
        for n, node in enumerate(self.nodes[1:], 2):
            token = first.sh(["sh", "-c", "postroad cluster token 2>/dev/null"])
            node.sh(["postroad", "cluster", "join", "--token-file", "-", "--link", node.addresses["cluster"]], text=token)
            await_active(node, n)
        for node in self.nodes:
            await_active(node, len(self.nodes))

    def owners(self):
        return [n for n in self.nodes if n.holds(self.vip)]

    def await_owner(self, other_than=None):
        def look():
            found = self.owners()
            return Seen(len(found) == 1 and found[0] is not other_than, [n.name for n in found])
        until(look, SECONDS, "one node has the VIP")
        return self.owners()[0]


def await_active(node, votes):
    def look():
        s = node.call("GET", "/api/v1/cluster/members")[2]
        return Seen(s["state"] == "ACTIVE" and sum(m["votes"] for m in s["members"].values()) == votes and s["change"] is None, s)
    until(look, SECONDS, f"{node.name} is ACTIVE, one of {votes}")


def await_running(node, unit, before):
    """Another process of this unit runs, and systemd is content with it."""
    def look():
        now = node.show(unit, "MainPID"), node.show(unit, "ActiveState")
        return Seen(now[1] == "active" and now[0] not in ("0", str(before)), now)
    until(look, SECONDS, f"{node.name}: {unit} runs again")


@pytest.fixture(scope="module")
def bench():
    try:
        lab = booted.BootedLab(BUILD, BUILD / "lab/units", 3)
    except LabError as e:
        pytest.skip(str(e))
    with lab:
        b = Bench(lab)
        b.form()
        b.await_owner()
        yield b


def test_the_units_are_sound_and_hardened(bench):
    node = bench.nodes[0]
    units = [f"{u}.service" for u in OURS]
    said = node.sh(["sh", "-c", f"systemd-analyze verify --man=no {' '.join(units)} 2>&1"])
    print(f"  systemd-analyze verify: {said.strip() or 'nothing to say'}")
    assert "postroad" not in said
    table = node.sh(["systemd-analyze", "security", "--no-pager", *units], check=False)
    exposure = re.findall(r"Overall exposure level for (\S+): ([\d.]+)", table)
    print("  " + ", ".join(f"{unit} {level}" for unit, level in exposure))
    levels = {unit: float(level) for unit, level in exposure}
    assert levels["postroadd.service"] <= 2.0 and levels["postroad-ha.service"] <= 5.0


def test_postroadd_is_nobody_of_importance(bench):
    for node in bench.nodes:
        status = pathlib.Path(f"/proc/{node.main_pid('postroadd')}/status").read_text()
        uid = node.sh(["id", "-u", "postroad"]).strip()
        assert re.search(r"^Uid:\t(\d+)\t(\d+)\t(\d+)\t(\d+)$", status, re.M).groups() == (uid,) * 4
        for kind in ("Eff", "Prm", "Bnd", "Amb"):
            assert int(re.search(rf"^Cap{kind}:\t(\w+)$", status, re.M)[1], 16) == 1 << 10, f"Cap{kind}: only NET_BIND_SERVICE"
        assert node.sh(["stat", "-c", "%U %a", "/etc/postroad/corosync", "/run/postroad-ha", "/var/lib/postroad", "/run/postroad"]).split(
            "\n")[:4] == ["root 755", "root 755", "postroad 700", "postroad 755"]
        assert node.show("postroadd", "NRestarts") == "0" and node.show("postroad-ha", "NRestarts") == "0"


@pytest.mark.parametrize("unit", OURS)
def test_what_is_killed_is_brought_back(bench, unit):
    node = bench.await_owner()
    before = node.show(unit, "MainPID")
    os.kill(node.main_pid(unit), signal.SIGKILL)
    await_running(node, unit, before)
    node.await_ready()
    for each in bench.nodes:
        await_active(each, 3)
    bench.await_owner()
    if unit == "postroad-corosync":  # what it left in memory is gone
        left = node.sh(["ls", "/dev/shm"]).split()
        assert any(n.startswith("qb-corosync-") for n in left)
        assert not [n for n in left if n.startswith((f"qb-corosync-{before}-", f"qb-{before}-"))], left


@pytest.mark.parametrize("unit", ["postroadd", "postroad-ha"])
def test_what_is_stopped_as_a_whole_is_started_anew(bench, unit):
    node = bench.await_owner()
    before = node.show(unit, "MainPID")
    os.kill(node.main_pid(unit), signal.SIGSTOP)
    await_running(node, unit, before)
    assert "watchdog" in node.sh(["journalctl", "-q", "--no-pager", "-o", "cat", "-u", unit]).lower()
    node.await_ready()
    bench.await_owner()


@pytest.mark.parametrize("ends", [signal.SIGSEGV, signal.SIGSTOP])
def test_keepalived_lets_go_by_itself_when_postroad_ha_crashes_or_hangs(bench, ends):
    node = bench.await_owner()
    before = node.show("postroad-ha", "MainPID")
    os.kill(node.main_pid("postroad-ha"), ends)
    await_running(node, "postroad-ha", before)
    said = [x for x in node.journal("postroad-ha", 10000).splitlines() if "rocess" in x]
    print("  " + "\n  ".join(said))
    assert any("Main process exited" in x for x in said)
    assert not [x for x in said if re.search(r"\(keepalived\) with signal SIG(KILL|ABRT)", x)], said
    node.await_ready()
    bench.await_owner()


def test_what_keeps_leases_comes_before_other_work(bench):
    for node in bench.nodes:
        ha = pathlib.Path(f"/proc/{node.main_pid('postroad-ha')}")
        if booted.may_spare_from_oom():
            assert (ha / "oom_score_adj").read_text().strip() == "-900"
        assert (ha / "stat").read_text().rsplit(")", 1)[1].split()[16] == "-10"
        assert int(re.search(r"^VmLck:\s+(\d+) kB$", (ha / "status").read_text(), re.M)[1]) > 0, node.journal("postroad-ha")

        def policies():
            """Of keepalived's two processes; a start may just have been."""
            found = node.sh(["pgrep", "keepalived"], check=False).split()
            stats = [node.sh(["cat", f"/proc/{p}/stat"], check=False).rsplit(")", 1) for p in found]
            return [int(x[1].split()[38]) for x in stats if len(x) == 2]
        until(lambda: Seen(policies() == [os.SCHED_RR] * 2, (policies(), node.journal("postroad-ha"))), SECONDS, "keepalived has real time")


def test_who_may_speak_to_corosync_cannot_make_it_write_where_it_likes(bench):
    node = bench.nodes[2]
    before = node.show("postroad-corosync", "MainPID")

    def write(path):
        for key, value in (("logging.logfile", path), ("logging.to_logfile", "yes")):
            node.sh(["setpriv", "--reuid=postroad", "--regid=postroad", "--clear-groups", "corosync-cmapctl", "-s", key, "str", value],
                    check=False)
    for folder in ("/var/cache", "/usr/lib", "/etc", "/boot", "/run/systemd/system", "/run/postroad-ha"):
        write(f"{folder}/evil")
        assert node.sh(["ls", folder]).split().count("evil") == 0
    write("/run/seen")  # so the way is open, and what was tried above could have been done
    until(lambda: Seen("seen" in node.sh(["ls", "/run"]).split(), node.sh(["ls", "/run"])), SECONDS, "its log goes where it may")
    caps = int(re.search(r"^CapEff:\t(\w+)$", pathlib.Path(f"/proc/{node.main_pid('postroad-corosync')}/status").read_text(), re.M)[1], 16)
    assert caps & (1 << 21 | 1 << 22 | 1 << 16) == 0, "SYS_ADMIN, SYS_BOOT, SYS_MODULE"
    assert node.show("postroad-corosync", "MainPID") == before
    node.sh(["systemctl", "restart", "postroad-corosync"])
    for each in bench.nodes:
        await_active(each, 3)


def test_corosync_that_hangs_is_killed_by_postroad_ha(bench):
    node = bench.nodes[1]
    before = node.show("postroad-corosync", "MainPID")
    os.kill(node.main_pid("postroad-corosync"), signal.SIGSTOP)
    await_running(node, "postroad-corosync", before)
    for each in bench.nodes:
        await_active(each, 3)


def test_stopping_postroadd_drains_it(bench):
    owner = bench.await_owner()
    mail = Mail(bench.lab, bench.backends, bench.vip, rate=30)
    mail.await_accepted(50)
    owner.sh(["systemctl", "stop", "postroadd"], timeout=100)
    assert owner.show("postroadd", "Result") == "success"
    bench.await_owner(other_than=owner)
    mail.await_accepted(50)
    owner.sh(["systemctl", "start", "postroadd"])
    owner.await_ready()
    books = mail.finish().check()
    assert books.cut == 0 and books.not_opened == 0, books
    for each in bench.nodes:
        await_active(each, 3)


def test_a_node_that_reboots_is_a_member_again(bench):
    node = bench.await_owner()
    mail = Mail(bench.lab, bench.backends, bench.vip, rate=30, run="reboot")
    mail.await_accepted(30)
    node.sh(["systemctl", "reboot"], check=False)
    node.await_reboot(SECONDS)
    node.await_ready()
    for each in bench.nodes:
        await_active(each, 3)
    assert node.sh(["systemctl", "list-units", "--failed", "--no-legend"]).strip() == ""
    books = mail.finish().check()
    assert books.cut == 0, books
    bench.await_owner()


def metrics_of(node):
    lines = node.call("GET", "/metrics")[2].splitlines()
    return {name: float(value) for name, _, value in (x.rpartition(" ") for x in lines if not x.startswith("#")) if name}


def test_metrics_and_answers_tell_of_the_cluster(bench):
    owner, names = bench.await_owner(), {n.name for n in bench.nodes}
    writer = bench.nodes[1]
    before = metrics_of(writer)["postroad_cluster_commit_seconds_count"]
    assert writer.call("PUT", "/api/v1/pools/mta/servers/sink1/weight", {"weight": 55})[0] == 200
    assert metrics_of(writer)["postroad_cluster_commit_seconds_count"] == before + 1
    for node in bench.nodes:
        until(lambda n=node: Seen((s := metrics_of(n)).get('postroad_cluster_nodes{state="ready"}') == 3, s), SECONDS, "all are heard")
        m = metrics_of(node)
        assert m["postroad_cluster_quorate"] == 1 and m["postroad_cluster_config_revision"] >= 1
        assert m['postroad_vip_owner{vip="a"}'] == (node is owner)
        assert {f'postroad_vip_transitions_total{{vip="a",to="{to}"}}' for to in ("master", "backup", "fault")} <= set(m)
        status, said = node.call("GET", "/api/v1/status")[2], node.call("GET", "/api/v1/nodes")[2]["nodes"]
        assert status["quorum"] and status["vips"] == {"a": [owner.name]} and set(status["nodes"]) == set(said) == names
        assert status["cluster"]["state"] == "ACTIVE" and set(status["cluster"]["members"]) == names
        bad = {k: n for k, n in said.items() if not n["ready"] or n["overloaded"] or n["heard_ago"] > 3 or abs(n["clock_ahead"]) >= 1}
        assert not bad, f"{node.name} of {json.dumps(bad)}\n{node.journal('postroadd')}"
        vip = node.call("GET", "/api/v1/vips")[2]["vips"]["a"]
        assert vip["holders"] == [owner.name] and vip["why"] and set(vip["nodes"]) == names
