# SPDX-License-Identifier: Apache-2.0
"""The judges of the labs find what they are there for: programs that crash and are started again, sessions that are cut, gaps
that began before anybody looked or were not measured, rows that are missing. Those with a node need root."""
import os
import pathlib
import signal
import subprocess
import sys

import pytest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))

from tests.lab.cluster import mail, starve  # noqa: E402
from tests.lab.cluster.lab import TOOLS, Lab  # noqa: E402
from tests.lab.cluster.mail import Books  # noqa: E402
from tests.lab.cluster.observers import Owners, Prober, verdict  # noqa: E402
from tests.lab.cluster.rows import Row  # noqa: E402
from tests.lab.cluster.waiting import LabError, Seen, until  # noqa: E402
from tests.lab.matrix import frame, rows_cluster, rows_disk, rows_upgrade, rows_vip  # noqa: E402,F401  pylint: disable=unused-import

BUILD = pathlib.Path(os.environ.get("BUILD") or REPOSITORY / "build").resolve()
SECONDS = 20
READY = """import os, socket, time
socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM).sendto(b"READY=1", os.environ["NOTIFY_SOCKET"])
time.sleep(1000)
"""

with_nodes = pytest.mark.skipif(os.geteuid() != 0 or not all((BUILD / t).exists() for t in TOOLS),
                                reason="needs root and `make bench-tools`")


# ---- times ----


class Told(Prober):
    """A prober that knows what it is told."""

    def __init__(self, sent, answered):  # pylint: disable=super-init-not-called
        self.name, self.interval, self.errors = "told", 0.01, []
        self.sent = [(at, i) for i, at in enumerate(sent)]
        self.answers = [(at, i) for i, at in enumerate(answered)]

    def read(self):
        pass


def each(began, ended, step=0.01):
    return [began + i * step for i in range(round((ended - began) / step))]


def test_a_silence_that_has_begun_is_counted_from_when_it_is_asked_about():
    prober = Told(each(0, 5), [*each(0, 1), *each(3, 5)])
    assert prober.gap().seconds == pytest.approx(2, abs=0.02)
    assert prober.gap(since=2).seconds == pytest.approx(1, abs=0.02)
    assert prober.gap(since=3.5).seconds < 0.02
    assert prober.gap(since=2, until_=2.5).seconds == pytest.approx(0.5, abs=0.02)
    with pytest.raises(LabError, match="no ground"):
        Told(each(0, 5), each(0, 1)).gap(since=2)


def test_a_prober_that_stood_still_has_measured_nothing_but_times_within_a_bound():
    steady, still = Told(each(0, 5), [*each(0, 1), *each(3, 5)]).gap(), Told([*each(0, 1), *each(3, 5)], [*each(0, 1), *each(3, 5)]).gap()
    assert steady.error < 0.05 and still.error > 1.9 and still.seconds > 1.9
    assert verdict(steady.seconds, steady.error, 1) == "MISSED"
    assert verdict(still.seconds, still.error, 1) == "NOT MEASURED"
    assert verdict(still.seconds, still.error, 2.5) == verdict(1.02, 0.03, 1) == verdict(9, 9, None) == ""


# ---- rows ----


def row_of(**more):
    return Row(None, None, None, None, "a row", **more)


def test_numbers_and_what_must_not_happen_are_outcomes_and_the_rest_are_times():
    row = row_of()
    row.measured += [("late", 2, 0.01, 1), ("in time", 1, 0, 2), ("VIP on two nodes", 0.2, 0, 0), ("one owner", 0, 0, 0)]
    row.count("writes", 9)
    row.count("refused", 0, 0)
    assert [m[0] for m in row.missed()] == ["late"] and [w.partition(":")[0] for w in row.wrong()] == ["VIP on two nodes"]
    row.count("cut", 1, 0)
    assert [w.partition(":")[0] for w in row.wrong()] == ["cut", "VIP on two nodes"]
    with pytest.raises(LabError, match="cut"):
        row.check()


def test_a_session_may_be_cut_anywhere_before_its_message_is_answered():
    stages = {"connect": 1, "tls": 2, "banner": 4, "ehlo": 8, "starttls": 16, "auth": 32, "quit": 64,
              "mail": 128, "rcpt": 256, "data": 512, "dot": 1024}
    books = Books([], [], {"lost_at": stages}, "run")
    assert books.not_opened == 63 and books.cut == 128 + 256 + 512 + 1024
    assert not set(stages) - {"quit"} - set((REPOSITORY / "tests/bench/load.c").read_text().replace('"', " ").split())


def test_a_row_that_is_not_there_is_missed(monkeypatch):
    frame.all_there()
    monkeypatch.setattr(frame, "ROWS", [e for e in frame.ROWS if e.number not in ("10", "14")])
    with pytest.raises(LabError, match="no row 10, 14$"):
        frame.all_there()


