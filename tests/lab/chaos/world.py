# SPDX-License-Identifier: Apache-2.0
"""The processes of a run, and what is done to them.

Every process is a child of this one and is ended by its own number. Ports are taken from the kernel once and kept, since a backend and
the balancer must come back where they were.
"""

import asyncio
import json
import os
import pathlib
import random
import re
import signal
import socket
import sys
import time

HERE = pathlib.Path(__file__).resolve().parent
START_SECONDS = 30
STOP_SECONDS = 40
GRACE = "5s"

NODE = {"log": {"target": "stderr", "level": "info"}, "admin": {"listen": [], "tls": "off"}, "cluster": {"engine": "none", "listen": []},
        "shutdown_grace": GRACE}
LISTENER = {"mode": "smtp", "direction": "outbound", "hostname": "lb.chaos.test", "pool": "mta", "allow": ["127.0.0.0/8"],
            "line_endings": "normalize", "caps": {"errors": 1000, "junk_commands": 1000}}
# Deadlines short enough that a stopped backend is noticed within a run; each is still longer than what a slow one takes.
POOL = {"balance": "leastconn",
        "health": {"interval": "1s", "fast_interval": "200ms", "down_interval": "500ms", "timeout": "3s", "rise": 1, "fall": 2},
        "outlier": {"consecutive": 5, "eject": "1s", "busy": "500ms", "busy_max": "2s"},
        "retry": {"attempts": 3, "budget": "30s", "replay_buffer": "64KiB"},
        "timeouts": {"connect": "3s", "banner": "3s", "ehlo": "3s", "mail": "4s", "rcpt": "4s", "data": "4s", "block": "6s", "dot": "6s",
                     "quit": "1s"},
        "queue": 1000, "queue_timeout": "10s", "slow_start": "0s"}


