# SPDX-License-Identifier: Apache-2.0
"""Certificates for plays: made by the openssl command, once per run, and read back as far as plays ask about them."""
import os
import re
import subprocess

from .grammar import Fail

NAMES = "DNS:server.test,DNS:lb.test,%s,DNS:*.wild.test,DNS:localhost,IP:127.0.0.1" % ",".join(
    "DNS:b%d.test" % n for n in range(1, 10))
LEAF = "basicConstraints=CA:false", "extendedKeyUsage=serverAuth,clientAuth"
AUTHORITY = "basicConstraints=critical,CA:true", "keyUsage=critical,keyCertSign,cRLSign"
EC = "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"
RSA = "rsa:2048",

# name: (subject, alternative names, key, who signs, days it is good for); in this order, signers first
ALL = {
    "ca": ("/CN=Spec CA", "", EC, None, 30),
    "sub-ca": ("/CN=Spec intermediate CA", "", EC, "ca", 30),
    "server": ("/CN=server.test", NAMES, EC, "ca", 30),
    "server-rsa": ("/CN=server.test", NAMES, RSA, "ca", 30),
    "chained": ("/CN=server.test", NAMES, EC, "sub-ca", 30),
    "self-signed": ("/CN=server.test", NAMES, EC, None, 30),
    "expired": ("/CN=server.test", NAMES, EC, "ca", -1),
    "other": ("/CN=other.test", "DNS:other.test", EC, "ca", 30),
    "client": ("/CN=client.test", "email:app1@client.test,DNS:client.test", EC, "ca", 30),
}
RSA_KEY = bytes.fromhex("06092a864886f70d010101")
EC_KEY = bytes.fromhex("06072a8648ce3d0201")
COMMON_NAME = bytes.fromhex("0603550403")


def openssl(*args):
    done = subprocess.run(["openssl", *args], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, timeout=60, check=False)
    if done.returncode:
        raise RuntimeError("openssl %s: %s" % (" ".join(args), done.stdout.decode("utf-8", "replace")))


def make_one(folder, name, subject, names, key, signer, days):
    def file(what, ending):
        return os.path.join(folder, what + ending)
    extensions = (AUTHORITY if name.endswith("ca") else LEAF) + (("subjectAltName=" + names,) if names else ())
    added = [word for e in extensions for word in ("-addext", e)]
    request = ["req", "-new", "-nodes", "-newkey", *key, "-keyout", file(name, "-key"), "-subj", subject, *added]
    if signer is None:
        openssl(*request, "-x509", "-days", str(days), "-out", file(name, ""))
        return
    openssl(*request, "-out", file(name, ".request"))
    openssl("x509", "-req", "-in", file(name, ".request"), "-CA", file(signer, ""), "-CAkey", file(signer, "-key"),
            "-set_serial", str(1 + list(ALL).index(name)), "-copy_extensions", "copy", "-days", str(days),
            "-out", file(name, ""))
    os.unlink(file(name, ".request"))
    if signer != "ca":  # the chain, as a server shows it
        with open(file(name, ""), "ab") as out, open(file(signer, ""), "rb") as chain:
            out.write(chain.read())


def make(folder):
    """NAME and NAME-key for each of ALL."""
    for name, how in ALL.items():
        make_one(folder, name, *how)


def path_of(folder, name):
    file = os.path.join(folder or "", name)
    if not folder or not os.path.exists(file):
        raise Fail("no certificate of that name: %s" % name)
    return file


def fill_in(folder, text):
    """@tls/NAME@ becomes the path of that file."""
    return re.sub(r"@tls/([\w-]+)@", lambda m: path_of(folder, m[1]), text)


# ---- what a certificate says ----

def kind_of(der):
    return "RSA" if RSA_KEY in der else "ECDSA" if EC_KEY in der else "unknown"


def element(der, at):
    """One DER element: (where its content begins, where it ends)."""
    length, begin = der[at + 1], at + 2
    if length & 0x80:
        begin += length & 0x7f
        length = int.from_bytes(der[at + 2:begin], "big")
    return begin, begin + length


def subject_of(der):
    """The common name: `CN=…`."""
    at, _ = element(der, 0)  # Certificate
    at, _ = element(der, at)  # TBSCertificate (RFC 5280 4.1): [0] version, serial, algorithm, issuer, validity, subject
    for _ in range(5):
        _, at = element(der, at)
    begin, end = element(der, at)
    found = der.find(COMMON_NAME, begin, end)
    if found < 0:
        return ""
    begin, end = element(der, found + len(COMMON_NAME))
    return "CN=" + der[begin:end].decode("utf-8", "replace")
