# SPDX-License-Identifier: Apache-2.0
"""The table of columns, and what peers cannot do: everything a run tries is here.

A column says how the client connects, how the servers are connected to, what the client is told to use besides, and
which evidence must be found afterwards: a cell that passed without what it is about would be worth nothing.
"""
import dataclasses

from bodies import SMALL

CLIENTS = ["postfix", "exim", "opensmtpd", "swaks", "curl", "msmtp", "smtplib"]
SERVERS = ["postfix", "exim", "opensmtpd"]


@dataclasses.dataclass(frozen=True)
class Column:
    name: str
    front: str = "none"  # TLS of the client with the balancer: none, starttls, implicit
    back: str = "none"  # TLS of the balancer with the server: the same
    use: str = ""  # what the client uses besides: pipelining, chunking, smtputf8
    server_needs: str = ""  # an extension without which the balancer cannot offer this
    quick: bool = False
    bodies: tuple = ()  # empty: all small ones


COLUMNS = [
    Column("plain", quick=True),
    Column("starttls", front="starttls", back="starttls", quick=True),
    Column("implicit", front="implicit", back="implicit"),
    Column("tls-front", front="starttls", back="none", bodies=("plain", "lone-dot")),
    Column("tls-back", front="none", back="implicit", bodies=("plain", "lone-dot")),
    Column("pipelining", use="pipelining"),
    Column("chunking", use="chunking", bodies=(*SMALL, "large")),
    Column("smtputf8", use="smtputf8", server_needs="SMTPUTF8"),
]
# A large message goes through the first of these that a pair supports.
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
# Bodies that a program changes or refuses by itself, with no balancer in between.
CLIENT_ALTERS = {}
SERVER_ALTERS = {}


def not_supported(client, column, server, announced):
    """Why this cell cannot be, or an empty string. `announced`: what the server's own EHLO lists."""
    if (client, column.use) in CLIENT_LACKS:
        return CLIENT_LACKS[client, column.use]
    if column.back != "none" and "TLS" not in announced[server]:
        return SERVER_WITHOUT_TLS[server]
    if column.server_needs and column.server_needs not in announced[server]:
        return f"{server} does not announce {column.server_needs}, so the balancer does not"
    return ""


def left_out(client, kind, server):
    """Why this body is not sent in this pair, or an empty string."""
    return CLIENT_ALTERS.get((client, kind)) or SERVER_ALTERS.get((server, kind)) or ""
