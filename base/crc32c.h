/* CRC-32C (Castagnoli): the checksum of stored chunks. Uses the processor's instruction where there is one. */
#ifndef WINNOW_BASE_CRC32C_H
#define WINNOW_BASE_CRC32C_H

#include "base/base.h"

/* `seed` is 0, or the result for the bytes before. */
uint32_t crc32c(uint32_t seed, const void *bytes, size_t n);
/* The same without the instruction; for processors that lack it, and for the test that compares the two. */
uint32_t crc32c_portable(uint32_t seed, const void *bytes, size_t n);

#endif
