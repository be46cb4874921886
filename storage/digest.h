/* SHA-256, piece by piece. */
#ifndef WINNOW_STORAGE_DIGEST_H
#define WINNOW_STORAGE_DIGEST_H

#include "base/str.h"

enum { DIGEST_HEX = 64 };

struct digest;

/* NULL without memory. */
MUST_CHECK struct digest *digest_new(void);
void digest_add(struct digest *digest, struct str bytes);
/* Lower-case hex and a NUL. Frees the digest. */
void digest_end(struct digest *digest, char ret[DIGEST_HEX + 1]);

#endif
