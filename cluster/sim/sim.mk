# SPDX-License-Identifier: Apache-2.0
# `make sim SEEDS=100000`: the core on a simulated network. The core is built once more for it, with bugs to plant.

SEEDS ?= 10000
SIM_SRC := $(wildcard cluster/sim/*.c cluster/core/*.c)
SIM_OBJ := $(patsubst %.c,$(OUT)/sim/obj/%.o,$(SIM_SRC))

$(OUT)/sim/obj/%.o: %.c
	$(call say,CC,$<)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -DCORE_PLANTED -MMD -MP -c -o $@ $<

$(OUT)/bin/postroad-sim: $(SIM_OBJ) $(OUT)/lib/libbase.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) -lm

.PHONY: sim
sim: $(OUT)/bin/postroad-sim ## simulate the cluster's log (SEEDS=number)
	$(Q)$(OUT)/bin/postroad-sim --seeds $(SEEDS)

-include $(patsubst %.o,%.d,$(SIM_OBJ))
