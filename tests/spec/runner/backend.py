# SPDX-License-Identifier: Apache-2.0
"""The scripted mail server.

The hard thing is that the balancer connects on its own account too: its health checks must never eat a script. Until
the balancer listens, all connections are checks; later ones are told apart by their EHLO name, and a script that was
handed to a check is put back.
"""
import asyncio
import collections
import socket

from .grammar import Fail, Statement, Token
from .script import Script, matches, text_of
from .wire import Conn, Gone, hold_port, socket_for, unstuff

CAPS = ["PIPELINING", "SIZE 10485760", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8"]
SAY = {220: "", 221: "2.0.0 bye", 250: "2.0.0 ok", 354: "go ahead", 421: "4.3.2 closing", 450: "4.2.0 try later",
       451: "4.3.0 trouble", 452: "4.3.1 no room", 550: "5.1.1 no such user", 552: "5.2.3 too big", 554: "5.6.0 no"}
SERVE = Statement("(default)", 0, [Token("word", "serve")])


class Probed(Exception):
    """This connection turned out to be a health check."""


class Backend:
    """The listening side: hands each connection its script and keeps the books."""

    def __init__(self, play, name, options, script):
        self.play, self.name, self.options = play, name, options
        self.caps = CAPS
        if "caps" in options:
            self.caps = [c.strip() for c in text_of(options["caps"]).decode().split(",") if c.strip()]
        self.checks_scripted = str(options.get("checks", "")) == "scripted"
        self.armed = self.checks_scripted
        self.check_script = [SERVE]
        self.set_script(script)
        self.messages, self.bodies, self.commands, self.ehlos = [], [], [], []
        self.connections = self.checks = self.open = self.max_open = 0
        self.count = collections.Counter()
        self.conns = set()
        self.holder = hold_port(text_of(options["at"]).decode() if "at" in options else "127.0.0.1")
        self.address = self.holder.getsockname()[:2]
        self.listener = self.accepting = None
        self.fillers = []

    def view(self):
        return {"messages": len(self.messages), "message": self.messages,
                "bodies": len(self.bodies), "body": self.bodies, "checks": self.checks,
                "connections": self.connections, "open": self.open, "max_open": self.max_open,
                "commands": self.commands, "dialogue": b"\n".join(self.commands),
                "count": self.count, "ehlo": self.ehlos}

    # ---- scripts ----

    def set_script(self, statements):
        """Sections begin at `accept`; without one the whole script is for every connection."""
        self.sections, self.repeated = [], None
        rest = []
        for s in statements:
            if s.verb == "checks":
                self.check_script = s.block
            elif s.verb == "accept":
                if rest:
                    raise Fail("%s:%d: lines before the first accept" % (s.file, s.line))
                break
            else:
                rest.append(s)
        if rest or not statements:
            self.repeated = rest or [SERVE]
            return
        for s in statements:
            if s.verb == "accept":
                section = []
                if s.args and str(s.args[0]) == "all":
                    self.repeated = section
                else:
                    self.sections.append(section)
            elif s.verb != "checks":
                section.append(s)
        if not self.sections and self.repeated is None:
            self.repeated = [SERVE]

    def next_script(self):
        if self.sections:
            return self.sections.pop(0)
        if self.repeated is None:
            raise Fail("%s: a connection more than the script has" % self.name)
        return self.repeated

    # ---- the socket ----

    def up(self):
        if self.listener is not None:
            return
        self.listener = socket_for(self.address[0])
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(self.address)
        self.listener.listen(128)
        self.listener.setblocking(False)
        self.accepting = self.play.spawn(self.accept(self.listener))

    def down(self):
        """Connections are refused from now on; those that stand stay."""
        if self.listener is not None:
            self.accepting.cancel()
            asyncio.get_running_loop().remove_reader(self.listener)  # before its number means another socket
            self.listener.close()
            self.listener = None
        while self.fillers:
            self.fillers.pop().close()

    def clog(self):
        """Takes no connection and refuses none: the accept queue is full, further SYNs are dropped."""
        self.down()
        self.listener = socket_for(self.address[0])
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self.listener.bind(self.address)
        self.listener.listen(0)
        self.accepting = self.play.spawn(asyncio.sleep(0))
        self.fillers = [socket.create_connection(self.address, 5)]

    def cut(self):
        """Resets every connection that stands."""
        for conn in list(self.conns):
            conn.vanish()
            conn.task.cancel()

    async def accept(self, listener):
        loop = asyncio.get_running_loop()
        n = 0
        while True:
            sock, _ = await loop.sock_accept(listener)
            n += 1
            conn = Conn(self.play, "%s.%d" % (self.name, n), sock)
            conn.task = self.play.spawn(self.attend(conn))

    async def attend(self, conn):
        self.conns.add(conn)
        session = Session(self, conn)
        session.script = script = self.next_script() if self.armed else None
        self.play.note(conn.who, "x", "accepted" if self.armed else "accepted, a check")
        if self.armed:
            self.connections += 1
            self.open += 1
            self.max_open = max(self.max_open, self.open)
        else:
            self.checks += 1
        counted = self.armed
        try:
            if script is None:
                await self.attend_check(session)
            else:
                await session.run(script)
                await session.see_out()
        except Probed:
            self.connections -= 1
            self.open -= 1
            self.checks += 1
            counted = False
            if script is not self.repeated:
                self.sections.insert(0, script)
            await self.attend_check(session)
        finally:
            self.open -= counted
            conn.close()
            self.conns.discard(conn)
            self.play.pulse()

    async def attend_check(self, session):
        session.is_check = True
        session.caps = self.caps
        try:
            script = self.check_script
            if session.greeted:  # found out at its EHLO: go on behind that
                await session.answer_ehlo()
                script = [SERVE]
            await session.run(script)
            await session.see_out()
        except Gone:
            pass


class Session(Script):
    """One connection to a backend."""

    def __init__(self, backend, conn):
        super().__init__(backend.play, conn.who)
        self.backend, self.conn = backend, conn
        self.greeted = self.is_check = self.lockstep = self.in_body = False
        self.caps, self.helo = backend.caps, ""
        self.unanswered = None  # the message that the next reply is about
        self.forget()

    def forget(self):
        self.mail, self.rcpts = None, []

    async def do_accept(self, s):
        raise Fail("accept starts a section, it stands at the outermost level")

    # ---- reading ----

    async def command(self):
        """The next command line; RSET and NOOP are answered on the way unless a spec expects them."""
        line = await self.conn.line()
        if not line.endswith(b"\r\n") or b"\r" in line[:-2] or b"\0" in line:
            raise Fail("the balancer sent a line that is not canonical: %r" % line)
        if self.lockstep:
            self.conn.look()
            if self.conn.buf:
                raise Fail("pipelined although PIPELINING was not offered: %r" % bytes(self.conn.buf))
        line = line[:-2]
        self.record(line)
        return line

    def record(self, line):
        verb = line.split(b" ")[0].upper().decode("latin-1")
        if verb in ("EHLO", "HELO"):
            self.helo = line[5:].decode("latin-1")
            self.lockstep = verb == "HELO"
            if not self.is_check and not self.backend.checks_scripted and not self.helo.endswith(".test"):
                raise Probed()
        if self.is_check:
            return
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
        while True:
            line = await self.command()
            verb = line.split(b" ")[0].upper()
            if verb in (b"RSET", b"NOOP") and (want.kind != "word" or want.text not in ("RSET", "NOOP")):
                await self.conn.send(b"250 2.0.0 ok\r\n")
                continue
            break
        ok = {"word": lambda: verb == want.text.encode(), "str": lambda: line == want.text,
              "regex": lambda: matches(want.text, line)}[want.kind]()
        if not ok:
            raise Fail("got: %r" % line)
        await self.respond(more)

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
        message = {"wire": wire, "body": unstuff(wire), "from": path(self.mail), "to": [path(r) for r in self.rcpts],
                   "mail": self.mail, "rcpt": list(self.rcpts), "helo": self.helo, "connection": self.conn.who}
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

    def ehlo_lines(self):
        self.lockstep = not any(c.upper() == "PIPELINING" for c in self.caps)
        texts = [self.backend.name + ".test"] + self.caps
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
        message, self.unanswered = self.unanswered, None
        await self.respond(s.args, message)

    def banner(self):
        return Token("str", b"220 %s.test ESMTP" % self.backend.name.encode())

    async def do_greet(self, s):
        self.greeted = True
        await self.respond(s.args or [self.banner()])

    async def do_hello(self, s):
        """greet, expect EHLO, reply ehlo [CAPS]"""
        await self.do_greet(Statement(s.file, s.line, s.words[:1]))
        while True:
            line = await self.command()
            if line[:4].upper() == b"EHLO":
                break
            raise Fail("wanted EHLO, got: %r" % line)
        await self.respond([Token("word", "ehlo")] + s.args)

    # ---- a whole server ----

    async def do_serve(self, s):
        """serve [STAGE="reply"] …: banner ehlo mail rcpt data dot rset quit, rcpt:ADDRESS; all else gets 250."""
        replies = {k: [v] for k, v in s.pairs.items()}
        try:
            if not self.greeted:
                self.greeted = True
                await self.respond(replies.get("banner") or [self.banner()])
            while await self.serve_one(replies):
                pass
        except Gone:
            self.conn.buf.clear()  # half a message is no command

    async def serve_one(self, replies):
        line = await self.command()
        verb = line.split(b" ")[0].upper().decode("latin-1")
        stage = {"HELO": "ehlo"}.get(verb, verb.lower())
        reply = replies.get(stage)
        if verb == "RCPT":
            reply = replies.get("rcpt:" + path(line), reply)
        if verb == "DATA":
            return await self.serve_data(replies)
        if verb == "EHLO" and reply is None:
            await self.answer_ehlo()
            return True
        if reply is None and verb not in ("MAIL", "RCPT", "RSET", "NOOP", "QUIT", "HELO", "VRFY"):
            raise Fail("%s: the balancer sent %r" % (self.who, line))
        await self.respond(reply or [Token("word", "221" if verb == "QUIT" else "250")])
        return verb != "QUIT"

    async def serve_data(self, replies):
        go = replies.get("data") or [Token("word", "354")]
        await self.respond(go)
        if not text_of(go[0]).startswith(b"354"):
            return True
        message = await self.read_body()
        await self.respond(replies.get("dot") or [Token("str", b"250 2.0.0 queued as %s%d" % (
            self.backend.name.encode(), len(self.backend.messages)))], message)
        self.forget()
        return True


def path(line):
    """What stands between the angle brackets of MAIL or RCPT."""
    if line is None:
        return ""
    return line[line.find(b"<") + 1:line.rfind(b">")].decode("utf-8", "replace")
