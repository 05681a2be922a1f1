/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The references of a shared library. */
#define _GNU_SOURCE
#define NORMAL
#include "symbols.h"

void library_references(const char *where);

void library_references(const char *where)
{
	references(where);
}
