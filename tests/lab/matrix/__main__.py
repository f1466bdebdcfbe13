# SPDX-License-Identifier: Apache-2.0
"""The failure matrix: each row of it played on three (or as many as it wants) real nodes while mail flows and writes go on, what
was measured beside its bound. Needs root and `make peers`. Exit status 1: an outcome is wrong, or a bound was missed."""
import argparse
import os
import pathlib
import subprocess
import sys

LAB = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(LAB.parents[1]))

from tests.lab.matrix import frame  # noqa: E402
from tests.lab.matrix import rows_cluster, rows_disk, rows_upgrade, rows_vip  # noqa: E402,F401  pylint: disable=unused-import


def arguments():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--build", default="build", help="where the build is, with peers/ (default build)")
    p.add_argument("--rows", default="", help="numbers, or names of functions, with commas between; all if not given")
    p.add_argument("--times", type=int, default=1, help="how often each is played (default 1)")
    p.add_argument("--no-bounds", action="store_true", help="a bound that is missed is told, but is no failure: for busy machines")
    p.add_argument("--list", action="store_true", help="name the rows and do nothing")
    p.add_argument("--messages", help="not used: as other labs have it")
    p.add_argument("--seed", help="not used: as other labs have it")
    return p.parse_args()


def main():
    args = arguments()
    build = pathlib.Path(args.build).resolve()
    frame.all_there()
    entries = frame.chosen([w for w in args.rows.split(",") if w])
    if args.list:
        print("\n".join(map(str, entries)))
        return 0
    if os.geteuid() != 0:
        sys.exit("this lab needs root: it makes network namespaces")
    subprocess.run([LAB.parent / "peers/unpack", "--build", build, "corosync", "keepalived"], check=True)
    with frame.Benches(build) as benches:
        outcomes = frame.run(entries, benches, args.times, lambda text: print(text, flush=True))
    print("\n" + frame.summary(outcomes, not args.no_bounds))
    return 0 if outcomes and all(o.is_good(not args.no_bounds) for o in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
