# SPDX-License-Identifier: Apache-2.0
"""The rows with TLS: submission with AUTH, idle sessions, handshakes."""
from tests.bench import credentials, measure
from tests.bench.contenders import Contender
from tests.bench.judging import idle_memory

MANY = 200


class Submission(Contender):
    """A contender, and who logs in: `next_logins()` writes the file of the next round's users."""

    def __init__(self, kind, contender, next_logins, messages, warm):
        super().__init__(f"{contender.name}-{kind}", contender.listen, contender.program)
        self.next_logins, self.messages, self.warm = next_logins, messages, warm


def new_users(run, messages):
    """As many users as logins: nobody was seen before. (names, a function that gives each round's own file)"""
    names = [f"new{i}" for i in range(messages * (run.rounds + 1))]
    at = iter(range(0, len(names), messages))

    def next_logins(name):
        start = next(at)
        return credentials.write_logins(run.bench.dir / f"logins-{name}", names[start:start + messages])

    return names, next_logins


def row_4(run):
    """STARTTLS and AUTH PLAIN for each message; the same yescrypt hash everywhere.

    Ours ends TLS and checks passwords itself, with its memory of logins a moment ago as it is; HAProxy passes TLS
    through to Postfix, whose Dovecot checks. One user, 200 users (both logged in shortly before, so that ours
    remembers), and a new user for each message, whom no memory helps."""
    b = run.bench
    slow, quick = run.number(400), run.number(3000)
    one = ["user0"]
    many = [f"user{i}" for i in range(MANY)]
    ours_new, ours_next = new_users(run, slow)
    _, theirs_next = new_users(run, slow)
    users = credentials.users([*many, *ours_new])
    servers = b.postfixes(users=users)

    def submission(config):
        b.tls("starttls", auth={"mode": "require"})(config)
        config["users"] = {name: {"password": hash} for name, hash in users.items()}

    def fixed(names):
        return lambda name: credentials.write_logins(b.dir / f"logins-{name}", names)

    pair = [(b.postroad(servers, change=submission), quick, ours_next), (b.haproxy(servers), slow, theirs_next)]
    contenders = []
    for kind, names in (("one", one), ("many", many)):
        contenders += [Submission(kind, c, fixed(names), messages, len(names)) for c, messages, _ in pair]
    contenders += [Submission("new", c, next_logins, slow, 0) for c, _, next_logins in pair]

    def take(contender):
        options = ["--tls", "starttls", "--auth-users", contender.next_logins(contender.name)]
        if contender.warm:
            run.load(contender, "--messages", contender.warm, *options)
        return run.load(contender, "--messages", contender.messages, *options)

    def settle():
        measure.wait_for(lambda: b.queued() == 0, "the Postfix queues empty")

    return measure.rounds(contenders, take, run.rounds, settle, run.log)


def row_8(run):
    """Memory per idle TLS session."""
    return idle_memory(run, lambda b, servers: b.postroad(servers, change=b.tls("implicit")),
                       lambda b, servers: b.haproxy(servers, certificate=b.certificate()[2]),
                       options=["--tls", "implicit"])


def row_9(run):
    """Full handshakes with the same P-256 certificate. HAProxy hangs up behind each, which spares it a connection to
    a server; haproxy-relay does what it would do in service. Ours greets."""
    b = run.bench
    servers, both = b.sinks(), b.certificate()[2]
    contenders = [
        b.postroad(servers, change=b.tls("implicit")),
        b.haproxy(servers, certificate=both, rules=["tcp-request session reject"]),
        b.haproxy(servers, "haproxy-relay", certificate=both),
    ]
    return measure.rounds(contenders, lambda c: measure.handshakes(b.bins, c, run.number(10000)), run.rounds,
                          log=run.log)
