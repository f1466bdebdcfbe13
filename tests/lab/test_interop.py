# SPDX-License-Identifier: Apache-2.0
"""The lab of real programs can fail: what it compares, what it asks as evidence, and a whole run with altered content."""
import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

HERE = pathlib.Path(__file__).resolve().parent
sys.path[:0] = [str(HERE / "interop")]

import bodies  # noqa: E402
import report  # noqa: E402
from cells import FAILED, PASSED, UNSUPPORTED, Arrival, Cell  # noqa: E402
from columns import CLIENTS, COLUMNS, SERVERS, Column, not_supported  # noqa: E402
from tap import Recording, Turn  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD") or HERE.parents[1] / "build")
HEAD = ("Received: from lb.test\n\tby mta.test (Postfix) with {back} id 1\n"
        "Received: from client.test ([127.0.0.1])\n\tby lb.test (Postroad) with {front} id 2.1\n")
DIALOGUE = b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n"


def recording(*turns):
    tap = Recording()
    tap.connections.append([Turn(n % 2 == 0, data) for n, data in enumerate(x for t in turns for x in (t, b"250 ok\r\n"))])
    return tap


def a_cell(column=None, **arrival):
    cell = Cell("smtplib", "postfix", column or Column("plain", bodies=("plain",)), recording=recording(*DIALOGUE))
    content = bodies.split(cell.content("plain"))[1]
    values = {"head": HEAD.format(front="ESMTP", back="ESMTP"), "digest": bodies.digest(content)}
    return cell, {cell.ident("plain"): [Arrival(**dict(values, **arrival))]}


def test_a_message_that_arrived_as_it_was_sent_passes():
    cell, arrivals = a_cell()
    cell.judge(arrivals, {})
    assert cell.result == PASSED, cell.failures


@pytest.mark.parametrize("change,finding", [
    ({"digest": "0"}, "altered"),
    ({"head": HEAD.format(front="ESMTPS", back="ESMTP")}, "the way to the balancer was ESMTPS"),
    ({"head": HEAD.format(front="ESMTP", back="ESMTPS")}, "the way to the server was ESMTPS"),
    ({"head": "Received: by nobody\n"}, "no Received field"),
])
def test_what_arrived_otherwise_fails(change, finding):
    cell, arrivals = a_cell(**change)
    cell.judge(arrivals, {})
    assert cell.result == FAILED and finding in cell.failures[0]


def test_a_lost_a_doubled_and_a_returned_message_fail():
    for change, finding in ((lambda a: a.clear(), "did not arrive"), (lambda a: [v.extend(v) for v in a.values()], "arrived 2 times")):
        cell, arrivals = a_cell()
        change(arrivals)
        cell.judge(arrivals, {})
        assert any(finding in f for f in cell.failures)
    cell, _ = a_cell()
    cell.judge({}, {cell.ident("plain"): "550 no"})
    assert cell.failures == ["plain: the client gave up: 550 no"]


def test_what_a_client_says_was_refused_must_not_arrive():
    cell, arrivals = a_cell()
    cell.errors["plain"] = "exit 1"
    cell.judge(arrivals, {})
    assert "plain: arrived all the same" in cell.failures


@pytest.mark.parametrize("use,turns", [
    ("pipelining", [b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", b"DATA\r\n"]),
    ("pipelining", [b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\nDATA\r\n"]),
    ("chunking", [b"MAIL FROM:<a@b>\r\n", b"BDAT 10 LAST\r\nSubject: x"]),
    ("smtputf8", [b"MAIL FROM:<a@b> BODY=8BITMIME SMTPUTF8\r\n", b"DATA\r\n"]),
])
def test_a_column_without_its_evidence_fails(use, turns):
    for tap, result in ((recording(*DIALOGUE), FAILED), (recording(*turns, b"DATA\r\n"), PASSED)):
        cell, arrivals = a_cell(Column(use, use=use, bodies=("plain",)))
        cell.recording = tap
        cell.judge(arrivals, {})
        assert cell.result == result, cell.failures


def test_the_end_of_content_with_the_next_mail_is_not_a_pipelined_envelope():
    assert not recording(b"Hello\r\n.\r\nMAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n").pipelined()


def test_bodies_are_what_their_names_say():
    assert max(map(len, bodies.BODIES["long"].split(b"\r\n"))) == 998
    assert len(bodies.BODIES["large"]) > 20_000_000 and bodies.BODIES["large"].endswith(b"\r\n")
    for body in bodies.BODIES.values():
        assert b"\n" not in body.replace(b"\r\n", b"") and b"\r" not in body.replace(b"\r\n", b"")


def test_the_matrix_shows_results_and_reasons():
    column = Column("plain")
    cells = [Cell("curl", "exim", column), Cell("curl", "postfix", column, reason="no such thing"),
             Cell("swaks", "exim", column, failures=["plain: lost"])]
    text = report.matrix(cells, [column])
    assert text.splitlines()[1:] == ["curl > exim     passed", "curl > postfix  - [1]", "swaks > exim    FAILED", "  [1] no such thing"]
    doc = report.document(cells, {}, {"exim": {"SIZE"}}, 1)
    assert [c["result"] for c in json.loads(json.dumps(doc))["cells"]] == [PASSED, UNSUPPORTED, FAILED]


def test_every_client_and_server_has_a_plain_cell():
    announced = {s: set() for s in SERVERS}
    for client in CLIENTS:
        for server in SERVERS:
            assert not_supported(client, COLUMNS[0], server, announced) == ""


whole = pytest.mark.skipif(os.geteuid() != 0 or not (BUILD / "peers/postfix/.unpacked").exists(),
                           reason="needs root and `make peers`")


def processes_about(what):
    return [p for p in pathlib.Path("/proc").glob("[0-9]*/cmdline") if _read(p).find(str(what).encode()) >= 0]


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


@whole
def test_a_run_that_is_ended_leaves_no_process_behind(tmp_path):
    argv = ["/usr/bin/python3", str(HERE / "interop"), "--build", str(BUILD), "--clients", "smtplib", "--servers", "postfix"]
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=dict(os.environ, TMPDIR=str(tmp_path))) as run:
        deadline = time.monotonic() + 60
        while not list(tmp_path.glob("*/lb/run/admin.sock")):
            assert run.poll() is None and time.monotonic() < deadline
            time.sleep(0.05)
        assert processes_about(tmp_path)
        run.send_signal(signal.SIGTERM)
        assert run.wait(60) == 1
    assert processes_about(tmp_path) == []


@whole
def test_altered_content_is_found_and_the_evidence_kept(tmp_path):
    argv = ["/usr/bin/python3", str(HERE / "interop"), "--build", str(BUILD), "--clients", "smtplib,curl", "--servers", "postfix",
            "--columns", "plain", "--json", str(tmp_path / "out.json")]
    env = dict(os.environ, TMPDIR=str(tmp_path))
    honest = subprocess.run(argv, capture_output=True, text=True, timeout=120, env=env, check=False)
    assert honest.returncode == 0, honest.stdout + honest.stderr
    assert [p.name for p in tmp_path.iterdir()] == ["out.json"], "nothing is left behind"
    done = subprocess.run(argv + ["--sabotage"], capture_output=True, text=True, timeout=120, env=env, check=False)
    assert done.returncode == 1 and "altered: octet" in done.stdout, done.stdout + done.stderr
    assert len(list(tmp_path.glob("postroad-interop-*/failed/*.txt"))) == 2
