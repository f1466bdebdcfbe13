# SPDX-License-Identifier: Apache-2.0
# postroad-ha, and the unit tests of it and of cluster/vip.

HA_OBJ := $(call to_obj,$(filter-out agents/ha/main.c,$(wildcard agents/ha/*.c)))
HA_LIBS = $(OUT)/lib/libflows.a $(OUT)/lib/libstore.a $(OUT)/lib/libbase.a

all: $(OUT)/bin/postroad-ha

$(OUT)/lib/libha.a: $(HA_OBJ)
	$(call say,AR,$@)
	@mkdir -p $(@D)
	$(Q)rm -f $@ && ar rcs $@ $^

$(OUT)/bin/postroad-ha: $(call to_obj,agents/ha/main.c) $(OUT)/lib/libha.a $(HA_LIBS)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) $(FLOWS_LIBS)

$(OUT)/unit/vip/%: $(OUT)/obj/tests/unit/vip/%.o $(OUT)/lib/libstore.a $(OUT)/lib/libbase.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) -lcmocka

$(OUT)/unit/ha/%: $(OUT)/obj/tests/unit/ha/%.o $(OUT)/lib/libha.a $(HA_LIBS)
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) $(FLOWS_LIBS) -lcmocka

# Whoever drives postroad-ha in a lab, by lines of text.
$(OUT)/lab/ha-driver: $(call to_obj,tests/lab/ha_driver.c) $(OUT)/lib/libstore.a $(OUT)/lib/libbase.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS)
all: $(OUT)/lab/ha-driver
