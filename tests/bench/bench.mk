# SPDX-License-Identifier: Apache-2.0
# The sink and the load generator (test tools, not installed), and `make bench`.

BENCH_SINK := $(wildcard tests/bench/sink*.c) tests/bench/arguments.c
BENCH_LOAD := $(wildcard tests/bench/load*.c) tests/bench/histogram.c tests/bench/arguments.c

$(OUT)/bin/postroad-sink: $(call to_obj,$(BENCH_SINK)) $(OUT)/lib/libbase.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcrypto

$(OUT)/bin/postroad-load: $(call to_obj,$(BENCH_LOAD)) $(OUT)/lib/libbase.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lssl -lcrypto -lm

$(OUT)/bin/postroad-attack: $(call to_obj,tests/bench/attack.c tests/bench/arguments.c) $(OUT)/lib/libbase.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcrypto

# Stands before another program's allocator, hence without the sanitizers, which want to stand there themselves.
$(OUT)/lib/livebytes.so: tests/bench/live_bytes.c
	$(call say,CC,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) -std=gnu17 -O2 -g -Wall -Wextra -Werror -fPIC -fno-builtin -fvisibility=hidden -shared -o $@ $<

# The generator's histogram has a unit test of its own, built and run with those of the rooms.
UNIT_BIN += $(OUT)/unit/bench/test_histogram
units: $(OUT)/unit/bench/test_histogram
$(OUT)/unit/bench/test_histogram: $(call to_obj,tests/bench/test_histogram.c tests/bench/histogram.c)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcmocka -lm

.PHONY: bench-tools bench
bench-tools: $(OUT)/bin/postroad-sink $(OUT)/bin/postroad-load $(OUT)/bin/postroad-attack $(OUT)/lib/livebytes.so ## build the sink, the load generator and the attacker

ROWS ?=
ROUNDS ?=
bench: ## measure against HAProxy, nginx and direct (ROWS=1,2 ROUNDS=5)
	$(Q)packaging/install-deps build peers
	$(Q)$(MAKE) --no-print-directory -j$$(nproc) all bench-tools
	$(Q)tests/peers/unpack --build $(BUILD) haproxy nginx postfix dovecot
	$(Q)/usr/bin/python3 tests/bench/bench --build $(BUILD) --out $(OUT) \
		$(if $(ROWS),--rows $(ROWS)) $(if $(ROUNDS),--rounds $(ROUNDS))
