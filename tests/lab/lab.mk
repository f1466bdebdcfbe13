# SPDX-License-Identifier: Apache-2.0
# Labs: whole programs under faults or among strangers. Each is a folder with a __main__.py here.

LABS := chaos storm testssl interop nodes matrix
N ?= 20000
SEED ?=
ROWS ?=
TIMES ?=
BOUNDS ?=

.PHONY: lab lab-short
lab: all lab-tools bench-tools $(OUT)/next/postroadd ## whole programs: faults under load, other mail servers (T=chaos N=20000 SEED=1; T=interop QUICK=1; T=matrix ROWS=1,8 TIMES=3)
	$(Q)set -e; for t in $(or $(T),$(LABS)); do \
		/usr/bin/python3 tests/lab/$$t --build $(OUT) --messages $(N) $(if $(SEED),--seed $(SEED)) \
		$(if $(and $(QUICK),$(filter interop,$(T))),--quick) \
		$(if $(filter 0,$(BOUNDS)),$(if $(filter matrix nodes,$(T)),--no-bounds)) \
		$(if $(filter matrix,$(T)),$(if $(ROWS),--rows $(ROWS)) $(if $(TIMES),--times $(TIMES))); done

lab-short: all ## a short lab, part of check
	$(Q)/usr/bin/python3 -m pytest -q -p no:cacheprovider tests/lab
	$(Q)tests/chaos/messages --build $(OUT) $(if $(SEED),--seed $(SEED))

# Tools of the labs: a member of a corosync group, and what the lab for several nodes needs. Tests build them with the
# tools of the benchmarks.
LAB_TOOLS := $(OUT)/bin/ring-member $(OUT)/bin/lab-probe $(OUT)/bin/lab-watch $(OUT)/bin/lab-hang $(OUT)/lib/labshim.so
.PHONY: lab-tools
lab-tools: $(LAB_TOOLS) ## build what labs need beside the programs
bench-tools lab-short: lab-tools

$(OUT)/bin/ring-member: $(call to_obj,tests/lab/ring/member.c) $(OUT)/lib/libstore.a $(OUT)/lib/libbase.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

$(OUT)/bin/lab-%: $(OUT)/obj/tests/lab/cluster/%.o
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^

# The next version, for upgrades: the same but for the feature levels it speaks. Made anew whenever this one's object is.
NEXT_SRC := $(shell grep -lE '(CORE|MEMBERS)_FEATURES_(LOW|HIGH)' $$(find cluster daemon -name '*.c' ! -path 'cluster/sim/*'))
$(OUT)/next/obj/%.o: %.c $(OUT)/obj/%.o
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -DPOSTROAD_FEATURES_HIGH=2 -c -o $@ $<

$(OUT)/next/postroadd: $(NEXT_SRC:%.c=$(OUT)/next/obj/%.o) $(call to_obj,$(wildcard daemon/main/*.c)) $(call libs_upto,cluster)
	$(call say,LD,$@)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)

# Stands under programs built with any flags, hence without the sanitizers.
$(OUT)/lib/labshim.so: tests/lab/cluster/shim.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 -D_GNU_SOURCE -O2 -g $(WARN) -fPIC -shared -o $@ $< -ldl
