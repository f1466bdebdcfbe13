# SPDX-License-Identifier: Apache-2.0
"""Interop: real programs send through the balancer to real mail servers; what arrives is what was sent.

The hard thing is to leave nothing behind: mail servers fork, detach and want root. So the whole run is in a PID, a
mount and a network namespace of its own, and when its first process ends the kernel ends the rest.
"""
import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(REPOSITORY))
RUN_SECONDS = 590
PEERS = {"postfix": ["postfix"], "exim": ["exim4-daemon-light", "exim4-daemon-heavy"], "opensmtpd": ["opensmtpd"],
         "swaks": ["swaks"], "msmtp": ["msmtp"]}  # the others are on the machine


def arguments():
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("--build", default="build", help="where bin/postroadd is")
    p.add_argument("--quick", action="store_true", help="the first columns only, no large messages")
    p.add_argument("--clients", help="only these, with commas")
    p.add_argument("--servers", help="only these, with commas")
    p.add_argument("--columns", help="only these, with commas")
    p.add_argument("--json", help="where the result goes (default: BUILD/lab/interop.json)")
    p.add_argument("--sabotage", action="store_true", help="alter content on its way: the run must fail")
    p.add_argument("--keep", action="store_true", help="keep the directory of a good run too")
    p.add_argument("--inside", help=argparse.SUPPRESS)
    # What `make lab` gives to every lab.
    p.add_argument("--messages", help=argparse.SUPPRESS)
    p.add_argument("--seed", help=argparse.SUPPRESS)
    return p.parse_args()


def namespaces_work():
    return os.geteuid() == 0 and subprocess.run(["unshare", "-mnp", "--fork", "--mount-proc", "true"], capture_output=True, timeout=20,
                                                check=False).returncode == 0


def end(child):
    """Ends the namespace's first process. unshare(1) ends behind it, when the kernel has ended all the others."""
    try:
        for pid in pathlib.Path(f"/proc/{child.pid}/task/{child.pid}/children").read_text().split():
            os.kill(int(pid), signal.SIGKILL)
        child.wait(30)
    except (OSError, subprocess.TimeoutExpired):
        child.kill()
        child.wait()


def outside(o):
    """Prepares what needs the network, then runs this program again inside, and cleans up behind it."""
    from tests.peers import unpacking
    if not namespaces_work():
        print("interop: skipped: it needs root and namespaces")
        return 0
    build = pathlib.Path(o.build).resolve()
    wanted = ",".join([o.clients or ",".join(PEERS), o.servers or ",".join(PEERS)]).split(",")
    for package in [p for name in PEERS if name in wanted for p in PEERS[name]] + ["haproxy"]:
        unpacking.unpack(package, build)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="postroad-interop-"))
    directory.chmod(0o755)
    argv = ["unshare", "-mnp", "--propagation", "private", "--fork", "--kill-child", "--mount-proc", "/usr/bin/python3",
            str(pathlib.Path(__file__).parent), *sys.argv[1:], "--inside", str(directory)]
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    status = 1
    try:
        status = child.wait(RUN_SECONDS)
    except subprocess.TimeoutExpired:
        print(f"interop: not done within {RUN_SECONDS} s")
    finally:
        end(child)
        if status == 0 and not o.keep:
            shutil.rmtree(directory)
        else:
            print(f"interop: everything is in {directory}")
    return status


def inside(o):
    from columns import ADDRESSES
    from run import Run
    # Should whoever waits for us be killed, we end all the same.
    signal.signal(signal.SIGALRM, lambda *_: os._exit(1))
    signal.alarm(RUN_SECONDS)
    started = time.monotonic()
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    for address in ADDRESSES.values():
        subprocess.run(["ip", "address", "add", f"{address}/32", "dev", "lo"], check=True)
    run = Run(o, pathlib.Path(o.inside))
    try:
        failed = run.go()
    finally:
        run.close()
    path = pathlib.Path(o.json or pathlib.Path(o.build) / "lab" / "interop.json")
    run.report(path, time.monotonic() - started)
    return 1 if failed else 0


def main():
    o = arguments()
    from tests.peers.unpacking import PeerError
    from tests.run.node import StartError
    try:
        return inside(o) if o.inside else outside(o)
    except (PeerError, StartError) as e:
        print(f"interop: {e}")
        return 1


if __name__ == "__main__":
    sys.exit(main())
