# SPDX-License-Identifier: Apache-2.0
"""What clients and backends have in common: running a script, and the verbs that move bytes."""
import asyncio
import re

from .grammar import Fail
from .wire import Gone

# These take as long as the play does: what they wait for has its own deadline elsewhere.
UNTIMED = {"serve", "stall", "repeat"}


def within(statement, default):
    token = statement.pairs.get("within")
    return float(token.text.rstrip("s")) if token else default


def text_of(token):
    """A word or a string as bytes."""
    return token.text if isinstance(token.text, bytes) else token.text.encode()


class Script:
    """A runner of statements over one connection. Verbs are methods called do_VERB(statement)."""

    def __init__(self, play, who):
        self.play, self.who, self.conn = play, who, None

    async def run(self, statements):
        for s in statements:
            await self.step(s)

    async def step(self, s):
        verb = getattr(self, "do_" + s.verb.replace("-", "_"), None)
        where = "%s:%d: %s: %s" % (s.file, s.line, self.who, s)
        if verb is None:
            raise Fail("%s: no such verb" % where)
        self.play.note(self.who, ".", str(s))
        seconds = within(s, self.play.step_seconds)
        try:
            if s.verb in UNTIMED:
                await verb(s)
            else:
                async with asyncio.timeout(seconds):
                    await verb(s)
        except TimeoutError:
            raise Fail("%s: nothing within %g s" % (where, seconds)) from None
        except Gone:
            raise Fail("%s: the connection is gone" % where) from None
        except Fail as e:
            raise e if str(e).startswith(s.file) else Fail("%s: %s" % (where, e)) from None

    # ---- bytes ----

    async def do_raw(self, s):
        await self.conn.send(b"".join(text_of(a) for a in s.args))

    async def do_trickle(self, s):
        await self.conn.trickle(b"".join(text_of(a) for a in s.args))

    async def do_split(self, s):
        await self.conn.trickle(b"".join(text_of(a) for a in s.args[1:]), int(s.args[0].text))

    # ---- the end ----

    async def do_close(self, s):
        await self.conn.close_gently()

    async def do_half_close(self, s):
        self.conn.half_close()

    async def do_truncate(self, s):
        """The end of the stream without the close_notify of TLS."""
        self.conn.truncate()

    async def do_vanish(self, s):
        self.conn.vanish()

    # ---- order among actors ----

    async def do_tell(self, s):
        for a in s.args:
            self.play.tell(str(a))

    async def do_await(self, s):
        for a in s.args:
            await self.play.told(str(a))

    async def do_never(self, s):
        raise Fail("this must not happen")

    async def do_repeat(self, s):
        for _ in range(int(s.args[0].text)):
            await self.run(s.block)


def matches(pattern, data):
    text = data.decode("utf-8", "replace") if isinstance(data, bytes) else data
    return re.search(pattern, text) is not None
