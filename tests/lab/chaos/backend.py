# SPDX-License-Identifier: Apache-2.0
"""A mail server that stores what it accepts and misbehaves on command.

    backend.py PORT NAME STORE SEED [SABOTAGE]

Each accepted message is one record in STORE, written whole before 250 is sent: a line of JSON, the bytes, an empty line. The process
may be killed at any point, so a record that is cut short at the end of a file was never answered. A line on standard input names the
profile of faults in force from then on; end of file on standard input: finish the open connections, then exit.
SABOTAGE breaks the promise on purpose, so that the verification can be tested: lose, corrupt, duplicate.
"""

import asyncio
import hashlib
import json
import os
import random
import re
import socket
import struct
import sys

STAGES = ("banner", "ehlo", "mail", "rcpt", "data", "dot")
FINISH_SECONDS = 15
LINE_MAX = 65536
CONTENT_MAX = 16 << 20

CALM = {}
ROUGH = {"reset_before": 0.002, "reset_after": 0.002, "reset_body": 0.004, "vanish_stored": 0.004, "vanish_unstored": 0.004,
         "tempfail": 0.006, "permfail": 0.002, "busy": 0.002, "garbage": 0.001, "delay": 0.03, "delay_max": 0.2}
STORM = {"reset_before": 0.04, "reset_after": 0.04, "reset_body": 0.08, "vanish_stored": 0.08, "vanish_unstored": 0.08,
         "tempfail": 0.05, "permfail": 0.02, "busy": 0.05, "garbage": 0.02}
PROFILES = {
    "calm": CALM,
    "rough": ROUGH,
    "storm": STORM,
    "slow": {**ROUGH, "delay": 0.8, "delay_max": 1.0, "slow_body": 0.3},
    "refuse": {"refuse_banner": 1.0},
    "full": {**ROUGH, "tempfail": 0.5},
}


class Gone(Exception):
    """The connection is over, whoever ended it."""


class Wire:
    """Bytes of one connection, read by lines, by counts, or up to the end of data."""

    def __init__(self, reader, writer, on_chunk):
        self.reader, self.writer, self.on_chunk = reader, writer, on_chunk
        self.buf = bytearray()

    async def more(self):
        try:
            chunk = await self.reader.read(65536)
        except OSError as e:
            raise Gone from e
        if not chunk:
            raise Gone
        self.buf += chunk

    async def line(self):
        """A command without its CRLF. A bare LF ends no line, as a strict server has it."""
        while (end := self.buf.find(b"\r\n")) < 0:
            if len(self.buf) > LINE_MAX:
                raise Gone
            await self.more()
        line = bytes(self.buf[:end])
        del self.buf[:end + 2]
        return line

    async def exactly(self, n):
        while len(self.buf) < n:
            await self.more()
            await self.on_chunk()
        data = bytes(self.buf[:n])
        del self.buf[:n]
        return data

    async def until_dot(self):
        """Raw data between the DATA command and CRLF.CRLF, the last CRLF included."""
        data = bytearray(b"\r\n")
        while True:
            data += self.buf
            scanned = max(0, len(data) - len(self.buf) - 4)
            self.buf.clear()
            end = data.find(b"\r\n.\r\n", scanned)
            if end >= 0:
                self.buf += data[end + 5:]
                return bytes(data[2:end + 2]) if end > 0 else b""
            if len(data) > CONTENT_MAX:
                raise Gone
            await self.more()
            await self.on_chunk()

    def abort(self):
        sock = self.writer.get_extra_info("socket")
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except OSError:
            pass
        self.writer.transport.abort()


def unstuff(raw):
    return re.sub(rb"(^|\r\n)\.", rb"\1", raw)


def is_canonical(data):
    return re.search(rb"(?<!\r)\n|\r(?!\n)", data) is None


