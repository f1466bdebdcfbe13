# SPDX-License-Identifier: Apache-2.0
"""The chaos lab can fail: without a balancer, backends that break their promise are found out, honest ones are not blamed."""

import pathlib
import subprocess
import sys

import pytest

CHAOS = pathlib.Path(__file__).resolve().parent / "chaos"
sys.path.insert(0, str(CHAOS))

import messages  # noqa: E402


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
