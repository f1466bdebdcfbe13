# SPDX-License-Identifier: Apache-2.0
# `make run`: a node to play with.

.PHONY: run
run: all bench-tools ## one node in front of two sinks, no root; Ctrl-C ends it
	$(Q)tests/run/run --build $(BUILD) --out $(OUT)
