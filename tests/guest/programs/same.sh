#!/bin/sh
# SPDX-License-Identifier: MIT OR Apache-2.0
# same.sh NAME: programs/scripts/NAME.sh prints the same with the GS mode on, by the library, as without the
# library; and every process of it was in that mode.
set -eu
export PATH=/usr/bin LC_ALL=C.UTF-8 HOME=/tmp
name=$1
script=/programs/scripts/$name.sh
mkdir -p "/tmp/$name/plain" "/tmp/$name/gs" /dev/shm
cd "/tmp/$name/plain"
sh -eu "$script" >../plain.out
cd "/tmp/$name/gs"
LD_PRELOAD=/lib/libvcpu_rt.so VCPU_RT_GS=on VCPU_RT_DEBUG=1 sh -eu "$script" >../gs.out 2>../gs.err ||
	{ cat ../gs.err; exit 1; }
cat ../gs.out
cmp ../plain.out ../gs.out
grep 'vcpu-rt: mode=' ../gs.err >../reports
if grep -v 'vcpu-rt: mode=gs ' ../reports; then
	echo "not in gs mode"
	exit 1
fi
