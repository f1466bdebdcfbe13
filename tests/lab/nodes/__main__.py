# SPDX-License-Identifier: Apache-2.0
"""All labs with several hosts on this machine: those marked `long` and the short ones. Needs root and `make peers`."""
import argparse
import os
import pathlib
import subprocess
import sys

LAB = pathlib.Path(__file__).resolve().parents[1]
FILES = [
    "test_changes.py",
    "test_cluster_bench.py",
    "test_cluster_disk.py",
    "test_corosync.py",
    "test_demo.py",
    "test_drain.py",
    "test_flows.py",
    "test_forming.py",
    "test_ha.py",
    "test_linear.py",
    "test_members.py",
    "test_units.py",
    "test_vips.py",
    "test_writes.py",
]


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default="build", help="where the build is (default build)")
    p.add_argument("--messages", help="not used: as other labs have it")
    p.add_argument("--seed", help="of the faults and questions where a test says SEED=; one is made and printed")
    p.add_argument("-k", default="", help="only tests whose names match, as pytest has it")
    args = p.parse_args()
    build = pathlib.Path(args.build).resolve()
    if os.geteuid() != 0:
        sys.exit("this lab needs root: it makes network namespaces")
    subprocess.run([LAB.parent / "peers/unpack", "--build", build, "corosync", "keepalived", "postfix"], check=True)
    env = dict(os.environ, BUILD=str(build), POSTROADD=str(build / "bin/postroadd"), **({"SEED": args.seed} if args.seed else {}))
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--long", "-rsP", "-k", args.k]
    return subprocess.run(argv + [LAB / name for name in FILES], env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
