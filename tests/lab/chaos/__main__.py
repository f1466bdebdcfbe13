# SPDX-License-Identifier: Apache-2.0
"""Chaos: mail flows while backends, clients and the balancer itself are killed; at the end the books must agree.

    senders ──► postroadd ──► b1 … b4      everything on loopback ports of its own
       │            │             │
     answers       log          stores ──► verify.py

Nothing accepted may be lost or altered, and no message may be stored twice without a line that says why.
"""

import argparse
import asyncio
import collections
import pathlib
import random
import shutil
import signal
import sys
import tempfile
import time

import verify
from senders import Senders
from world import Backend, Balancer, Schedule, free_ports, sender_of, transactions

BACKENDS = 4
SENDERS = 60
DRAIN_SECONDS = 120
LINES_SECONDS = 30
STOP_SECONDS = 30


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--build", default="build", help="where bin/postroadd is")
    p.add_argument("--messages", type=int, default=20000)
    p.add_argument("--seed", default=None)
    p.add_argument("--rate", type=float, default=160, help="new messages a second")
    p.add_argument("--kills", type=int, default=None, help="how often the balancer is ended (default: by the number of messages)")
    p.add_argument("--direct", action="store_true", help="senders and backends without a balancer: a test of the test")
    p.add_argument("--calm", action="store_true", help="no faults in backends and processes")
    p.add_argument("--sabotage", choices=["lose", "corrupt", "duplicate"], help="backends break their promise: the run must fail")
    p.add_argument("--keep", action="store_true", help="keep the directory of a good run too")
    p.add_argument("--verbose", action="store_true")
    o = p.parse_args()
    o.seed = o.seed or str(random.SystemRandom().randrange(1 << 32))
    if o.kills is None:
        o.kills = 0 if o.calm or o.direct else max(3, o.messages // 1500)
    return o


class Run:
    def __init__(self, options, directory):
        self.options, self.directory = options, directory
        ports = free_ports(BACKENDS)
        self.backends = [Backend(f"b{i + 1}", port, directory, options.seed, options.sabotage) for i, port in enumerate(ports)]
        self.balancer = None if options.direct else Balancer(pathlib.Path(options.build).resolve() / "bin" / "postroadd", directory,
                                                             self.backends)
        self.senders = Senders(options.seed, options.messages, ports if options.direct else self.balancer.ports, options.rate)
        self.started = time.monotonic()
        self.schedule = Schedule(options.seed, self.backends, self.balancer, self.senders, self.say)

    def say(self, what):
        if self.options.verbose:
            print(f"{time.monotonic() - self.started:8.3f}  {self.senders.done}/{self.senders.count}  {what}", flush=True)

    async def start(self):
        await asyncio.gather(*(b.start("calm" if self.options.calm else "rough") for b in self.backends))
        if self.balancer:
            await self.balancer.start()

    async def send_all(self):
        """All messages sent, faults going on; a task that fails ends the run."""
        tasks = [asyncio.create_task(self.senders.feed())]
        tasks += [asyncio.create_task(self.senders.run_one(i)) for i in range(SENDERS)]
        torment = []
        if not self.options.calm:
            torment.append(asyncio.create_task(self.schedule.torment_backends()))
        if self.balancer:
            torment.append(asyncio.create_task(self.schedule.torment_balancer(self.options.kills)))
        done = asyncio.create_task(self.senders.all_done.wait())
        limit = self.options.messages / self.options.rate + DRAIN_SECONDS
        try:
            await self.first_failure([done], tasks + torment, limit)
        finally:
            for t in tasks + torment:
                t.cancel()
            await asyncio.wait(tasks + torment, timeout=STOP_SECONDS)
        await self.schedule.settle()

    async def first_failure(self, goals, others, limit):
        """Until every goal is reached."""
        deadline = time.monotonic() + limit
        waiting = set(goals) | set(others)
        while not all(g.done() for g in goals):
            finished, waiting = await asyncio.wait(waiting, timeout=deadline - time.monotonic(), return_when=asyncio.FIRST_COMPLETED)
            for t in finished:
                t.result()
            if not finished:
                raise RuntimeError(f"{self.senders.count - self.senders.done} messages are still under way after {limit:.0f} s")

    async def await_lines(self):
        """Transactions whose client went away end later: until each attempt has its line, or the time is over."""
        logs, kills = self.balancer.logs, self.balancer.kills
        wanted = {a.sender for a in self.senders.attempts if a.mail_reply == 250 and not verify.was_killed_meanwhile(a, kills)}
        wanted -= {sender_of(line) for line in transactions(logs)}
        deadline = time.monotonic() + LINES_SECONDS
        while wanted and time.monotonic() < deadline:
            await asyncio.sleep(0.2)
            wanted -= {sender_of(line) for line in transactions(logs[-1:])}

    async def stop(self):
        if self.balancer:
            self.balancer.check_alive()
            await self.await_lines()
            await self.balancer.terminate()
        await asyncio.gather(*(b.finish() for b in self.backends))

    def kill_leftovers(self):
        for p in [b.process for b in self.backends] + [self.balancer.process if self.balancer else None]:
            if p is not None and p.returncode is None:
                p.kill()

    async def go(self):
        # Ended from outside, the run still ends its processes.
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asyncio.current_task().cancel)
        try:
            await self.start()
            await self.send_all()
            await self.stop()
        finally:
            self.kill_leftovers()
        b = self.balancer
        return verify.Books(self.options.seed, self.senders.attempts, sorted(self.directory.glob("*.store")), b.logs if b else None,
                            b.kills if b else [], b.ports[0] if b else None)


