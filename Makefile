# SPDX-License-Identifier: Apache-2.0
# The whole surface of the build; `make help` lists it.

BUILD ?= build
CC ?= gcc
ifeq ($(origin CC),default)
CC := gcc
endif
SAN ?=
V ?=
VERSION := $(shell cat VERSION 2>/dev/null || echo 0.1.0)

comma := ,
ifneq ($(SAN),)
OUT := $(BUILD)/san-$(subst $(comma),-,$(SAN))
SAN_FLAGS := -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
else
OUT := $(BUILD)
endif

Q := $(if $(V),,@)
say = $(if $(V),,@printf '  %-5s %s\n' $(1) $(2))

# Under sanitizers what counts is that it is compiled soon and says the line.
CFLAGS ?= $(if $(SAN),-O1 -g1,-O2 -g)
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith -Wcast-qual \
	-Wwrite-strings -Wformat=2 -Wno-format-nonliteral -Wvla -Wundef -Wimplicit-fallthrough
ALL_CFLAGS = -std=gnu17 $(CFLAGS) $(WARN) -fno-common -fstack-protector-strong -D_GNU_SOURCE \
	-DPOSTROAD_VERSION='"$(VERSION)"' -I. $(SAN_FLAGS)
ALL_LDFLAGS = -pthread $(SAN_FLAGS) $(LDFLAGS) -Wl,-z,relro,-z,now

# Rooms from the ground up; a room links against those before it.
ROOMS := base store smtp net policy pool session conf api cluster
ROOM_DIR_store := cluster
room_dir = $(or $(ROOM_DIR_$(1)),daemon/$(1))
room_src = $(if $(filter store,$(1)),$(filter-out cluster/sim/%,$(wildcard cluster/*/*.c cluster/*.c)),$(wildcard daemon/$(1)/*.c))
to_obj = $(patsubst %.c,$(OUT)/obj/%.o,$(1))

LIBS_NET := -levent_core -levent_pthreads -lcares
LIBS := -levent_core -levent_extra -levent_openssl -levent_pthreads -ljansson -lssl -lcrypto -lcrypt -lcares -lidn2 \
	-Wl,--as-needed -lcpg -lcmap -Wl,--no-as-needed

.PHONY: all help
all: $(OUT)/bin/postroadd $(OUT)/bin/postroad ## the programs, in build/bin (also what make alone does)

help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 24

define room_rules
$(OUT)/lib/lib$(1).a: $(call to_obj,$(call room_src,$(1)))
	$$(call say,AR,$$@)
	@mkdir -p $$(@D)
	$(Q)rm -f $$@ && ar rcs $$@ $$^
endef
$(foreach r,$(ROOMS),$(eval $(call room_rules,$(r))))

$(OUT)/obj/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Libraries of a room and all below it, in link order (highest first).
reverse = $(if $(1),$(call reverse,$(wordlist 2,$(words $(1)),$(1))) $(firstword $(1)))
upto = $(call reverse,$(call take,$(1),$(ROOMS)))
take = $(if $(2),$(firstword $(2)) $(if $(filter $(1),$(firstword $(2))),,$(call take,$(1),$(wordlist 2,$(words $(2)),$(2)))))
libs_upto = $(foreach r,$(call upto,$(1)),$(OUT)/lib/lib$(r).a)

$(OUT)/bin/postroadd: $(call to_obj,$(wildcard daemon/main/*.c)) $(call libs_upto,cluster)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(OUT)/bin/postroad: $(call to_obj,$(wildcard daemon/cli/*.c)) $(call libs_upto,store)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcurl -ljansson -lssl -lcrypto -lcrypt

# ---- unit tests: tests/unit/<room>/test_*.c links that room and those below ----
UNIT_SRC := $(wildcard tests/unit/*/test_*.c)
UNIT_BIN := $(patsubst tests/unit/%.c,$(OUT)/unit/%,$(UNIT_SRC))
define unit_rules
$(OUT)/unit/$(1)/%: $(OUT)/obj/tests/unit/$(1)/%.o $(call to_obj,$(wildcard tests/lib/*.c)) $(call libs_upto,$(1))
	$$(call say,LD,$$@)
	@mkdir -p $$(@D)
	$(Q)$(CC) $$(ALL_LDFLAGS) -o $$@ $$^ $(LIBS) -lcmocka
endef
$(foreach r,$(ROOMS),$(eval $(call unit_rules,$(r))))

.PHONY: units
units: $(UNIT_BIN) ## build the unit tests
.PRECIOUS: $(OUT)/obj/%.o

-include Makefile.local
include $(wildcard */*.mk */*/*.mk)
-include $(shell find $(OUT)/obj -name '*.d' 2>/dev/null)

.PHONY: format clean
format: ## clang-format the tree
	clang-format -i $$(git ls-files '*.c' '*.h' | grep -v '\.tbl\.h$$')
clean: ## remove the build
	rm -rf $(BUILD)
