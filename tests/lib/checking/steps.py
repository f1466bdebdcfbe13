# SPDX-License-Identifier: Apache-2.0
"""The steps of a check, in order: a new kind of test is a function here and a row in plan()."""
import concurrent.futures
import glob
import os
import re
import shutil

from . import programs
from .report import Results

NAMES = ("install", "peers", "lint", "build", "labs", "clang", "units", "asan", "tsan", "python", "specs", "fuzz", "chaos", "storm")
SKIPPED = 77
FUZZ_SAN = "address,undefined,fuzzer-no-link"
PEERS = ("corosync", "keepalived", "postfix")  # what tests/lab runs without being told to
LABS = "tests/lab"
BUILD_TIMEOUT, UNIT_TIMEOUT, SUITE_TIMEOUT = 1800, 300, 900


class Step:
    """`needed`: nothing after it can work without it. `beside`: it runs at the same time as those after it."""

    def __init__(self, name, function, *args, needed=False, beside=False):
        self.name, self.function, self.args, self.needed, self.beside = name, function, args, needed, beside

    def run(self):
        return self.function(*self.args)


class Check:
    def __init__(self, args):
        self.args = args
        self.build = args.build
        self.part = args.filter
        self.logs = os.path.join(args.build, "check")

    def out(self, san):
        return os.path.join(self.build, "san-" + san.replace(",", "-")) if san else self.build

    def log(self, name):
        return os.path.join(self.logs, name.replace("/", "-") + ".log")

    def make(self, log, san, *targets):
        argv = ["make", "--no-print-directory", "-k", f"-j{self.args.j}", f"BUILD={self.build}", f"SAN={san}", *targets]
        return programs.run(argv, log, BUILD_TIMEOUT)

    def each(self, function, items):
        """function(item) for all, some at a time; their results in order."""
        total = Results()
        with concurrent.futures.ThreadPoolExecutor(max(1, self.args.j)) as pool:
            for results in pool.map(function, items):
                total.add(results)
        return total


# ---- before the tests ----


def install(check):
    r = Results()
    log = check.log("install")
    if programs.run(["packaging/install-deps", "build", "check"], log, BUILD_TIMEOUT) != 0:
        r.failed["install-deps"] = log
    return r


def peers(check):
    """Other people's programs for the labs, which only root can run: unpacked into the build, never installed."""
    r, log = Results(), check.log("peers")
    if os.geteuid() == 0 and LABS in python_folders(check.part):
        if shutil.which("dpkg-deb") is None:
            r.skipped["peers"] = "they are packages of Debian's, and dpkg-deb is not here"
        elif programs.run(["tests/peers/unpack", "--build", check.build, *PEERS], log, BUILD_TIMEOUT) != 0:
            r.failed["peers"] = log
    return r


def build(check, san):
    """Counted as one. What does not link is missing later and fails there again, under its own name."""
    r = Results()
    log = check.log("build" + ("-" + san if san else ""))
    if check.make(log, san, "all", "bench-tools", "lab-tools") == 0:
        r.passed.append("build" if not check.part else "")
    else:
        r.failed["build"] = log
    r.passed = [p for p in r.passed if p]
    return r


def clang(check):
    """The other compiler has no warning either. Its programs are those that the next steps test, under sanitizers: one
    build serves the units and the fuzzing."""
    r, log = Results(), check.log("clang")
    if check.make(log, FUZZ_SAN, "CC=clang", "all", "bench-tools", "lab-tools") == 0:
        r.passed.append("clang has no warning")
    else:
        r.failed["clang"] = log
    return r


# ---- the tests ----


def judge(results, name, log, status):
    """A program that is one test by itself: 77 = skipped, and why on its last line."""
    if status == 0:
        results.passed.append(name)
    elif status == SKIPPED:
        results.skipped[name] = programs.text_of(log).splitlines()[-1]
    else:
        results.failed[name] = log


