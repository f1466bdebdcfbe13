# SPDX-License-Identifier: Apache-2.0
"""The sink and the load generator keep their promises (they judge the balancer, so somebody must judge them)."""
import base64
import hashlib
import json
import os
import socket
import ssl
import struct
import subprocess
import sys
import threading
from pathlib import Path
from xml.etree import ElementTree

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.bench import credentials, measure, plot, procfs  # noqa: E402
from tests.bench.judging import Goal  # noqa: E402
from tests.bench.rows import ROWS  # noqa: E402
from tests.bench.rows_cluster import check_rate  # noqa: E402
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

    def __init__(self, sink, greeted=True):
        host, _, port = sink.listen.rpartition(":")
        self.socket = socket.create_connection((host, int(port)), 5)
        self.file = self.socket.makefile("rwb")
        if greeted:
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


@pytest.mark.parametrize("how,columns,lost_at", [("drop", ["lost", "0", "2", "3", "0"], {"dot": 3}),
                                                 ("451", ["tempfail", "451", "2", "0", "3"], {})])
def test_a_try_whose_end_left_without_a_clear_answer_is_noted(sink, tmp_path, how, columns, lost_at):
    ids = tmp_path / "ids"
    figures = load(sink("--fail", f"dot={how}:100"), "--messages", 1, "--retries", 2, "--retry-delay", 1, "--ids", ids, "--run", "r")
    assert ids.read_text().split() == ["r-000000000", *columns]
    assert figures["lost_at"] == lost_at


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


