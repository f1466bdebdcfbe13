# SPDX-License-Identifier: Apache-2.0
# The sink and the load generator (test tools, not installed), and `make bench`.

BENCH_SINK := $(wildcard tests/bench/sink*.c)
BENCH_LOAD := $(wildcard tests/bench/load*.c) tests/bench/histogram.c

$(OUT)/bin/postroad-sink: $(call to_obj,$(BENCH_SINK)) $(OUT)/lib/libbase.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcrypto

$(OUT)/bin/postroad-load: $(call to_obj,$(BENCH_LOAD)) $(OUT)/lib/libbase.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lm

.PHONY: bench-tools bench
bench-tools: $(OUT)/bin/postroad-sink $(OUT)/bin/postroad-load ## build the sink and the load generator

ROWS ?=
ROUNDS ?=
bench: all bench-tools ## measure against HAProxy, nginx and direct (ROWS=1,2 ROUNDS=5)
	$(Q)tests/peers/unpack --build $(BUILD) haproxy nginx postfix
	$(Q)/usr/bin/python3 tests/bench/bench --build $(BUILD) --out $(OUT) \
		$(if $(ROWS),--rows $(ROWS)) $(if $(ROUNDS),--rounds $(ROUNDS))
