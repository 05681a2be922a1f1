# shellcheck shell=sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Threads, processes by fork and by spawn, and an extension module.
cat >main.py <<'END'
import concurrent.futures, hashlib, multiprocessing, subprocess, sys, threading

def digest(number):
    return hashlib.sha256(bytes([number]) * 100000).hexdigest()

if __name__ == "__main__":
    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        print(list(pool.map(digest, range(50)))[-1])
    with multiprocessing.get_context("fork").Pool(3) as pool:
        print(pool.map(digest, range(10))[-1])
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        print(pool.map(digest, range(4))[-1])
    threads = [threading.Thread(target=digest, args=(1,)) for _ in range(200)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    print(subprocess.run([sys.executable, "-c", "print(6 * 7)"], capture_output=True).stdout)
END
exec python3 main.py
