# SPDX-License-Identifier: Apache-2.0
"""One spec as it is played: its actors, its clock, its transcript.

Nothing here sleeps: whoever waits names the condition and a deadline, and is woken whenever anything was noted.
"""
import asyncio
import json
import os
import re
import shutil
import socket
import tempfile
import time

from . import certs
from . import expect as expectations
from .backend import Backend
from .balancer import Balancer
from .client import Client
from .grammar import Fail, Skip, parse, value_of
from .script import text_of
from .wire import written

STEP_SECONDS = 5.0
PLAY_SECONDS = 30.0
SHOWN = 400  # bytes of one read or write in the transcript


class Play:
    def __init__(self, file, binary, certificates=None):
        self.file, self.binary, self.certificates = file, binary, certificates
        self.name = os.path.basename(file)[:-len(".spec")]
        self.title, self.must_fail, self.rules = "", None, []
        self.step_seconds, self.play_seconds = STEP_SECONDS, PLAY_SECONDS
        self.backends, self.clients, self.tasks, self.running = {}, {}, set(), {}
        self.events, self.transcript, self.own_ids, self.occupied = set(), [], [], {}
        self.contexts = {}  # of TLS
        self.lb = self.last_admin = self.broken = None
        self.dir = tempfile.mkdtemp(prefix="spec-%s-" % self.name[:40])
        self.started = time.monotonic()
        self.seconds = 0.0

    def actors(self):
        return {**self.backends, **self.clients, **({"lb": self.lb} if self.lb else {})}

    # ---- the transcript and waiting ----

    def note(self, who, mark, what):
        if isinstance(what, bytes):
            text = repr(what[:SHOWN])[1:]
            what = text + (" … %d bytes" % len(what) if len(what) > SHOWN else "")
        self.transcript.append((time.monotonic() - self.started, who, mark, what))
        self.pulse()

    def pulse(self):
        self.changed.set()
        self.changed = asyncio.Event()

    async def until_async(self, holds, seconds):
        deadline = time.monotonic() + seconds
        while not await holds():
            if time.monotonic() >= deadline:
                return False
            try:
                await asyncio.wait_for(self.changed.wait(), 0.02)
            except TimeoutError:
                pass
        return True

    async def until(self, holds, seconds, complaint):
        async def check():
            return holds()
        if not await self.until_async(check, seconds):
            raise Fail("%s within %g s" % (complaint, seconds))

    def tell(self, event):
        self.events.add(event)
        self.note("-", "!", event)

    async def told(self, event):
        while event not in self.events:
            await self.changed.wait()

    # ---- tasks ----

    def spawn(self, coroutine):
        async def guarded():
            try:
                await coroutine
            except asyncio.CancelledError:
                raise
            except BaseException as e:
                if not self.broken.done():
                    self.broken.set_exception(e)
        task = asyncio.get_running_loop().create_task(guarded())
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    def address_of(self, actor, listener):
        if actor == "lb":
            return (self.lb.host(listener), self.lb.port(listener))
        self.backends[actor].armed = True
        return self.backends[actor].address

    # ---- the statements of a play ----

    async def step(self, s):
        verb = s.verb.replace("-", "_")
        where = "%s:%d: %s" % (s.file, s.line, s)
        if s.verb in self.backends:
            handler = self.at_backend
        else:
            handler = getattr(self, "do_" + verb, None)
        if handler is None:
            raise Fail("%s: no such verb" % where)
        if s.verb not in ("spec", "rule"):
            self.note("play", ".", str(s))
        try:
            await handler(s)
        except Fail as e:
            raise e if str(e).startswith(s.file) else Fail("%s: %s" % (where, e)) from None

    async def do_spec(self, s):
        self.title = text_of(s.args[0]).decode()

    async def do_rule(self, s):
        self.rules += [str(a) for a in s.args]

    async def do_must_fail(self, s):
        """This spec is wrong on purpose: it passes by failing with this message."""
        self.must_fail = s.args[0].text

    async def do_skip(self, s):
        raise Skip(text_of(s.args[0]).decode())

    async def do_limits(self, s):
        """limits step=1s play=60s"""
        for key, value in s.pairs.items():
            setattr(self, key + "_seconds", float(value.text.rstrip("s")))

    async def do_backend(self, s):
        name = str(s.args[0])
        self.backends[name] = backend = Backend(self, name, s.pairs, s.block or [])
        if "down" not in [str(a) for a in s.args]:
            backend.up()

    async def do_occupy(self, s):
        """occupy NAME: a port that nobody else can bind."""
        sock = socket.socket()
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        self.occupied[str(s.args[0])] = sock

    async def do_file(self, s):
        """file NAME "bytes" | @tls/NAME@: a file of this play, @file/NAME@; anew, it is replaced in one go"""
        name, content = str(s.args[0]), text_of(s.args[1])
        if s.args[1].kind == "word":
            with open(self.fill_in(content.decode()), "rb") as f:
                content = f.read()
        with open(os.path.join(self.dir, name + ".new"), "wb") as f:
            f.write(content)
        os.rename(os.path.join(self.dir, name + ".new"), os.path.join(self.dir, name))

    def fill_in(self, text):
        """@tls/NAME@ and @file/NAME@ become paths."""
        text = certs.fill_in(self.certificates, text)
        return re.sub(r"@file/([\w.-]+)@", lambda m: os.path.join(self.dir, m[1]), text)

    async def at_backend(self, s):
        """b1 up | down | clog | cut | script { … } | checks { … }"""
        backend, what = self.backends[s.verb], str(s.args[0])
        if what == "script":
            backend.set_script(s.block)
        elif what == "checks":
            backend.check_script = s.block
        elif what in ("up", "down", "clog", "cut"):
            getattr(backend, what)()
        else:
            raise Fail("a backend cannot %s" % what)

    async def do_lb(self, s):
        """lb { configuration } starts it, waits until it listens; `expect-exit CODE ~"text"` in it: it must refuse."""
        refusal = [x for x in s.block or [] if x.verb == "expect-exit"]
        self.lb = Balancer(self, self.binary)
        self.lb.configure([x for x in s.block or [] if x.verb != "expect-exit"])
        self.lb.write_files()
        await self.lb.launch()
        if refusal:
            await self.lb.ended()
            code, text = refusal[0].args
            if self.lb.exit != value_of(code) or not re.search(text.text, "\n".join(self.lb.log)):
                raise Fail("it ended with %d and said: %s" % (self.lb.exit, self.lb.log))
            return
        await self.lb.ready()
        await self.arm()

    async def arm(self):
        for backend in self.backends.values():
            await backend.attended()
            backend.armed = True

    async def do_client(self, s):
        """client NAME { … }: played to its end before the next line."""
        await self.client_of(s).play_out(s.block)

    def client_of(self, s):
        name = str(s.args[0])
        client = Client(self, name, s.pairs)
        self.clients[name] = client
        return client

    async def do_start(self, s):
        """start client NAME { … }: goes on beside the next lines; `wait NAME` joins it, and so does the end."""
        client = self.client_of(type(s)(s.file, s.line, s.words[1:], s.block))
        self.running[client.who] = self.spawn(client.play_out(s.block))

    async def do_wait(self, s):
        for a in s.args:
            await self.running.pop(str(a))

    async def do_tell(self, s):
        for a in s.args:
            self.tell(str(a))

    async def do_await(self, s):
        for a in s.args:
            try:
                await asyncio.wait_for(self.told(str(a)), self.step_seconds)
            except TimeoutError:
                raise Fail("nobody told %s" % a) from None

    async def do_expect(self, s):
        await expectations.expect(self, s)

    async def do_admin(self, s):
        """admin METHOD TARGET ['JSON'] -> STATUS; @NAME@ is an address, $a.b[0]$ a value of the answer before."""
        words = [a for a in s.args if str(a) != "->"]
        method, target, *body, status = words
        data = (body[0].text if isinstance(body[0].text, bytes) else body[0].text.encode()) if body else b""
        for name, sock in self.occupied.items():
            data = data.replace(b"@%s@" % name.encode(), b"127.0.0.1:%d" % sock.getsockname()[1])
        for name, port in self.lb.ports.items():
            data = data.replace(b"@%s@" % name.encode(), written(self.lb.host(name), port).encode())
        for name, backend in self.backends.items():
            data = data.replace(b"@%s@" % name.encode(), written(*backend.address).encode())
        data = self.fill_in(data.decode()).encode()
        path = re.sub(r"\$([^$]+)\$", lambda m: str(expectations.follow(self.last_admin, m[1])), target.text)
        got, content = await self.lb.http(method.text, path, data)
        try:
            self.last_admin = json.loads(content)
        except ValueError:
            self.last_admin = None
        if got != value_of(status):
            raise Fail("answered %d: %s" % (got, content.decode("utf-8", "replace")[:1000]))

    async def do_signal(self, s):
        """signal TERM | HUP | KILL | STOP | CONT"""
        self.lb.signal(str(s.args[0]))
        if str(s.args[0]) == "STOP":
            await self.until(self.lb.stopped, self.step_seconds, "the balancer does not stop")

    async def do_descriptors(self, s):
        """descriptors N | all | gone: the balancer can open N more, or as many as at its start; wait until none is left"""
        if str(s.args[0]) == "gone":
            await self.lb.used_up(self.step_seconds)
        else:
            self.lb.leave_descriptors(None if str(s.args[0]) == "all" else int(str(s.args[0])))

    async def do_ended(self, s):
        await self.lb.ended()

    async def do_restart(self, s):
        """Starts the balancer again with the same files."""
        for backend in self.backends.values():
            backend.armed = backend.checks_scripted
        await self.lb.launch()
        await self.lb.ready()
        await self.arm()

    # ---- beginning and end ----

    async def perform(self, statements):
        for s in statements:
            await self.step(s)
        for name in list(self.running):
            await self.running.pop(name)
        if self.lb is not None:
            await self.lb.check_clean_end()
            self.check_ids()
        await self.close_backends()

    async def close_backends(self):
        """Scripts must have been played to their ends."""
        for backend in self.backends.values():
            for client in self.clients.values():
                client.hang_up()
            await self.until(lambda b=backend: not b.conns, self.step_seconds,
                             "%s still has connections" % backend.name)
            if backend.sections:
                await self.until(lambda b=backend: not b.sections and not b.conns, 0.5,
                                 "%s: %d connections of its script never came" % (backend.name, len(backend.sections)))

    def check_ids(self):
        """The last word of each of our own refusals names a session that the log knows."""
        log = "\n".join(self.lb.log)
        for who, word in self.own_ids:
            bare = word.split("=")[-1].strip("()[]<>.")
            if len(bare) < 4 or bare not in log:
                raise Fail("%s: the reply should end with the session's id, not %r" % (who, word))

    async def run(self):
        """None, or why it failed. Skip goes through."""
        self.changed = asyncio.Event()
        self.broken = asyncio.get_running_loop().create_future()
        try:
            with open(self.file, encoding="utf-8") as f:
                statements = parse(os.path.relpath(self.file), f.read())
            await self.guarded(self.perform(statements))
            failure = None
        except Fail as e:
            failure = str(e)
        finally:
            await self.clean_up()
            self.seconds = time.monotonic() - self.started
        return self.verdict(failure)

    async def guarded(self, coroutine):
        main = asyncio.create_task(coroutine)
        done = set()
        while not done and time.monotonic() < self.started + self.play_seconds:
            done, _ = await asyncio.wait({main, self.broken}, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
        if self.broken in done:
            main.cancel()
            await asyncio.gather(main, return_exceptions=True)
            raise self.broken.exception()
        if main not in done:
            main.cancel()
            await asyncio.gather(main, return_exceptions=True)
            raise Fail("the play is not over after %g s" % self.play_seconds)
        main.result()

    def verdict(self, failure):
        if self.must_fail is None:
            return failure
        if failure is None:
            return "it held, and should not have"
        if not re.search(self.must_fail, failure):
            return "it failed in another way than it should: %s" % failure
        return None

    async def clean_up(self):
        if self.lb is not None:
            self.lb.kill()
        for backend in self.backends.values():
            backend.down()
            backend.holder.close()
        for client in self.clients.values():
            client.hang_up()
        for sock in self.occupied.values():
            sock.close()
        tasks = list(self.tasks)
        if self.lb is not None and self.lb.watcher is not None:
            await asyncio.wait({self.lb.watcher}, timeout=5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not self.broken.done():
            self.broken.cancel()
        elif not self.broken.cancelled():
            self.broken.exception()

    def forget_files(self):
        shutil.rmtree(self.dir, ignore_errors=True)

    def report(self):
        """The whole transcript, by time."""
        return "\n".join("  %8.3f %-8s %s %s" % entry for entry in self.transcript)
