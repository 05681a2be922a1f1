# shellcheck shell=sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# The debugger finds all threads of a running program, and lets it go on.
cat >main.py <<'END'
import sys, threading
over = threading.Event()
threads = [threading.Thread(target=over.wait) for _ in range(4)]
[thread.start() for thread in threads]
print("ready", file=open("ready", "w"))
sys.stdin.read()
over.set()
[thread.join() for thread in threads]
print("over")
END
mkfifo input
python3 main.py <input &
program=$!
exec 3>input
until [ -s ready ]; do sleep 0.1; kill -0 "$program"; done
env -u LD_PRELOAD gdb -nx -batch -p "$program" -ex 'info threads' -ex 'thread apply all backtrace 3' -ex detach >gdb.log 2>&1
grep -c '^Thread [0-9]* (' gdb.log
exec 3>&-
wait "$program"