def report(run, books):
    s = run.senders
    outcomes = collections.Counter(a.outcome for a in s.attempts)
    causes = collections.Counter(f"{x.get('result')}/{x.get('cause')}" for lines in books.lines.values() for x in lines)
    print(f"sent {s.count}, accepted {s.answered}, given up {len(s.given_up)}, attempts {len(s.attempts)}, retried {s.retried}")
    styles = collections.Counter(a.style for a in s.attempts)
    print("styles:", ", ".join(f"{k} {v}" for k, v in sorted(styles.items())))
    print("stored by:", ", ".join(f"{k} {v}" for k, v in sorted(books.ways.items())))
    print("attempts:", ", ".join(f"{k} {v}" for k, v in sorted(outcomes.items())))
    print("faults:", ", ".join(f"{k} {v}" for k, v in sorted(run.schedule.counts.items())) or "none")
    if causes:
        print("log:", ", ".join(f"{k} {v}" for k, v in causes.most_common()))
    print("copies beyond an answer, explained:", ", ".join(f"{k} {v}" for k, v in books.explained.items()) or "none")
    print(f"lost {books.n_lost}, corrupted {books.n_corrupted}, unexplained copies {books.n_unexplained}, "
          f"violations {len(books.violations)}, {time.monotonic() - run.started:.0f} s")


def main():
    o = arguments()
    directory = pathlib.Path(tempfile.mkdtemp(prefix="postroad-chaos-"))
    flags = "".join(f" --{f}" for f in ("direct", "calm") if getattr(o, f)) + (f" --sabotage {o.sabotage}" if o.sabotage else "")
    replay = f"/usr/bin/python3 tests/lab/chaos --build {o.build} --messages {o.messages} --seed {o.seed} --kills {o.kills}{flags}"
    print(f"chaos: {o.messages} messages, seed {o.seed}", flush=True)
    run, violations = None, []
    try:
        async def play():
            nonlocal run
            run = Run(o, directory)
            return await run.go()
        books = asyncio.run(play())
        violations = books.check()
        report(run, books)
        for number, what, attempt in violations[:verify.SHOWN_MAX]:
            print(f"VIOLATION m{number:06d}: {what}\n    {attempt}")
    except (RuntimeError, OSError, asyncio.TimeoutError, asyncio.CancelledError) as e:
        violations = [e]
        print(f"FAILED: {e!r}")
    if violations:
        print(f"evidence in {directory}\nreplay: {replay}")
        return 1
    if not o.keep:
        shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main())
