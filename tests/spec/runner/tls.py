# SPDX-License-Identifier: Apache-2.0
"""TLS over a connection of an actor, and the words about it.

The hard thing is that a play is one thread: nothing here may wait inside OpenSSL. So OpenSSL only sees two buffers in
memory, and bytes between these and the socket are carried by the connection, which waits as it always does.

In TLS 1.3 a client's handshake is over before the server has looked at its certificate: a refusal comes as an alert in
place of the first answer. So who expects a failure asks for an answer first.
"""
import asyncio
import ssl
import warnings

from . import certs
from .script import text_of
from .wire import Gone

VERSIONS = {"1.0": ssl.TLSVersion.TLSv1, "1.1": ssl.TLSVersion.TLSv1_1, "1.2": ssl.TLSVersion.TLSv1_2,
            "1.3": ssl.TLSVersion.TLSv1_3}
# What both sides understand beside what is theirs.
COMMON = ("cert", "min", "max", "ciphers", "alpn", "step")
CLIENT = COMMON + ("ca", "sni", "resume")
SERVER = COMMON + ("tickets", "require-cert")


class Broken(Exception):
    """The handshake failed, or the peer broke TLS."""


class Tls:
    """The state of one side: what came off the wire goes into decrypt(), what is to be said comes out of encrypt()."""

    def __init__(self, context, **options):
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.context = context
        self.object = context.wrap_bio(self.incoming, self.outgoing, **options)
        self.ended = False  # by the peer's close_notify, not only by its FIN
        self.facts = {"closed": None}  # what plays can ask about; closed is notify, bare, or what was wrong
        self.exporter = None           # (TLS 1.3) the secret that channel bindings are made from

    def step(self):
        """One step of the handshake: True when it is over."""
        before = len(exporter_secrets(self.context))
        try:
            self.object.do_handshake()
            return True
        except ssl.SSLWantReadError:
            return False
        except (ssl.SSLError, ssl.CertificateError) as e:
            raise Broken(reason(e)) from None
        finally:
            for secret in exporter_secrets(self.context)[before:]:  # nobody else has run since
                self.exporter = secret

    def decrypt(self, raw):
        """Plaintext out of what has come. An alert ends the connection, as a FIN would."""
        self.incoming.write(raw)
        out = bytearray()
        try:
            while data := self.object.read(1 << 18):
                out += data
            self.end("notify")  # said by an empty read, or by the exception below
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self.end("notify")
        except ssl.SSLError as e:
            self.end(reason(e))
        return bytes(out)

    def end(self, how):
        self.ended = True
        self.facts["closed"] = self.facts["closed"] or how

    def encrypt(self, data):
        view = memoryview(data)
        try:
            while view:
                view = view[self.object.write(view):]
        except ssl.SSLError:
            raise Gone() from None
        return self.outgoing.read()

    def farewell(self):
        """close_notify, once."""
        try:
            self.object.unwrap()
        except (ssl.SSLError, ValueError):
            pass
        return self.outgoing.read()

    def view(self):
        cipher, _, _ = self.object.cipher()
        der = self.object.getpeercert(True)
        return {"version": self.object.version(), "cipher": cipher, "resumed": bool(self.object.session_reused),
                "sni": getattr(self.object, "asked", None), "alpn": self.object.selected_alpn_protocol(),
                "subject": certs.subject_of(der) if der else None, "kind": certs.kind_of(der) if der else None}


def reason(e):
    if isinstance(e, ssl.SSLCertVerificationError):
        return "certificate: " + e.verify_message
    return "%s" % (getattr(e, "reason", None) or e)


# ---- contexts ----

def limit(context, options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # old versions are what some plays are about
        low, high = options.get("min"), options.get("max")
        context.maximum_version = VERSIONS[high] if high else ssl.TLSVersion.MAXIMUM_SUPPORTED
        old = high in ("1.0", "1.1")
        context.minimum_version = VERSIONS[low or (high if old else "1.2")]
    if options.get("ciphers") or old:
        context.set_ciphers(options.get("ciphers") or "DEFAULT@SECLEVEL=0")
    if options.get("alpn"):
        context.set_alpn_protocols(options["alpn"].split(","))


def client_context(folder, options, keylog):
    """Without ca= any certificate will do; with it the chain is checked, and with sni= the name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = bool(options.get("ca") and options.get("sni"))
    context.verify_mode = ssl.CERT_REQUIRED if options.get("ca") else ssl.CERT_NONE
    if options.get("ca"):
        context.load_verify_locations(certs.path_of(folder, options["ca"]))
    if options.get("cert"):
        load(context, folder, options["cert"])
    context.keylog_filename = keylog
    limit(context, options)
    return context


def server_context(folder, options, keylog):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load(context, folder, options.get("cert", "server"))
    if "require-cert" in options:
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(certs.path_of(folder, "ca"))
    if "tickets" in options:
        context.num_tickets = int(options["tickets"])
    context.sni_callback = note_name
    context.keylog_filename = keylog
    limit(context, options)
    return context


def load(context, folder, name):
    context.load_cert_chain(certs.path_of(folder, name), certs.path_of(folder, name + "-key"))


def note_name(obj, name, _context):
    obj.asked = name


def context_of(play, side, options):
    """Contexts live as long as the play, for tickets are only good in the context they came from."""
    key = (side, tuple(sorted((k, v) for k, v in options.items() if k not in ("sni", "resume", "step"))),
           "sni" in options)
    if key not in play.contexts:
        make = server_context if side == "server" else client_context
        play.contexts[key] = make(play.certificates, options, play.dir + "/keys")
    return play.contexts[key]


def options_of(s, known):
    """The words of a statement that are about TLS."""
    options = {k: text_of(v).decode() for k, v in s.pairs.items() if k in known}
    options.update({str(a): "" for a in s.args if a.kind == "word" and str(a) in known})
    return options


# ---- the handshake ----

async def handshake(conn, tls, piece=0):
    """Turns conn into TLS. What it has read already is the beginning of the peer's first flight.

    With a piece, so many bytes go into each write.
    """
    tls.incoming.write(conn.take(len(conn.buf)))
    try:
        while not tls.step():
            await flush(conn, tls, piece)
            raw = await conn.receive()
            if not raw:
                raise Broken("the peer hung up in the handshake")
            tls.incoming.write(raw)
    except Broken as e:
        conn.play.note(conn.who, "x", "TLS failed: %s" % e)
        await flush(conn, tls, piece, quietly=True)
        raise
    tls.facts.update(tls.view())
    await flush(conn, tls, piece, quietly=True)
    conn.play.note(conn.who, "x", " ".join("%s=%s" % (k, v) for k, v in tls.facts.items() if v is not None))
    conn.start_tls(tls)


async def flush(conn, tls, piece, quietly=False):
    try:
        while data := tls.outgoing.read(piece or -1):
            await conn.transmit(data)
            await asyncio.sleep(0)  # lets the other actors of this play run; no time passes
    except Gone:
        if not quietly:
            raise Broken("the peer hung up in the handshake") from None


def exporter_secrets(context):
    """All that OpenSSL has logged so far, in the format of SSLKEYLOGFILE; TLS 1.2 has none."""
    with open(context.keylog_filename, encoding="ascii") as f:
        lines = [line.split() for line in f]
    return [bytes.fromhex(line[2]) for line in lines if line[0] == "EXPORTER_SECRET"]