def free_ports(n):
    sockets = [socket.socket() for _ in range(n)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


class Backend:
    def __init__(self, name, port, directory, seed, sabotage=None):
        self.name, self.port, self.directory = name, port, directory
        self.seed, self.sabotage = seed, sabotage
        self.generation = 0
        self.process = None

    async def start(self, profile="calm"):
        self.generation += 1
        store = self.directory / f"{self.name}.{self.generation}.store"
        ident = f"{self.name}.{self.generation}"
        arguments = [str(self.port), ident, str(store), f"{self.seed}/{ident}", *([self.sabotage] if self.sabotage else [])]
        errors = open(self.directory / f"{self.name}.err", "ab")
        self.process = await asyncio.create_subprocess_exec(
            sys.executable, str(HERE / "backend.py"), *arguments, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            stderr=errors)
        errors.close()
        async with asyncio.timeout(START_SECONDS):
            line = await self.process.stdout.readline()
        if line != b"ready\n":
            raise RuntimeError(f"backend {self.name} did not start; see {self.directory}/{self.name}.err")
        self.profile(profile)

    def profile(self, name):
        self.process.stdin.write(name.encode() + b"\n")

    def signal(self, number):
        self.process.send_signal(number)

    async def kill(self):
        self.signal(signal.SIGKILL)
        async with asyncio.timeout(STOP_SECONDS):
            await self.process.wait()

    async def finish(self):
        self.process.stdin.close()
        async with asyncio.timeout(STOP_SECONDS):
            code = await self.process.wait()
        if code != 0:
            raise RuntimeError(f"backend {self.name} broke; see {self.directory}/{self.name}.err")


class Balancer:
    """postroadd with a node file of its own; one log file per start."""

    def __init__(self, program, directory, backends):
        self.program, self.directory = program, directory
        self.ports = free_ports(2)
        self.process = None
        self.logs, self.kills = [], []
        servers = {b.name: {"address": f"127.0.0.1:{b.port}"} for b in backends}
        # Two of the servers take BDAT: with the second pool everything goes to them so, and failover changes the way.
        listeners = {"relay": {**LISTENER, "pool": "chunks", "bind": [f"127.0.0.1:{self.ports[0]}"], "add_received": "always"},
                     "plain": {**LISTENER, "bind": [f"127.0.0.1:{self.ports[1]}"], "add_received": "never"}}
        pools = {"mta": {**POOL, "servers": servers}, "chunks": {**POOL, "servers": servers, "chunking": "always"}}
        config = {"version": 1, "listeners": listeners, "pools": pools}
        node = {**NODE, "node": "n1", "state_dir": str(directory / "state"), "run_dir": str(directory / "run"),
                "initial_config": config}
        for d in ("state", "run"):
            (directory / d).mkdir()
        self.node_file = directory / "node.json"
        self.node_file.write_text(json.dumps(node, indent=2))

    async def start(self):
        log = self.directory / f"postroadd.{len(self.logs) + 1}.log"
        self.logs.append(log)
        with open(log, "wb") as f:
            self.process = await asyncio.create_subprocess_exec(str(self.program), "-c", str(self.node_file), stderr=f, stdout=f)
        deadline = time.monotonic() + START_SECONDS
        while not await self.greets():
            if self.process.returncode is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the balancer does not listen; see {log}")
            await asyncio.sleep(0.05)

    async def greets(self):
        try:
            async with asyncio.timeout(5):
                reader, writer = await asyncio.open_connection("127.0.0.1", self.ports[0])
                line = await reader.readline()
            writer.write(b"QUIT\r\n")
            writer.close()
            return line.startswith(b"220")
        except (OSError, asyncio.TimeoutError):
            return False

    async def kill(self):
        before = time.monotonic()
        self.process.send_signal(signal.SIGKILL)
        async with asyncio.timeout(STOP_SECONDS):
            await self.process.wait()
        self.kills.append((before, time.monotonic()))

    async def terminate(self):
        """Finishes what it can within its grace. It must end by itself, and well."""
        self.process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(STOP_SECONDS):
                code = await self.process.wait()
        except asyncio.TimeoutError:
            self.process.kill()
            raise RuntimeError("the balancer did not end after SIGTERM") from None
        if code != 0:
            raise RuntimeError(f"the balancer ended with {code} after SIGTERM; see {self.logs[-1]}")

    def check_alive(self):
        """A crash is never part of the plan."""
        if self.process.returncode is not None:
            raise RuntimeError(f"the balancer ended by itself with {self.process.returncode}; see {self.logs[-1]}")


# ---- what is done to them ----

class Schedule:
    """Seeded: the same seed does the same things in the same order, at the same times as far as the machine allows."""

    def __init__(self, seed, backends, balancer, senders, say):
        self.rng = random.Random(f"{seed}/schedule")
        self.backends, self.balancer, self.senders, self.say = backends, balancer, senders, say
        self.counts = {}
        self.busy = set()

    def count(self, what):
        self.counts[what] = self.counts.get(what, 0) + 1

    async def torment_backends(self):
        while True:
            await asyncio.sleep(self.rng.uniform(0.3, 1.2))
            backend = self.rng.choice(self.backends)
            action = self.rng.choices(["kill", "stop", "storm", "slow", "refuse", "full"], [20, 20, 25, 15, 10, 10])[0]
            seconds = self.rng.choice([0.2, 0.5, 1, 2, 4]) if action != "stop" else self.rng.choice([0.2, 1, 3, 8])
            # At least one backend stays as it is, or the run would only show that nothing works without backends.
            if backend in self.busy or len(self.busy) + 1 >= len(self.backends):
                continue
            self.busy.add(backend)
            self.count(action)
            asyncio.create_task(self.torment(backend, action, seconds))

    async def torment(self, backend, action, seconds):
        self.say(f"{backend.name}: {action} for {seconds} s")
        if action == "kill":
            await backend.kill()
            await asyncio.sleep(seconds)
            await backend.start("rough")
        elif action == "stop":
            backend.signal(signal.SIGSTOP)
            await asyncio.sleep(seconds)
            backend.signal(signal.SIGCONT)
        else:
            backend.profile(action)
            await asyncio.sleep(seconds)
            backend.profile("rough")
        self.busy.discard(backend)

    async def torment_balancer(self, times):
        """Ended and started again at even steps of the senders' progress: killed, and every third time asked to stop."""
        for i in range(times):
            mark = (i + 0.3 + self.rng.random() * 0.6) / (times + 1) * self.senders.count
            while self.senders.done < mark:
                self.balancer.check_alive()
                await asyncio.sleep(0.05)
            is_kill = i % 3 != 2
            self.count("balancer killed" if is_kill else "balancer stopped")
            self.say("balancer: kill -9" if is_kill else "balancer: SIGTERM")
            self.senders.gate.clear()
            await (self.balancer.kill() if is_kill else self.balancer.terminate())
            await self.balancer.start()
            self.senders.gate.set()

    async def settle(self):
        """No more faults; those that run end first."""
        deadline = time.monotonic() + START_SECONDS
        while self.busy:
            if time.monotonic() > deadline:
                raise RuntimeError("a fault does not end")
            await asyncio.sleep(0.05)
        for b in self.backends:
            b.profile("calm")


# ---- the log ----

PAIR = re.compile(r'([A-Za-z_]+)=("(?:[^"\\]|\\.)*"|\S*)')


def unquote(value):
    if not value.startswith('"'):
        return value
    return re.sub(r"\\(.)", lambda m: {"n": "\n", "t": "\t", "r": "\r"}.get(m.group(1), m.group(1)), value[1:-1])


def transactions(logs):
    """Each transaction line as a dict. The last line of a killed process may be cut: it has no line end."""
    for log in logs:
        with open(log, encoding="utf-8", errors="replace", newline="\n") as f:
            for line in f:
                if line.endswith("\n") and " event=transaction " in line:
                    yield {k: unquote(v) for k, v in PAIR.findall(line)}


def sender_of(record):
    return record.get("from", "").strip("<>")
