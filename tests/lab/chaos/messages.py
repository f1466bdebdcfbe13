# SPDX-License-Identifier: Apache-2.0
"""Messages, made again from (seed, number) whenever they are needed, so that nothing but the number is kept.

The content of a message is what a sender means before dot-stuffing. It may hold bare CRs and LFs; what must arrive is normalise() of
it. Sizes lie around the balancer's buffers on purpose.
"""

import functools
import hashlib
import random
import re

DOMAIN = "chaos.test"
KINDS = {
    "plain": 30, "dots": 12, "long_lines": 8, "bare_lf": 8, "bare_cr": 4, "smuggling": 8, "eight_bit": 8, "empty": 3, "one_line": 5,
    "boundary": 10, "big": 1,
}
# End-of-data look-alikes: after a bare LF or CR a dot is content and no sender stuffs it.
LOOKALIKES = [b"\n.\n", b"\n.\r\n", b"\r.\r\n", b"\r.\r", b"\n..\n", b"\r\r\n.\n"]
SMUGGLED = b"MAIL FROM:<smuggled@chaos.test>\r\nRCPT TO:<victim@chaos.test>\r\nDATA\r\nsmuggled\r\n"


def normalise(content):
    """What the balancer documents: every bare CR or LF becomes CRLF."""
    return re.sub(rb"\r\n|\r|\n", b"\r\n", content)


def stuff(content):
    """Dot-stuffing as a sender does it: a line starts behind a CRLF, nowhere else (RFC 5321, 4.5.2)."""
    return re.sub(rb"(^|\r\n)\.", rb"\1..", content)


def _lines(rng, size, make):
    out = []
    while size > 0:
        line = make(rng)
        out.append(line)
        size -= len(line) + 2
    return out


def _text(rng):
    return bytes(rng.choices(b"abcdefghijklmnopqrstuvwxyz     .", k=rng.randint(0, 78)))


def _body(kind, rng):
    size = int(rng.paretovariate(1.2) * 400) % 30000
    if kind == "dots":
        return b"".join(rng.choice([b".", b"..", b"...", b". ", b".x", b"", b"x."]) + b"\r\n" for _ in range(rng.randint(1, 200)))
    if kind == "long_lines":
        return b"\r\n".join(rng.choice([b".", b"y"]) * rng.choice([997, 998, 999, 1000, 2048, 4095, 4096, 9000]) for _ in range(3))
    if kind == "bare_lf":
        return b"\n".join(_lines(rng, size, _text))
    if kind == "bare_cr":
        return b"\r".join(_lines(rng, size, _text))
    if kind == "smuggling":
        return _text(rng) + rng.choice(LOOKALIKES) + SMUGGLED + b"".join(rng.choices(LOOKALIKES, k=3))
    if kind == "eight_bit":
        return re.sub(rb"[\0\r\n]", b"\xff", rng.randbytes(size)) + b"\r\n"
    if kind == "boundary":
        near = rng.choice([512, 4096, 16384, 65536, 131072]) + rng.randint(-1200, 8)
        return b"".join(b"z" * 70 + b"\r\n" for _ in range(near // 72)) + b"w" * (near % 72)
    if kind == "big":
        return re.sub(rb"[\0\r\n]", b"b", rng.randbytes(rng.randint(200_000, 1_000_000)))
    return b"\r\n".join(_lines(rng, size if kind == "plain" else 1, _text))


class Message:
    def __init__(self, seed, number):
        rng = random.Random(f"{seed}/message/{number}")
        self.number = number
        self.name = f"m{number:06d}"
        self.kind = rng.choices(list(KINDS), KINDS.values())[0]
        self.rcpts = [f"r{i}.{self.name}@{DOMAIN}" for i in range(rng.choices([1, 2, 5], [80, 15, 5])[0])]
        self._rng_state = rng.getstate()

    @functools.cached_property
    def content(self):
        rng = random.Random()
        rng.setstate(self._rng_state)
        if self.kind == "empty":
            return b""
        body = _body(self.kind, rng)
        if not body.endswith(b"\r\n"):
            body += b"\r\n"
        digest = hashlib.sha256(normalise(body)).hexdigest()
        return f"X-Chaos-Id: {self.name}\r\nX-Chaos-Sha256: {digest}\r\nSubject: {self.kind}\r\n\r\n".encode() + body

    def forget(self):
        """Lets the content go; it is made again when asked for."""
        self.__dict__.pop("content", None)

    def sender(self, attempt):
        """A sender address of its own for each attempt: by it the log and the backends name the attempt."""
        return f"{self.name}.a{attempt}@{DOMAIN}"
