# SPDX-License-Identifier: Apache-2.0
"""All labs with several hosts on this machine: those marked `long` and the short ones. Needs root and `make peers`."""
import argparse
import os
import pathlib
import subprocess
import sys

LAB = pathlib.Path(__file__).resolve().parents[1]
SHORT = ("test_cluster_disk.py", "test_linear.py")  # those of the same library that `make check` runs as well


def files():
    """Every file with tests marked `long`, which nothing else runs, and the short ones."""
    return [path for path in sorted(LAB.glob("test_*.py")) if path.name in SHORT or "mark.long" in path.read_text()]


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default="build", help="where the build is (default build)")
    p.add_argument("--messages", help="not used: as other labs have it")
    p.add_argument("--seed", help="of the faults and questions where a test says SEED=; one is made and printed")
    p.add_argument("-k", default="", help="only tests whose names match, as pytest has it")
    p.add_argument("--no-bounds", action="store_true", help="a bound that is missed is told, but is no failure: for busy machines")
    args = p.parse_args()
    build = pathlib.Path(args.build).resolve()
    if os.geteuid() != 0:
        sys.exit("this lab needs root: it makes network namespaces")
    subprocess.run([LAB.parent / "peers/unpack", "--build", build, "corosync", "keepalived", "postfix"], check=True)
    env = dict(os.environ, BUILD=str(build), POSTROADD=str(build / "bin/postroadd"), **({"SEED": args.seed} if args.seed else {}),
               **({"BOUNDS": "0"} if args.no_bounds else {}))
    argv = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--long", "-rsP", "-k", args.k]
    return subprocess.run(argv + files(), env=env, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
