# SPDX-License-Identifier: Apache-2.0
# `make demo`: three nodes become one, the one that has the address is lost, no mail is.

# What root built in somebody's clone is theirs: otherwise their next `make` or `make run` may write nothing. What was unpacked
# stays as it is, since a chown takes set-user-id bits.
GIVE_BACK = find $(BUILD) \( -path $(BUILD)/demo -o -path '$(BUILD)/peers/[!.]*' \) -prune -o -user root \
	-exec chown -h --reference=Makefile {} +

.PHONY: demo
demo: ## root: three nodes become one, mail flows through them, the one with the address is lost (KEEP=1 leaves it up)
	$(Q)packaging/install-deps build demo
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) all bench-tools
	$(Q)tests/peers/unpack --build $(BUILD) corosync keepalived postfix
	$(Q)$(GIVE_BACK)
	$(Q)tests/demo/demo --build $(BUILD) --out $(OUT)
