# SPDX-License-Identifier: Apache-2.0
# `make demo`: real Postfix, one killed, no mail lost.

.PHONY: demo
demo: ## root: mail through the balancer to two real Postfix, one killed and revived (KEEP=1 leaves it up)
	$(Q)packaging/install-deps build demo
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) all bench-tools
	$(Q)tests/peers/unpack --build $(BUILD) postfix
	@# What root built in somebody's clone is theirs: without this, their next `make` or `make run` may write nothing.
	$(Q)find $(BUILD) -path $(BUILD)/demo -prune -o -user root -exec chown -h --reference=Makefile {} +
	$(Q)tests/demo/demo --build $(BUILD) --out $(OUT)
