# SPDX-License-Identifier: Apache-2.0
"""The rows of the benchmark: each sets its contenders up, takes its rounds and states its goals (README.md explains
them)."""
from tests.bench import measure
from tests.bench.judging import Goal, idle_memory
from tests.bench.rows_abuse import ABUSE_GOALS, ABUSE_KEYS, row_abuse
from tests.bench.rows_cluster import COMMIT_GOALS, COMMIT_KEYS, TRAFFIC_GOALS, TRAFFIC_KEYS, row_commit, row_traffic
from tests.bench.rows_tls import row_4, row_8, row_9


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


def row_3b(run):
    """The servers are told who the client is, so that no connection can serve two clients; one message each."""
    b = run.bench
    b.require("pools/NAME/identity", "proxy")
    servers, other = b.sinks("--proxy"), b.sinks("--xclient")

    def identity(**fields):
        return lambda config: config["pools"]["mta"].update(identity=fields)

    contenders = [b.postroad(servers, change=identity(proxy="v2")), b.haproxy(servers, to_server="send-proxy-v2"),
                  b.postroad(other, "postroad-xclient", change=identity(xclient=True))]
    return run.take(contenders, ["--messages", run.number(20000)])


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
    """Memory per idle session."""
    return idle_memory(run, lambda b, servers: b.postroad(servers), lambda b, servers: b.haproxy(servers))


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
    "3b": ("the client's identity passed on (PROXY v2), one message per connection, sinks", row_3b,
           ["messages_per_second", "cpu_us"], [
               Goal("messages/s ÷ HAProxy", "messages_per_second", "haproxy", ">=", 1.0),
               Goal("CPU per message ÷ HAProxy", "cpu_us", "haproxy", "<=", 0.9)]),
    "4": ("STARTTLS and AUTH, one message per connection, real Postfix: messages/s", row_4,
          ["messages_per_second", "cpu_us"], [
              Goal(f"{what}: messages/s ÷ HAProxy and Postfix", "messages_per_second", f"haproxy-{key}", ">=", bound,
                   f"postroad-{key}")
              for key, what, bound in (("one", "one user", 3), ("many", "200 users", 3), ("new", "new users", 1))]),
    "5": ("5 MB messages, 4 streams: bytes/s", row_5, ["bytes_per_second", "cpu_us"], [
        Goal("bytes/s ÷ HAProxy with splice", "bytes_per_second", "haproxy-splice", ">=", 1.0),
        Goal("bytes/s ÷ HAProxy with 64 KiB buffers", "bytes_per_second", "haproxy-64k", ">=", 1.0)]),
    "6": ("mode tcp: messages/s", row_6, ["messages_per_second", "cpu_us"], [
        Goal("messages/s ÷ HAProxy", "messages_per_second", "haproxy", ">=", 1.1)]),
    "7": ("memory per idle session", row_7, ["bytes_per_session", "before_bytes"], [
        Goal("bytes per session", "bytes_per_session", None, "<=", 1024)]),
    "8": ("memory per idle TLS session", row_8, ["bytes_per_session", "before_bytes"], [
        Goal("bytes per session ÷ HAProxy", "bytes_per_session", "haproxy", "<=", 0.8)]),
    "9": ("full TLS 1.3 handshakes per CPU second", row_9, ["per_cpu_second", "per_second"], [
        Goal("handshakes per CPU second ÷ HAProxy", "per_cpu_second", "haproxy", ">=", 1.15)]),
    "10": ("latency of a transaction at 30 % load", row_10, ["p50_us", "p99_us", "p999_us"], [
        Goal("p50 ÷ HAProxy", "p50_us", "haproxy", "<=", 1.0),
        Goal("p99 ÷ HAProxy", "p99_us", "haproxy", "<=", 1.0)]),
    "11": ("100,000 routed domains: CPU of the balancer per message", row_11, ["cpu_us", "messages_per_second"], [
        Goal("CPU per message ÷ without routes", "cpu_us", "no-routes", "<=", 1.05)]),
    "abuse": ("a sender at a steady rate while others misbehave", row_abuse, ABUSE_KEYS, ABUSE_GOALS),
    "commit": ("three nodes: a write until all have it", row_commit, COMMIT_KEYS, COMMIT_GOALS),
    "traffic": ("three nodes: corosync's traffic at one message a second and at full load", row_traffic, TRAFFIC_KEYS,
                TRAFFIC_GOALS),
}
USUAL = [number for number in ROWS if number not in ("abuse", "commit", "traffic")]  # what is run where nothing else is asked for
