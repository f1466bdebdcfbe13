# SPDX-License-Identifier: Apache-2.0
"""The simulator of the cluster's log: schedules hold, and bugs planted in the core are found."""
import os
import re
import subprocess

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OUT = os.path.abspath(os.environ.get("OUT", os.path.join(ROOT, "build")))
SIM = os.path.join(OUT, "bin/postroad-sim")
SCHEDULES = "10000"
PLANTS = ["ack-before-adoption", "promise-unpersisted", "stale-view", "damaged-votes", "both-halves", "same-generation"]


@pytest.fixture(scope="module", autouse=True)
def simulator():
    """Builds it the way the rest of OUT was built."""
    build, name = os.path.split(OUT)
    san = name.removeprefix("san-").replace("-", ",") if name.startswith("san-") else ""
    argv = ["make", "--no-print-directory", "-C", ROOT, f"BUILD={build if san else OUT}", f"SAN={san}", SIM]
    made = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr


def sim(*options):
    return subprocess.run([SIM, *options], capture_output=True, text=True, timeout=600, check=False)


def test_schedules_hold():
    done = sim("--seeds", SCHEDULES)
    assert done.returncode == 0, done.stdout
    counted = [int(n) for n in re.findall(r"\d+", done.stdout)]
    assert counted[0] == int(SCHEDULES)
    # Nothing held because nothing happened: writes were committed and faults struck in the average schedule.
    assert counted[3] > 5 * counted[0] and counted[5] > 5 * counted[0]
    struck = re.search(r"^struck: (.*)$", done.stdout, re.M)[1].split(", ")
    assert len(struck) == 21
    assert [name for name in struck if int(name.rsplit(" ", 1)[1]) < 100] == []
    sizes = re.search(r"^nodes: (.*)$", done.stdout, re.M)[1].split()
    assert sizes == [str(n) for n in range(2, 17)]


@pytest.mark.parametrize("plant", PLANTS)
def test_a_planted_bug_is_found(plant):
    done = sim("--plant", plant, "--safety", "--seeds", SCHEDULES)
    assert done.returncode == 1, done.stdout
    replay = re.search(r"^replay: \S+ (.*) --trace$", done.stdout, re.M)
    again = sim(*replay[1].split())
    assert again.returncode == 1 and again.stdout.splitlines()[0] == done.stdout.splitlines()[0]


def test_every_plant_is_tried():
    with open(os.path.join(ROOT, "cluster/core/planted.h"), encoding="utf-8") as f:
        planted = re.findall(r"^\tPLANT_(?!NONE|COUNT)(\w+),", f.read(), re.M)
    assert [p.lower().replace("_", "-") for p in planted] == PLANTS
