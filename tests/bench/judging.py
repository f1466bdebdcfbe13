# SPDX-License-Identifier: Apache-2.0
"""What rows are made with: goals, the arguments of a run, and ways of measuring that several rows share."""
from tests.bench import measure


class Goal:
    """`ours` ÷ `theirs` of one figure, or the figure itself (theirs None), against a bound."""

    def __init__(self, text, key, theirs, sign, bound, ours="postroad"):
        self.text, self.key, self.ours, self.theirs, self.sign, self.bound = text, key, ours, theirs, sign, bound

    def judge(self, results):
        if self.theirs is None:
            value = measure.summary([r[self.key] for r in results[self.ours]])
        else:
            value = measure.ratio(results, self.ours, self.theirs, self.key)
        met = value["median"] >= self.bound if self.sign == ">=" else value["median"] <= self.bound
        return {"goal": self.text, "value": value, "wanted": f"{self.sign} {self.bound}", "met": met}


class Run:
    """Arguments of one benchmark run, handed to the rows. `scale` shrinks the numbers of messages for a trial."""

    def __init__(self, bench, rounds, scale=1.0, log=print):
        self.bench, self.rounds, self.scale, self.log = bench, rounds, scale, log

    def number(self, n, least=20):
        return max(least, int(n * self.scale))

    def load(self, contender, *options):
        return measure.load(self.bench.bins, contender, *options)

    def take(self, contenders, options, settle=None):
        return measure.rounds(contenders, lambda c: self.load(c, *options), self.rounds, settle, self.log)


def idle_memory(run, *makers, options=()):
    """Memory per idle session: a fresh process each round, warmed up, then with and without the sessions."""
    b = run.bench
    servers = b.sinks()
    count = run.number(5000, 500)
    results = {}
    for _ in range(run.rounds):
        for make in makers:
            contender = make(b, servers)
            run.load(contender, "--messages", run.number(500), *options)
            before = contender.memory_bytes()
            with measure.IdleSessions(b.bins, contender, count, b.dir / "idle.log", *options):
                during = contender.memory_bytes()
            figures = {"bytes_per_session": (during - before) / count, "before_bytes": before}
            results.setdefault(contender.name, []).append(figures)
            b.started.remove(contender)
            contender.stop()
            run.log(f"    {contender.name:14} {figures}")
    return results
