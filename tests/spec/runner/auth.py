# SPDX-License-Identifier: Apache-2.0
"""AUTH (RFC 4954): PLAIN, LOGIN and SCRAM-SHA-256, for clients and for whole servers."""
import base64
import binascii
import hmac
import secrets

from . import scram
from .grammar import Fail
from .scram import b64
from .script import text_of
from .wire import read_reply

PROMPTS = b"Username:", b"Password:"
SALT, ITERATIONS = b"salt of the spec", 4096


def decode(text):
    try:
        return base64.b64decode(text, validate=True)
    except binascii.Error:
        raise Fail("not base64: %r" % text) from None


def words(s):
    return {str(a) for a in s.args[2:]}


class AuthClient:
    """Each word ends with a reply that is left for `want`, also when it comes early."""

    async def exchange(self, line):
        """Sends a line: the challenge that comes back, or None when it is another reply, which stays where it was."""
        await self.conn.send(line + b"\r\n")
        reply = await read_reply(self.conn)
        if reply.code == 334:
            return decode(reply.text)
        self.conn.buf[:0] = "".join(line + "\r\n" for line in reply.lines).encode()
        return None

    async def do_auth_plain(self, s):
        """auth-plain USER PASSWORD [asked] [authzid=]; asked: no initial response"""
        authzid = text_of(s.pairs["authzid"]) if "authzid" in s.pairs else b""
        response = b64(b"\0".join([authzid] + [text_of(a) for a in s.args[:2]]))
        if "asked" not in words(s):
            await self.conn.send(b"AUTH PLAIN %s\r\n" % response)
        elif await self.exchange(b"AUTH PLAIN") is not None:
            await self.conn.send(response + b"\r\n")

    async def do_auth_login(self, s):
        """auth-login USER PASSWORD [initial]; initial: the name comes with the command"""
        user, password = (b64(text_of(a)) for a in s.args[:2])
        if "initial" in words(s):
            challenge = await self.exchange(b"AUTH LOGIN " + user)
        else:
            challenge = await self.exchange(b"AUTH LOGIN")
            if challenge is None:
                return
            self.prompted(challenge, PROMPTS[0])
            challenge = await self.exchange(user)
        if challenge is not None:
            self.prompted(challenge, PROMPTS[1])
            await self.conn.send(password + b"\r\n")

    @staticmethod
    def prompted(have, want):
        if have != want:
            raise Fail("the challenge is %r" % have)

    async def do_auth_scram(self, s):
        """auth-scram USER PASSWORD [plus] [could] [binding=tls-exporter] [nonce=]; could: `y`, would have bound"""
        user, password = (text_of(a) for a in s.args[:2])
        nonce = text_of(s.pairs["nonce"]) if "nonce" in s.pairs else b64(secrets.token_bytes(18))
        header, bound = self.channel(s)
        bare = b"n=%s,r=%s" % (scram.saslname(user), nonce)
        mechanism = b"SCRAM-SHA-256-PLUS" if "plus" in words(s) else b"SCRAM-SHA-256"
        first = await self.exchange(b"AUTH %s %s" % (mechanism, b64(header + bare)))
        if first is None:
            return
        said = scram.fields(first)
        if not said.get(b"r", b"").startswith(nonce) or said[b"r"] == nonce:
            raise Fail("the nonce is not made of ours: %r" % first)
        keys = scram.Keys(password, decode(said[b"s"]), int(said[b"i"]))
        final = b"c=%s,r=%s" % (b64(header + bound), said[b"r"])
        messages = b",".join([bare, first, final])
        last = await self.exchange(b64(b"%s,p=%s" % (final, b64(keys.proof(messages)))))
        if last is None:
            return
        if last.startswith(b"v=") and decode(last[2:]) != keys.signature(messages):
            raise Fail("the server's signature is wrong: %r" % last)
        await self.conn.send(b"\r\n")

    def channel(self, s):
        """The GS2 header, and what it binds to."""
        if "plus" not in words(s):
            return (b"y,," if "could" in words(s) else b"n,,"), b""
        old = self.conn.tls is not None and self.conn.tls.facts["version"] != "TLSv1.3"
        name = str(s.pairs.get("binding", "tls-unique" if old else "tls-exporter"))
        return b"p=%s,," % name.encode(), scram.binding(self.conn.tls, name)