def lint(check):
    lints = [p for p in sorted(glob.glob("tests/lint/*")) if "." not in os.path.basename(p) and os.access(p, os.X_OK)]

    def run_one(path):
        r, name = Results(), "lint/" + os.path.basename(path)
        if check.part not in name:
            return r
        log = check.log(name)
        status = programs.run([path], log, SUITE_TIMEOUT, {"POSTROADD": os.path.join(check.build, "bin/postroadd")})
        judge(r, name, log, status)
        return r

    return check.each(run_one, lints)


def uses_threads(source):
    """A test of threads, or of a room that makes them."""
    return re.search(r"pthread_|workers?_", programs.text_of(source)) is not None


def has_part(part, source):
    """Whether a test in this file has the part in its name."""
    tests = re.findall(r"^static void (\w+)\(void \*\*", programs.text_of(source), re.M)
    name = "unit/" + source[len("tests/unit/") : -2]
    return any(part in f"{name}.{test}" for test in tests)


def units(check, san, chosen=lambda source: True, options=()):
    sources = [s for s in sorted(glob.glob("tests/unit/*/test_*.c")) if chosen(s) and has_part(check.part, s)]
    out = check.out(san)
    binaries = {s: os.path.join(out, "unit", s[len("tests/unit/") : -2]) for s in sources}
    suffix = "@" + san if san else ""
    build_log = check.log("units-build" + suffix)
    fresh = built(check, san, build_log, list(binaries.values()), *options)

    def run_one(source):
        r, binary = Results(), binaries[source]
        name = "unit/" + source[len("tests/unit/") : -2]
        log = check.log(name + suffix)
        if binary not in fresh:
            r.failed[f"{name}{suffix} (does not build)"] = build_log
            return r
        status = programs.run([binary], log, UNIT_TIMEOUT)
        programs.read_cmocka(r, name + suffix, log, status)
        if check.part:
            r.keep(check.part)
        return r

    return check.each(run_one, sources)


def built(check, san, log, binaries, *options):
    """Builds them; returns those that are up to date. What a failed build left from before is not what is to be tested."""
    if not binaries or check.make(log, san, *options, *binaries) == 0:
        return set(binaries)
    return {b for b in binaries if check.make(log + ".again", san, "-q", *options, b) == 0}


def python_folders(part):
    """Folders of tests/ with test_*.py in which a test may have the part in its name."""
    folders = set()
    for path in glob.glob("tests/*/test_*.py"):
        folder = os.path.dirname(path)
        tests = re.findall(r"^\s*def (test_\w+)", programs.text_of(path), re.M)
        if any(part.split("[")[0] in f"{os.path.basename(folder)}.{test}" for test in tests):
            folders.add(folder)
    return sorted(folders)


def labs(check, san):
    """Machines made of namespaces that mostly wait for one another: they leave the processors to the steps they run beside."""
    return pytests(check, san, [f for f in python_folders(check.part) if f == LABS])


def python(check, san):
    return pytests(check, san, [f for f in python_folders(check.part) if f != LABS])


def pytests(check, san, folders):
    """pytest, one run for each folder."""
    out = os.path.abspath(check.out(san))
    env = {"BUILD": out, "OUT": out, "POSTROADD": os.path.join(out, "bin/postroadd")}

    def run_one(folder):
        r, name = Results(), os.path.basename(folder)
        log, xml = check.log("pytest-" + name), check.log("pytest-" + name) + ".xml"
        if os.path.exists(xml):
            os.unlink(xml)
        argv = ["/usr/bin/python3", "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short", f"--junitxml={xml}", folder]
        chosen = ["-k", check.part] if re.fullmatch(r"\w+", check.part) else []
        status = programs.run(argv + chosen, log, SUITE_TIMEOUT, env)
        programs.read_junit(r, name, xml, log, status)
        if check.part:
            r.keep(check.part)
        return r

    return check.each(run_one, folders)


def spec_names(part):
    names = [os.path.basename(p)[:-5] for p in glob.glob("tests/spec/*.spec")]
    return [n for n in names if part in "spec/" + n]


