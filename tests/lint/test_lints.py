# SPDX-License-Identifier: Apache-2.0
"""Each lint finds what it is there to find, and passes a tree in order."""
import os
import pathlib
import subprocess

import pytest

HERE = pathlib.Path(__file__).resolve().parent
LICENCE = "/* SPDX-License-Identifier: Apache-2.0\n * A file.\n */\n"


@pytest.fixture
def run(tmp_path):
    def with_files(lint, *options, **contents):
        for name, text in contents.pop("files", {}).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        env = {**os.environ, "LINT_ROOT": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1", **contents}
        argv = [HERE / lint, *options]
        done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
        assert done.stderr == ""
        return done.returncode, done.stdout

    return with_files


def function(name, lines, body="\tx();\n"):
    return f"void {name}(void)\n{{\n{body * (lines - 3)}}}\n"


def test_an_arrow_that_points_up_fails(run):
    files = {"daemon/smtp/a.c": '#include "daemon/net/loop.h"\n', "daemon/api/b.c": '#include "daemon/base/str.h"\n'}
    code, out = run("layers", "-v", files=files)
    assert code == 1
    assert "daemon/smtp/a.c:1: daemon/smtp may not include daemon/net" in out
    assert "daemon/api       -> daemon/base" in out
    assert "daemon/api/b.c" not in out


def test_a_private_header_of_another_room_fails(run):
    code, out = run("layers", files={"daemon/api/b.c": '#include "daemon/base/metrics_private.h"\n'})
    assert code == 1 and "is private to daemon/base" in out


def test_an_unknown_room_fails(run):
    code, out = run("layers", files={"daemon/cellar/a.c": ""})
    assert code == 1 and "no room" in out


def test_a_function_of_100_lines_passes_and_one_more_fails(run):
    text = LICENCE + function("ok", 100) + "\n" + function("much", 101)
    code, out = run("functions", "-v", files={"daemon/a.c": text})
    assert code == 1
    assert "much() is 101 lines long, more than 100" in out
    assert "ok() is 100 lines long (noted)" in out


def test_a_table_may_be_long(run):
    code, _ = run("functions", files={"daemon/a.c": "static const int t[] = {\n" + "\t1,\n" * 300 + "};\n"})
    assert code == 0


@pytest.mark.parametrize(
    "body, what",
    [
        ("again:\n\tx();\n\tgoto again;\n", "leads backwards"),
        ("\tgoto one;\n\tgoto two;\none:\ntwo:\n\tx();\n", "more than one label"),
        ("\tgoto out;\nout:\n\tx();\n", None),
        ("\t/* goto nowhere; */\n", None),
    ],
)
def test_goto_leads_forward_to_one_label(run, body, what):
    code, out = run("functions", files={"daemon/a.c": function("f", 4, body)})
    assert (code, what is None or what in out) == (1 if what else 0, True)


@pytest.mark.parametrize(
    "name, text, what",
    [
        ("a.c", "int x;\n", "SPDX"),
        ("tool", "#!/bin/bash\necho\n", "SPDX"),
        ("a.c", LICENCE + "\n" * 900, "more than 900"),
        ("a.h", LICENCE, "header guard"),
        ("a.h", LICENCE + "#ifndef POSTROAD_A_H\n#define POSTROAD_B_H\n#endif\n", "header guard"),
        ("a.c", LICENCE + '#include "b.h"\n', "no path"),
        ("a.h", LICENCE + "#ifndef POSTROAD_A_H\n#define POSTROAD_A_H\n#endif\n", None),
        ("a.tbl.h", LICENCE, None),
        ("notes.txt", "anything\n", None),
    ],
)
def test_sources_are_in_order(run, name, text, what):
    code, out = run("sources", files={name: text})
    assert (code, what is None or what in out) == (1 if what else 0, True)


def test_a_guard_used_twice_fails(run):
    text = LICENCE + "#ifndef POSTROAD_A_H\n#define POSTROAD_A_H\n#endif\n"
    code, out = run("sources", files={"a.h": text, "b.h": text})
    assert code == 1 and "b.h:1: the guard POSTROAD_A_H is a.h's" in out


def test_a_folder_with_sources_needs_a_readme(run):
    code, out = run("readmes", files={"daemon/x/a.c": "", "tests/unit/x/test_a.c": "", "docs/page.md": ""})
    assert code == 1
    assert out == "daemon/x/README.md:1: is missing\ntests/unit/README.md:1: is missing\n"
    assert run("readmes", files={"daemon/x/README.md": "", "tests/unit/README.md": ""})[0] == 0


def test_each_play_is_named_and_each_that_is_named_is_there(run):
    plays = {f"tests/spec/{name}.spec": "" for name in ("b01_x", "b02_y", "b04_z", "c01_lost", "c01_again", "odd")}
    code, out = run("plays", files={**plays, "tests/spec/RULES.md": "# Page\n| all | `b01-b04` |\n| one | `d07` |\n"})
    assert code == 1
    assert out.splitlines() == [
        "tests/spec/c01_lost.spec:1: c01 is also the number of tests/spec/c01_again.spec",
        "tests/spec/odd.spec:1: is not named x00_what_it_shows.spec",
        "tests/spec/RULES.md:3: there is no play d07",
        "tests/spec/c01_again.spec:1: is not named in tests/spec/RULES.md",
    ]


def test_plays_all_named_pass(run):
    files = {"tests/spec/b01_x.spec": "", "tests/spec/b02_y.spec": "", "tests/spec/RULES.md": "| all | `b01` `b02` |\n"}
    assert run("plays", files=files) == (0, "")


@pytest.mark.parametrize("line", ["TO" + "DO later", "/ho" + "me/me/x", "<<<<" + "<<< HEAD", "white" + "list"])
def test_forbidden_words_fail(run, line):
    code, out = run("words", files={"a.md": "fine\n" + line + "\n"})
    assert code == 1 and out.startswith("a.md:2: ")
    assert run("words", files={"a.md": "mkstemp XXXXXX, https://example.com/home/page\n"})[0] == 0


MANUAL = "| field | type | meaning |\n|---|---|---|\n| `known` | text | What it is. |\n| `mute` | text | |\n"


def test_a_field_without_its_line_in_the_manual_fails(run, tmp_path):
    program = tmp_path / "postroadd"
    program.write_text(f"#!/bin/sh\ncat <<'END'\n{MANUAL}END\n")
    program.chmod(0o755)
    rows = '\t{ "known", X },\n\t{ "mute", X },\n\t{ "lost", X },\n'
    code, out = run("options", files={"daemon/conf/conf_table_x.c": rows}, POSTROADD=str(program))
    assert code == 1
    assert "x.c:3: lost is not in the manual" in out and "x.c:2: mute has no meaning" in out and "known" not in out


def test_without_the_program_the_manual_is_skipped(run, tmp_path):
    assert run("options", POSTROADD=str(tmp_path / "none"))[0] == 77


def test_a_metric_that_is_not_counted_or_not_listed_fails(run, tmp_path):
    files = {
        "daemon/base/metrics.tbl.h": 'METRIC(A, "a_total", x)\nMETRIC(B, "b_total", x)\n',
        "daemon/x.c": "METRIC_A\n",
        "packaging/man/metrics.md": "| `postroad_b_total` | by hand\n",
        "packaging/man/make-metrics": "#!/bin/sh\necho '| `postroad_b_total` |'\n",
    }
    maker = tmp_path / "packaging/man/make-metrics"
    maker.parent.mkdir(parents=True)
    maker.touch(mode=0o755)
    code, out = run("metrics", files=files)
    assert code == 1
    assert out == (
        "daemon/base/metrics.tbl.h:1: METRIC_B is counted nowhere\n"
        "packaging/man/metrics.md:1: is not what packaging/man/make-metrics prints\n"
        "packaging/man/metrics.md:1: postroad_a_total is missing\n"
    )