@pytest.mark.skipif(os.geteuid() != 0 or not (BUILD / "peers/keepalived/.unpacked").exists(), reason="needs root and `make peers`")
def test_a_matrix_of_which_nothing_was_played_is_a_failure():
    argv = [sys.executable, REPOSITORY / "tests/lab/matrix", "--build", BUILD]
    assert subprocess.run([*argv, "--times", "0"], capture_output=True, timeout=60, check=False).returncode == 1
    assert subprocess.run([*argv, "--list"], capture_output=True, timeout=60, check=True).stdout.count(b"\n") > 22


# ---- what a lab that was killed has left ----


@with_nodes
def test_a_lab_that_begins_takes_away_what_one_that_was_killed_has_left(tmp_path):
    with subprocess.Popen(["true"]) as ended:
        pass
    groups = starve.ROOT / "cpu" if (starve.ROOT / "cpu").is_dir() else starve.ROOT
    mine = f"{starve.PREFIX}{os.getpid()}"  # whose lab lives
    made = [place / name for place in (mail.MEMORY, groups) for name in (f"{starve.PREFIX}{ended.pid}", mine)]
    try:
        for path in made:
            path.mkdir()
        with Lab(BUILD, tmp_path / "lab", nodes=1, peers=()):
            assert [path.name for path in made if path.exists()] == [mine, mine]
    finally:
        for path in made:
            if path.exists():
                path.rmdir()


# ---- addresses ----


@with_nodes
def test_an_address_is_held_where_the_network_sees_it(tmp_path):
    with Lab(BUILD, tmp_path / "lab", nodes=2, peers=()) as lab:
        one, two = lab.nodes
        owners, seen, kept = Owners(lab, lab.vip()), f"{lab.vip()}/24 dev eth0\n", f"{lab.vip()}/32 dev lo\n"
        for change, node in [(f"add {seen}", one), (f"add {kept}", one), (f"add {kept}", two), (f"delete {kept}", two),
                             (f"delete {kept}", one), (f"add {seen}", two), (f"delete {seen}", one)]:
            lab.lan.ip(f"address {change}", node)
        until(lambda: Seen(owners.now() == ["n2"], owners.events), SECONDS, "n2 alone has it")
        assert [h for *_, h in owners.intervals()] == [("n1",), ("n1", "n2"), ("n2",)]


# ---- programs ----


def ends(lab, count):
    until(lambda: Seen(len(e := lab.supervisor.ends) >= count, e), SECONDS, f"{count} ends")
    return lab.supervisor.ends[count - 1]


def runs(node, name, starts):
    until(lambda: node.service(name).starts == starts and node.is_running(name), SECONDS, f"{name} runs for the time {starts}")
    return node.pid_of(name)


@with_nodes
def test_a_program_that_ends_by_itself_is_found_though_it_runs_again(tmp_path):
    lab = Lab(BUILD, tmp_path / "lab", nodes=1, peers=())
    with pytest.raises(LabError, match="n1: sleep ended with SIGSEGV, by itself; n1: sleep ended with SIGSEGV, by itself$"):
        with lab:
            (node,) = lab.nodes
            node.supervise("sleep", ["sleep", "1000"])
            node.kill("sleep")
            assert ends(lab, 1).by == "the lab"
            runs(node, "sleep", 2)
            node.power_off()
            node.power_on()
            assert len(lab.supervisor.ends) == 1 and lab.supervisor.trouble == []
            os.kill(runs(node, "sleep", 3), signal.SIGSEGV)
            assert not ends(lab, 2).is_expected and len(lab.supervisor.trouble) == 1
            node.expect_end("sleep", signal.SIGABRT)
            os.kill(runs(node, "sleep", 4), signal.SIGABRT)
            assert ends(lab, 3).is_expected
            os.kill(runs(node, "sleep", 5), signal.SIGSEGV)
            assert not ends(lab, 4).is_expected
            runs(node, "sleep", 6)
            node.stop("sleep")
            assert ends(lab, 5).by == "the lab" and len(lab.supervisor.trouble) == 2


@with_nodes
def test_a_watchdog_nobody_spoke_of_a_bad_status_and_reports_in_logs_are_found(tmp_path):
    lab = Lab(BUILD, tmp_path / "lab", nodes=1, peers=())
    with pytest.raises(RuntimeError, match="on purpose"), lab:  # an error that is there already is not hidden
        (node,) = lab.nodes
        node.supervise("silent", ["/usr/bin/python3", "-c", READY], watchdog=0.2)
        end = ends(lab, 1)
        assert (end.by, end.status, end.is_expected) == ("a watchdog", -signal.SIGABRT, False)
        node.unsupervise("silent")
        node.supervise("ends", ["sh", "-c", "echo corosync ended by signal 11; echo x.c:1:2: runtime error: y; exit 3"], restart=1000)
        assert str(ends(lab, 2)) == "n1: ends ended with status 3, by itself"
        wrong = [w for w in lab.supervisor.trouble if "silent" not in w]
        assert len(wrong) == 3 and "signal 11" in wrong[1] and "runtime error" in wrong[2], wrong
        assert lab.supervisor.trouble == lab.supervisor.trouble, "each is told once"
        raise RuntimeError("on purpose")
    assert len(lab.findings) == 4
