# SPDX-License-Identifier: Apache-2.0
"""The messages of a cell, and what may become of a body on its way.

Headers are added, folded and rewritten by every program that touches a message; a body is not, but for how lines end
in a file. So what arrived is the body behind the first empty line, with LF for CRLF, compared by its hash.
"""
import hashlib
import random

LARGE_BYTES = 20 << 20


def _lines(*lines):
    return b"".join(line + b"\r\n" for line in lines)


def _large():
    # Lines of every length, some of them dots, the same in each run.
    draw = random.Random("large")
    block = b"".join(b"." * draw.randrange(0, 3) + b"x" * draw.randrange(0, 200) + b"\r\n" for _ in range(4000))
    return (block * (LARGE_BYTES // len(block) + 1))[:LARGE_BYTES - 2] .rstrip(b"\r") + b"\r\n"


BODIES = {
    "plain": _lines(b"Hello,", b"", b"this is a message.", b"  ", b"\tGood bye", b""),
    "dots": _lines(b".one", b"..two", b"...three", b". .", b" .", b"..", b".\t", b"end."),
    "lone-dot": _lines(b".", b"MAIL FROM:<nobody@test>", b".", b"", b".", b"."),
    "long": _lines(b"a" * 997, b"b" * 998, b"." + b"c" * 997),
    "longer": _lines(b"d" * 999, b"e" * 1023, b"f" * 1024, b"g" * 1500, b"." + b"h" * 2047, b"end"),
    "8bit": _lines("Grüße, žluťoučký kůň, ½".encode(), bytes(range(0x80, 0x100)), b"\xff\xfe\x80"),
    "empty": b"",
    "large": _large(),
}
SMALL = [name for name in BODIES if name != "large"]


def message(ident, kind, sender, rcpt, utf8=False):
    """The whole message, CRLF at every line's end."""
    subject = f"interop {kind}" + (" Grüße" if utf8 else "")
    head = [f"From: <{sender}>", f"To: <{rcpt}>", f"Subject: {subject}", "Date: Sun, 01 Nov 2026 12:00:00 +0000",
            f"Message-ID: <{ident}@client.test>", f"X-Postroad-Id: {ident}"]
    if kind == "8bit" or utf8:
        head += ["MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"]
    return "".join(line + "\r\n" for line in head).encode() + b"\r\n" + BODIES[kind]


def split(data):
    """(header, body) of a stored message, LF at the lines' ends."""
    head, _, body = data.replace(b"\r\n", b"\n").partition(b"\n\n")
    return head + b"\n", body


def digest(body):
    return hashlib.sha256(body).hexdigest()


def wanted(kind):
    return digest(BODIES[kind].replace(b"\r\n", b"\n"))


def first_difference(kind, body):
    """Where and how a body differs from what was sent: for people."""
    want = BODIES[kind].replace(b"\r\n", b"\n")
    at = next((n for n, (a, b) in enumerate(zip(want, body)) if a != b), min(len(want), len(body)))
    return f"octet {at} of {len(want)} (arrived: {len(body)}): sent {want[at:at + 24]!r}, arrived {body[at:at + 24]!r}"
