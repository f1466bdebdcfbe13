# SPDX-License-Identifier: Apache-2.0
"""The scripted client. It reads replies strictly and in order, and sends exactly what the spec says."""
import asyncio
import socket

from .auth import AuthClient
from .bdat import BdatClient
from .grammar import Fail, Token
from .proxy import ProxyClient
from .script import Script, matches, text_of
from .tls_words import TlsClient
from .wire import Conn, Gone, generate, read_reply, socket_for, stuff, written

SENDER, RECIPIENT = Token("str", b"from@src.test"), Token("str", b"to@dst.test")


class Client(TlsClient, AuthClient, ProxyClient, BdatClient, Script):
    def __init__(self, play, name, options):
        super().__init__(play, name)
        self.options = options
        self.replies, self.bodies, self.draft = [], [], b""
        self.preamble = []  # what comes before the first reply: the same for `settle`
        self.ehlo_name = str(options.get("name", "client.test"))

    def view(self):
        return {
            "replies": len(self.replies), "body": self.bodies,
            "tls": self.conn.tls.facts if self.conn is not None and self.conn.tls is not None else None,
            "reply": [{"code": r.code, "text": r.text, "enhanced": r.enhanced} for r in self.replies],
        }

    async def connect(self):
        to = self.play.address_of(str(self.options.get("to", "lb")), str(self.options.get("listener", "in")))
        sock = socket_for(to[0])
        sock.setblocking(False)
        if "from" in self.options:
            sock.bind((text_of(self.options["from"]).decode(), 0))
        if "window" in self.options:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, int(self.options["window"].text))
        await asyncio.get_running_loop().sock_connect(sock, to)
        self.conn = Conn(self.play, self.who, sock)
        self.play.note(self.who, "x", "connected to " + written(*to))

    async def play_out(self, statements):
        if not statements or statements[0].verb not in ("refused", "await", "connect"):
            await self.connect()
        await self.run(statements)

    def hang_up(self):
        if self.conn is not None:
            self.conn.close()

    # ---- replies ----

    async def reply(self, codes):
        reply = await read_reply(self.conn)
        self.replies.append(reply)
        if str(reply.code) not in codes:
            raise Fail("got: %s" % reply)
        return reply

    async def do_want(self, s):
        """want CODE[|CODE] [ENHANCED] ["exact text"] [~"regex"] [own]"""
        codes, *more = s.args
        reply = await self.reply(str(codes).split("|"))
        for a in more:
            if a.kind == "regex":
                ok = matches(a.text, "\n".join(reply.texts))
            elif a.kind == "str":
                ok = reply.text == a.text.decode()
            elif a.text == "own":
                ok = bool(reply.texts[-1].split())
                self.play.own_ids.append((self.who, reply.texts[-1].split()[-1]))
            else:
                ok = reply.enhanced == a.text
            if not ok:
                raise Fail("got: %s" % reply)

    async def do_want_ehlo(self, s):
        """want-ehlo KEYWORD … !KEYWORD …: these capabilities are (not) announced."""
        reply = await self.reply(["250"])
        have = reply.texts[1:]
        for a in s.args:
            word = text_of(a).decode()
            wanted = not word.startswith("!")
            word = word.lstrip("!")
            found = any(line == word or (" " not in word and line.split(" ")[0] == word) for line in have)
            if found != wanted:
                raise Fail("%s %s, got: %s" % (word, "is missing" if wanted else "is announced", reply))
        words = [line.split(" ")[0] for line in have]
        if len(words) != len(set(words)):
            raise Fail("a capability twice: %s" % reply)

    async def do_want_close(self, s):
        self.conn.look()
        rest = await self.conn.rest()
        if rest:
            raise Fail("more came before the end: %r" % rest)
        self.conn.close()

    async def do_drain(self, s):
        """Reads to the end of the stream, whatever comes."""
        await self.conn.rest()
        self.conn.close()

    async def do_quiet(self, s):
        """Nothing has been answered so far."""
        self.conn.look()
        if self.conn.buf or self.conn.eof:
            raise Fail("got: %r%s" % (bytes(self.conn.buf), " and the end" if self.conn.eof else ""))

    async def do_refused(self, s):
        try:
            await self.connect()
        except ConnectionRefusedError:
            return
        raise Fail("the connection was taken")

    async def do_connect(self, s):
        await self.connect()

    async def do_settle(self, s):
        """A conversation beside this one: what had reached the worker before has been looked at afterwards."""
        other = Client(self.play, self.who + "'", {k: v for k, v in self.options.items() if k != "window"})
        await other.connect()
        try:
            await other.run(self.preamble)
            await other.reply(["220"])
            for line in (b"EHLO settle.test", b"NOOP"):
                await other.command(line, "250")
            await other.do_quit(s)
        finally:
            other.hang_up()

    async def tolerant(self, sending):
        """For a peer that may have hung up: what arrived before can still be read."""
        try:
            await sending
        except Gone:
            self.conn.eof = False

    # ---- commands ----

    async def command(self, line, *codes):
        await self.conn.send(line + b"\r\n")
        if codes:
            await self.reply(codes)

    async def do_send(self, s):
        """Lines, all in one write."""
        await self.conn.send(b"".join(text_of(a) + b"\r\n" for a in s.args))

    async def do_hello(self, s):
        await self.reply(["220"])
        await self.greet_again(s)

    async def greet_again(self, s):
        await self.command(b"EHLO " + (text_of(s.args[0]) if s.args else self.ehlo_name.encode()), "250")

    async def do_envelope(self, s):
        """envelope [FROM [TO …]]: MAIL and RCPT in lock step, all accepted."""
        names = [text_of(a) for a in s.args] or [SENDER.text]
        await self.command(b"MAIL FROM:<%s>" % names[0], "250")
        for to in names[1:] or [RECIPIENT.text]:
            await self.command(b"RCPT TO:<%s>" % to, "250")

    def content(self, s):
        if "size" in s.pairs:
            width = s.pairs.get("width")
            return generate(int(s.pairs["size"].text), int(width.text) if width else 72)
        text = b"".join(text_of(a) for a in s.args) or b"Subject: spec\r\n\r\nhello\r\n"
        return text if text.endswith(b"\r\n") else text + b"\r\n"

    async def do_data(self, s):
        """DATA, 354, the content dot-stuffed, the dot; the reply is for `want`."""
        await self.command(b"DATA", "354")
        content = self.content(s)
        self.bodies.append(content)
        await self.conn.send(stuff(content) + b".\r\n")

    async def do_body(self, s):
        """Content without the dot; `dot` completes it."""
        content = self.content(s)
        self.draft += content
        await self.conn.send(stuff(content))

    async def do_pour(self, s):
        """Content that may stop being read: sends until all is gone or the connection is."""
        await self.tolerant(self.do_body(s))

    async def do_pour_raw(self, s):
        """Like raw, to a peer that may stop reading or hang up."""
        await self.tolerant(self.do_raw(s))

    async def do_drip(self, s):
        """A byte at a time, each as late as 20 ms after the one before, until there is an answer."""
        for byte in b"".join(text_of(a) for a in s.args):
            try:
                await self.conn.send(bytes([byte]))
                await asyncio.wait_for(self.conn.fill(), 0.02)
                return
            except TimeoutError:
                continue
            except Gone:
                self.conn.eof = False
                return
        raise Fail("all was sent and no answer came")

    async def do_dot(self, s):
        self.bodies.append(self.draft)
        self.draft = b""
        await self.conn.send(b".\r\n")

    async def do_deliver(self, s):
        """One whole good transaction. deliver [from=A] [to=B] [size=N | "text"]"""
        pairs = s.pairs
        await self.command(b"MAIL FROM:<%s>" % text_of(pairs.get("from", SENDER)), "250")
        await self.command(b"RCPT TO:<%s>" % text_of(pairs.get("to", RECIPIENT)), "250")
        await self.do_data(s)
        await self.reply(["250"])

    async def do_quit(self, s):
        await self.command(b"QUIT", "221")
        await self.do_want_close(s)
