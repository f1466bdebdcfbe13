# SPDX-License-Identifier: Apache-2.0
"""The lab of testssl.sh fails on what it should fail on."""
import importlib.util
import pathlib

FILE = pathlib.Path(__file__).resolve().parent / "testssl" / "__main__.py"
SPEC = importlib.util.spec_from_file_location("testssl_lab", FILE)
lab = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(lab)


def findings(**changed):
    return [{"id": what, "severity": changed.get(what, "OK"), "finding": "…"} for what in lab.LOOKED_AT]


def test_all_well_is_no_complaint():
    assert lab.judge(findings(TLS1_2="INFO", LUCKY13="LOW")) == []


def test_medium_and_above_are_complaints():
    for severity in ("MEDIUM", "HIGH", "CRITICAL", "FATAL"):
        assert lab.judge(findings(SSLv3=severity)) == [f"{severity} SSLv3: …"]
        assert lab.judge(findings() + [{"id": "new", "severity": severity, "finding": "x"}]) == [f"{severity} new: x"]


def test_what_was_not_looked_at_is_a_complaint():
    assert lab.judge(findings()[1:]) == [f"not looked at: {lab.LOOKED_AT[0]}"]
    assert lab.judge(findings(heartbleed="WARN")) == ["not looked at: heartbleed"]
    assert len(lab.judge([])) == len(lab.LOOKED_AT)
