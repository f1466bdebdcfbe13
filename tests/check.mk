# SPDX-License-Identifier: Apache-2.0
# `make check`: everything, by tests/lib/check.

T ?=
.PHONY: check syntax
check: ## all tests (T=name: only those with that in their name; SAN=address,undefined: all of them under it)
	$(Q)command -v /usr/bin/python3 >/dev/null || packaging/install-deps check
	$(Q)/usr/bin/python3 tests/lib/check --build $(BUILD) --san "$(SAN)" $(T)

# One file through the compiler, without output.
syntax:
	$(Q)$(CC) $(ALL_CFLAGS) -fsyntax-only $(SYNTAX)
