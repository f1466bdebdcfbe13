# SPDX-License-Identifier: Apache-2.0
"""What the lints share: the files of the tree, C without comments, and how a lint ends."""
import os
import re
import subprocess
import sys

ROOT = os.environ.get("LINT_ROOT") or os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
SKIPPED = 77


def files():
    """Every file of the project, as paths from the root: what git knows or would add, or all in an unpacked archive."""
    git = ["git", "-C", ROOT, "ls-files", "-co", "--exclude-standard", "-z"]
    listed = subprocess.run(git, capture_output=True, check=False)
    if listed.returncode == 0:
        paths = {p for p in listed.stdout.decode().split("\0") if p}
    else:
        paths = set()
        for folder, folders, names in os.walk(ROOT):
            folders[:] = [f for f in folders if not f.startswith((".git", "build", "__pycache__"))]
            paths |= {os.path.relpath(os.path.join(folder, n), ROOT) for n in names}
    return sorted(p for p in paths if os.path.isfile(os.path.join(ROOT, p)))


def read(path):
    with open(os.path.join(ROOT, path), encoding="utf-8", errors="replace") as f:
        return f.read()


def sources():
    return [p for p in files() if p.endswith((".c", ".h"))]


def without_comments(text):
    """C with comments and the insides of strings blanked; lines keep their numbers."""

    def blank(match):
        part = match.group(0)
        if part[0] in "\"'":
            return part[0] * 2
        return "\n" * part.count("\n") or " "

    return re.sub(r'//[^\n]*|/\*.*?\*/|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'', blank, text, flags=re.S)


def skip(why):
    print(why)
    sys.exit(SKIPPED)


def end(problems):
    """Prints what is wrong, one `path:line: what` each."""
    for problem in problems:
        print(problem)
    sys.exit(1 if problems else 0)
