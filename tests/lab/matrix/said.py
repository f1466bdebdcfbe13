# SPDX-License-Identifier: Apache-2.0
"""What a node says of itself, for conditions of rows."""
import json

from tests.lab.cluster.waiting import LabError, Seen
from tests.lab.matrix.bench import STATUS, asked


def expect(condition, what):
    if not condition:
        raise LabError(what)


def warned(node, key, *words):
    """Whether the node warns of this, by a text with all these words."""
    found = asked(node, STATUS)["warnings"]
    return Seen(any(w["key"] == key and all(word in w["text"] for word in words) for w in found), json.dumps(found))


def quiet(node, key):
    found = asked(node, STATUS)["warnings"]
    return Seen(all(w["key"] != key for w in found), json.dumps(found))
