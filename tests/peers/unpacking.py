# SPDX-License-Identifier: Apache-2.0
"""Unpacks programs from Debian packages into a directory of the build's own, without installing anything.

The hard thing: Debian's mail servers conflict with one another, and a test must never replace the mail server of
the machine it runs on. So the packages are only downloaded and unpacked; libraries that the machine lacks are
unpacked beside them. Downloads are kept in peers/.deb, so that a second run needs no network. And what is unpacked must
stay as it was: a chown of the tree takes the set-user-id bit from a program, which then runs and fails later."""
import functools
import glob
import os
import re
import shutil
import subprocess
from pathlib import Path

# What a name stands for: the packages to unpack into its directory, and the programs that must run afterwards.
PEERS = {
    "postfix": (["postfix"], ["usr/lib/postfix/sbin/master", "usr/lib/postfix/sbin/smtpd", "usr/sbin/postconf"]),
    "exim4-daemon-light": (["exim4-daemon-light", "exim4-base"], ["usr/sbin/exim4"]),
    "exim4-daemon-heavy": (["exim4-daemon-heavy", "exim4-base"], ["usr/sbin/exim4"]),
    "opensmtpd": (["opensmtpd"], ["usr/sbin/smtpd"]),
    "haproxy": (["haproxy"], ["usr/sbin/haproxy"]),
    "nginx": (["nginx", "libnginx-mod-stream", "libnginx-mod-mail"], ["usr/sbin/nginx"]),
    "dovecot": (["dovecot-core"], ["usr/sbin/dovecot", "usr/lib/dovecot/auth"]),
    "swaks": (["swaks"], ["usr/bin/swaks"]),
    "msmtp": (["msmtp"], ["usr/bin/msmtp"]),
    "corosync": (["corosync"], ["usr/sbin/corosync", "usr/sbin/corosync-cfgtool", "usr/sbin/corosync-quorumtool"]),
    "keepalived": (["keepalived"], ["usr/sbin/keepalived"]),
    "testssl.sh": (["testssl.sh"], ["usr/bin/testssl"]),
}
ALIASES = {"nginx-light": "nginx", "exim": "exim4-daemon-light", "exim4": "exim4-daemon-light"}
# Libraries are what a foreign program needs; the rest of its dependencies is about living on a machine.
WANTED = re.compile(r"^lib(?!c6$|nginx-mod)")


class PeerError(Exception):
    """Says what could not be unpacked and what to do about it."""


def peers_dir(build=None):
    return Path(build or os.environ.get("BUILD") or "build").resolve() / "peers"


def library_path(root):
    """LD_LIBRARY_PATH for programs of an unpacked peer."""
    dirs = {str(Path(p).parent) for p in glob.glob(f"{root}/**/lib*.so*", recursive=True)}
    return ":".join(sorted(dirs))


def environment(root):
    env = dict(os.environ)
    env["LD_LIBRARY_PATH"] = library_path(root)
    return env


def _run(argv, **kw):
    return subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False, **kw)


def _show(package):
    """The newest version's control fields, or None when apt does not know the package."""
    out = _run(["apt-cache", "show", "--no-all-versions", package])
    if out.returncode != 0 or not out.stdout.strip():
        return None
    fields = {}
    for line in out.stdout.split("\n\n")[0].splitlines():
        key, sep, value = line.partition(": ")
        if sep and not line.startswith(" "):
            fields[key] = value
    return fields


def _ensure_index():
    if _show("postfix") is not None:
        return
    out = _run(["apt-get", "update"])
    if out.returncode != 0 or _show("postfix") is None:
        raise PeerError(f"the package index is empty and `apt-get update` failed:\n{out.stderr}")


@functools.lru_cache(maxsize=None)
def _installed_packages():
    out = _run(["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n"])
    return {line.split()[0] for line in out.stdout.splitlines() if line.endswith(" installed")}


def _libraries_of(package):
    fields = _show(package) or {}
    depends = fields.get("Depends", "") + "," + fields.get("Pre-Depends", "")
    for clause in depends.split(","):
        name = clause.split("|")[0].split("(")[0].strip().split(":")[0]
        if WANTED.match(name):
            yield name


def _with_libraries(packages):
    """The packages and every library below them that is not installed on this machine."""
    todo, found = list(packages), []
    while todo:
        name = todo.pop()
        if name in found:
            continue
        found.append(name)
        todo += [lib for lib in _libraries_of(name) if lib not in found and lib not in _installed_packages()]
    return found


def _cached(cache, package):
    found = sorted(cache.glob(f"{package}_*.deb"), key=lambda p: p.stat().st_mtime)
    return found[-1] if found else None


def _download(cache, package):
    # As root apt would drop to a user that cannot write here; the sandbox is for its network code alone.
    argv = ["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", package]
    out = _run(argv, cwd=cache)
    deb = _cached(cache, package)
    if out.returncode != 0 or deb is None:
        raise PeerError(f"cannot download {package}:\n{out.stderr.strip()}")
    return deb


def _missing_libraries(root, programs):
    missing = []
    for program in programs:
        if not (root / program).exists():
            raise PeerError(f"{root / program} is not in the packages that were unpacked")
        out = _run(["ldd", str(root / program)], env=environment(root))
        missing += [line.split()[0] for line in out.stdout.splitlines() if "not found" in line]
    return sorted(set(missing))


def _set_ids(root, cache):
    """The programs of a peer that change their user or group when started, by the packages' own word; kept beside the stamp."""
    kept = root / ".set-ids"
    if not kept.exists():
        rows = [line.split(None, 5) for deb in (root / ".unpacked").read_text().split()
                for line in _run(["dpkg-deb", "--contents", str(cache / deb)]).stdout.splitlines()]
        kept.write_text("".join(f"{row[5]}\n" for row in rows if row[0][0] == "-" and "s" in row[0].lower()))
    return kept.read_text().splitlines()


def _is_whole(root, cache):
    if not (root / ".unpacked").exists():
        return False
    # Others than root cannot give these bits, and do not need them: such programs are for labs of root's.
    return os.geteuid() != 0 or all((root / path).stat().st_mode & 0o6000 for path in _set_ids(root, cache))


def unpack(name, build=None, log=print):
    """Makes build/peers/<name> usable and returns it. Does nothing when it is."""
    name = ALIASES.get(name, name)
    if name not in PEERS:
        raise PeerError(f"unknown peer {name}; known: {', '.join(sorted(PEERS))}")
    packages, programs = PEERS[name]
    root = peers_dir(build) / name
    stamp, cache = root / ".unpacked", peers_dir(build) / ".deb"
    if _is_whole(root, cache):
        return root
    cache.mkdir(parents=True, exist_ok=True)
    listing = cache / f"{name}.list"
    if not listing.exists():
        _ensure_index()
        listing.write_text("\n".join(_with_libraries(packages)) + "\n")
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir(parents=True)
    versions = []
    for package in listing.read_text().split():
        deb = _cached(cache, package) or _download(cache, package)
        subprocess.run(["dpkg-deb", "-x", str(deb), str(root)], check=True, timeout=120)
        versions.append(deb.name)
    missing = _missing_libraries(root, programs)
    if missing:
        raise PeerError(f"{name}: libraries are missing: {', '.join(missing)}")
    stamp.write_text("\n".join(versions) + "\n")
    log(f"  PEER  {root} ({', '.join(v.split('_')[1] for v in versions[:1])}, {len(versions)} packages)")
    return root
