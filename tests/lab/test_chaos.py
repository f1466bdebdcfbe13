# SPDX-License-Identifier: Apache-2.0
"""The chaos lab can fail: without a balancer, backends that break their promise are found out, honest ones are not blamed."""

import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys

import pytest

CHAOS = pathlib.Path(__file__).resolve().parent / "chaos"
sys.path.insert(0, str(CHAOS))

import messages  # noqa: E402
import verify  # noqa: E402
from senders import Attempt  # noqa: E402


def chaos(tmp_path, *more):
    done = subprocess.run([sys.executable, str(CHAOS), "--direct", "--messages", "300", "--rate", "300", "--seed", "7", *more], text=True,
                          capture_output=True, timeout=120, env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)})
    return done.returncode, done.stdout


def test_honest_backends_under_faults_are_not_blamed(tmp_path):
    code, out = chaos(tmp_path)
    assert code == 0, out
    assert "accepted 300" in out and "lost 0, corrupted 0, unexplained copies 0, violations 0" in out
    assert list(tmp_path.iterdir()) == [], "nothing is left behind"


@pytest.mark.parametrize("sabotage,finding", [("lose", "LOST: answered 250"), ("corrupt", "corrupted in"),
                                              ("duplicate", "stored 2 times")])
def test_a_broken_promise_is_found_and_can_be_replayed(tmp_path, sabotage, finding):
    code, out = chaos(tmp_path, "--calm", "--sabotage", sabotage)
    assert code == 1
    assert finding in out
    assert "replay: " in out and "--seed 7" in out and f"--sabotage {sabotage}" in out
    assert len(list(tmp_path.iterdir())) == 1, "the evidence is kept"


def test_the_same_seed_makes_the_same_messages():
    a, b = (messages.Message("s", 5) for _ in range(2))
    first = a.content
    a.forget()
    assert first == a.content == b.content and a.rcpts == b.rcpts
    assert {messages.Message("s", n).kind for n in range(400)} == set(messages.KINDS)


@pytest.mark.parametrize("content,want", [
    (b"a\nb\r\n", b"a\r\nb\r\n"), (b"a\rb\r\n", b"a\r\nb\r\n"), (b"a\r\r\n", b"a\r\n\r\n"), (b"a\n.\r\nb\r\n", b"a\r\n.\r\nb\r\n"),
    (b"\n\r\r\n", b"\r\n\r\n\r\n"), (b"", b""),
])
def test_normalising_is_what_is_documented(content, want):
    assert messages.normalise(content) == want


@pytest.mark.parametrize("content,want", [(b".\r\n", b"..\r\n"), (b"a\r\n.b\r\n", b"a\r\n..b\r\n"), (b"a\n.b\r\n", b"a\n.b\r\n")])
def test_stuffing_knows_crlf_lines_only(content, want):
    assert messages.stuff(content) == want


# ---- the books, with every kind of lie in them ----

SEED, RECEIVED_PORT, PLAIN_PORT = "books", 1, 2
TRACE = b"Received: from sender.chaos.test ([127.0.0.1])\r\n\tby lb.chaos.test; now\r\n"


class Story:
    """One message, two attempts: the first as the test has it, the second untouched. What the books say about it."""

    def __init__(self, tmp_path):
        self.directory = tmp_path
        self.message = messages.Message(SEED, 3)
        self.attempt = self.make(1)
        self.records, self.lines, self.kills = [], [], []

    def make(self, number, outcome="accepted", reply="250 2.0.0 queued as b1.1.1", port=PLAIN_PORT):
        a = Attempt(self.message, number, port)
        a.mail_reply, a.accepted_rcpts, a.is_dot_sent, a.started = 250, list(self.message.rcpts), True, 100.0
        a.end(outcome, reply)
        a.ended = 101.0
        return a

    def stored(self, content=None, ident="b1.1.1", **more):
        content = messages.normalise(self.message.content) if content is None else content
        record = {"id": ident, "from": self.attempt.sender, "rcpts": self.message.rcpts, "size": len(content), "canonical": True,
                  "sha256": hashlib.sha256(content).hexdigest(), **more}
        self.records.append(json.dumps(record).encode() + b"\n" + content + b"\n")
        return self

    def logged(self, result="accepted", cause="backend"):
        self.lines.append(f'time=T level=info event=transaction id=1 from={self.attempt.sender} result={result} cause={cause} '
                          f'reply="250 a \\"b\\" from=x"\n')
        return self

    def findings(self, cut=0):
        store, log = self.directory / "b1.1.store", self.directory / "log"
        store.write_bytes(b"".join(self.records)[:-cut or None])
        log.write_text("".join(self.lines))
        books = verify.Books(SEED, [self.attempt], [store], [log], self.kills, RECEIVED_PORT)
        found = [what for _, what, _ in books.check()]
        return found, books


