# SPDX-License-Identifier: Apache-2.0
"""The sink and the load generator keep their promises (they judge the balancer, so somebody must judge them)."""
import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench import measure, plot, procfs  # noqa: E402
from tests.bench.rows import ROWS, Goal  # noqa: E402
from tests.run import node as lib  # noqa: E402

BINS = Path(os.environ.get("OUT") or os.environ.get("BUILD") or "build").resolve() / "bin"


@pytest.fixture
def sink(tmp_path):
    started = []

    def start(*options):
        program = lib.Sink(BINS, f"127.0.0.1:{lib.free_ports(1)[0]}", tmp_path / f"sink{len(started)}.log", *options)
        started.append(program)
        return program.start()

    yield start
    for program in started:
        assert program.stop() == 0, program.tail()


def load(sink, *options):
    argv = [str(BINS / "postroad-load"), "--to", sink.listen, *map(str, options)]
    out = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    figures = json.loads(out.stdout)
    all_accepted = figures["tempfail"] + figures["permfail"] + figures["lost"] == 0
    assert out.returncode == (0 if all_accepted else 1), out.stderr
    return figures


class Client:
    """A plain socket that speaks line by line."""

    def __init__(self, sink):
        host, _, port = sink.listen.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), 5)
        self.file = self.socket.makefile("rwb")
        self.reply()

    def reply(self):
        while True:
            line = self.file.readline().decode()
            if line[3:4] != "-":
                return line[:3]

    def say(self, data):
        self.file.write(data)
        self.file.flush()
        return self.reply()

    def envelope(self):
        for line in (b"EHLO c\r\n", b"MAIL FROM:<a@x>\r\n", b"RCPT TO:<b@y>\r\n"):
            assert self.say(line) == "250"
        assert self.say(b"DATA\r\n") == "354"


def records(path):
    return [dict(f.split("=", 1) for f in line.split()) for line in path.read_text().splitlines()]


def test_every_message_is_counted_once(sink):
    s = sink("--threads", "2")
    figures = load(s, "--messages", 300, "--parallel", 7)
    assert figures["accepted"] == 300
    counters = s.counters()
    assert counters["messages"] == 300
    assert counters["bytes"] == figures["bytes"] == 300 * (4096 + 3)  # the end mark is ".\r\n"


@pytest.mark.parametrize("options", [["--pipelining"], ["--per-connection", 0], ["--rcpts", 3, "--pipelining"],
                                     ["--per-connection", 4, "--rate", 2000]])
def test_ways_of_sending_deliver_all(sink, options):
    s = sink()
    assert load(s, "--messages", 200, *options)["accepted"] == 200
    assert s.counters()["messages"] == 200


def test_store_has_the_digest_of_the_unstuffed_message(sink, tmp_path):
    path = tmp_path / "store"
    c = Client(sink("--store", path))
    c.envelope()
    assert c.say(b"X-Postroad-Id: one\r\n\r\n..stuffed\r\n.x\r\nend\r\n.\r\n") == "250"
    (record,) = records(path)
    text = b"X-Postroad-Id: one\r\n\r\n.stuffed\r\nx\r\nend\r\n"
    assert record["sha256"] == hashlib.sha256(text).hexdigest()
    assert (record["id"], record["bytes"], record["clean"]) == ("one", str(len(text)), "yes")
    assert (record["from"], record["to"]) == ("<a@x>", "<b@y>")


def test_store_is_the_same_byte_by_byte(sink, tmp_path):
    path = tmp_path / "store"
    s = sink("--store", path)
    message = b"X-Postroad-Id: two\r\n\r\n..\r\n...\r\n.\rx\r\nend\r\n.\r\n"
    for step in (len(message), 1):
        c = Client(s)
        c.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        c.envelope()
        for i in range(0, len(message), step):
            c.socket.sendall(message[i:i + step])
        assert c.reply() == "250"
    whole, trickled = records(path)
    assert whole == trickled
    assert whole["clean"] == "no"


@pytest.mark.parametrize("text", [b"a\nb\r\n", b"a\rb\r\n", b"a\0b\r\n", b"\n.\n\r\n"])
def test_store_notes_what_is_not_canonical(sink, tmp_path, text):
    path = tmp_path / "store"
    c = Client(sink("--store", path))
    c.envelope()
    assert c.say(text + b".\r\n") == "250"
    assert records(path)[0]["clean"] == "no"


@pytest.mark.parametrize("mark", [b"\n.\n", b"\n.\r\n", b"\r\n.\n", b"\r.\r", b"\r\n.\r", b"\r\n.\r\r\n"])
def test_only_crlf_dot_crlf_ends_data(sink, mark):
    s = sink()
    c = Client(s)
    c.envelope()
    assert c.say(b"x" + mark + b"QUIT\r\n\r\n.\r\n") == "250"
    assert c.say(b"QUIT\r\n") == "221"
    assert s.counters()["messages"] == 1


def test_commands_behind_the_end_are_executed_even_after_a_delay(sink):
    s = sink("--delay-dot", "20")
    c = Client(s)
    c.envelope()
    assert c.say(b"x\r\n.\r\nNOOP\r\nQUIT\r\n") == "250"
    assert [c.reply(), c.reply()] == ["250", "221"]


