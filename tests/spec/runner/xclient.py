# SPDX-License-Identifier: Apache-2.0
"""XCLIENT and XFORWARD of whole servers, read strictly (Postfix's XCLIENT_README and XFORWARD_README)."""
import re

from .grammar import Fail, Token
from .script import text_of

LINE_MAX = 512


def attributes(line, offered):
    """NAME=value …, values in xtext (RFC 3461 4); only what was offered, each once."""
    out = {}
    for word in line.split(b" ")[1:]:
        name, equals, value = word.decode("latin-1").partition("=")
        if not equals or name.upper() not in offered or name.upper() in out:
            raise Fail("not an attribute that was offered: %r" % word)
        if not re.fullmatch(r"(?:[!-*,-<>-~]|\+[0-9A-F]{2})*", value):
            raise Fail("not xtext: %r" % word)
        raw = re.sub(r"\+([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), value)
        out[name.upper()] = raw.encode("latin-1").decode("utf-8", "replace")
    if not out or len(line) + 2 > LINE_MAX:
        raise Fail("a line without attributes or too long: %r" % line)
    return out


class XclientServer:
    """serve xclient="NAME ADDR …" xforward="NAME ADDR …" """

    def identity_offers(self):
        pairs = self.serving.pairs if self.serving is not None else {}
        offered = [key for key in ("xclient", "xforward") if key in pairs]
        return ["%s %s" % (key.upper(), text_of(pairs[key]).decode()) for key in offered]

    def attributes_of(self, line, key):
        if key not in self.serving.pairs or self.mail is not None:
            raise Fail("%s was not offered, or in a transaction" % key.upper())
        self.conn.look()
        if self.conn.buf and key == "xclient":
            raise Fail("more came behind XCLIENT: %r" % bytes(self.conn.buf))
        return attributes(line, text_of(self.serving.pairs[key]).decode().split())

    async def at_XCLIENT(self, line, reply, _replies):
        """220, and the session is where its banner was; several in a row are one."""
        said = self.attributes_of(line, "xclient")
        if reply is None or text_of(reply[0]).startswith(b"2"):
            before = self.xclient if self.reborn else {}
            self.forget_all()
            self.xclient, self.reborn = before, True
            if not before and not self.is_check:
                self.backend.xclient.append(before)
            before.update(said)
        await self.respond(reply or [self.banner()])
        return True

    async def at_XFORWARD(self, line, reply, _replies):
        """It holds for one transaction; several in a row are one."""
        said = self.attributes_of(line, "xforward")
        if not self.xforward and not self.is_check:
            self.backend.xforward.append(self.xforward)
        self.xforward.update(said)
        await self.respond(reply or [Token("word", "250")])
        return True

    def check_reborn(self, verb):
        """Behind XCLIENT stands EHLO."""
        if self.reborn and verb not in ("EHLO", "HELO", "XCLIENT", "QUIT"):
            raise Fail("%s behind XCLIENT, where EHLO should be" % verb)
        self.reborn = self.reborn and verb == "XCLIENT"