def specs(check, san):
    r = Results()
    log, program = check.log("specs"), os.path.join(check.out(san), "bin/postroadd")
    part = check.part.removeprefix("spec/")
    if not spec_names(check.part):
        return r
    if not os.access(program, os.X_OK):
        r.failed["spec (postroadd is not built)"] = check.log("build")
        return r
    status = programs.run(["tests/spec/run", "--bin", program, f"-j{check.args.j}", *filter(None, [part])], log, SUITE_TIMEOUT)
    programs.read_specs(r, log, status)
    return r


def fuzz(check):
    names = [os.path.basename(p)[5:-2] for p in sorted(glob.glob("tests/fuzz/fuzz_*.c"))]
    names = [n for n in names if check.part in "fuzz/" + n]
    build_log = check.log("fuzz-build")
    binaries = {n: os.path.join(check.out(FUZZ_SAN), "fuzz", n) for n in names}
    fresh = built(check, FUZZ_SAN, build_log, list(binaries.values()), "CC=clang")

    def run_one(name):
        r = Results()
        log = check.log("fuzz/" + name)
        binary = binaries[name]
        if binary not in fresh:
            r.failed[f"fuzz/{name} (does not build)"] = build_log
            return r
        seconds = check.args.fuzz_seconds
        argv = ["tests/fuzz/run", binary, str(seconds), os.path.join(check.build, "fuzz")]
        if programs.run(argv, log, seconds + UNIT_TIMEOUT) == 0:
            r.passed.append("fuzz/" + name)
        else:
            r.failed["fuzz/" + name] = log
        return r

    return check.each(run_one, names)


def chaos(check, san):
    """Programs tests/chaos/*: one test each, 77 = skipped and why on the last line."""
    r = Results()
    for path in sorted(glob.glob("tests/chaos/*")):
        name = "chaos/" + os.path.basename(path)
        if "." in os.path.basename(path) or not os.access(path, os.X_OK) or not os.path.isfile(path) or check.part not in name:
            continue
        log = check.log(name)
        status = programs.run([path, "--build", check.out(san)], log, SUITE_TIMEOUT)
        judge(r, name, log, status)
    return r


def storm(check, san):
    """Changes of the configuration under load, in a build under ThreadSanitizer."""
    r, name = Results(), "lab/storm"
    if check.part not in name:
        return r
    log = check.log("lab-storm")
    if check.make(log, san, "all", "bench-tools") != 0 or programs.run(
            ["/usr/bin/python3", "tests/lab/storm", "--build", check.out(san), "--messages", "3000"], log, SUITE_TIMEOUT) != 0:
        r.failed[name] = log
    else:
        r.passed.append(name)
    return r


def plan(args):
    check = Check(args)
    san = args.san
    steps = [
        Step("install", install, check, needed=True),
        Step("peers", peers, check),
        Step("build", build, check, san),
        Step("labs", labs, check, san, beside=True),
        Step("lint", lint, check),
        Step("clang", clang, check),
        Step("units", units, check, san),
        Step("asan", units, check, FUZZ_SAN, lambda source: True, ["CC=clang"]),
        Step("tsan", units, check, "thread", uses_threads),
        Step("python", python, check, san),
        Step("specs", specs, check, san),
        Step("fuzz", fuzz, check),
        Step("chaos", chaos, check, san),
        Step("storm", storm, check, san or "thread"),
    ]
    left_out = set()
    if san:
        left_out |= {"clang", "asan", "tsan", "fuzz"}
    if not san and not args.filter:
        left_out |= {"units"}  # the same tests as asan's: what is built without sanitizers runs in the steps behind
    if args.filter:
        left_out |= {"clang"}
        if not python_folders(args.filter) and not spec_names(args.filter):
            left_out |= {"build"}  # nothing that is left runs a program
    only = set(filter(None, args.only.split(",")))
    return [s for s in steps if (s.name in only if only else s.name not in left_out)]
