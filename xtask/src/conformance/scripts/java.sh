# shellcheck shell=sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# The compiler and a program with threads, in one process with a collector of its own threads.
cat >Main.java <<'END'
import java.util.concurrent.*;
import java.util.stream.*;

public class Main {
    public static void main(String[] arguments) throws Exception {
        ExecutorService pool = Executors.newFixedThreadPool(16);
        long sum = 0;
        for (Future<Long> part : pool.invokeAll(IntStream.range(0, 64).<Callable<Long>>mapToObj(
                n -> () -> LongStream.range(0, 100000).map(x -> x % (n + 1)).sum()).collect(Collectors.toList())))
            sum += part.get();
        pool.shutdown();
        System.out.println(sum);
        System.out.println(IntStream.range(0, 200000).parallel().mapToObj(Integer::toString).mapToInt(String::length).sum());
    }
}
END
exec java -Xmx256m Main.java
