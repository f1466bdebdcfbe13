# SPDX-License-Identifier: Apache-2.0
# The planned move's library, its unit tests, and the driver that labs move addresses with.

FLOWS_LIBS := -lnftables -lmnl
$(OUT)/lib/libflows.a: $(call to_obj,$(wildcard agents/ha/flows/*.c))
	$(call say,AR,$@)
	@mkdir -p $(@D)
	$(Q)rm -f $@ && ar rcs $@ $^

$(OUT)/unit/flows/%: $(OUT)/obj/tests/unit/flows/%.o $(OUT)/lib/libflows.a $(OUT)/lib/libbase.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) $(FLOWS_LIBS) -lcmocka

$(OUT)/lab/flows-driver: $(call to_obj,tests/lab/flows_driver.c) $(OUT)/lib/libflows.a $(OUT)/lib/libbase.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ $(LIBS) $(FLOWS_LIBS)
all: $(OUT)/lab/flows-driver