@pytest.mark.parametrize("stage", ["helo", "mail", "rcpt", "data", "dot"])
def test_ordered_failures_happen_and_are_reported(sink, stage):
    s = sink("--fail", f"{stage}=451:100")
    figures = load(s, "--messages", 5, "--retries", 0)
    assert figures["accepted"] == 0
    assert figures["errors"] == {"451": 5}
    assert s.counters()["messages"] == 0


def test_lost_connections_are_retried_until_accepted(sink, tmp_path):
    s = sink("--fail", "rcpt=drop:30", "--fail", "dot=451:30")
    ids = tmp_path / "ids"
    figures = load(s, "--messages", 100, "--retries", 1000, "--retry-delay", 1, "--ids", ids, "--run", "r")
    assert figures["accepted"] == 100
    assert figures["retries"] == s.counters()["failed"] > 0
    assert sorted(line.split()[0] for line in ids.read_text().splitlines()) == [f"r-{i:09}" for i in range(100)]


def test_latency_counts_from_the_timetable(sink):
    """One session and a slow server: most messages are late from the start, and their lateness is measured."""
    s = sink("--delay-dot", "20")
    figures = load(s, "--messages", 20, "--rate", 1000, "--parallel", 1)
    # The last one was due after 19 ms and cannot have been done before all 20 answers of 20 ms each.
    assert figures["latency_us"]["transaction"]["max"] >= 20 * 20_000 - 19_000


def test_idle_sessions_stand_until_they_are_told_to_go(sink, tmp_path):
    s = sink()

    class Target:
        listen = s.listen

    with measure.IdleSessions(BINS, Target, 250, tmp_path / "idle.log"):
        assert s.counters()["open"] == 250
    measure.wait_for(lambda: s.counters()["open"] == 0, "sessions closed", 10)


def test_ratio_is_taken_pair_by_pair():
    results = {"a": [{"x": 10}, {"x": 30}, {"x": 8}], "b": [{"x": 5}, {"x": 10}, {"x": 8}]}
    assert measure.ratio(results, "a", "b", "x") == {
        "median": 2.0, "min": 1.0, "max": 3.0, "rounds": 3, "each": [2.0, 3.0, 1.0]}


SVG = "{http://www.w3.org/2000/svg}"


def drawn(root, kind):
    return [e for e in root.iter() if e.get("class") == kind]


@pytest.fixture
def row():
    """Two contenders, one of them with a name that XML would trip over; three rounds."""
    results = {"postroad": [{"x": 10}, {"x": 30}, {"x": 20}], "<a&b>": [{"x": 5}, {"x": 10}, {"x": 40}]}
    goal = Goal("x ÷ <a&b>", "x", "<a&b>", ">=", 1.4)
    return {"row": "1", "title": "x & y", "keys": ["x"], "results": results, "verdicts": [goal.judge(results)],
            "machine": {"cpus": 2}}


def test_a_row_is_drawn_with_a_bar_per_contender_and_a_dot_per_round(row):
    root = ElementTree.fromstring(plot.svg(row))
    texts = [e.text for e in root.iter(SVG + "text")]
    ours, theirs = drawn(root, "bar")
    assert {"postroad", "<a&b>", "20", "10", ">= 1.4", "2 met"} <= set(texts)
    # The axis begins at 0: twice the figure is twice as long, and a spread goes from the worst to the best round.
    assert float(ours.get("width")) == pytest.approx(2 * float(theirs.get("width")), abs=0.2)
    assert [float(s.get("x2")) > float(s.get("x1")) for s in drawn(root, "spread")] == [True, True]
    assert len(drawn(root, "round")) == 3 and len(drawn(root, "wanted")) == 1


def test_every_row_can_be_drawn_from_what_it_shows_and_judges(row):
    """Also from zeros, which no axis can be made of, and as it comes back from its file."""
    for number, (title, _, keys, goals) in ROWS.items():
        names = {"postroad", *(n for g in goals for n in (g.ours, g.theirs) if n)}
        for value in (0, 3):
            results = {name: [dict.fromkeys([*keys, *(g.key for g in goals)], value)] * 2 for name in names}
            verdicts = [g.judge(results) for g in goals if value]
            data = {"row": number, "title": title, "keys": keys, "results": results, "verdicts": verdicts}
            root = ElementTree.fromstring(plot.svg(json.loads(json.dumps(data))))
            assert len(drawn(root, "bar")) == len(names) * len(keys)
            assert len(drawn(root, "wanted")) == len(verdicts)


def test_a_row_that_failed_is_drawn_too():
    root = ElementTree.fromstring(plot.svg({"row": "3", "title": "t", "failed": "<451>"}))
    assert "FAILED: <451>" in [e.text for e in root.iter(SVG + "text")]


def test_cpu_and_memory_of_this_process_are_seen():
    before = procfs.cpu_seconds(os.getpid())
    sum(range(2_000_000))
    assert procfs.cpu_seconds(os.getpid()) > before
    assert procfs.pss_bytes(os.getpid()) > 1 << 20
    assert os.getpid() in procfs.family(os.getppid())
