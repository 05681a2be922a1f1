# shellcheck shell=sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Python's own tests of its threads. How long they took is not compared.
python3 -m test test_threading >log 2>&1 || { cat log >&2; exit 1; }
grep -E '^(Result|Tests result): SUCCESS' log | sort -u
