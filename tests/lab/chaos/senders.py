# SPDX-License-Identifier: Apache-2.0
"""Senders: SMTP clients that keep exact books of what they were answered, and sometimes walk away.

An attempt begins with its MAIL command and ends with an answer to the message, a refusal, or the end of the connection. A message
that was not accepted is tried again, in a new attempt with a sender address of its own.
"""

import asyncio
import random
import re
import socket
import struct
import time

from messages import Message, stuff

ATTEMPTS_MAX = 12
REPLY_SECONDS = 60
CONNECT_SECONDS = 10
VANISH_POINTS = ("before_mail", "after_mail", "after_rcpt", "mid_body", "before_dot", "after_dot")
VANISH_RATE = 0.05


class Lost(Exception):
    """The other side is gone or out of its mind."""


class Vanished(Exception):
    """We walked away, as planned."""


class Attempt:
    def __init__(self, message, number, port):
        self.message, self.number, self.port = message, number, port
        self.sender = message.sender(number)
        self.started, self.ended = time.monotonic(), None
        self.mail_reply = None
        self.accepted_rcpts = []
        self.is_dot_sent = False  # the last byte of the message may have left
        self.outcome = "open"  # accepted, refused, lost, silent, vanished
        self.reply = ""
        self.stage = "mail"
        self.style = ""

    def end(self, outcome, reply=""):
        """The first end counts: what happens to the connection after an answer changes nothing about the message."""
        if self.outcome != "open":
            return
        self.outcome, self.ended = outcome, time.monotonic()
        self.reply = self.reply or reply

    def describe(self):
        return (f"{self.sender} to port {self.port}: {self.outcome} at {self.stage} {self.reply!r} "
                f"[{self.started:.3f}..{self.ended or 0:.3f}]")


