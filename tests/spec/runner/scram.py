# SPDX-License-Identifier: Apache-2.0
"""SCRAM-SHA-256 (RFC 5802, RFC 7677) and its channel bindings (RFC 5929, RFC 9266): the arithmetic, for both sides."""
import base64
import hashlib
import hmac

from .grammar import Fail


def b64(data):
    return base64.b64encode(data)


def mac(key, data, kind="sha256"):
    return hmac.new(key, data, kind).digest()


def fields(message):
    """a=…,b=… of a message, by letter."""
    return {part[:1]: part[2:] for part in message.split(b",") if part[1:2] == b"="}


class Keys:
    def __init__(self, password, salt, iterations):
        salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
        self.client = mac(salted, b"Client Key")
        self.stored = hashlib.sha256(self.client).digest()
        self.server = mac(salted, b"Server Key")

    def proof(self, messages):
        return bytes(a ^ b for a, b in zip(self.client, mac(self.stored, messages)))

    def signature(self, messages):
        return mac(self.server, messages)


def saslname(user):
    return user.replace(b"=", b"=3D").replace(b",", b"=2C")


# ---- channel bindings ----

def expand_label(secret, label, context, length, kind):
    """HKDF-Expand-Label (RFC 8446 7.1)."""
    label = b"tls13 " + label
    info = length.to_bytes(2, "big") + bytes([len(label)]) + label + bytes([len(context)]) + context
    out, block, n = b"", b"", 0
    while len(out) < length:
        n += 1
        block = mac(secret, block + info + bytes([n]), kind)
        out += block
    return out[:length]


def exporter(tls):
    """tls-exporter of TLS 1.3: the exporter of RFC 8446 7.5 with no context."""
    if tls.exporter is None:
        raise Fail("tls-exporter is known here of TLS 1.3 alone")
    kind = {32: "sha256", 48: "sha384"}[len(tls.exporter)]
    empty = hashlib.new(kind, b"").digest()
    derived = expand_label(tls.exporter, b"EXPORTER-Channel-Binding", empty, len(empty), kind)
    return expand_label(derived, b"exporter", empty, 32, kind)


def binding(tls, name):
    if tls is None:
        raise Fail("no channel to bind to without TLS")
    if name == "tls-exporter":
        return exporter(tls)
    if name == "tls-server-end-point":  # our certificates are signed with SHA-256
        return hashlib.sha256(tls.object.getpeercert(True)).digest()
    if name == "tls-unique":
        return tls.object.get_channel_binding("tls-unique")
    raise Fail("no such channel binding: %s" % name)