class AuthServer:
    """serve auth=USER:PASSWORD [mechanisms="PLAIN LOGIN"] [auth-required]"""

    def mechanisms(self):
        """What is announced: nothing in front of a STARTTLS."""
        pairs = self.serving.pairs if self.serving is not None else {}
        if "auth" not in pairs or (str(pairs.get("tls")) == "starttls" and self.conn.tls is None):
            return []
        return (text_of(pairs["mechanisms"]).decode() if "mechanisms" in pairs else "PLAIN LOGIN").split()

    def must_authenticate(self):
        return self.user is None and any(str(a) == "auth-required" for a in self.serving.args)

    def good(self, user, password):
        """Both are compared; neither is given away by what is said."""
        want = text_of(self.serving.pairs["auth"]).partition(b":")
        return hmac.compare_digest(user + b"\0" + password, want[0] + b"\0" + want[2])

    async def at_AUTH(self, line, _reply, _replies):
        mechanism, _, initial = line[5:].partition(b" ")
        mechanism = mechanism.upper().decode("latin-1")
        if mechanism not in self.mechanisms():
            raise Fail("AUTH %s was not offered" % mechanism)
        if self.user is not None or self.mail is not None:
            raise Fail("AUTH at the wrong time")
        steps = {"PLAIN": self.auth_plain, "LOGIN": self.auth_login, "SCRAM-SHA-256": self.auth_scram,
                 "SCRAM-SHA-256-PLUS": self.auth_scram_plus}
        try:
            user, ok = await steps[mechanism](None if not initial else decode(b"" if initial == b"=" else initial))
        except (KeyError, ValueError, IndexError) as e:
            raise Fail("AUTH %s: %r" % (mechanism, e)) from None
        if not self.is_check:
            self.backend.auth.append({"mechanism": mechanism, "user": user.decode("utf-8", "replace"), "ok": ok})
        self.user = user.decode("utf-8", "replace") if ok else None
        await self.say([b"235 2.7.0 welcome" if ok else b"535 5.7.8 no"])
        return True

    async def ask(self, challenge):
        """What is answered to a challenge; it is no command."""
        await self.say([b"334 " + b64(challenge)])
        line = await self.conn.line()
        if not line.endswith(b"\r\n"):
            raise Fail("a line that is not canonical: %r" % line)
        return decode(line[:-2])

    async def auth_plain(self, initial):
        response = initial if initial is not None else await self.ask(b"")
        parts = response.split(b"\0")
        if len(parts) != 3:
            raise Fail("PLAIN has three parts, not %r" % response)
        return parts[1], self.good(parts[1], parts[2]) and parts[0] in (b"", parts[1])

    async def auth_login(self, initial):
        user = initial if initial is not None else await self.ask(PROMPTS[0])
        return user, self.good(user, await self.ask(PROMPTS[1]))

    async def auth_scram(self, initial):
        message = initial if initial is not None else await self.ask(b"")
        user, ok = await self.scram_steps(message, [b"n", b"y"], b"")
        return user, ok and not (message.startswith(b"y") and "SCRAM-SHA-256-PLUS" in self.mechanisms())

    async def auth_scram_plus(self, initial):
        message = initial if initial is not None else await self.ask(b"")
        name = message.partition(b",")[0]
        bound = scram.binding(self.conn.tls, name.removeprefix(b"p=").decode("latin-1"))
        return await self.scram_steps(message, [name], bound)

    async def scram_steps(self, message, flags, bound):
        at = message.index(b",", message.index(b",") + 1) + 1  # behind the GS2 header
        header, bare = message[:at], message[at:]
        user = scram.fields(bare)[b"n"].replace(b"=2C", b",").replace(b"=3D", b"=")
        nonce = scram.fields(bare)[b"r"] + b64(secrets.token_bytes(9))
        first = b"r=%s,s=%s,i=%d" % (nonce, b64(SALT), ITERATIONS)
        final, _, proof = (await self.ask(first)).rpartition(b",p=")
        name, _, password = text_of(self.serving.pairs["auth"]).partition(b":")
        keys, messages = scram.Keys(password, SALT, ITERATIONS), b",".join([bare, first, final])
        if header.partition(b",")[0] not in flags or decode(proof) != keys.proof(messages):
            return user, False
        if (user, final) != (name, b"c=%s,r=%s" % (b64(header + bound), nonce)):
            return user, False
        await self.ask(b"v=" + b64(keys.signature(messages)))
        return user, True
