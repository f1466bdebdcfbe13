# SPDX-License-Identifier: Apache-2.0
"""The command line itself: help, options, suggestions, exit codes, completion, the manual page."""

import pathlib
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]


def commands(postroad):
    text = postroad("--help").out.split("Commands:")[1].split("Options of")[0]
    return [re.match(r"  ([a-z]+(?: [a-z-]+)?)", line).group(1) for line in text.splitlines() if line.startswith("  ")]


def test_help_shows_examples_first(postroad):
    r = postroad("config", "apply", "--help")
    assert r.code == 0
    assert r.lines[0] == "Examples:"
    assert r.lines[1].startswith("  postroad config apply site.json")


def test_every_command_has_help_with_an_example_of_itself(postroad):
    words = commands(postroad)
    assert len(words) > 20
    for w in words:
        r = postroad(*w.split(), "--help")
        assert r.code == 0, w
        assert f"postroad {w}" in r.out.split("Usage:")[0], w


def test_no_command_is_a_usage_error_that_shows_the_help(postroad):
    r = postroad()
    assert r.code == 2
    assert "config apply FILE" in r.out


def test_a_group_alone_lists_its_commands(postroad):
    r = postroad("server")
    assert r.code == 2
    assert [line.split()[1] for line in r.lines] == ["list", "drain", "ready", "maint", "weight"]


@pytest.mark.parametrize("typed,asked", [
    (["help"], ["--help"]), (["help", "server"], ["server", "--help"]), (["help", "config", "apply"], ["config", "apply", "--help"]),
])
def test_help_is_a_word_too(postroad, typed, asked):
    r = postroad(*typed)
    assert r.code == 0 and r.out and r.out == postroad(*asked).out
    assert postroad("help", "zzzzzzzzzz").code == 2


def test_a_socket_that_does_not_exist_is_what_is_said(postroad, tmp_path):
    r = postroad("--socket", str(tmp_path / "none.sock"), "status")
    assert r.code == 1
    assert f"{tmp_path}/none.sock: No such file or directory\n" in r.err and "port" not in r.err
    assert "is postroadd running" in r.err


@pytest.mark.parametrize("typed,meant", [
    (["stats"], "status"), (["confg", "apply", "x"], "config apply"), (["config", "aply", "x"], "config apply"),
    (["server", "drian", "a/b"], "server drain"), (["sesion", "kil", "x"], "session kill"),
])
def test_an_unknown_command_suggests_the_nearest(postroad, typed, meant):
    r = postroad(*typed)
    assert r.code == 2
    assert f"did you mean: postroad {meant}\n" in r.err


def test_a_word_near_nothing_gets_no_suggestion(postroad):
    r = postroad("zzzzzzzzzz")
    assert r.code == 2
    assert "did you mean" not in r.err


def test_an_unknown_option_suggests_the_nearest(postroad):
    r = postroad("config", "apply", "x.json", "--dryrun")
    assert r.code == 2
    assert "did you mean --dry-run?" in r.err


@pytest.mark.parametrize("args,why", [
    (["status", "--dry-run"], "--dry-run does not go with `postroad status`"),
    (["status", "extra"], "usage: postroad status"),
    (["config", "apply"], "usage: postroad config apply FILE"),
    (["status", "--json=1"], "--json takes no value"),
    (["status", "--socket"], "--socket needs a value"),
    (["session", "list", "--limit", "many"], "--limit: \"many\" is not a number"),
    (["session", "list", "--limit", "0"], "--limit: \"0\" is not a number from 1"),
    (["status", "--timeout", "0"], "--timeout"),
    (["status", "--token-file", "x"], "go with --url"),
    (["status", "--url", "https://h", "--socket", "s"], "not both"),
    (["status", "--url", "ftp://h"], "does not start with https://"),
    (["status", "--url", "http://192.0.2.1:8425"], "for this machine only"),
    (["status", "--url", "http://127.0.0.1.example.com"], "for this machine only"),
    (["status", "--url", "http://localhost@192.0.2.1/"], "for this machine only"),
    (["status", "--url", "https://127.0.0.1:1", "--fingerprint", "abc"], "64 hex digits"),
    (["server", "drain", "mta1"], "write POOL/SERVER"),
    (["server", "weight", "mta/mta1", "1001"], "is no weight"),
    (["server", "weight", "mta/mta1", "-"], "is no weight"),
    (["config", "rollback", "last"], "is no revision"),
    (["token", "create", "x"], "--role is needed"),
    (["token", "create", "x", "--role", "root"], "--role is needed"),
    (["completion", "fish"], "bash and zsh"),
    (["top", "--json"], "for people"),
])
def test_a_usage_error_says_why_and_exits_with_2(postroad, args, why):
    r = postroad(*args)
    assert r.code == 2, r.err
    assert why in r.err
    assert r.out == ""


@pytest.mark.parametrize("args", [[b"explain", b"caf\xe9@x"], [b"events", b"--after", b"\xff"]])
def test_arguments_that_json_cannot_hold_are_refused(postroad, args):
    r = postroad(*args)
    assert r.code == 2 and "is not UTF-8" in r.err


def test_a_dead_socket_fails_with_its_path(postroad, tmp_path):
    r = postroad("status", "--socket", str(tmp_path / "nobody.sock"))
    assert r.code == 1
    assert str(tmp_path / "nobody.sock") in r.err
    assert "is postroadd running" in r.err


def test_the_version_is_that_of_the_tree(postroad):
    assert postroad("--version").out == "postroad " + (ROOT / "VERSION").read_text().strip() + "\n"


def complete(postroad, tmp_path, line):
    """What bash offers for the last word of the line."""
    script = tmp_path / "completion"
    script.write_text(postroad("completion", "bash").out)
    words = line.split(" ")
    quoted = " ".join(f"'{w}'" for w in words)
    done = subprocess.run(["bash", "-c", f"source {script}; COMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _postroad;"
                           " printf '%s\\n' \"${COMPREPLY[@]}\""], text=True, capture_output=True, check=True)
    return done.stdout.split()


def test_completion_knows_commands_and_options(postroad, tmp_path):
    assert complete(postroad, tmp_path, "postroad ser") == ["server"]
    assert complete(postroad, tmp_path, "postroad config ") == ["get", "apply", "edit", "diff", "history", "rollback", "check"]
    assert complete(postroad, tmp_path, "postroad --socket /x config hi") == ["history"]
    assert "--wait" in complete(postroad, tmp_path, "postroad server drain --")
    assert "--wait" not in complete(postroad, tmp_path, "postroad server ready --")
    assert complete(postroad, tmp_path, "postroad token create x --role op") == ["operator"]


def test_every_command_completes(postroad, tmp_path):
    assert complete(postroad, tmp_path, "postroad completion ") == ["bash", "zsh"]
    for w in commands(postroad):
        *first, last = w.split()
        assert last in complete(postroad, tmp_path, " ".join(["postroad", *first, last[:2]])), w


def test_zsh_completion_loads_the_bash_function(postroad):
    r = postroad("completion", "zsh")
    assert r.lines[0] == "#compdef postroad"
    assert "bashcompinit" in r.out and "complete -F _postroad postroad" in r.out


def test_the_manual_page_is_the_one_the_program_makes(postroad):
    page = (ROOT / "packaging" / "man" / "postroad.1").read_text()
    assert page == postroad("--help-mdoc").out, "run: build/bin/postroad --help-mdoc > packaging/man/postroad.1"
    for w in commands(postroad):
        assert f".It Cm {w}" in page
