# SPDX-License-Identifier: Apache-2.0
"""The rows of the benchmark: each sets its contenders up, takes its rounds and states its goals (README.md explains
them)."""
from tests.bench import measure

OURS = "postroad"


class Goal:
    """`ours` ÷ `theirs` of one figure, or the figure itself (theirs None), against a bound."""

    def __init__(self, text, key, theirs, sign, bound, ours=OURS):
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


def row_1_2(run):
    """One message per connection, sinks behind."""
    b = run.bench
    servers = b.sinks()
    contenders = [b.postroad(servers), b.haproxy(servers), b.nginx(servers), b.direct(servers)]
    return run.take(contenders, ["--messages", run.number(20000)])


def row_3(run):
    """One message per connection, two real Postfix behind; direct = one of them, alone."""
    b = run.bench
    servers = b.postfixes()
    contenders = [b.postroad(servers), b.haproxy(servers), b.direct(servers)]

    def settle():
        measure.wait_for(lambda: b.queued() == 0, "the Postfix queues empty")

    return run.take(contenders, ["--messages", run.number(3000)], settle)


def row_5(run):
    """5 MB messages, four streams."""
    b = run.bench
    servers = b.sinks()
    contenders = [
        b.postroad(servers),
        b.haproxy(servers, "haproxy-splice", options=["option splice-auto"], tune=["tune.pipesize 1048576"]),
        b.haproxy(servers, "haproxy-64k", tune=["tune.bufsize 65536"]),
        b.direct(servers),
    ]
    options = ["--messages", run.number(200), "--size", 5_000_000, "--parallel", 4, "--per-connection", 0]
    return run.take(contenders, options)


def row_6(run):
    """Listeners that copy bytes only."""
    b = run.bench
    servers = b.sinks()
    contenders = [b.postroad(servers, mode="tcp"), b.haproxy(servers)]
    return run.take(contenders, ["--messages", run.number(20000)])


def row_7(run):
    """Memory per idle session: a fresh process each round, warmed up, then with and without the sessions."""
    b = run.bench
    servers = b.sinks()
    count = run.number(5000, 500)
    results = {}
    for _ in range(run.rounds):
        for make in (b.postroad, b.haproxy):
            contender = make(servers)
            results.setdefault(contender.name, []).append(idle_memory(run, contender, count))
            b.started.remove(contender)
            contender.stop()
            run.log(f"    {contender.name:14} {results[contender.name][-1]}")
    return results


def idle_memory(run, contender, count):
    run.load(contender, "--messages", run.number(500))
    before = contender.memory_bytes()
    with measure.IdleSessions(run.bench.bins, contender, count, run.bench.dir / "idle.log"):
        during = contender.memory_bytes()
    return {"bytes_per_session": (during - before) / count, "before_bytes": before}


def row_10(run):
    """Latency of a whole transaction at 30 % of the rate that HAProxy reaches, on a fixed timetable."""
    b = run.bench
    servers = b.sinks()
    contenders = [b.postroad(servers), b.haproxy(servers), b.direct(servers)]
    top = max(run.load(contenders[1], "--messages", run.number(10000))["messages_per_second"] for _ in range(3))
    rate = max(50, int(top * 0.3))
    run.log(f"    HAProxy reaches {top:.0f} messages/s; all get {rate}/s")
    return run.take(contenders, ["--messages", max(50, int(rate * 10 * run.scale)), "--rate", rate, "--parallel", 200])


def row_11(run):
    """The same mail with 100,000 routed domains in the configuration, and with none."""
    b = run.bench
    servers = b.sinks()
    domains = [f"d{i}.routed.test" for i in range(run.number(100_000))]
    path = b.dir / "domains"
    path.write_text("\n".join(domains) + "\n")

    def route(config):
        config["domain_sets"] = {"many": {d: True for d in domains}}
        config["pools"]["routed"] = dict(config["pools"]["mta"])
        config["routes"] = [{"name": "many", "when": {"recipient_domain": ["@many"]}, "pool": "routed"}]

    contenders = [b.postroad(servers, "postroad", change=route), b.postroad(servers, "no-routes")]
    return run.take(contenders, ["--messages", run.number(20000), "--rcpt-domains", path])


# number → (what is measured, function, figures shown, goals)
ROWS = {
    "1": ("one message per connection, sinks: messages/s", row_1_2, ["messages_per_second"], [
        Goal("messages/s ÷ HAProxy", "messages_per_second", "haproxy", ">=", 1.4)]),
    "2": ("one message per connection, sinks: CPU of the balancer per message", row_1_2, ["cpu_us"], [
        Goal("CPU per message ÷ HAProxy", "cpu_us", "haproxy", "<=", 0.5)]),
    "3": ("one message per connection, real Postfix: messages/s", row_3, ["messages_per_second", "cpu_us"], [
        Goal("messages/s ÷ HAProxy", "messages_per_second", "haproxy", ">=", 1.4),
        Goal("messages/s ÷ direct", "messages_per_second", "direct", ">=", 1.1)]),
    "5": ("5 MB messages, 4 streams: bytes/s", row_5, ["bytes_per_second", "cpu_us"], [
        Goal("bytes/s ÷ HAProxy with splice", "bytes_per_second", "haproxy-splice", ">=", 1.0),
        Goal("bytes/s ÷ HAProxy with 64 KiB buffers", "bytes_per_second", "haproxy-64k", ">=", 1.0)]),
    "6": ("mode tcp: messages/s", row_6, ["messages_per_second", "cpu_us"], [
        Goal("messages/s ÷ HAProxy", "messages_per_second", "haproxy", ">=", 1.1)]),
    "7": ("memory per idle session", row_7, ["bytes_per_session", "before_bytes"], [
        Goal("bytes per session", "bytes_per_session", None, "<=", 1024)]),
    "10": ("latency of a transaction at 30 % load", row_10, ["p50_us", "p99_us", "p999_us"], [
        Goal("p50 ÷ HAProxy", "p50_us", "haproxy", "<=", 1.0),
        Goal("p99 ÷ HAProxy", "p99_us", "haproxy", "<=", 1.0)]),
    "11": ("100,000 routed domains: CPU of the balancer per message", row_11, ["cpu_us", "messages_per_second"], [
        Goal("CPU per message ÷ without routes", "cpu_us", "no-routes", "<=", 1.05)]),
}
