# SPDX-License-Identifier: Apache-2.0
"""Running a program with a deadline, and reading single tests out of what it printed."""
import os
import re
import signal
import subprocess
import threading
import xml.etree.ElementTree as ElementTree

TIMED_OUT = "timed out"
LOCK = threading.Lock()
RUNNING = set()  # what run() waits for
NAME_MAX = 120  # a parametrized test may be named by the whole of its input


def run(argv, log, timeout, env=None):
    """Output goes to the log file. The exit status, or TIMED_OUT; what it started is ended with it."""
    os.makedirs(os.path.dirname(log), exist_ok=True)
    with open(log, "wb") as out:
        out.write(("$ " + " ".join(argv) + "\n").encode())
        out.flush()
        full = {**os.environ, **(env or {})}
        process = subprocess.Popen(argv, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, env=full,
                                   start_new_session=True)
        with LOCK:
            RUNNING.add(process)
        try:
            return process.wait(timeout)
        except subprocess.TimeoutExpired:
            out.write(f"\n{TIMED_OUT} after {timeout} s\n".encode())
            return TIMED_OUT
        finally:
            with LOCK:
                RUNNING.discard(process)
            end_group(process)


def end_all():
    """Ends what runs, for other threads wait for it: they have their answer then."""
    with LOCK:
        for process in [p for p in RUNNING if p.poll() is None]:
            os.killpg(process.pid, signal.SIGKILL)


def end_group(process):
    """The session that run() made for it: nothing else is in that group."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    process.wait()


def text_of(log):
    with open(log, encoding="utf-8", errors="replace") as f:
        return f.read()


def read_cmocka(results, name, log, status):
    """`[       OK ] x`; a test that began and has no end crashed or hung; a bad exit without one is the binary's own."""
    seen = {"OK": [], "FAILED": [], "SKIPPED": []}
    running = None
    for line in text_of(log).splitlines():
        begun = re.search(r"\[ RUN      \] (\w+)\s*$", line)
        ended = re.search(r"\[\s*(OK|FAILED|SKIPPED)\s*\] (\w+)\s*$", line)
        if begun:
            running = begun[1]
        elif ended:
            running = None
            if ended[2] not in seen[ended[1]]:
                seen[ended[1]].append(ended[2])
    failed = dict.fromkeys(f"{name}.{t}" for t in seen["FAILED"] + ([running] if running else []))
    if status != 0 and not failed:
        failed[f"{name} (exit {status})"] = None
    results.failed.update({t: log for t in failed})
    results.skipped.update({f"{name}.{t}": "says the test" for t in seen["SKIPPED"]})
    results.passed += [f"{name}.{t}" for t in seen["OK"] if f"{name}.{t}" not in failed]


def read_junit(results, name, xml, log, status):
    try:
        cases = list(ElementTree.parse(xml).iter("testcase"))
    except (OSError, ElementTree.ParseError):
        cases = []
    before = len(results.failed)
    for case in cases:
        test = f"{name}.{case.get('name')}"[:NAME_MAX]
        skipped = case.find("skipped")
        if case.find("failure") is not None or case.find("error") is not None:
            results.failed[test] = log
        elif skipped is not None:
            results.skipped[test] = skipped.get("message", "").splitlines()[0]
        else:
            results.passed.append(test)
    nothing_chosen = status == 5
    if status != 0 and not nothing_chosen and len(results.failed) == before:
        results.failed[f"{name} (exit {status})"] = log


def read_specs(results, log, status):
    before = len(results.failed)
    for line in text_of(log).splitlines():
        found = re.match(r"(ok|FAIL|SKIP) +([\w.-]+)(?: \(|: )(.*)", line)
        if not found:
            continue
        if found[1] == "ok":
            results.passed.append(f"spec/{found[2]}")
        elif found[1] == "FAIL":
            results.failed[f"spec/{found[2]}"] = log
        else:
            results.skipped[f"spec/{found[2]}"] = found[3]
    if status != 0 and len(results.failed) == before:
        results.failed[f"spec (exit {status})"] = log
