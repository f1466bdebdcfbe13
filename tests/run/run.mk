# SPDX-License-Identifier: Apache-2.0
# `make run`: a node to play with.

.PHONY: run
run: ## one node in front of two sinks, no root; Ctrl-C ends it
	$(Q)packaging/install-deps build peers
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) all bench-tools
	$(Q)tests/run/run --build $(BUILD) --out $(OUT)
