# SPDX-License-Identifier: Apache-2.0
"""On a terminal: questions and colours."""

import os
import pty
import subprocess

import pytest
from conftest import DEADLINE, Reply, build_dir

POOLS = {"pools": {"mta": {"servers": {"mta1": {"state": "up"}, "mta2": {"state": "down"}}}}}


@pytest.fixture
def terminal(node):
    """Runs the command on a terminal of its own and types an answer. Returns (exit code, all that the terminal shows)."""
    def run(*args, typed=b"", **env):
        ours, theirs = pty.openpty()
        os.write(ours, typed)
        process = subprocess.Popen([str(build_dir() / "bin" / "postroad"), *args], stdin=theirs, stdout=theirs, stderr=theirs,
                                   env={"PATH": os.environ["PATH"], "POSTROAD_SOCKET": node.socket, **env}, start_new_session=True)
        os.close(theirs)
        shown = b""
        try:
            while chunk := os.read(ours, 65536):
                shown += chunk
        except OSError:
            pass  # what a terminal says when its last user has gone
        os.close(ours)
        return process.wait(DEADLINE), shown.decode()
    return run


def test_states_are_coloured_by_what_they_mean(node, terminal):
    node["GET /api/v1/pools"] = POOLS
    code, shown = terminal("server", "list")
    assert code == 0
    assert "\x1b[32mup\x1b[0m" in shown and "\x1b[31mdown\x1b[0m" in shown


def test_no_color_is_respected(node, terminal):
    node["GET /api/v1/pools"] = POOLS
    assert "\x1b" not in terminal("server", "list", NO_COLOR="1")[1]
    assert "\x1b" in terminal("server", "list", NO_COLOR="")[1]


def test_columns_line_up_with_and_without_colours(node, terminal):
    node["GET /api/v1/pools"] = POOLS
    plain = terminal("server", "list", NO_COLOR="1")[1]
    coloured = terminal("server", "list")[1]
    for code in ("\x1b[32m", "\x1b[31m", "\x1b[2m", "\x1b[0m"):
        coloured = coloured.replace(code, "")
    assert coloured == plain


@pytest.mark.parametrize("typed,killed", [(b"y\n", True), (b"yes\n", True), (b"n\n", False), (b"\n", False)])
def test_only_yes_means_yes(node, terminal, typed, killed):
    node["DELETE /api/v1/sessions/s1"] = Reply(status=204)
    code, shown = terminal("session", "kill", "s1", typed=typed)
    assert "This will end 1 session at once. Go on? [y/N]" in shown
    assert code == (0 if killed else 1)
    assert node.made() == (["DELETE /api/v1/sessions/s1"] if killed else [])


def test_yes_asks_nothing(node, terminal):
    node["DELETE /api/v1/sessions/s1"] = Reply(status=204)
    code, shown = terminal("session", "kill", "s1", "--yes")
    assert code == 0 and "Go on?" not in shown


@pytest.mark.parametrize("typed,written", [(b"y\n", True), (b"n\n", False)])
def test_an_edit_that_loses_all_users_is_asked_about(node, terminal, tmp_path, typed, written):
    node["GET /api/v1/config"] = Reply({"version": 1, "users": {"app1": {}}}, headers={"ETag": '"r1"'})
    node["PUT /api/v1/config?dry_run=true"] = {"changes": [{"op": "remove", "path": "/users/app1", "from": {}}]}
    node["PUT /api/v1/config"] = Reply({"revision": 2}, headers={"ETag": '"r2"'})
    editor = tmp_path / "edit"
    editor.write_text("#!/bin/sh\necho '{\"version\": 1}' > \"$1\"\n")
    editor.chmod(0o700)
    code, shown = terminal("config", "edit", typed=typed, EDITOR=str(editor), TMPDIR=str(tmp_path))
    assert "This will remove the only user: who logs in by it loses access. Go on? [y/N]" in shown, shown
    assert (code == 0) == written and ("PUT /api/v1/config" in node.made()) == written
    assert len(list(tmp_path.glob("postroad-config-*.json"))) == (0 if written else 1)


def test_a_rejected_edit_can_be_given_up(node, terminal, tmp_path):
    node["GET /api/v1/config"] = Reply({"version": 1}, headers={"ETag": '"r1"'})
    node["PUT /api/v1/config?dry_run=true"] = Reply({"title": "Not valid", "errors": []}, status=422)
    editor = tmp_path / "edit"
    editor.write_text("#!/bin/sh\necho '{\"version\": 2}' > \"$1\"\n")
    editor.chmod(0o700)
    code, shown = terminal("config", "edit", typed=b"n\n", EDITOR=str(editor), TMPDIR=str(tmp_path))
    assert code == 2 and "Edit again? [Y/n]" in shown
    (kept,) = tmp_path.glob("postroad-config-*.json")
    assert kept.read_text() == '{"version": 2}\n'
