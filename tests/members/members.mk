# SPDX-License-Identifier: Apache-2.0
# The renderer of corosync.conf as a program, for tests. It links that one source of its room: it must need no other.

$(OUT)/bin/corosync-conf: $(call to_obj,tests/members/corosync_conf.c cluster/members/corosync_conf.c) $(OUT)/lib/libbase.a
	$(call say,LD,$@)
	@mkdir -p $(@D)
	$(Q)$(CC) $(ALL_LDFLAGS) -o $@ $^ -lcrypto -lcrypt
