// SPDX-License-Identifier: GPL-2.0
/*
 * Linked into the kernel's own selftests, this runs them with the GS mode on:
 * it is switched on before main(), since execve() ends it. The base is not
 * used by these tests; they are to find everything else unchanged.
 */
#include <errno.h>
#include <linux/prctl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

static const struct prctl_set_gs_mode expected = {
	.index_mode = GS_INDEX_MODE_MM_VCPU,
	.stride = 4096,
};

/* Before the constructors of the test, some of which run all of it. */
__attribute__((constructor(101)))
static void set_gs_mode(void)
{
	if (prctl(PR_SET_GS_MODE, &expected, sizeof(expected), 0, 0) == 0)
		return;
	dprintf(STDERR_FILENO, "PR_SET_GS_MODE: %s\n", strerror(errno));
	_exit(1);
}

/* After all others: nothing that the test did has ended the mode. */
__attribute__((destructor(101)))
static void check_gs_mode(void)
{
	struct prctl_set_gs_mode found;

	if (prctl(PR_GET_GS_MODE, &found, sizeof(found), 0, 0) == 0 &&
	    memcmp(&found, &expected, sizeof(found)) == 0)
		return;
	dprintf(STDERR_FILENO, "the GS mode is not on any more\n");
	_exit(1);
}