class Client:
    """One connection."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer
        self.extensions = set()

    async def reply(self):
        """(code, text of the last line)."""
        while True:
            try:
                async with asyncio.timeout(REPLY_SECONDS):
                    line = await self.reader.readline()
            except asyncio.TimeoutError:
                raise Lost("silent") from None
            except (OSError, ValueError) as e:
                raise Lost(f"lost: {e}") from e
            m = re.fullmatch(rb"([2-5]\d\d)([ -])(.*)\r\n", line)
            if m is None:
                raise Lost("lost" if not line.endswith(b"\n") else f"lost: not a reply: {line!r}")
            if m.group(2) == b"-":
                self.extensions.add(m.group(3).split()[0].upper() if m.group(3).strip() else b"")
                continue
            self.extensions.add(m.group(3).split()[0].upper() if m.group(3).strip() else b"")
            return int(m.group(1)), m.group(3).decode("latin-1")

    async def send(self, data):
        self.writer.write(data)
        try:
            async with asyncio.timeout(REPLY_SECONDS):
                await self.writer.drain()
        except asyncio.TimeoutError:
            raise Lost("silent") from None
        except OSError as e:
            raise Lost(f"lost: {e}") from e

    def vanish(self, rng):
        """Away without a word: with a FIN, or with a reset."""
        if rng.random() < 0.5:
            sock = self.writer.get_extra_info("socket")
            try:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            except OSError:
                pass
            self.writer.transport.abort()
        self.writer.close()
        raise Vanished


class Senders:
    """All of them. `gate` is closed while nobody listens."""

    def __init__(self, seed, count, ports, rate):
        self.seed, self.count, self.ports, self.rate = seed, count, ports, rate
        self.queue = asyncio.Queue()
        self.gate = asyncio.Event()
        self.gate.set()
        self.attempts, self.given_up, self.done = [], [], 0
        self.answered, self.retried = 0, 0
        self.all_done = asyncio.Event()

    async def feed(self):
        """New messages, evenly spread over time: faults need time to happen."""
        start = time.monotonic()
        for number in range(self.count):
            await asyncio.sleep(max(0, start + number / self.rate - time.monotonic()))
            self.queue.put_nowait((Message(self.seed, number), 1))

    def settle(self, message, attempt):
        """What comes after an attempt."""
        message.forget()
        if attempt.outcome == "accepted":
            self.answered += 1
        elif attempt.number < ATTEMPTS_MAX:
            self.retried += 1
            delay = min(2.0, 0.1 * 2 ** attempt.number)
            asyncio.get_running_loop().call_later(delay, self.queue.put_nowait, (message, attempt.number + 1))
            return
        else:
            self.given_up.append(message.number)
        self.done += 1
        if self.done == self.count:
            self.all_done.set()

    async def run_one(self, index):
        """One sender, for ever: connections with one or several messages each."""
        rng = random.Random(f"{self.seed}/sender/{index}")
        message, number = await self.queue.get()
        while True:
            await self.gate.wait()
            pending = [(message, number)]
            try:
                await self.connection(rng, pending)
            except (Lost, Vanished, OSError, asyncio.TimeoutError):
                pass
            if pending:
                # Nothing was said about this message yet: no attempt was made. Let a closed port be noticed elsewhere first.
                message, number = pending[0]
                await asyncio.sleep(0.05)
            else:
                message, number = await self.queue.get()

    async def connection(self, rng, pending):
        port = rng.choice(self.ports)
        async with asyncio.timeout(CONNECT_SECONDS):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 16)
        writer.transport.set_write_buffer_limits(high=0)
        c = Client(reader, writer)
        try:
            if (await c.reply())[0] != 220:
                return
            await c.send(b"EHLO sender.chaos.test\r\n")
            if (await c.reply())[0] != 250:
                return
            for _ in range(rng.choices([1, 3, 10], [50, 35, 15])[0]):
                await self.one_message(rng, c, port, pending)
                if self.queue.empty():
                    break
                pending.append(self.queue.get_nowait())
            await c.send(b"QUIT\r\n")
            await c.reply()
        finally:
            writer.close()

    async def one_message(self, rng, c, port, pending):
        """The books of one attempt; the message leaves `pending` once its MAIL may have been sent."""
        message, number = pending[0]
        vanish = rng.choice(VANISH_POINTS) if rng.random() < VANISH_RATE and number < ATTEMPTS_MAX - 3 else None
        if vanish == "before_mail":
            c.vanish(rng)
        attempt = Attempt(message, number, port)
        self.attempts.append(attempt)
        pending.clear()
        try:
            await self.transaction(rng, c, attempt, message, vanish)
        except Lost as e:
            attempt.end("silent" if str(e) == "silent" else "lost", str(e))
            raise
        except Vanished:
            attempt.end("vanished")
            raise
        finally:
            attempt.end("lost")
            self.settle(message, attempt)
        if attempt.outcome == "refused":
            if attempt.reply.startswith("421"):
                raise Lost("closing")
            await c.send(b"RSET\r\n")
            if (await c.reply())[0] != 250:
                raise Lost("RSET refused")

    async def transaction(self, rng, c, attempt, message, vanish):
        style = rng.choice(["lockstep", "pipelined", "chunked" if b"CHUNKING" in c.extensions else "pipelined"])
        attempt.style = style
        parameters = b" BODY=8BITMIME" if message.kind == "eight_bit" and b"8BITMIME" in c.extensions else b""
        mail = b"MAIL FROM:<" + attempt.sender.encode() + b">" + parameters + b"\r\n"
        rcpts = [b"RCPT TO:<" + r.encode() + b">\r\n" for r in message.rcpts]
        if style == "chunked":
            await self.chunked(rng, c, attempt, message, vanish, mail + b"".join(rcpts))
        elif style == "pipelined" and vanish not in ("after_mail", "after_rcpt"):
            await c.send(mail + b"".join(rcpts) + b"DATA\r\n")
            await self.envelope_replies(c, attempt, message)
            await self.data(rng, c, attempt, message, vanish)
        else:
            await self.lockstep(rng, c, attempt, message, vanish, (mail, rcpts))

    async def envelope_replies(self, c, attempt, message):
        attempt.mail_reply = (await c.reply())[0]
        for rcpt in message.rcpts:
            attempt.stage = "rcpt"
            await self.rcpt_reply(c, attempt, rcpt)

    async def rcpt_reply(self, c, attempt, rcpt):
        code, text = await c.reply()
        if code == 250:
            attempt.accepted_rcpts.append(rcpt)
        elif code == 421:
            attempt.end("refused", f"{code} {text}")
            raise Lost("closing")
        else:
            attempt.rcpt_refusal = f"{code} {text}"

    async def lockstep(self, rng, c, attempt, message, vanish, commands):
        mail, rcpts = commands
        await c.send(mail)
        if vanish == "after_mail":
            c.vanish(rng)
        attempt.mail_reply, text = await c.reply()
        if attempt.mail_reply != 250:
            attempt.end("refused", f"{attempt.mail_reply} {text}")
            return
        attempt.stage = "rcpt"
        for rcpt, command in zip(message.rcpts, rcpts):
            await c.send(command)
            await self.rcpt_reply(c, attempt, rcpt)
        if vanish == "after_rcpt":
            c.vanish(rng)
        if not attempt.accepted_rcpts:
            attempt.end("refused", attempt.rcpt_refusal)
            return
        await c.send(b"DATA\r\n")
        await self.data(rng, c, attempt, message, vanish)

    async def data(self, rng, c, attempt, message, vanish):
        attempt.stage = "data"
        code, text = await c.reply()
        if code != 354:
            attempt.end("refused", f"{code} {text}")
            return
        if not attempt.accepted_rcpts:
            # A 354 after all recipients were refused: a lone dot ends it (RFC 2920, 3.1).
            await c.send(b".\r\n")
            code, text = await c.reply()
            attempt.end("refused", f"{code} {text}")
            return
        wire = stuff(message.content)
        half = rng.randint(0, len(wire))
        if vanish == "mid_body":
            await c.send(wire[:half])
            c.vanish(rng)
        pieces = [wire] if rng.random() < 0.7 else [wire[:half], wire[half:]]
        for piece in pieces[:-1]:
            await c.send(piece)
        if vanish == "before_dot":
            await c.send(pieces[-1])
            c.vanish(rng)
        tail = b"NOOP\r\n" if rng.random() < 0.1 else b""
        attempt.is_dot_sent = True
        await c.send(pieces[-1] + b".\r\n" + tail)
        await self.final_reply(rng, c, attempt, vanish, replies=1)
        if tail and (await c.reply())[0] != 250:
            raise Lost("NOOP refused")

    async def chunked(self, rng, c, attempt, message, vanish, envelope):
        content = message.content
        cuts = sorted(rng.randint(0, len(content)) for _ in range(rng.choice([0, 0, 1, 2])))
        chunks = [content[a:b] for a, b in zip([0, *cuts], [*cuts, len(content)])]
        first = b"".join(b"BDAT %d\r\n" % len(k) + k for k in chunks[:-1])
        last = b"BDAT %d LAST\r\n" % len(chunks[-1])
        await c.send(envelope)
        if vanish == "after_mail":
            c.vanish(rng)
        await self.envelope_replies(c, attempt, message)
        if vanish == "after_rcpt":
            c.vanish(rng)
        attempt.stage = "data"
        if vanish in ("mid_body", "before_dot") and chunks[-1]:
            await c.send(first + last + chunks[-1][:-1])
            c.vanish(rng)
        attempt.is_dot_sent = True
        await c.send(first + last + chunks[-1])
        await self.final_reply(rng, c, attempt, vanish, replies=len(chunks))

    async def final_reply(self, rng, c, attempt, vanish, replies):
        attempt.stage = "dot"
        if vanish == "after_dot":
            c.vanish(rng)
        for _ in range(replies):
            code, text = await c.reply()
            if code == 421:
                break
        if code == 250 and attempt.accepted_rcpts:
            attempt.end("accepted", f"{code} {text}")
        else:
            attempt.end("refused", f"{code} {text}")
