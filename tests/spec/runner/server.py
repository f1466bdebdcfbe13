# SPDX-License-Identifier: Apache-2.0
"""`serve`: a whole mail server in one word, and what it offers."""
import asyncio

from .grammar import Fail, Statement, Token
from .script import text_of
from .tls import SERVER, Broken
from .wire import Gone

# What opens a connection: the same for a health check as for what it checks.
OPENING = ("tls", "proxy", "auth", "mechanisms", "xclient") + SERVER
# Pairs of `serve` that are no replies.
OPTIONS = OPENING + ("inject", "xforward")


def for_checks(script):
    """The block of health checks where a spec has none: a good server that opens its connections as the script does."""
    words = [Token("word", "serve")]
    for s in script:
        if s.verb in ("tls", "starttls"):
            words.append(Token("pair", ("tls", Token("word", "implicit" if s.verb == "tls" else "starttls"))))
        if s.verb == "proxy":
            words.append(Token("pair", ("proxy", s.args[0] if s.args else Token("word", "any"))))
        if s.verb != "serve" and any("XCLIENT" in str(w) for w in s.words[1:]):
            words.append(Token("pair", ("xclient", Token("word", "NAME ADDR"))))
        if s.verb in ("tls", "starttls", "serve"):
            words += [w for w in s.words[1:] if (w.text[0] if w.kind == "pair" else str(w)) in OPENING]
    return [Statement("(default)", 0, words)]


class Server:
    async def do_serve(self, s):
        """serve [STAGE="reply"] …: banner ehlo starttls mail rcpt data bdat dot rset quit, rcpt:ADDRESS; else 250."""
        self.serving = s
        replies = {k: [v] for k, v in s.pairs.items() if k not in OPTIONS}
        try:
            await self.open_up(s)
            if not self.greeted:
                self.greeted = True
                await self.respond(replies.get("banner") or [self.banner()])
            while await self.serve_one(replies):
                pass
        except Gone:
            self.conn.buf.clear()  # half a message is no command
        except Broken:
            await self.hang_up_gently()

    async def open_up(self, s):
        if "proxy" in s.pairs and self.proxied is None:
            await self.read_proxy(str(s.pairs["proxy"]))
        if str(s.pairs.get("tls")) == "implicit" and self.conn.tls is None:
            await self.shake(s)

    async def hang_up_gently(self):
        """What lies behind a failed handshake is no command either."""
        try:
            async with asyncio.timeout(self.play.step_seconds):
                await self.conn.close_gently()
        except TimeoutError:
            self.conn.close()

    def offers(self):
        """What `serve` announces beside the capabilities of its server."""
        pairs = self.serving.pairs if self.serving is not None else {}
        extra = self.identity_offers()
        if str(pairs.get("tls")) == "starttls" and "STARTTLS" not in self.caps:
            extra.append("STARTTLS")
        if self.mechanisms():
            extra.append("AUTH " + " ".join(self.mechanisms()))
        return extra

    async def serve_one(self, replies):
        line = await self.command()
        verb = line.split(b" ")[0].upper().decode("latin-1")
        stage = {"HELO": "ehlo"}.get(verb, verb.lower())
        reply = replies.get(stage)
        if verb == "RCPT":
            reply = replies.get("rcpt:" + path(line), reply)
        self.check_reborn(verb)
        if verb == "MAIL" and self.must_authenticate():
            reply = [Token("str", b"530 5.7.0 who are you")]
        handler = getattr(self, "at_" + verb, None)
        if handler is not None:
            return await handler(line, reply, replies)
        if reply is None and verb not in ("MAIL", "RCPT", "RSET", "NOOP", "QUIT", "HELO", "VRFY"):
            raise Fail("%s: the balancer sent %r" % (self.who, line))
        reply = reply or [Token("word", "221" if verb == "QUIT" else "250")]
        if verb == "MAIL" and not text_of(reply[0]).startswith(b"2"):
            self.forget()
        await self.respond(reply)
        return verb != "QUIT"

    async def at_EHLO(self, _line, reply, _replies):
        if reply is None:
            await self.answer_ehlo()
        else:
            await self.respond(reply)
        return True

    async def at_STARTTLS(self, line, reply, _replies):
        if "STARTTLS" not in self.announced():
            raise Fail("%s: the balancer sent %r" % (self.who, line))
        await self.answer_starttls(self.serving, reply or [Token("word", "220")])
        return True

    async def at_DATA(self, _line, go, replies):
        if self.chunks:
            raise Fail("DATA behind BDAT")
        go = go or [Token("word", "354")]
        await self.respond(go)
        if not text_of(go[0]).startswith(b"354"):
            return True
        await self.accepted(await self.read_body(), replies)
        return True

    async def accepted(self, message, replies):
        """The answer to a whole message."""
        await self.respond(replies.get("dot") or [Token("str", b"250 2.0.0 queued as %s%d" % (
            self.backend.name.encode(), len(self.backend.messages)))], message)
        self.forget()
        self.xforward = {}


def path(line):
    """What stands between the angle brackets of MAIL or RCPT."""
    if line is None:
        return ""
    return line[line.find(b"<") + 1:line.rfind(b">")].decode("utf-8", "replace")
