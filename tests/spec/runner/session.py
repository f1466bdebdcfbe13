# SPDX-License-Identifier: Apache-2.0
"""One connection to a scripted mail server: the words of its script, and the books about what came."""
import asyncio

from .auth import AuthServer
from .bdat import BdatServer
from .grammar import Fail, Statement, Token
from .proxy import ProxyServer
from .script import Script, matches, text_of
from .server import Server, path
from .tls_words import TlsServer
from .wire import Gone, unstuff
from .xclient import XclientServer

SAY = {220: "", 221: "2.0.0 bye", 250: "2.0.0 ok", 354: "go ahead", 421: "4.3.2 closing", 450: "4.2.0 try later",
       451: "4.3.0 trouble", 452: "4.3.1 no room", 550: "5.1.1 no such user", 552: "5.2.3 too big", 554: "5.6.0 no"}


class Probed(Exception):
    """This connection turned out to be a health check."""


class Session(Server, TlsServer, AuthServer, ProxyServer, XclientServer, BdatServer, Script):
    """One connection to a backend."""

    def __init__(self, backend, conn):
        super().__init__(backend.play, conn.who)
        self.backend, self.conn = backend, conn
        self.greeted = self.is_check = self.in_body = False
        self.caps = backend.caps
        self.serving = None     # the `serve` that is being played
        self.unanswered = None  # the message that the next reply is about
        self.proxied = None     # its PROXY header
        self.xclient, self.reborn = {}, False  # what XCLIENT said; it was the last command
        self.forget_all()

    def forget(self):
        self.mail, self.rcpts, self.chunks = None, [], []

    def forget_all(self):
        """As at the beginning of a connection."""
        self.helo, self.lockstep, self.user, self.xforward = "", False, None, {}
        self.forget()

    def note_proxy(self):
        """Only a health check says LOCAL, unless a spec says otherwise."""
        local = self.proxied["command"] == "LOCAL"
        if local and not self.is_check and not self.backend.checks_scripted:
            raise Probed()
        if not self.is_check:
            self.backend.proxy.append(self.proxied)
        self.play.pulse()

    def become_check(self):
        """Nothing that a health check did is in the books."""
        self.is_check = True
        self.caps = self.backend.caps
        facts = self.conn.tls.facts if self.conn.tls is not None else None
        self.backend.tls = [x for x in self.backend.tls if x is not facts]
        self.backend.proxy = [x for x in self.backend.proxy if x is not self.proxied]

    async def do_accept(self, s):
        raise Fail("accept starts a section, it stands at the outermost level")

    # ---- reading ----

    async def command(self):
        """The next command line; RSET and NOOP are answered on the way unless a spec expects them."""
        line = await self.conn.line()
        if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
            raise Fail("the balancer sent a line that is not canonical: %r" % line)
        line = line[:-2]
        if line[:5].upper() != b"BDAT ":
            self.check_lockstep()
        self.record(line)
        return line

    def check_lockstep(self):
        if self.lockstep:
            self.conn.look()
            if self.conn.buf:
                raise Fail("pipelined although PIPELINING was not offered: %r" % bytes(self.conn.buf))

    def record(self, line):
        verb = line.split(b" ")[0].upper().decode("latin-1")
        if verb in ("EHLO", "HELO"):
            self.helo = line[5:].decode("latin-1")
            self.lockstep = verb == "HELO"
            if not self.is_check and not self.backend.checks_scripted and not self.helo.endswith(".test"):
                raise Probed()
        if self.is_check:
            return
        if verb in ("EHLO", "HELO", "RSET"):
            self.xforward = {}
        if verb in ("EHLO", "HELO"):
            self.backend.ehlos.append(self.helo)
        self.backend.commands.append(line)
        self.backend.count[verb] += 1
        if verb == "MAIL":
            self.forget()
            self.mail = line
        elif verb == "RCPT":
            self.rcpts.append(line)
        elif verb == "RSET":
            self.forget()
        self.play.pulse()

    async def do_expect(self, s):
        """expect VERB | "exact line" | ~"regex" | EOF [-> REPLY]"""
        want, *more = s.args
        if str(want) == "EOF":
            rest = await self.conn.rest()
            if rest:
                raise Fail("more came before the end: %r" % rest)
            return
        line = await self.next_command(want.text if want.kind == "word" else "")
        verb = line.split(b" ")[0].upper()
        ok = {"word": lambda: verb == want.text.encode(), "str": lambda: line == want.text,
              "regex": lambda: matches(want.text, line)}[want.kind]()
        if not ok:
            raise Fail("got: %r" % line)
        await self.respond(more)

    async def next_command(self, wanted):
        """The next one that is not RSET or NOOP, unless that is wanted."""
        while True:
            line = await self.command()
            if line.split(b" ")[0].upper() not in (b"RSET", b"NOOP") or wanted in ("RSET", "NOOP"):
                return line
            await self.conn.send(b"250 2.0.0 ok\r\n")

    async def do_body(self, s):
        """Content up to the dot. body [-> REPLY]"""
        self.unanswered = await self.read_body()
        if s.args:
            await self.do_reply(s)

    async def read_body(self):
        self.in_body = True
        wire = b""
        if self.conn.buf[:3] != b".\r\n":
            while len(self.conn.buf) < 3:
                await self.conn.fill()
            if self.conn.buf[:3] != b".\r\n":
                wire = (await self.conn.until(b"\r\n.\r\n"))[:-3]
        if not wire:
            self.conn.take(3)
        self.in_body = False
        return self.enter(wire, unstuff(wire))

    def enter(self, wire, body):
        """A message into the books."""
        message = {"wire": wire, "body": body, "from": path(self.mail), "to": [path(r) for r in self.rcpts],
                   "mail": self.mail, "rcpt": list(self.rcpts), "helo": self.helo, "connection": self.conn.who,
                   "tls": self.conn.tls.facts if self.conn.tls is not None else None, "proxy": self.proxied,
                   "user": self.user, "xclient": self.xclient, "xforward": self.xforward, "chunks": None}
        self.backend.bodies.append(message)
        self.play.pulse()
        return message

    async def do_broken_body(self, s):
        """Content that ends without a dot: the peer gave up."""
        rest = await self.conn.rest()
        if b"\r\n.\r\n" in b"\r\n" + rest:
            raise Fail("the dot came")
        self.backend.bodies.append({"wire": rest})

    async def do_read(self, s):
        """read N: waits until that many bytes of content are there, and takes them."""
        n = int(s.args[0].text)
        while len(self.conn.buf) < n:
            await self.conn.fill()
        self.conn.take(n)

    async def do_stall(self, s):
        """Says nothing more until the balancer gives up."""
        await self.conn.rest()

    async def see_out(self):
        """Behind the script only a polite end may follow."""
        try:
            while not self.conn.closed:
                line = await self.command()
                verb = line.split(b" ")[0].upper()
                if verb not in (b"QUIT", b"RSET", b"NOOP"):
                    raise Fail("%s: behind the end of its script: %r" % (self.who, line))
                await self.say([b"221 2.0.0 bye" if verb == b"QUIT" else b"250 2.0.0 ok"])
        except Gone:
            pass

    # ---- answering ----

    def lines_of(self, tokens):
        if tokens and str(tokens[0]) == "ehlo":
            self.caps = [text_of(t).decode() for t in tokens[1:]] or self.caps
            return self.ehlo_lines()
        lines = []
        for t in tokens:
            text = text_of(t)
            if t.kind == "word":
                said = SAY.get(int(t.text), "%s.0.0 said %s" % (t.text[0], self.backend.name))
                text = b"%s %s" % (text, said.encode())
            lines.append(text)
        return lines

    def announced(self):
        caps = self.caps + self.offers()
        return [c for c in caps if c.upper() != "STARTTLS" or self.conn.tls is None]

    def ehlo_lines(self):
        caps = self.announced()
        self.lockstep = not any(c.upper() == "PIPELINING" for c in caps)
        texts = [self.backend.name + ".test"] + caps
        return [b"250%s%s" % (b" " if i == len(texts) - 1 else b"-", t.encode()) for i, t in enumerate(texts)]

    async def answer_ehlo(self):
        await self.conn.send(b"".join(line + b"\r\n" for line in self.ehlo_lines()))

    async def respond(self, args, message=None):
        tokens = [a for a in args if str(a) != "->"]
        if not tokens:
            return
        lines = self.lines_of(tokens)
        if message is not None and lines[-1].startswith(b"2"):
            self.backend.messages.append(message)
        await self.say(lines)
        self.play.pulse()

    async def say(self, lines):
        farewell = lines[-1].startswith(b"221")
        try:
            await self.conn.send(b"".join(line + b"\r\n" for line in lines))
        except Gone:
            if not farewell:  # a peer need not wait for the answer to its QUIT
                raise
        if farewell:
            self.conn.close()

    async def do_reply(self, s):
        await self.answer(s.args)

    async def answer(self, tokens):
        message, self.unanswered = self.unanswered, None
        await self.respond(tokens, message)

    def banner(self):
        return Token("str", b"220 %s.test ESMTP" % self.backend.name.encode())

    async def do_greet(self, s):
        """greet ["220 …" | as=LISTENER]"""
        self.greeted = True
        words = [Token("str", await self.greeting_of(str(s.pairs["as"])))] if "as" in s.pairs else s.args
        await self.respond(words or [self.banner()])

    async def greeting_of(self, listener):
        """What that listener of the balancer says first, now."""
        reader, writer = await asyncio.open_connection(*self.play.address_of("lb", listener))
        line = await reader.readline()
        writer.close()
        return line.rstrip(b"\r\n")

    async def do_hello(self, s):
        """greet, expect EHLO, reply ehlo [CAPS]"""
        await self.do_greet(Statement(s.file, s.line, s.words[:1]))
        while True:
            line = await self.command()
            if line[:4].upper() == b"EHLO":
                break
            raise Fail("wanted EHLO, got: %r" % line)
        await self.respond([Token("word", "ehlo")] + s.args)
