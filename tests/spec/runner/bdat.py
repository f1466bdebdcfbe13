# SPDX-License-Identifier: Apache-2.0
"""BDAT (RFC 3030): chunks written by clients, and read by backends."""
import re

from .grammar import Fail, Token
from .script import text_of
from .wire import Gone, generate


class BdatClient:
    async def do_bdat(self, s):
        """bdat ["bytes"] [size=N] [last]: command and chunk in one write; the reply is for `want`"""
        chunk = b"".join(text_of(a) for a in s.args if a.kind == "str")
        if "size" in s.pairs:
            chunk += generate(int(s.pairs["size"].text))
        last = any(a.kind == "word" and str(a) == "last" for a in s.args)
        self.draft += chunk
        if last:
            self.bodies.append(self.draft)
            self.draft = b""
        await self.conn.send(b"BDAT %d%s\r\n" % (len(chunk), b" LAST" if last else b"") + chunk)


class BdatServer:
    async def read_chunk(self, line):
        """Takes the chunk behind a BDAT line: (its size, the message when it was the last or None)."""
        m = re.fullmatch(rb"BDAT (\d{1,20})( LAST)?", line, re.I)
        if not m:
            raise Fail("not a BDAT command: %r" % line)
        size = int(m[1])
        while len(self.conn.buf) < size:
            await self.conn.fill()
        self.chunks.append(self.conn.take(size))
        self.check_lockstep()
        if not m[2]:
            return size, None
        whole = b"".join(self.chunks)
        message = self.enter(whole, whole)
        message["chunks"] = [len(chunk) for chunk in self.chunks]
        self.chunks = []
        return size, message

    async def do_bdat(self, s):
        """bdat [N] [last] [all] [-> REPLY]: the next chunk; all: to the last, those before are answered with 250"""
        at = next((i for i, a in enumerate(s.args) if str(a) == "->"), len(s.args))
        wanted, more = [str(a) for a in s.args[:at]], s.args[at:]
        size, message = await self.read_chunk(await self.next_command("BDAT"))
        while "all" in wanted and message is None:
            await self.respond([Token("word", "250")])
            size, message = await self.read_chunk(await self.next_command("BDAT"))
        if any(w.isdigit() and int(w) != size for w in wanted) or ("last" in wanted and message is None):
            raise Fail("got a chunk of %d bytes%s" % (size, ", the last" if message is not None else ""))
        self.unanswered = message
        if more:
            await self.answer(more)

    async def do_broken_chunks(self, s):
        """Chunks that end without the last: the peer gave up. Those that came whole are answered with 250."""
        try:
            while True:
                _, message = await self.read_chunk(await self.next_command("BDAT"))
                if message is not None:
                    raise Fail("the last chunk came, of %d bytes" % message["chunks"][-1])
                await self.respond([Token("word", "250")])
        except Gone:
            pass
        self.backend.bodies.append({"wire": b"".join(self.chunks)})
        self.chunks = []

    async def at_BDAT(self, line, reply, replies):
        if not any(c.upper() == "CHUNKING" for c in self.announced()):
            raise Fail("BDAT although CHUNKING was not offered")
        if self.mail is None or not self.rcpts:
            raise Fail("BDAT without an envelope")
        _, message = await self.read_chunk(line)
        if reply is not None or message is None:
            await self.respond(reply or [Token("word", "250")])
            return True
        await self.accepted(message, replies)
        return True
