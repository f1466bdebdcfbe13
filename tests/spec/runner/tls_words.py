# SPDX-License-Identifier: Apache-2.0
"""The words of scripts about TLS: for clients, and for backends."""
from .grammar import Fail, Token
from .script import matches, text_of
from .tls import CLIENT, SERVER, Broken, Tls, context_of, handshake, options_of


def wants_failure(s):
    return any(a.kind == "word" and str(a) == "fails" for a in s.args)


def check_failure(s, e):
    """A handshake failed: as it should, and for the reason given?"""
    if not wants_failure(s):
        raise Fail("TLS failed: %s" % e)
    for a in s.args:
        if a.kind == "regex" and not matches(a.text, str(e)):
            raise Fail("it failed in another way: %s" % e)


class TlsClient:
    async def do_starttls(self, s):
        """starttls [sni= ca= cert= min= max= ciphers= alpn= resume=CLIENT] [fails [~"why"]]: with the command"""
        await self.command(b"STARTTLS", "220")
        await self.shake(s)

    async def do_tls(self, s):
        """The same handshake without the command."""
        self.preamble.append(s)
        await self.shake(s)

    async def do_hello_tls(self, s):
        """hello-tls [NAME] …: hello, starttls, EHLO again"""
        await self.do_hello(s)
        await self.do_starttls(s)
        await self.greet_again(s)

    async def shake(self, s):
        try:
            self.conn.look()
            if self.conn.buf:
                raise Broken("plaintext in front of the handshake: %r" % bytes(self.conn.buf))
            options = options_of(s, CLIENT)
            await handshake(self.conn, self.new_tls(options), int(options.get("step", 0)))
            if wants_failure(s):
                await self.await_refusal()
        except Broken as e:
            check_failure(s, e)

    def new_tls(self, options):
        sni = options.get("sni")
        if "resume" not in options:
            return Tls(context_of(self.play, "client", options), server_hostname=sni)
        other = self.play.clients.get(options["resume"])
        before = other.conn.tls if other is not None and other.conn is not None else None
        if before is None or before.object.session is None:
            raise Fail("%s has no session to resume" % options["resume"])
        return Tls(before.context, server_hostname=sni or before.object.server_hostname, session=before.object.session)

    async def await_refusal(self):
        """TLS 1.3 lets a client know as late as at the first answer that its certificate will not do."""
        tls = self.conn.tls
        await self.tolerant(self.conn.send(b"NOOP\r\n"))
        await self.tolerant(self.conn.fill())
        if self.conn.buf:
            raise Fail("it succeeded")
        raise Broken(tls.facts["closed"] or "the peer hung up behind the handshake")

    async def do_want_tls(self, s):
        """want-tls version=1.3 cipher=~"…" resumed=true subject=~"…" kind=RSA alpn=smtp closed=notify|bare"""
        if self.conn.tls is None:
            raise Fail("it is not TLS")
        facts = self.conn.tls.facts
        for key, want in s.pairs.items():
            if key == "within":
                continue
            if key not in facts:
                raise Fail("TLS has no %s" % key)
            have = str(facts[key])
            if key == "version":
                have = have.removeprefix("TLSv")
            ok = matches(want.text, have) if want.kind == "regex" else have.lower() == text_of(want).decode().lower()
            if not ok:
                raise Fail("%s is %s" % (key, have))


class TlsServer:
    async def do_starttls(self, s):
        """starttls [reply="220 go"] [inject="bytes"] [cert= min= max= …] [require-cert] [fails [~"why"]]"""
        line = await self.command()
        if line.upper() != b"STARTTLS":
            raise Fail("got: %r" % line)
        try:
            await self.answer_starttls(s, [s.pairs.get("reply", Token("word", "220"))])
        except Broken as e:
            check_failure(s, e)
            return
        if wants_failure(s):
            raise Fail("it succeeded")

    async def do_tls(self, s):
        """tls [cert= …] [fails [~"why"]]: the handshake, with no command before it"""
        try:
            await self.shake(s)
        except Broken as e:
            check_failure(s, e)
            return
        if wants_failure(s):
            raise Fail("it succeeded")

    async def answer_starttls(self, s, reply):
        """The reply, what is injected behind it, and if it was 220 the handshake."""
        self.conn.look()
        if self.conn.buf:
            raise Fail("more came behind STARTTLS: %r" % bytes(self.conn.buf))
        lines = self.lines_of(reply)
        injected = text_of(s.pairs["inject"]) if "inject" in s.pairs else b""
        await self.conn.send(b"".join(line + b"\r\n" for line in lines) + injected)
        if lines[-1].startswith(b"220"):
            await self.shake(s)

    async def shake(self, s):
        """All that was known before is forgotten behind it (RFC 3207 4.2)."""
        options = options_of(s, SERVER)
        context = context_of(self.play, "server", options)
        try:
            await handshake(self.conn, Tls(context, server_side=True), int(options.get("step", 0)))
        except Broken as e:
            if not self.is_check:
                self.backend.tls_failures.append(str(e))
            raise
        self.forget_all()
        if not self.is_check:
            self.backend.tls.append(self.conn.tls.facts)
        self.play.pulse()
