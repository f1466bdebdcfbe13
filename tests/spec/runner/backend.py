# SPDX-License-Identifier: Apache-2.0
"""The scripted mail server.

The hard thing is that the balancer connects on its own account too: its health checks must never eat a script. Until
the balancer listens, all connections are checks; later ones are told apart by their EHLO name, and a script that was
handed to a check is put back.
"""
import asyncio
import collections
import select
import socket

from .grammar import Fail, Statement, Token
from .script import text_of
from .server import for_checks
from .session import Probed, Session
from .tls import Broken
from .wire import Conn, Gone, hold_port, socket_for

CAPS = ["PIPELINING", "SIZE 10485760", "8BITMIME", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8"]
SERVE = Statement("(default)", 0, [Token("word", "serve")])


class Backend:
    """The listening side: hands each connection its script and keeps the books."""

    def __init__(self, play, name, options, script):
        self.play, self.name, self.options = play, name, options
        self.caps = CAPS
        if "caps" in options:
            self.caps = [c.strip() for c in text_of(options["caps"]).decode().split(",") if c.strip()]
        self.checks_scripted = str(options.get("checks", "")) == "scripted"
        self.armed = self.checks_scripted
        self.check_script = None  # as for_checks() says
        self.set_script(script)
        self.messages, self.bodies, self.commands, self.ehlos = [], [], [], []
        self.tls, self.tls_failures, self.auth, self.proxy, self.xclient, self.xforward = [], [], [], [], [], []
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
                "count": self.count, "ehlo": self.ehlos, "tls": self.tls, "tls_failures": self.tls_failures,
                "auth": self.auth, "proxy": self.proxy, "xclient": self.xclient, "xforward": self.xforward}

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
            elif s.verb == "checks":
                self.check_script = s.block
            else:
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

    async def attended(self):
        """Whoever had connected before this call is attended to: on a busy machine a check may have waited in the queue."""
        while self.listener is not None and not self.fillers and select.select([self.listener], [], [], 0)[0]:
            await asyncio.sleep(0)
        for _ in range(3):  # accepted, handed over, begun
            await asyncio.sleep(0)

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
                await self.attend_check(session, self.sections[0] if self.sections else self.repeated or [])
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
            await self.attend_check(session, script)
        finally:
            self.open -= counted
            conn.close()
            self.conns.discard(conn)
            self.play.pulse()

    async def attend_check(self, session, script):
        """The script is the one that the connection would have had."""
        session.become_check()
        try:
            checks = self.check_script or for_checks(script)
            if session.greeted:  # found out at its EHLO: go on behind that
                checks = for_checks(script)
                session.serving = checks[0]
                await session.answer_ehlo()
            await session.run(checks)
            await session.see_out()
        except (Gone, Broken):
            pass