# ---- identity ----

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"
V2_INET = SIGNATURE + b"\x21\x11\0\x0c" + bytes([192, 0, 2, 7, 127, 0, 0, 1]) + struct.pack("!HH", 4711, 25)
V2_INET6 = SIGNATURE + b"\x21\x21\0\x24" + socket.inet_pton(socket.AF_INET6, "2001:db8::7") + bytes(16) + bytes(4)
V2_EXTENDED = SIGNATURE + b"\x21\x11\0\x12" + V2_INET[16:] + b"\x04\0\x03abc"
PROXY_HEADERS = [(V2_INET, "192.0.2.7"), (V2_INET6, "2001:db8::7"), (V2_EXTENDED, "192.0.2.7"),
                 (SIGNATURE + b"\x20\0\0\0", None), (b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\n", "192.0.2.7"),
                 (b"PROXY UNKNOWN\r\n", None)]


@pytest.mark.parametrize("header,client", PROXY_HEADERS)
@pytest.mark.parametrize("bytewise", [False, True])
def test_proxy_header_is_read_and_its_client_recorded(sink, tmp_path, header, client, bytewise):
    path = tmp_path / "store"
    c = Client(sink("--proxy", "--store", path), greeted=False)
    c.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for piece in [bytes([b]) for b in header] if bytewise else [header]:
        c.socket.sendall(piece)
    assert c.reply() == "220"
    c.envelope()
    assert c.say(b"x\r\n.\r\n") == "250"
    assert records(path)[0].get("client") == client


@pytest.mark.parametrize("header", [b"EHLO c\r\n", V2_INET.replace(b"\x21", b"\x11", 1), b"PROXY TCP4 192.0.2.7\r\n",
                                    b"PROXY " + b"x" * 200, SIGNATURE + b"\x21\x11\0\x04abcd"])
def test_who_does_not_say_whom_he_speaks_for_is_hung_up_on(sink, header):
    s = sink("--proxy")
    c = Client(s, greeted=False)
    c.socket.sendall(header)
    try:
        assert c.socket.recv(100) == b""
    except ConnectionResetError:
        pass  # closed with our bytes unread
    assert s.counters()["failed"] == 1


def test_xclient_begins_the_session_anew(sink, tmp_path):
    path = tmp_path / "store"
    c = Client(sink("--xclient", "--store", path))
    assert c.say(b"EHLO c\r\n") == "250"
    assert c.say(b"XCLIENT NAME=[UNAVAILABLE] ADDR=192.0.2.9 PORT=99\r\n") == "220"
    assert c.say(b"MAIL FROM:<a@x>\r\n") == "503"
    c.envelope()
    assert c.say(b"x\r\n.\r\n") == "250"
    assert records(path)[0]["client"] == "192.0.2.9"


def test_xclient_is_unknown_where_it_was_not_asked_for(sink):
    c = Client(sink())
    assert c.say(b"XCLIENT ADDR=192.0.2.9\r\n") == "500"


# ---- TLS and AUTH ----

class TlsServer:
    """Just enough SMTP with TLS and AUTH PLAIN; notes what it saw."""

    def __init__(self, dir, implicit, clear_behind_220=b""):
        certificate, key, _ = credentials.certificate(dir)
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, key)
        self.implicit, self.clear = implicit, clear_behind_220
        self.messages, self.users, self.resumed, self.clear_commands = [], [], [], []
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.listen = f"127.0.0.1:{self.socket.getsockname()[1]}"
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.session, args=(peer,), daemon=True).start()

    def session(self, peer):
        peer.settimeout(10)
        try:
            if self.implicit:
                peer = self.wrap(peer)
            self.talk(peer)
        except OSError:
            pass
        finally:
            peer.close()

    def wrap(self, peer):
        peer = self.context.wrap_socket(peer, server_side=True)
        self.resumed.append(peer.session_reused)
        return peer

    def talk(self, peer):
        peer.sendall(b"220 tls.test\r\n")
        file = peer.makefile("rb")
        while line := file.readline():
            verb = line.split()[0].upper()
            if not isinstance(peer, ssl.SSLSocket):
                self.clear_commands.append(verb)
            if verb == b"STARTTLS":
                peer.sendall(b"220 go\r\n" + self.clear)
                peer = self.wrap(peer)
                file = peer.makefile("rb")
            elif verb == b"AUTH":
                user, password = base64.b64decode(line.split()[2]).split(b"\0")[1:]
                good = password == credentials.PASSWORD.encode()
                self.users.append(user.decode() if good else None)
                peer.sendall(b"235 in\r\n" if good else b"535 out\r\n")
            elif verb == b"DATA":
                peer.sendall(b"354 go\r\n")
                text = b""
                while not text.endswith(b"\r\n.\r\n"):
                    text += file.readline()
                self.messages.append(text)
                peer.sendall(b"250 taken\r\n")
            elif verb == b"QUIT":
                peer.sendall(b"221 bye\r\n")
                return
            else:
                peer.sendall(b"250-tls.test\r\n250 OK\r\n" if verb == b"EHLO" else b"250 OK\r\n")


@pytest.fixture
def tls_server(tmp_path):
    made = []

    def make(implicit=False, **kw):
        made.append(TlsServer(tmp_path / "tls", implicit, **kw))
        return made[-1]

    yield make
    for server in made:
        server.socket.close()


@pytest.mark.parametrize("how", ["starttls", "implicit"])
@pytest.mark.parametrize("options", [[], ["--pipelining", "--per-connection", 5]])
def test_mail_goes_under_tls_and_whole(tls_server, how, options):
    s = tls_server(how == "implicit")
    figures = load(s, "--messages", 20, "--parallel", 4, "--size", 100_000, "--tls", how, *options)
    assert figures["accepted"] == len(s.messages) == 20
    assert {len(m) for m in s.messages} == {100_003}
    assert set(s.clear_commands) <= {b"EHLO", b"STARTTLS"}
    assert figures["handshakes"] == len(s.resumed) == figures["connections"]
    assert figures["resumed"] == sum(s.resumed) == 0
    assert figures["tls"].startswith("TLSv1.3/")


def test_sessions_are_resumed_where_asked_for(tls_server):
    s = tls_server(True)
    figures = load(s, "--messages", 10, "--parallel", 1, "--tls", "implicit", "--resume")
    assert figures["resumed"] == sum(s.resumed) == 9


