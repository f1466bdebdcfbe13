# SPDX-License-Identifier: Apache-2.0
# `make lint`: the rules of the house, tests/lint/*.

.PHONY: lint
lint: ## check the rules of the house
	$(Q)tests/lib/check --build $(BUILD) --only lint
