# SPDX-License-Identifier: Apache-2.0
"""Certificates and password hashes for the benchmark: the same ones for all contenders."""
import ctypes
import ctypes.util
import functools
import subprocess

PASSWORD = "correct-horse-battery"


def certificate(dir):
    """(certificate file, key file, file with both) of a new P-256 key, self-signed."""
    cert, key, both = dir / "cert.pem", dir / "key.pem", dir / "both.pem"
    if not both.exists():
        dir.mkdir(parents=True, exist_ok=True)
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                        "-nodes", "-keyout", key, "-out", cert, "-days", "30", "-subj", "/CN=bench.test",
                        "-addext", "subjectAltName=DNS:bench.test"],
                       check=True, capture_output=True, timeout=60)
        both.write_text(key.read_text() + cert.read_text())
    return cert, key, both


@functools.lru_cache(maxsize=None)
def yescrypt():
    """A hash of PASSWORD at the cost libxcrypt gives to new users."""
    lib = ctypes.CDLL(ctypes.util.find_library("crypt"))
    lib.crypt_gensalt.restype = lib.crypt.restype = ctypes.c_char_p
    lib.crypt_gensalt.argtypes = [ctypes.c_char_p, ctypes.c_ulong, ctypes.c_char_p, ctypes.c_int]
    lib.crypt.argtypes = [ctypes.c_char_p, ctypes.c_char_p]
    return lib.crypt(PASSWORD.encode(), lib.crypt_gensalt(b"$y$", 0, None, 0)).decode()


def users(names):
    """{name: hash}. All share one hash: what is checked costs the same, and a thousand need not be made."""
    return dict.fromkeys(names, yescrypt())


def write_logins(path, names):
    """The file of --auth-users."""
    path.write_text("".join(f"{name}:{PASSWORD}\n" for name in names))
    return path