@pytest.mark.parametrize("how", ["starttls", "implicit"])
def test_handshakes_carry_no_mail(tls_server, how):
    s = tls_server(how == "implicit")
    figures = load(s, "--messages", 30, "--parallel", 3, "--tls", how, "--handshakes")
    assert figures["accepted"] == figures["handshakes"] == len(s.resumed) == 30
    assert (s.messages, figures["bytes"]) == ([], 0)


def test_a_server_without_tls_is_no_handshake(sink):
    figures = load(sink(), "--messages", 3, "--tls", "implicit", "--handshakes")
    assert (figures["accepted"], figures["handshakes"], figures["lost"]) == (0, 0, 3)


def test_bytes_in_clear_behind_the_answer_to_starttls_end_the_session(tls_server):
    s = tls_server(clear_behind_220=b"250 injected\r\n")
    figures = load(s, "--messages", 2, "--tls", "starttls")
    assert (figures["accepted"], s.messages) == (0, [])


def test_users_log_in_in_turn(tls_server, tmp_path):
    s = tls_server()
    logins = credentials.write_logins(tmp_path / "logins", ["a", "b", "c"])
    assert load(s, "--messages", 6, "--parallel", 1, "--tls", "starttls", "--auth-users", logins)["accepted"] == 6
    assert s.users == ["a", "b", "c"] * 2
    assert b"AUTH" not in s.clear_commands


def test_a_refused_login_is_a_refused_message(tls_server):
    s = tls_server()
    figures = load(s, "--messages", 3, "--tls", "starttls", "--auth", "a:wrong")
    assert (figures["permfail"], figures["errors"], s.messages) == (3, {"535": 3}, [])


def test_idle_sessions_stand_under_tls(tls_server, tmp_path):
    s = tls_server(True)
    with measure.IdleSessions(BINS, s, 20, tmp_path / "idle.log", "--tls", "implicit"):
        assert len(s.resumed) == 20


def test_hashes_are_yescrypt():
    assert credentials.yescrypt().startswith("$y$")
    assert len(set(credentials.users(["a", "b"]).values())) == 1


# ---- attackers ----

@pytest.fixture
def attack(tmp_path):
    """Runs an attack until a condition is met, and returns its counts."""
    def run(target, mode, *options, until=lambda: True):
        argv = [BINS / "postroad-attack", "--to", target.listen, "--mode", mode, *options]
        program = lib.Program(argv, tmp_path / f"attack-{mode}.log").start()
        try:
            program.wait_until(lambda: "begun" in program.tail(), "the attack")
            program.wait_until(until, "what the attack is to bring about")
        finally:
            assert program.stop() == 0
        return json.loads(program.tail().splitlines()[-1])

    return run


def test_idle_attackers_stand_and_come_from_many_addresses(attack, sink):
    s = sink()
    counts = attack(s, "idle", "--clients", 150, "--sources", 30, until=lambda: s.counters()["open"] == 150)
    assert (counts["standing"], counts["connections"], counts["failed"]) == (150, 150, 0)


def test_dripping_attackers_send_one_byte_at_a_time(attack):
    pieces = []

    def serve():
        peer, _ = server.accept()
        peer.sendall(b"220 x\r\n")
        while piece := peer.recv(100):
            pieces.append(piece)

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()

        class Target:
            listen = f"127.0.0.1:{server.getsockname()[1]}"

        attack(Target, "drip", "--clients", 1, until=lambda: len(pieces) == 2)
    assert pieces[:2] == [b"E", b"H"]


def test_crawling_attackers_send_content_one_byte_at_a_time(attack, sink):
    s = sink()
    counts = attack(s, "crawl", "--clients", 5, until=lambda: s.counters()["bytes"] >= 5)
    assert counts["standing"] == 5
    assert s.counters()["bytes"] <= 100  # their envelopes were taken, and single bytes since


