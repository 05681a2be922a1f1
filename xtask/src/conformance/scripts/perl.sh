# shellcheck shell=sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# Threads of the interpreter, and a fork.
exec perl -Mthreads -e '
    my @threads = map { my $n = $_; threads->create(sub { my $s = 0; $s += $_ * $n for 1..20000; $s }) } 1..8;
    print $_->join, "\n" for @threads;
    my $child = fork // die; exit 7 unless $child; waitpid $child, 0; print $? >> 8, "\n";
'
