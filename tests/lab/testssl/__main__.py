# SPDX-License-Identifier: Apache-2.0
"""testssl: what testssl.sh has to say about a node with default TLS settings.

    testssl.sh ──► 25 (STARTTLS), 465 (implicit), 587 (STARTTLS required), on loopback ports

A node with an RSA and an ECDSA certificate of a CA made for the run. A finding of MEDIUM or above about protocols,
ciphers or vulnerabilities fails, and so does a test that did not run: silence is no proof. What testssl.sh says of the
certificates themselves (an unknown CA, no OCSP) is about the test's own and does not count.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parents[2]))

from tests.peers import unpacking  # noqa: E402
from tests.run.node import Node, StartError, free_ports  # noqa: E402

LISTENERS = {"25": "starttls", "465": "implicit", "587": "require"}
BAD = ("MEDIUM", "HIGH", "CRITICAL", "FATAL")
SECONDS = 900
# What must have been looked at, by testssl.sh's ids.
LOOKED_AT = ("SSLv2", "SSLv3", "TLS1", "TLS1_1", "TLS1_2", "TLS1_3", "cipherlist_NULL", "cipherlist_aNULL",
             "cipherlist_EXPORT", "cipherlist_LOW", "cipherlist_3DES_IDEA", "PFS", "cipher_order", "heartbleed", "CCS",
             "ROBOT", "secure_renego", "secure_client_renego", "CRIME_TLS", "POODLE_SSL", "fallback_SCSV",
             "SWEET32", "FREAK", "DROWN", "LOGJAM", "BEAST", "LUCKY13", "RC4")


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--build", default="build", help="where bin/postroadd is, and peers/")
    p.add_argument("--only", choices=sorted(LISTENERS), help="this port alone")
    p.add_argument("--keep", action="store_true", help="keep the directory with reports and log")
    p.add_argument("--messages", help=argparse.SUPPRESS)  # of other labs
    p.add_argument("--seed", help=argparse.SUPPRESS)
    return p.parse_args()


# ---- the node ----

def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True, capture_output=True, timeout=60)


def make_certificates(folder):
    ca, ca_key = folder / "ca.pem", folder / "ca.key"
    openssl("req", "-x509", "-new", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", ca_key,
            "-subj", "/CN=Test CA", "-days", 30, "-out", ca)
    made = {}
    for name, key in (("ecdsa", ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")), ("rsa", ("rsa:2048",))):
        cert, private, request = (folder / f"{name}.{end}" for end in ("pem", "key", "csr"))
        openssl("req", "-new", "-nodes", "-newkey", *key, "-keyout", private, "-subj", "/CN=localhost", "-addext",
                "subjectAltName=DNS:localhost,IP:127.0.0.1", "-out", request)
        openssl("x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-CAcreateserial", "-copy_extensions", "copy",
                "-days", 30, "-out", cert)
        made[name] = {"certificate_file": str(cert), "key_file": str(private)}
    return made


def configuration(ports, nobody, certificates):
    listeners = {
        f"p{name}": {"bind": [f"127.0.0.1:{ports[name]}"], "pool": "main", "hostname": "localhost",
                     "tls": {"mode": mode, "certificates": sorted(certificates)}}
        for name, mode in LISTENERS.items()
    }
    return {"version": 1, "listeners": listeners, "certificates": certificates,
            "pools": {"main": {"servers": {"s1": {"address": f"127.0.0.1:{nobody}"}}, "health": {"type": "none"}}}}


# ---- testssl.sh ----

def environment(root, folder):
    """testssl.sh refuses to begin without a program that looks up names, though it is told to look up none."""
    stand_in = folder / "bin/host"
    stand_in.parent.mkdir(exist_ok=True)
    stand_in.write_text("#!/bin/sh\nexit 1\n")
    stand_in.chmod(0o755)
    return dict(os.environ, TESTSSL_INSTALL_DIR=str(root / "etc/testssl"), PATH=f"{os.environ['PATH']}:{stand_in.parent}",
                OPENSSL=shutil.which("openssl") or "openssl")


def scan(root, name, port, folder):
    """Its findings: [{id, severity, finding, …}]."""
    report = folder / f"{name}.json"
    argv = ["bash", str(root / "usr/bin/testssl"), "--quiet", "--color", "0", "--warnings", "batch", "--nodns", "none",
            "--jsonfile", str(report), "--protocols", "--std", "--server-preference", "--fs", "--vulnerable"]
    if LISTENERS[name] != "implicit":
        argv += ["--starttls", "smtp"]
    with open(folder / f"{name}.out", "wb") as out:
        subprocess.run([*argv, f"127.0.0.1:{port}"], env=environment(root, folder), stdin=subprocess.DEVNULL, stdout=out,
                       stderr=subprocess.STDOUT, timeout=SECONDS, check=False)
    if not report.exists():
        raise StartError(f"testssl.sh wrote no report:\n{(folder / f'{name}.out').read_text(errors='replace')[-2000:]}")
    return json.loads(report.read_text())


def judge(findings):
    """What is wrong, in lines."""
    wrong = [f"{f['severity']} {f['id']}: {f['finding']}" for f in findings if f["severity"] in BAD]
    seen = {f["id"] for f in findings if f["severity"] != "WARN"}  # WARN: it could not tell
    wrong += [f"not looked at: {what}" for what in LOOKED_AT if what not in seen]
    return wrong


def run(args, folder):
    build = pathlib.Path(args.build).resolve()
    root = unpacking.unpack("testssl.sh", build)
    names = [args.only] if args.only else list(LISTENERS)
    *free, nobody = free_ports(len(LISTENERS) + 1)  # no mail is sent: there is no server behind it
    ports = dict(zip(LISTENERS, free))
    node = Node(build / "bin", folder / "node", configuration(ports, nobody, make_certificates(folder)))
    bad = 0
    try:
        node.start()
        for name in names:
            wrong = judge(scan(root, name, ports[name], folder))
            print(f"{'FAIL' if wrong else 'ok  '}  port {name} ({LISTENERS[name]})", *wrong, sep="\n        ", flush=True)
            bad += len(wrong)
        if not node.alive():
            raise StartError(f"the node ended by itself\n{node.tail()}")
    finally:
        status = node.stop()
    if status != 0:
        raise StartError(f"the node ended with {status}\n{node.tail()}")
    return bad


def main():
    args = arguments()
    folder = pathlib.Path(tempfile.mkdtemp(prefix="postroad-testssl-"))
    try:
        bad = run(args, folder)
    except (StartError, unpacking.PeerError, subprocess.SubprocessError) as e:
        print(f"testssl: {e}\n  files: {folder}", file=sys.stderr)
        return 1
    if bad or args.keep:
        print(f"  files: {folder}")
    else:
        shutil.rmtree(folder)
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
