/* SPDX-License-Identifier: MIT OR Apache-2.0 */
#ifndef CONSUMER_H
#define CONSUMER_H

#include <stdint.h>

/* What consumer_found_mode() says where there is no runtime. */
#define CONSUMER_ALONE UINT32_MAX

/* Allocates the counter: 0 or a negative errno. Without the runtime there is nothing to do. */
int consumer_start(void);
/* Adds to the counter; any thread. */
void consumer_count(uint64_t n);
/* The sum of all that was added. */
uint64_t consumer_sum(void);
/* The runtime's access mode (VCPU_MODE_*), or CONSUMER_ALONE. */
uint32_t consumer_found_mode(void);

/* The same with a declared counter. */
void declared_count(uint64_t n);
uint64_t declared_sum(void);

#endif
