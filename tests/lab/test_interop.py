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
from columns import ADDRESSES, CLIENTS, COLUMNS, SERVERS, Column, not_supported  # noqa: E402
from tap import Recording, Turn  # noqa: E402

BUILD = pathlib.Path(os.environ.get("BUILD") or HERE.parents[1] / "build")
HEAD = ("Received: from {helo} (unknown [{told}])\n\tby mta.test (Postfix) with {back} id 1\n"
        "Received: from client.test ([{client}])\n\tby lb.test (Postroad) with {front} id 2.1\n"
        "Received: from source.test (unknown [127.0.0.1])\n\tby client.test (Postfix) with ESMTP id 3\n")
CLIENT = ADDRESSES["smtplib"]
DIALOGUE = b"MAIL FROM:<a@b>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n"


def recording(*turns):
    tap = Recording()
    tap.connections.append([Turn(n % 2 == 0, data) for n, data in enumerate(x for t in turns for x in (t, b"250 ok\r\n"))])
    return tap


def head(front="ESMTP", back="ESMTP", told="127.0.0.1", helo="lb.test", client=CLIENT):
    return HEAD.format(front=front, back=back, told=told, helo=helo, client=client)


def a_cell(column=None, **arrival):
    cell = Cell("smtplib", "postfix", column or Column("plain", bodies=("plain",)), recording=recording(*DIALOGUE))
    content = bodies.split(cell.content("plain"))[1]
    values = {"head": head(), "digest": bodies.digest(content)}
    return cell, {cell.ident("plain"): [Arrival(**dict(values, **arrival))]}


def test_a_message_that_arrived_as_it_was_sent_passes():
    cell, arrivals = a_cell()
    cell.judge(arrivals, {})
    assert cell.result == PASSED, cell.failures


@pytest.mark.parametrize("change,finding", [
    ({"digest": "0"}, "altered"),
    ({"head": head(front="ESMTPS")}, "the way to the balancer was ESMTPS"),
    ({"head": head(back="ESMTPS")}, "the way to the server was ESMTPS"),
    ({"head": head(client="127.0.0.1")}, f"the way to the balancer was for 127.0.0.1, not for {CLIENT}"),
    ({"head": head(told=CLIENT)}, f"the way to the server was for {CLIENT}, not for 127.0.0.1"),
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


@pytest.mark.parametrize("identity,good,bad,finding", [
    ("v1", {"told": CLIENT}, {}, f"for 127.0.0.1, not for {CLIENT}"),
    ("v2", {"told": CLIENT}, {"told": ADDRESSES["curl"]}, f"for {ADDRESSES['curl']}, not for {CLIENT}"),
    ("xclient", {"told": CLIENT, "helo": "client.test"}, {"helo": "client.test"}, f"for 127.0.0.1, not for {CLIENT}"),
    ("xclient", {"told": CLIENT, "helo": "client.test"}, {"told": CLIENT}, "the server was not told that the client is client.test"),
])
def test_a_server_that_was_not_told_who_the_client_is_fails(identity, good, bad, finding):
    for values, result in ((good, PASSED), (bad, FAILED)):
        cell, arrivals = a_cell(Column("told", identity=identity, bodies=("plain",)), head=head(**values))
        cell.judge(arrivals, {})
        assert cell.result == result and all(finding in f for f in cell.failures), cell.failures


def test_what_belongs_to_one_sender_is_found_among_others():
    tap = recording(b"EHLO a\r\n", b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", b"DATA\r\n", b"MAIL FROM:<e@f> SIZE=1\r\n", b"DATA\r\n",
                    b"MAIL FROM:<a@b>\r\n")
    assert [t[:4] for t in tap.of("a@b").client_turns()] == [b"MAIL", b"DATA", b"MAIL"] and tap.of("a@b").pipelined()
    assert [t[:4] for t in tap.of("e@f").client_turns()] == [b"MAIL", b"DATA"] and not tap.of("e@f").pipelined()
    assert not tap.of("e").client_turns()


@pytest.mark.parametrize("announced,bare,turns,finding", [
    ({"PIPELINING"}, False, [b"MAIL FROM:<%s>\r\n", b"RCPT TO:<c@d>\r\n", b"DATA\r\n"], "did not pipeline"),
    ({"PIPELINING"}, True, [b"MAIL FROM:<%s>\r\nRCPT TO:<c@d>\r\n", b"DATA\r\n"], "used PIPELINING, which"),
    ({"CHUNKING"}, True, [b"MAIL FROM:<%s>\r\n", b"BDAT 3\r\nabc"], "used CHUNKING, which"),
    (set(), False, [b"MAIL FROM:<%s>\r\n", b"RCPT TO:<c@d>\r\n"], "no content"),
    (set(), False, [b"MAIL FROM:<x@y>\r\n", b"DATA\r\n"], "no content"),
])
def test_what_the_balancer_said_to_the_server_is_judged(announced, bare, turns, finding):
    pipelined = b"MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\n", b"DATA\r\n"
    cell, arrivals = a_cell(Column("what", use="pipelining", bare=bare, bodies=("plain",)))
    cell.recording, cell.announced = recording(*pipelined), announced
    cell.back = recording(*(t.replace(b"%s", cell.sender.encode()) for t in turns))
    cell.judge(arrivals, {})
    assert len(cell.failures) == 1 and finding in cell.failures[0], cell.failures


@pytest.mark.parametrize("column", [Column("to", chunking="always", bodies=("plain",)), Column("through", use="chunking", bodies=("plain",))])
def test_a_server_with_chunking_that_gets_data_fails(column):
    for command, result in ((b"DATA\r\n", FAILED), (b"BDAT 3 LAST\r\nabc", PASSED)):
        cell, arrivals = a_cell(column)
        cell.announced = {"CHUNKING"}
        cell.recording = recording(b"MAIL FROM:<a@b>\r\n", b"BDAT 3 LAST\r\nabc", b"DATA\r\n")
        cell.back = recording(b"MAIL FROM:<%s>\r\n" % cell.sender.encode(), command)
        cell.judge(arrivals, {})
        assert cell.result == result, cell.failures


def test_a_server_that_does_not_take_an_identity_is_not_supported_and_says_so():
    for column in (c for c in COLUMNS if c.identity):
        for needs, finding in (({"TLS"}, "PROXY header" if column.service == "proxy" else "XCLIENT"), ({"TLS", column.server_needs}, "")):
            why = not_supported("curl", column, "postfix", {"postfix": needs})
            assert finding in why and bool(finding) == bool(why)


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
