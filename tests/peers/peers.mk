# SPDX-License-Identifier: Apache-2.0
# Foreign programs for tests and benchmarks, unpacked into the build, never installed.

.PHONY: peers
peers: ## unpack Postfix, Exim, OpenSMTPD, Dovecot, HAProxy, nginx, swaks, msmtp, corosync, keepalived into the build
	$(Q)tests/peers/unpack --build $(BUILD) postfix exim4-daemon-light exim4-daemon-heavy opensmtpd dovecot haproxy nginx swaks msmtp \
		corosync keepalived
