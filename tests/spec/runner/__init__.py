# SPDX-License-Identifier: Apache-2.0
"""Scripted SMTP conversations: the parts of tests/spec/run."""
