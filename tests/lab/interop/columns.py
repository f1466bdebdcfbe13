# SPDX-License-Identifier: Apache-2.0
"""The table of columns, and what peers cannot do: everything a run tries is here.

A column says how the client connects, how the servers are connected to, what the client is told to use besides, and
which evidence must be found afterwards: a cell that passed without what it is about would be worth nothing.
"""
import dataclasses

CLIENTS = ["postfix", "exim", "opensmtpd", "swaks", "curl", "msmtp", "smtplib"]
SERVERS = ["postfix", "exim", "opensmtpd"]
# Each client has an address of its own, on the loopback of the run's namespace; the balancer and the servers have one.
OURS = "127.0.0.1"
ADDRESSES = {name: f"192.0.2.{n}" for n, name in enumerate(CLIENTS, 11)}
HELO = "client.test"
# What a server that can be told to announce nothing must not announce.
OPTIONAL = {"PIPELINING", "CHUNKING", "SMTPUTF8", "STARTTLS", "DSN"}


@dataclasses.dataclass(frozen=True)
class Column:
    name: str
    front: str = "none"  # TLS of the client with the balancer: none, starttls, implicit
    back: str = "none"  # TLS of the balancer with the server: the same
    use: str = ""  # what the client uses besides: pipelining, chunking, smtputf8; all: the first two where it can
    server_needs: str = ""  # what the server must announce, or be found to take, for this
    identity: str = ""  # how the server is told who the client is: v1, v2 (PROXY), xclient
    behind: bool = False  # HAProxy stands before the balancer and tells it in a PROXY header who the client is
    chunking: str = ""  # the pool's setting: when the server gets BDAT
    bare: bool = False  # the server announces as little as it can be told to
    quick: bool = False
    bodies: tuple = ()  # empty: all small ones
    large: tuple = ()  # the clients that send a large one besides

    @property
    def service(self):
        """Which of a server's ports this column goes to."""
        if self.bare:
            return "bare"
        if self.identity:
            return "xclient" if self.identity == "xclient" else "proxy"
        return "implicit" if self.back == "implicit" else "plain"

    @property
    def tapped(self):
        """Whether what the balancer says to the server is recorded too: where it is evidence."""
        return self.back == "none" and bool(self.use or self.bare or self.chunking)

    def uses(self, client, what):
        """Whether the client is made to use `what` here."""
        return self.use == what or self.use == "all" and what != "smtputf8" and (client, what) not in CLIENT_LACKS


FEW = ("plain", "lone-dot")
COLUMNS = [
    Column("plain", quick=True),
    Column("starttls", front="starttls", back="starttls", quick=True),
    Column("implicit", front="implicit", back="implicit"),
    Column("tls-front", front="starttls", back="none", bodies=FEW),
    Column("tls-back", front="none", back="implicit", bodies=FEW),
    Column("pipelining", use="pipelining"),
    Column("chunking", use="chunking", large=("exim",)),
    Column("to-chunks", chunking="always", server_needs="CHUNKING", large=("smtplib",)),
    Column("smtputf8", use="smtputf8", server_needs="SMTPUTF8"),
    Column("bare-server", use="all", bare=True, large=("exim", "msmtp")),
    Column("proxy", identity="v2", server_needs="PROXY-V2", large=("curl",)),
    Column("proxy-v1", identity="v1", server_needs="PROXY-V1", bodies=FEW),
    Column("proxy-tls", front="implicit", back="starttls", identity="v2", server_needs="PROXY-V2", bodies=FEW),
    Column("xclient", identity="xclient", server_needs="XCLIENT", large=("swaks",)),
    Column("xclient-tls", front="starttls", back="starttls", identity="xclient", server_needs="XCLIENT", bodies=FEW),
    Column("behind-proxy", behind=True, bodies=("plain", "dots", "8bit", "empty"), large=("smtplib",)),
]
# Whatever its columns say, each pair has a large message in the first of these that it supports.
LARGE_COLUMNS = ["starttls", "tls-front"]

# What a client cannot be told to do.
CLIENT_LACKS = {
    ("postfix", "chunking"): "smtp(8) sends DATA only; BDAT is for its server",
    ("opensmtpd", "pipelining"): "its mta sends one command at a time",
    ("opensmtpd", "chunking"): "OpenSMTPD has no BDAT",
    ("opensmtpd", "smtputf8"): "OpenSMTPD has no SMTPUTF8",
    ("swaks", "chunking"): "swaks has no BDAT",
    ("swaks", "smtputf8"): "swaks does not say SMTPUTF8",
    ("curl", "pipelining"): "curl sends one command at a time",
    ("curl", "chunking"): "curl has no BDAT",
    ("msmtp", "chunking"): "msmtp has no BDAT",
    ("msmtp", "smtputf8"): "msmtp does not say SMTPUTF8",
    ("smtplib", "pipelining"): "smtplib sends one command at a time",
    ("smtplib", "chunking"): "smtplib has no BDAT",
}
# Servers that may fail every TLS handshake; they are asked directly before the run, and tried where they do not fail.
SERVER_WITHOUT_TLS = {"opensmtpd": "OpenSMTPD 6.8 with OpenSSL 3 fails TLS as a server, whoever asks"}
# How it shows that a server does not take what is no extension to be used by clients.
LACKING = {
    "PROXY-V1": "{} does not greet behind a PROXY header of version 1",
    "PROXY-V2": "{} does not greet behind a PROXY header of version 2",
    "XCLIENT": "{} announces no XCLIENT",
}
# Bodies that a program changes or refuses by itself, with no balancer in between.
CLIENT_ALTERS = {}
SERVER_ALTERS = {}


def server_lacks(column, server, announced):
    """Why this server has no part in a column, or an empty string. `announced`: what it said when it was asked."""
    if column.back != "none" and "TLS" not in announced[server]:
        return SERVER_WITHOUT_TLS[server]
    if column.server_needs and column.server_needs not in announced[server]:
        return LACKING.get(column.server_needs, f"{{}} does not announce {column.server_needs}").format(server)
    return ""


def not_supported(client, column, server, announced):
    """Why this cell cannot be, or an empty string."""
    return CLIENT_LACKS.get((client, column.use)) or server_lacks(column, server, announced)


def left_out(client, kind, server):
    """Why this body is not sent in this pair, or an empty string."""
    return CLIENT_ALTERS.get((client, kind)) or SERVER_ALTERS.get((server, kind)) or ""
