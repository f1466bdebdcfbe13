# SPDX-License-Identifier: Apache-2.0
"""packaging/install-deps on a system of its own: apt-get, dnf and the like are scripts that say what they were asked."""
import os
import pathlib
import shutil
import subprocess

import pytest

SCRIPT = pathlib.Path(__file__).resolve().parents[2] / "packaging/install-deps"
DEPS = "# a list\nbuild  gcc  gcc-rpm\nbuild  libx-dev  libx-devel\ncheck  curl  -\ncheck  gcc  gcc-rpm\n"


class System:
    """Tools in a folder that is the whole PATH; what is installed is a file of names."""

    def __init__(self, path, packager):
        self.bin, self.installed, self.calls = path / "bin", path / "installed", path / "calls"
        self.bin.mkdir()
        self.installed.write_text("")
        self.calls.write_text("")
        (path / "packaging").mkdir()
        self.script = shutil.copy(SCRIPT, path / "packaging")
        (path / "packaging/deps").write_text(DEPS)
        for tool in ("awk", "bash", "dirname", "env", "grep", "paste", "rm", "sort"):
            (self.bin / tool).symlink_to(shutil.which(tool))
        self.tool("id", "echo ${FAKE_UID:-0}")
        query = f'grep -qx -- "${{!#}}" {self.installed}'
        self.tool("dpkg-query", f"{query} && echo -n installed")
        self.tool("rpm", query)
        self.tool(packager, f'echo "$*" >> {self.calls}\n' + self.installing())

    def tool(self, name, text):
        (self.bin / name).write_text(f"#!/bin/bash\n{text}\n")
        (self.bin / name).chmod(0o755)

    def installing(self):
        """Names behind `install`; the first attempt fails where the lists are old."""
        return f"""old={self.bin.parent}/old
case " $* " in
*" update "*) rm -f $old; exit 0 ;;
esac
[ -e $old ] && exit 100
seen=
for word; do
	[ "$seen" ] && [[ $word != -* ]] && echo "$word" >> {self.installed}
	[ "$word" = install ] && seen=1
done
exit 0"""

    def run(self, *purposes, **env):
        full = {"PATH": str(self.bin), **env}
        return subprocess.run([self.script, *purposes], env=full, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def debian(tmp_path):
    return System(tmp_path, "apt-get")


def test_only_what_is_missing_is_installed(debian):
    debian.installed.write_text("gcc\n")
    done = debian.run("build", "check")
    assert done.returncode == 0, done.stderr
    assert debian.calls.read_text().count("\n") == 1
    assert debian.calls.read_text().endswith("install --no-install-recommends curl libx-dev\n")


def test_nothing_missing_is_quiet_and_needs_no_root(debian):
    debian.installed.write_text("gcc\nlibx-dev\n")
    done = debian.run("build", FAKE_UID="1000")
    assert (done.returncode, done.stdout, done.stderr, debian.calls.read_text()) == (0, "", "", "")


def test_old_lists_are_updated_once(debian):
    (debian.bin.parent / "old").write_text("")
    assert debian.run("check").returncode == 0
    asked = [line.split("DPkg::Lock::Timeout=120 ")[1] for line in debian.calls.read_text().splitlines()]
    install = "install --no-install-recommends curl gcc"
    assert asked == [install, "update", install]


def test_without_root_it_says_what_is_missing(debian):
    done = debian.run("build", FAKE_UID="1000")
    assert done.returncode == 1 and "missing: gcc libx-dev" in done.stderr and "needs root" in done.stderr


def test_with_sudo_it_needs_no_root(debian):
    debian.tool("sudo", '[ "$1" = -n ] && shift\n"$@"')
    debian.tool("true", "exit 0")
    assert debian.run("build", FAKE_UID="1000").returncode == 0
    assert debian.installed.read_text() == "gcc\nlibx-dev\n"


def test_a_package_that_does_not_come_is_an_error(debian):
    debian.tool("apt-get", "exit 0")
    done = debian.run("build")
    assert done.returncode == 1 and "gcc is still missing" in done.stderr


def test_rpm_systems_have_names_of_their_own(tmp_path):
    fedora = System(tmp_path, "dnf")
    assert fedora.run("build", "check").returncode == 0
    assert fedora.calls.read_text() == "-q -y install gcc-rpm libx-devel\n"


@pytest.mark.parametrize("purposes", [(), ("nosuch",), ("build", "nosuch"), ("#",)])
def test_wrong_usage_is_2(debian, purposes):
    done = debian.run(*purposes)
    assert done.returncode == 2 and "purposes: build check" in done.stderr


def test_another_system_is_told_where_the_list_is(tmp_path):
    done = System(tmp_path, "pacman").run("build")
    assert done.returncode == 1 and "packaging/deps" in done.stderr
