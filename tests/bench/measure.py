# SPDX-License-Identifier: Apache-2.0
"""One measurement, and what is made of several.

Rounds go A B C A B C, never A A B B: what disturbs a shared machine for some seconds then disturbs all alike, and
the ratio is taken within each round before the median is taken over the rounds."""
import json
import statistics
import subprocess
import time

from tests.run import node as lib


class NotMeasured(Exception):
    """This build lacks what the row is about."""


class LoadError(Exception):
    """The generator failed, or not every message was accepted: no figure would mean anything."""


def generate(bins, contender, *options, timeout=600):
    """Runs the generator against a contender: (its own figures, the balancer's CPU seconds)."""
    argv = [str(bins / "postroad-load"), "--to", contender.listen, *map(str, options)]
    cpu = contender.cpu_seconds()
    out = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, check=False)
    cpu = contender.cpu_seconds() - cpu
    try:
        figures = json.loads(out.stdout)
    except ValueError as e:
        raise LoadError(f"{contender.name}: {' '.join(argv)}: {out.stderr or e}") from e
    if refused(figures) or figures["accepted"] == 0:
        raise LoadError(f"{contender.name}: {refused(figures)} messages were not accepted: {figures['errors']}")
    return figures, cpu


def refused(figures):
    return figures["tempfail"] + figures["permfail"] + figures["lost"]


def load(bins, contender, *options):
    """Sends mail through a contender; what a round is made of."""
    figures, cpu = generate(bins, contender, *options)
    latency = figures["latency_us"]["transaction"]
    return {
        "messages_per_second": figures["messages_per_second"], "bytes_per_second": figures["bytes_per_second"],
        "cpu_us": cpu / figures["accepted"] * 1e6, "p50_us": latency["p50"], "p99_us": latency["p99"],
        "p999_us": latency["p999"],
    }


def handshakes(bins, contender, count):
    """Full TLS 1.3 handshakes; anything less is no figure."""
    figures, cpu = generate(bins, contender, "--messages", count, "--parallel", 50, "--tls", "implicit", "--handshakes")
    if figures["handshakes"] != figures["accepted"] or figures["resumed"] or not figures["tls"].startswith("TLSv1.3/"):
        raise LoadError(f"{contender.name}: these are not full handshakes of TLS 1.3: {figures}")
    return {"per_cpu_second": figures["accepted"] / cpu if cpu else 0, "per_second": figures["messages_per_second"]}


def rounds(contenders, measure, count, settle=None, log=print):
    """{name: [figures of each round]}. measure(contender) gives one round's figures; settle() waits for quiet."""
    results = {c.name: [] for c in contenders}
    for number in range(-1, count):
        for contender in contenders:
            figures = measure(contender)
            if settle is not None:
                settle()
            if number < 0:
                continue  # the first one warms caches and connections up
            results[contender.name].append(figures)
            shown = ", ".join(f"{k} {v:.4g}" for k, v in figures.items() if v)
            log(f"    round {number + 1} {contender.name:14} {shown}")
    return results


def summary(values):
    return {"median": statistics.median(values), "min": min(values), "max": max(values), "rounds": len(values),
            "each": list(values)}


def ratio(results, ours, theirs, key):
    """Pair by pair, then the median."""
    return summary([a[key] / b[key] for a, b in zip(results[ours], results[theirs]) if b[key]])


class IdleSessions:
    """Holds sessions at the stage behind EHLO."""

    def __init__(self, bins, contender, count, log, *options):
        argv = [bins / "postroad-load", "--to", contender.listen, "--idle", count, *options]
        self.program, self.count = lib.Program(argv, log), count

    def __enter__(self):
        self.program.start()
        self.program.wait_until(lambda: "idle" in self.program.tail(), f"{self.count} idle sessions", 120)
        held = json.loads(self.program.tail().splitlines()[0])["idle"]
        if held != self.count:
            self.program.stop()
            raise LoadError(f"only {held} of {self.count} idle sessions stand")
        return self

    def __exit__(self, *_):
        self.program.stop()


def wait_for(condition, what, timeout=120):
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise LoadError(f"{what}: not within {timeout} s")
        time.sleep(0.1)
