# shellcheck shell=sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Processes, pipes, traps and a background job.
exec bash -c '
    trap "echo trapped" USR1
    for number in $(seq 100); do (echo $((number * number))) & done | sort -n | sha256sum
    wait
    kill -USR1 $$
    seq 1 2000 | while read -r number; do echo $((number % 7)); done | sort | uniq -c
'
