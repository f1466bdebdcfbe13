# SPDX-License-Identifier: Apache-2.0
"""What others' misbehaviour costs: a sender at a steady rate, quiet and beside each attack.

Every limit is at its default. As all comes from one machine, attackers use many addresses of the loopback, so that
the default limits per client do not make it easy; the sender has one of its own, and logs in with AUTH like the
attackers try to (without TLS, so that guesses cost the attacker's machine nothing)."""
import json
import struct
import subprocess
import time

from tests.bench import credentials, measure
from tests.bench.judging import Goal
from tests.run import node as lib

MIB = 1 << 20
RATE, SECONDS = 200, 10  # of the sender
# name → options of postroad-attack
ATTACKS = {
    "idle": ["--clients", 5000, "--sources", 50],
    "drip": ["--clients", 2000, "--sources", 20],
    "crawl": ["--clients", 1000, "--sources", 10],
    "hold": ["--clients", 1000, "--sources", 10],
    "deaf": ["--clients", 500, "--sources", 10],
    "auth": ["--clients", 500, "--sources", 50, "--user", "victim"],
    "hangup": ["--clients", 2000, "--rate", 1000, "--sources", 50],
}
TIMEOUT_MS = 30_000
# What any attack may do: nothing is lost (the sender tries five times, a second apart), the slowest hundredth stays
# below a tenth of a second, memory grows by no more than this, and what the attack took is given back.
P99_US, GROWTH_MIB, KEPT_MIB = 100_000, 128, 1
# Who takes all of the servers' connections may keep one for two seconds without progress, as an honest slow client may,
# and is looked at each quarter of a second (daemon/session/pressure.h): one look to begin counting, one to end it.
HELD_US = 2_000_000 + 2 * 250_000
P99_OF = {name: HELD_US + P99_US if name in ("crawl", "hold") else P99_US for name in ATTACKS}

ABUSE_KEYS = ["lost", "deferred", "p50_us", "p99_us", "cpu_percent", "growth_mib", "live_mib", "kept_mib"]
ABUSE_GOALS = [goal for name in ATTACKS for goal in (
    Goal(f"{name}: messages lost", "lost", None, "<=", 0, name),
    Goal(f"{name}: p99 in µs", "p99_us", None, "<=", P99_OF[name], name),
    Goal(f"{name}: resident memory more than before, MiB", "growth_mib", None, "<=", GROWTH_MIB, name),
    Goal(f"{name}: allocated bytes kept afterwards, MiB", "kept_mib", None, "<=", KEPT_MIB, name))]


class Watched:
    """Our process, with a count of the bytes it has allocated."""

    def __init__(self, bench, name):
        self.file = bench.dir / f"{name}.live"
        env = {"LD_PRELOAD": str(bench.bins.parent / "lib/livebytes.so"), "POSTROAD_LIVE_BYTES": str(self.file)}

        def change(config):
            config["listeners"]["relay"]["auth"] = {"mode": "offer", "plaintext": True}
            config["users"] = {n: {"password": h} for n, h in credentials.users(["sender", "victim"]).items()}
            for server in config["pools"]["mta"]["servers"].values():
                del server["max_connections"]

        self.contender = bench.postroad(bench.sinks(), name, change=change, caps=False, env=env)

    def live(self):
        return struct.unpack("q", self.file.read_bytes())[0]


class Attack:
    """Runs until the block ends; it begins when every attacker has had its first turn."""

    def __init__(self, bench, contender, mode, options):
        argv = [bench.bins / "postroad-attack", "--to", contender.listen, "--mode", mode, *options]
        self.program = lib.Program(argv, bench.dir / f"attack-{mode}.log")

    def __enter__(self):
        self.program.start()
        self.program.wait_until(lambda: "begun" in self.program.tail(), "the attack", 60)
        return self

    def __exit__(self, *_):
        self.program.stop()

    def counts(self):
        """What became of it, after its end."""
        return json.loads(self.program.tail().splitlines()[-1])


def send(run, watched, seconds):
    """The sender's figures, with our CPU and the most memory meanwhile."""
    contender = watched.contender
    argv = [str(run.bench.bins / "postroad-load"), "--to", contender.listen, "--rate", str(RATE), "--seconds",
            str(seconds), "--parallel", "100", "--auth", f"sender:{credentials.PASSWORD}", "--timeout", str(TIMEOUT_MS),
            "--retries", "4", "--retry-delay", "1000"]
    cpu, start, memory, live = contender.cpu_seconds(), time.monotonic(), 0, 0
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as sender:
        while sender.poll() is None:
            memory, live = max(memory, contender.memory_bytes()), max(live, watched.live())
            time.sleep(0.1)
        figures = json.loads(sender.stdout.read())
    cpu = (contender.cpu_seconds() - cpu) / (time.monotonic() - start)
    # Who got nothing through waited longer than anybody could measure.
    latency = figures["latency_us"]["transaction"] if figures["accepted"] else {
        "p50": TIMEOUT_MS * 1000, "p99": TIMEOUT_MS * 1000}
    return {"lost": measure.refused(figures), "deferred": figures["retries"], "p50_us": latency["p50"],
            "p99_us": latency["p99"], "cpu_percent": cpu * 100}, figures["errors"], memory, live


def sample(run, watched, name, before):
    """One attack, or quiet (name None): what the sender saw, and what is left of it."""
    seconds = max(2, int(SECONDS * run.scale))
    if name is None:
        figures, errors, memory, live = send(run, watched, seconds)
    else:
        with Attack(run.bench, watched.contender, name, ATTACKS[name]) as attack:
            figures, errors, memory, live = send(run, watched, seconds)
        run.log(f"      {attack.counts()} sender: {errors}")
    deadline = time.monotonic() + 30
    while watched.live() - before["live"] > KEPT_MIB * MIB / 2 and time.monotonic() < deadline:
        time.sleep(0.1)
    return {**figures, "growth_mib": max(0, memory - before["memory"]) / MIB, "live_mib": live / MIB,
            "kept_mib": max(0, watched.live() - before["live"]) / MIB}


def row_abuse(run):
    """A fresh process each round; each attack in turn, the memory compared with that before the first."""
    results = {}
    for number in range(run.rounds):
        watched = Watched(run.bench, f"abused{number}")
        send(run, watched, 2)  # warms up
        before = {"memory": watched.contender.memory_bytes(), "live": watched.live()}
        for name in (None, *ATTACKS):
            figures = sample(run, watched, name, before)
            results.setdefault(name or "quiet", []).append(figures)
            shown = ", ".join(f"{k} {v:.4g}" for k, v in figures.items())
            run.log(f"    round {number + 1} {name or 'quiet':8} {shown}")
        run.bench.started.remove(watched.contender)
        watched.contender.stop()
    return results