class Server:
    def __init__(self, name, store, seed, sabotage):
        self.name, self.sabotage = name, sabotage
        self.fd = os.open(store, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        self.rng = random.Random(seed)
        self.rates = CALM
        self.stored = 0
        self.is_broken = False
        self.sessions = set()

    def happens(self, fault):
        rate = self.rates.get(fault, 0)
        return rate > 0 and self.rng.random() < rate

    def write(self, record, data):
        view = memoryview(json.dumps(record).encode() + b"\n" + data + b"\n")
        while view:
            view = view[os.write(self.fd, view):]

    def store(self, envelope, content, canonical, chunks):
        """chunks: how many BDAT brought it; 0 = DATA did."""
        self.stored += 1
        ident = f"{self.name}.{self.stored}"
        record = {"id": ident, "from": envelope["from"], "rcpts": envelope["rcpts"], "size": len(content), "canonical": canonical,
                  "chunks": chunks, "sha256": hashlib.sha256(content).hexdigest()}
        if self.sabotage and self.stored % 50 == 0:
            if self.sabotage == "lose":
                return ident
            if self.sabotage == "corrupt":
                content = content[:-3] + b"#\r\n"
                record.update(size=len(content), sha256=hashlib.sha256(content).hexdigest())
            if self.sabotage == "duplicate":
                self.write({**record, "id": ident + ".again"}, content)
        self.write(record, content)
        return ident

    async def serve(self, reader, writer):
        session = Session(self, reader, writer)
        self.sessions.add(asyncio.current_task())
        try:
            await session.run()
        except (Gone, OSError):
            pass
        except asyncio.CancelledError:
            raise
        except Exception:
            self.is_broken = True
            raise
        finally:
            self.sessions.discard(asyncio.current_task())
            writer.close()


class Session:
    def __init__(self, server, reader, writer):
        self.server = server
        self.wire = Wire(reader, writer, self.on_chunk)
        self.reset_envelope()

    def reset_envelope(self):
        self.envelope, self.chunks, self.has_failed_chunk = {"from": None, "rcpts": []}, [], False

    async def on_chunk(self):
        """Between two pieces of a body."""
        if self.server.happens("reset_body"):
            self.wire.abort()
            raise Gone
        if self.server.happens("slow_body"):
            await asyncio.sleep(self.server.rng.random() * 0.3)

    async def send(self, text):
        if self.server.happens("delay"):
            await asyncio.sleep(self.server.rng.random() * self.server.rates["delay_max"])
        if self.server.happens("reset_before"):
            self.wire.abort()
            raise Gone
        self.wire.writer.write(text.encode() + b"\r\n")
        try:
            await self.wire.writer.drain()
        except OSError as e:
            raise Gone from e
        if self.server.happens("reset_after"):
            self.wire.abort()
            raise Gone

    async def fault(self, stage):
        """A refusal in place of the reply due at this stage. True = it was sent."""
        happens = self.server.happens
        if happens("busy"):
            await self.send(f"421 4.3.2 {self.server.name} closing")
            raise Gone
        if happens("garbage"):
            await self.send(self.server.rng.choice(["2x0 what", "250-one\r\n350 two", "hello", "999 no"]))
            raise Gone
        if stage in ("banner", "ehlo"):
            return False
        if happens("tempfail"):
            await self.send(self.server.rng.choice(["450 4.2.1 later", "452 4.3.1 full", "451 4.7.1 greylisted"]) + f" at {stage}")
            return True
        if happens("permfail"):
            await self.send(f"550 5.7.1 not this at {stage}")
            return True
        return False

    async def run(self):
        if self.server.happens("refuse_banner"):
            await self.send(f"421 4.3.2 {self.server.name} too busy")
            return
        await self.fault("banner")
        await self.send(f"220 {self.server.name} ESMTP")
        while True:
            line = await self.wire.line()
            verb = line[:4].upper()
            run = {b"EHLO": self.ehlo, b"HELO": self.ehlo, b"MAIL": self.mail, b"RCPT": self.rcpt, b"DATA": self.data,
                   b"BDAT": self.bdat, b"RSET": self.rset, b"NOOP": self.noop, b"QUIT": self.quit}.get(verb)
            if run is None:
                await self.send("500 5.5.2 what")
            else:
                await run(line)

    async def ehlo(self, line):
        await self.fault("ehlo")
        self.reset_envelope()
        chunking = "250-CHUNKING\r\n" if self.server.name.startswith(("b1", "b2")) else ""
        await self.send(f"250-{self.server.name}\r\n250-PIPELINING\r\n250-8BITMIME\r\n250-ENHANCEDSTATUSCODES\r\n{chunking}"
                        "250 SIZE 20000000")

    async def mail(self, line):
        m = re.match(rb"MAIL FROM:<([^>]*)>", line, re.I)
        if m is None or self.envelope["from"] is not None:
            await self.send("503 5.5.1 MAIL now?")
        elif not await self.fault("mail"):
            self.envelope["from"] = m.group(1).decode()
            await self.send("250 2.1.0 ok")

    async def rcpt(self, line):
        m = re.match(rb"RCPT TO:<([^>]*)>", line, re.I)
        if m is None or self.envelope["from"] is None:
            await self.send("503 5.5.1 RCPT now?")
        elif not await self.fault("rcpt"):
            self.envelope["rcpts"].append(m.group(1).decode())
            await self.send("250 2.1.5 ok")

    async def rset(self, line):
        self.reset_envelope()
        await self.send("250 2.0.0 ok")

    async def noop(self, line):
        await self.send("250 2.0.0 ok")

    async def quit(self, line):
        await self.send("221 2.0.0 bye")
        raise Gone

    async def data(self, line):
        if not self.envelope["rcpts"]:
            await self.send("554 5.5.1 no valid recipients")
        elif not await self.fault("data"):
            await self.send("354 go")
            raw = await self.wire.until_dot()
            await self.finish(unstuff(raw), is_canonical(raw))

    async def bdat(self, line):
        words = line.split()
        data = await self.wire.exactly(int(words[1]))
        is_last = len(words) > 2
        if not self.envelope["rcpts"] or self.has_failed_chunk:
            self.has_failed_chunk = not is_last
            if is_last:
                self.reset_envelope()
            await self.send("554 5.5.1 no valid recipients")
            return
        self.chunks.append(data)
        if is_last:
            content = b"".join(self.chunks)
            await self.finish(content, is_canonical(content), len(self.chunks))
        elif await self.fault("data"):
            self.has_failed_chunk = True
        else:
            await self.send("250 2.0.0 chunk")

    async def finish(self, content, canonical, chunks=0):
        envelope = self.envelope
        self.reset_envelope()
        if self.server.happens("vanish_unstored"):
            self.wire.abort()
            raise Gone
        if await self.fault("dot"):
            return
        ident = self.server.store(envelope, content, canonical, chunks)
        if self.server.happens("vanish_stored"):
            self.wire.abort()
            raise Gone
        await self.send(f"250 2.0.0 queued as {ident}")


async def main():
    port, name, store, seed = int(sys.argv[1]), *sys.argv[2:5]
    server = Server(name, store, seed, sys.argv[5] if len(sys.argv) > 5 else None)
    listener = await asyncio.start_server(server.serve, "127.0.0.1", port, limit=1 << 20, backlog=512, reuse_address=True)
    commands = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    print("ready", flush=True)
    while line := (await commands.readline()).decode().strip():
        server.rates = PROFILES[line]
    listener.close()
    server.rates = CALM
    if server.sessions:
        await asyncio.wait(list(server.sessions), timeout=FINISH_SECONDS)
    os._exit(1 if server.is_broken else 0)


if __name__ == "__main__":
    asyncio.run(main())