@pytest.fixture
def story(tmp_path):
    return Story(tmp_path)


def only(story, text, **more):
    found, _ = story.findings(**more)
    assert len(found) == 1 and text in found[0], found


def test_an_honest_story_has_no_findings(story):
    assert story.stored().logged().findings()[0] == []


def test_an_answer_without_a_copy_is_a_loss(story):
    found, books = story.logged().findings()
    assert books.n_lost == 2 and "LOST: answered 250" in found[0] and "LOST: logged as accepted" in found[1]


def test_a_record_cut_short_is_no_copy(story):
    assert "LOST" in story.stored().logged().findings(cut=2)[0][0]


def test_an_answer_that_names_another_copy_is_found(story):
    only(story.stored(ident="b1.1.2").logged(), "names another copy")


def test_two_copies_of_one_attempt_are_found(story):
    only(story.stored().stored(ident="b2.1.1").logged(), "stored 2 times")


@pytest.mark.parametrize("change,why", [
    (lambda c: c[:-2] + b"!\r\n", "different from byte"), (lambda c: c + b"\r\n", "instead of"), (lambda c: c[1:], "instead of"),
    (lambda c: TRACE + c, "different from byte 0"),
])
def test_altered_content_is_found(story, change, why):
    only(story.stored(change(messages.normalise(story.message.content))).logged(), why)


def test_the_received_field_is_wanted_once_where_it_is_documented(story):
    content = messages.normalise(story.message.content)
    story.attempt = story.make(1, port=RECEIVED_PORT)
    assert story.stored(TRACE + content).logged().findings()[0] == []
    story.records.clear()
    only(story.stored(content), "Received field is missing")
    story.records.clear()
    only(story.stored(TRACE + TRACE + content), "different from byte 0")


def test_a_bare_line_feed_that_reaches_a_backend_is_found(story):
    only(story.stored(canonical=False).logged(), "bare CR or LF")


def test_other_recipients_than_accepted_are_found(story):
    only(story.stored(rcpts=[]).logged(), "recipients")
    story.records.clear()
    only(story.stored(rcpts=["somebody@else"]), "recipients")


def test_a_message_nobody_sent_is_found(story):
    story.stored().logged().stored(**{"from": "smuggled@chaos.test"})
    assert "nobody sent" in story.findings()[0][0]


@pytest.mark.parametrize("outcome", ["lost", "refused", "vanished"])
def test_a_copy_without_an_answer_needs_an_explanation(story, outcome):
    story.attempt = story.make(1, outcome, "451 4.4.2 lost")
    only(story.stored().logged("tempfail", "backend_lost"), "though 250 was not answered")
    story.lines.clear()
    assert story.logged("tempfail", "ambiguous").findings()[0] == []


def test_accepted_explains_a_copy_only_when_the_client_walked_away(story):
    story.attempt = story.make(1, "vanished")
    assert story.stored().logged().findings()[0] == []
    story.attempt = story.make(1, "lost")
    only(story, "though 250 was not answered")


def test_a_kill_explains_what_was_open_then_and_nothing_else(story):
    story.attempt = story.make(1, "lost")
    story.stored().kills.append((100.5, 100.6))
    assert story.findings()[0] == []
    story.kills[:] = [(90.0, 99.0)]
    found, _ = story.findings()
    assert "though 250 was not answered" in found[0] and "no transaction line" in found[1]
    story.attempt = story.make(1)
    story.kills[:] = [(100.5, 100.6)]
    assert story.findings()[0] == []
    story.records.clear()
    assert "LOST" in story.findings()[0][0], "a kill excuses no loss"


def test_each_attempt_wants_exactly_one_line(story):
    only(story.stored(), "no transaction line")
    only(story.logged().logged(), "2 transaction lines")
    story.lines.clear()
    only(story.logged("tempfail", "backend"), "answered 250, but logged as tempfail")


def test_silence_is_found(story):
    story.attempt = story.make(1, "silent", "")
    only(story.logged("none", "timeout"), "never answered")


def test_a_run_that_is_ended_leaves_no_process(tmp_path):
    run = subprocess.Popen([sys.executable, str(CHAOS), "--direct", "--messages", "100000", "--verbose"], stdout=subprocess.PIPE, text=True,
                           env={"PATH": "/usr/bin:/bin", "TMPDIR": str(tmp_path)})
    for line in run.stdout:
        if "for" in line:
            break
    children = pathlib.Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    assert children
    run.send_signal(signal.SIGTERM)
    out, _ = run.communicate(timeout=60)
    assert run.returncode == 1 and "replay:" in out
    assert not any(os.path.exists(f"/proc/{pid}") for pid in children)
