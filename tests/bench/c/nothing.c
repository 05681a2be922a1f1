/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* The program that does nothing, for musl. */
int main(void)
{
	return 0;
}
