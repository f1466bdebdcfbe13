# SPDX-License-Identifier: Apache-2.0
# `make fuzz F=reply TIME=60`: each tests/fuzz/fuzz_NAME.c is a libFuzzer target; it links the rooms whose headers it includes.

FUZZ_NAMES := $(sort $(patsubst tests/fuzz/fuzz_%.c,%,$(wildcard tests/fuzz/fuzz_*.c)))
FUZZ_SAN := address,undefined,fuzzer-no-link
FUZZ_BIN := $(BUILD)/san-$(subst $(comma),-,$(FUZZ_SAN))/fuzz
F ?= $(FUZZ_NAMES)
TIME ?= 60

.PHONY: fuzz fuzz-bins
fuzz-bins:
	$(Q)$(MAKE) --no-print-directory CC=clang SAN=$(FUZZ_SAN) $(F:%=$(FUZZ_BIN)/%)

fuzz: fuzz-bins ## fuzz a parser (F=name TIME=seconds), or each in turn
	$(Q)for f in $(F); do tests/fuzz/run $(FUZZ_BIN)/$$f $(TIME) $(BUILD)/fuzz || exit 1; done

ifeq ($(SAN),$(FUZZ_SAN))
fuzz_rooms = $(shell sed -nE 's,^\#include "daemon/([a-z]+)/.*,\1,p; s,^\#include "cluster/.*,store,p' $(1))
fuzz_libs = $(call libs_upto,$(or $(lastword $(filter $(call fuzz_rooms,$(1)),$(ROOMS))),base))
define fuzz_rule
$(OUT)/fuzz/$(1): $(OUT)/obj/tests/fuzz/fuzz_$(1).o $(call fuzz_libs,tests/fuzz/fuzz_$(1).c)
	$$(call say,LD,$$@)
	@mkdir -p $$(@D)
	$(Q)$(CC) $(subst fuzzer-no-link,fuzzer,$(ALL_LDFLAGS)) -o $$@ $$^ $(LIBS)
endef
$(foreach f,$(FUZZ_NAMES),$(eval $(call fuzz_rule,$(f))))
endif
