# SPDX-License-Identifier: Apache-2.0
"""The driver counts honestly: what crashes, hangs or ends badly is a failure, whatever it printed before."""
import concurrent.futures
import os
import pathlib
import runpy
import subprocess
import sys
import threading
import time

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from checking import programs, steps  # noqa: E402
from checking.report import Results, print_end  # noqa: E402

RUN, OK = "[ RUN      ] {0}\n", "[ RUN      ] {0}\n[       OK ] {0}\n"
FAILED = "[ RUN      ] {0}\nwrong\n[  FAILED  ] {0}\n"


@pytest.mark.parametrize(
    "text, status, passed, failed",
    [
        (OK.format("a") + OK.format("b"), 0, ["u.a", "u.b"], []),
        (OK.format("a") + FAILED.format("b") + "[  FAILED  ] b\n", 1, ["u.a"], ["u.b"]),
        (OK.format("a") + RUN.format("b"), -11, ["u.a"], ["u.b"]),
        (RUN.format("b"), programs.TIMED_OUT, [], ["u.b"]),
        (OK.format("a") + "leak\n", 1, ["u.a"], ["u (exit 1)"]),
        ("", 127, [], ["u (exit 127)"]),
        (RUN.format("a") + "[       OK ] said by the test\n[       OK ] a\n", 0, ["u.a"], []),
    ],
)
def test_cmocka_output_is_read(tmp_path, text, status, passed, failed):
    log = tmp_path / "log"
    log.write_text(text)
    r = Results()
    programs.read_cmocka(r, "u", str(log), status)
    assert (r.passed, list(r.failed), r.skipped) == (passed, failed, {})


def test_specs_are_read(tmp_path):
    log = tmp_path / "log"
    log.write_text("ok    a00_x (0.1 s)\nSKIP  b00_y: needs root\nFAIL  c00_z (1.0 s): title\n  why\n1 passed\n")
    r = Results()
    programs.read_specs(r, str(log), 1)
    assert (r.passed, list(r.failed), r.skipped) == (["spec/a00_x"], ["spec/c00_z"], {"spec/b00_y": "needs root"})


def test_a_bad_exit_without_a_failed_spec_is_a_failure(tmp_path):
    log = tmp_path / "log"
    log.write_text("ok    a00_x (0.1 s)\nTraceback\n")
    r = Results()
    programs.read_specs(r, str(log), 1)
    assert list(r.failed) == ["spec (exit 1)"]


@pytest.mark.parametrize("status, failed", [(5, []), (2, ["p (exit 2)"]), (programs.TIMED_OUT, ["p (exit timed out)"])])
def test_pytest_without_results_failed_unless_nothing_was_chosen(tmp_path, status, failed):
    r = Results()
    programs.read_junit(r, "p", str(tmp_path / "none.xml"), "log", status)
    assert list(r.failed) == failed


def test_junit_results_are_read(tmp_path):
    xml = tmp_path / "x.xml"
    xml.write_text(
        '<testsuites><testsuite><testcase name="a"/><testcase name="b"><failure message="x"/></testcase>'
        '<testcase name="c"><skipped message="no root"/></testcase></testsuite></testsuites>'
    )
    r = Results()
    programs.read_junit(r, "p", str(xml), "log", 1)
    assert (r.passed, list(r.failed), r.skipped) == (["p.a"], ["p.b"], {"p.c": "no root"})


def ends(pid, deadline=30):
    """A killed process is gone, or a zombie, as soon as the kernel gets to it."""
    until = time.monotonic() + deadline
    while time.monotonic() < until:
        try:
            if pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.01)
    return False


def test_a_program_that_hangs_is_ended_with_what_it_started(tmp_path):
    log = tmp_path / "log"
    pid_file = tmp_path / "pid"
    script = f"sleep 1000 & echo $! > {pid_file}; wait"
    assert programs.run(["/bin/sh", "-c", script], str(log), 1) == programs.TIMED_OUT
    assert ends(int(pid_file.read_text()))
    assert "timed out after 1 s" in log.read_text()


def test_no_test_is_no_success(capsys):
    assert print_end(Results(), 0, "nosuch") == 1
    out = capsys.readouterr().out
    assert "no test has 'nosuch' in its name" in out and out.endswith("0 passed, 0 failed, 0 skipped\n")


def test_the_last_line_counts(capsys):
    r = Results()
    r.passed, r.skipped = ["a", "b"], {"c": "no root"}
    assert print_end(r, 0, "") == 0
    out = capsys.readouterr().out
    assert "skipped: c: no root" in out and out.endswith("2 passed, 0 failed, 1 skipped\n")


def test_an_unknown_step_is_refused():
    check = pathlib.Path(__file__).resolve().parent / "check"
    done = subprocess.run([check, "--only", "nosuch"], capture_output=True, text=True, timeout=60, check=False,
                          env=os.environ)
    assert done.returncode == 2 and "no such step: nosuch" in done.stderr


def test_what_runs_is_ended_for_whoever_waits_for_it(tmp_path):
    with concurrent.futures.ThreadPoolExecutor() as pool:
        waiting = pool.submit(programs.run, ["/bin/sleep", "1000"], str(tmp_path / "log"), 100)
        while not programs.RUNNING and not waiting.done():
            time.sleep(0.01)
        programs.end_all()
        assert waiting.result(30) == -9


def test_a_step_beside_others_holds_up_none_and_is_told(capsys):
    check = runpy.run_path(str(pathlib.Path(__file__).resolve().parent / "check"))
    order, may_end = [], threading.Event()

    def slow():
        assert may_end.wait(30)
        order.append("slow")
        return passing("slow")

    def quick():
        order.append("quick")
        may_end.set()
        return passing("quick")

    total = Results()
    check["run"]([steps.Step("slow", slow, beside=True), steps.Step("quick", quick)], total)
    assert order == ["quick", "slow"] and total.passed == ["quick", "slow"]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["quick", "slow"]


def passing(name):
    r = Results()
    r.passed.append(name)
    return r
