# shellcheck shell=sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Python's own tests of its threads, which compare what programs print on stderr: the shell alone says by
# which way it runs. How long they took is not compared.
unset VCPU_RT_DEBUG
python3 -m test test_threading >log 2>&1 || { cat log >&2; exit 1; }
grep -E '^(Result|Tests result): SUCCESS' log | sort -u
