/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Which `__rseq_size` and which table each kind of reference finds. Run where glibc's registration is off, so
 * that its own __rseq_size is 0 and ours is not. */
#define _GNU_SOURCE
#include "symbols.h"


/* In the library that the program is linked with. */
void library_references(const char *where);

int main(int argc, char **argv)
{
	void *library;
	void (*loaded)(const char *);

	references("program");
	library_references("library");
	if (argc == 2) {
		library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
		if (!library) {
			puts(dlerror());
			return 1;
		}
		loaded = (void (*)(const char *))dlsym(library, "library_references");
		loaded("loaded");
	}
	return 93;
}