def test_holding_attackers_send_an_envelope_and_no_more(attack):
    lines = []

    def serve():
        peer, _ = server.accept()
        peer.sendall(b"220 x\r\n")
        for line in peer.makefile("rb"):
            lines.append(line[:4])
            peer.sendall(b"250 x\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, daemon=True).start()

        class Target:
            listen = f"127.0.0.1:{server.getsockname()[1]}"

        counts = attack(Target, "hold", "--clients", 1, until=lambda: len(lines) == 3)
    assert lines == [b"EHLO", b"MAIL", b"RCPT"] and counts["standing"] == 1


def test_who_is_thrown_out_comes_back(attack, sink):
    s = sink("--fail", "connect=421:100")
    counts = attack(s, "idle", "--clients", 4, until=lambda: s.counters()["connections"] > 9)
    assert counts["standing"] == 0 and counts["refused"] >= 8


def test_deaf_attackers_send_until_nobody_takes_it(attack, sink):
    s = sink()
    counts = attack(s, "deaf", "--clients", 3, until=lambda: s.counters()["connections"] > 3)
    assert counts["bytes"] > 3 * 8192  # a sink drops who does not read


def test_guessers_guess_again_as_soon_as_refused(attack, tls_server):
    s = tls_server()
    counts = attack(s, "auth", "--clients", 2, until=lambda: len(s.users) > 20)
    assert counts["attempts"] > 20 and set(s.users) == {None}


def test_hangers_up_leave_at_the_greeting(attack, sink):
    s = sink()
    counts = attack(s, "hangup", "--clients", 100, "--rate", 100, until=lambda: s.counters()["connections"] > 150)
    assert counts["standing"] <= 100 and counts["greeted"] > 100


def test_live_bytes_count_what_is_allocated_and_freed(tmp_path):
    script = ("import ctypes, os, struct\n"
              "c = ctypes.CDLL(None); c.malloc.restype = ctypes.c_void_p; c.free.argtypes = [ctypes.c_void_p]\n"
              "read = lambda: struct.unpack('q', open(os.environ['POSTROAD_LIVE_BYTES'], 'rb').read())[0]\n"
              "a = read(); p = c.malloc(50_000_000); b = read(); c.free(p); print(a, b - a, read() - a)")
    out = subprocess.run(["/usr/bin/python3", "-c", script], capture_output=True, text=True, timeout=60, check=True,
                         env={"LD_PRELOAD": str(BINS.parent / "lib/livebytes.so"),
                              "POSTROAD_LIVE_BYTES": str(tmp_path / "live")})
    live, taken, left = map(int, out.stdout.split())
    assert live > 0 and abs(taken - 50_000_000) < 100_000 and abs(left) < 100_000


# ---- figures ----

def test_ratio_is_taken_pair_by_pair():
    results = {"a": [{"x": 10}, {"x": 30}, {"x": 8}], "b": [{"x": 5}, {"x": 10}, {"x": 8}]}
    assert measure.ratio(results, "a", "b", "x") == {
        "median": 2.0, "min": 1.0, "max": 3.0, "rounds": 3, "each": [2.0, 3.0, 1.0]}


@pytest.mark.parametrize("name, rate", [("one", 0), ("one", 0.7), ("one", 1.3), ("full", 0), ("full", 1), ("full", 119)])
def test_a_load_that_did_not_flow_is_no_figure(name, rate):
    with pytest.raises(measure.LoadError):
        check_rate(name, rate)


@pytest.mark.parametrize("name, rate", [("one", 0.95), ("one", 1.05), ("full", 800)])
def test_a_load_that_flowed_is_one(name, rate):
    check_rate(name, rate)


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


def test_a_row_that_was_not_measured_is_drawn_too():
    root = ElementTree.fromstring(plot.svg({"row": "3b", "title": "t", "not_measured": "no such field"}))
    assert "not measured: no such field" in [e.text for e in root.iter(SVG + "text")]


def test_cpu_and_memory_of_this_process_are_seen():
    before = procfs.cpu_seconds(os.getpid())
    sum(range(2_000_000))
    assert procfs.cpu_seconds(os.getpid()) > before
    assert procfs.pss_bytes(os.getpid()) > 1 << 20
    assert os.getpid() in procfs.family(os.getppid())
