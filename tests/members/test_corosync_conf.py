# SPDX-License-Identifier: Apache-2.0
"""corosync.conf as it is rendered, read by the real corosync: checked, started, and changed while it runs."""
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
from tests.members import ring  # noqa: E402
from tests.peers import unpacking  # noqa: E402

OUT = Path(os.environ.get("OUT", ROOT / "build")).resolve()


@pytest.fixture(scope="module")
def renderer():
    """Builds it the way the rest of OUT was built."""
    build, name = OUT.parent, OUT.name
    san = name.removeprefix("san-").replace("-", ",") if name.startswith("san-") else ""
    program = OUT / "bin/corosync-conf"
    argv = ["make", "--no-print-directory", "-C", str(ROOT), f"BUILD={build if san else OUT}", f"SAN={san}", str(program)]
    made = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr
    return program


@pytest.fixture(scope="module")
def corosync():
    if os.geteuid() != 0:
        pytest.skip("needs root: corosync runs in namespaces of its own")
    try:
        return unpacking.unpack("corosync", OUT.parent if OUT.name.startswith("san-") else OUT)
    except unpacking.PeerError as e:
        pytest.skip(str(e))


def addresses(i, families):
    return [f"10.{k}.0.{i}" if family == 4 else f"fd00:{k}::{i:x}" for k, family in enumerate(families)]


def nodes(n, families):
    return [(i, f"n{i}", *addresses(i, families)) for i in range(1, n + 1)]


LINKS = {"IPv4": [4], "IPv6": [6], "two-links": [4, 4], "two-families": [4, 6], "two-IPv6": [6, 6]}


@pytest.mark.parametrize("links", LINKS)
@pytest.mark.parametrize("n", [1, 2, 3, 16])
def test_corosync_takes_the_file(renderer, corosync, tmp_path, n, links):
    place = ring.Place(tmp_path, renderer, corosync)
    place.write(1, nodes(n, LINKS[links]))
    done = place.check(addresses(1, LINKS[links]))
    assert done.returncode == 0, done.stdout + done.stderr + place.log.read_text(encoding="utf-8")


@pytest.mark.parametrize("n", [2, 3, 16])
def test_of_two_links_a_dead_one_is_known_before_the_token_is_lost(renderer, tmp_path, n):
    place = ring.Place(tmp_path, renderer, tmp_path)
    place.write(1, nodes(n, [4, 4]))
    said = [line.split() for line in place.conf.read_text(encoding="utf-8").splitlines() if ": " in line]
    values = {key.rstrip(":"): [int(v) for k, v in said if k == key] for key, value in said if value.isdigit()}
    token = values["token"][0] + (n - 2) * values["token_coefficient"][0]
    intervals, timeouts = values["knet_ping_interval"], values["knet_ping_timeout"]
    assert len(intervals) == len(timeouts) == 2
    # A ping is missed, then the token is sent anew (each token / 4.2); two fifths of the time are left for a busy machine.
    assert all(interval + timeout + token / 4.2 <= 0.6 * token for interval, timeout in zip(intervals, timeouts))


def test_one_link_has_the_times_of_corosync(renderer, tmp_path):
    place = ring.Place(tmp_path, renderer, tmp_path)
    place.write(1, nodes(3, [4]))
    assert "knet_ping" not in place.conf.read_text(encoding="utf-8")


def test_a_file_that_is_wrong_is_seen(renderer, corosync, tmp_path):
    place = ring.Place(tmp_path, renderer, corosync)
    place.write(1, nodes(2, [4]))
    text = place.conf.read_text(encoding="utf-8")
    place.conf.write_text(text.replace("nodelist {\n", "nodelist { node { nodeid: 3 } \n"), encoding="utf-8")
    assert place.check(addresses(1, [4])).returncode != 0


@pytest.mark.parametrize("bad", ["1 n1 10.0.0.1\n1 n2 10.0.0.2", "1 n1 10.0.0.1\n2 n1 10.0.0.2", "1 n{ 10.0.0.1", "0 n 10.0.0.1",
                                 "1 n1 10.0.0.1\n2 n2 10.0.0.1", "1 n1 10.0.0.1\n2 n2 fd00::2", "1 n1 10.0.0.1\n2 n2 10.0.0.2 10.1.0.2",
                                 "1 n1 0.0.0.0", ""])
def test_values_that_cannot_be_are_refused(renderer, bad):
    argv = [renderer, "mail", "1", "/key", "/state", "/log"]
    done = subprocess.run(argv, input=bad, capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr


@pytest.mark.parametrize("argument, text", [(1, "a b"), (1, "a\nb"), (1, ""), (2, "0"), (3, "key"), (3, "/k\ny"), (3, ""),
                                            (4, "/s{"), (5, "/l }")])
def test_text_that_would_mean_something_is_refused(renderer, argument, text):
    argv = [renderer, "mail", "1", "/key", "/state", "/log"]
    argv[argument] = text
    done = subprocess.run(argv, input="1 n1 10.0.0.1\n", capture_output=True, text=True, check=False)
    assert done.returncode == 1 and done.stderr


@pytest.mark.parametrize("families", [[4], [6, 4]], ids=["IPv4", "two-links"])
def test_a_ring_grows_and_changes_its_key_without_a_break(renderer, corosync, tmp_path, families):
    """Two nodes; a third comes by a reload; a new key by another; then the third goes. Members never leave in between."""
    if shutil.which("unshare") is None or shutil.which("ip") is None:
        pytest.skip("needs unshare and ip")
    argv = ["unshare", "-n", "-m", "-p", "-f", "--kill-child", "--propagation", "private", "/usr/bin/python3", "-m",
            "tests.members.ring", str(tmp_path), str(renderer), str(corosync), ",".join(map(str, families))]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
