# shellcheck shell=sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# A server with its background threads, saved by a forked child, under 50 connections.
redis-server --port 0 --unixsocket socket --save "" --daemonize no >server.log &
server=$!
until redis-cli -s socket ping >/dev/null 2>&1; do sleep 0.1; kill -0 "$server"; done
redis-benchmark -s socket -n 20000 -c 50 -q -t set,get,lpush,rpop >/dev/null
redis-benchmark -s socket -n 20000 -c 50 -q incr exact >/dev/null
redis-cli -s socket get exact
redis-cli -s socket bgsave
until [ "$(redis-cli -s socket info persistence | grep -c 'rdb_bgsave_in_progress:0')" = 1 ]; do sleep 0.1; done
redis-cli -s socket info persistence | grep rdb_last_bgsave_status
redis-cli -s socket shutdown nosave
wait "$server"
