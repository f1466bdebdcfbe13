# SPDX-License-Identifier: Apache-2.0
"""The worked examples in packaging/examples are valid as they stand, but for certificates that only an operator has."""
import json
import pathlib
import subprocess

import pytest
from conftest import BINARY

EXAMPLES = pathlib.Path(__file__).resolve().parents[2] / "packaging" / "examples"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    directory = tmp_path_factory.mktemp("tls")
    pem, key = directory / "c.pem", directory / "c.key"
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
                    "-subj", "/CN=example.com", "-keyout", key, "-out", pem], check=True, capture_output=True)
    return {"certificate_file": str(pem), "key_file": str(key)}


def check(document, tmp_path):
    file = {"node": "n1", "state_dir": str(tmp_path / "state"), "run_dir": str(tmp_path / "run"), "admin": {"listen": []},
            "initial_config": document}
    path = tmp_path / "node.json"
    path.write_text(json.dumps(file))
    return subprocess.run([BINARY, "-c", path, "--check"], capture_output=True, text=True, timeout=20)


@pytest.mark.parametrize("name", sorted(p.name for p in EXAMPLES.glob("*.json")))
def test_it_validates(name, certificate, tmp_path):
    document = json.loads((EXAMPLES / name).read_text())
    for own in document["certificates"].values():
        own.update(certificate)
    done = check(document, tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", sorted(p.name for p in EXAMPLES.glob("*.json")))
def test_a_certificate_that_is_not_there_is_named(name, tmp_path):
    document = json.loads((EXAMPLES / name).read_text())
    for own in document["certificates"].values():
        own["certificate_file"] = str(tmp_path / "missing.pem")
    done = check(document, tmp_path)
    assert done.returncode == 2
    assert "/certificates/" in done.stdout + done.stderr and "missing.pem" in done.stdout + done.stderr
