/* A stream that may come again from its beginning: is it, as far as it goes, what it was? Of what came only hashes are kept: one of all of
 * it, and marks at places each twice as far as the one before, so that most of what is other is seen long before there is as much of it. */
#ifndef WINNOW_TRACKER_REREAD_H
#define WINNOW_TRACKER_REREAD_H

#include "base/buf.h"
#include "base/str.h"

enum { REREAD_MARKS = 40, REREAD_FIRST_MARK = 16 };

struct reread {
  int64_t next;  /* how much has come */
  uint64_t hash; /* of that */
  int64_t check_to;
  uint64_t check_hash;          /* up to check_to it came before, with this hash */
  uint64_t marks[REREAD_MARKS]; /* the hash at each mark that was passed; 0: not known */
};
#define REREAD_INIT ((struct reread){.hash = 14695981039346656037u})

/* From the beginning again; what has come is known from now on. */
void reread_begin(struct reread *r);
/* How many of the next bytes are known. */
int64_t reread_known(const struct reread *r);
/* They are known to be others from here on. */
void reread_cut(struct reread *r);
/* The next bytes, all of them known or none. False: they are others than those that were known. */
bool reread_pass(struct reread *r, struct str bytes);

/* `hash` with more behind it; that of nothing is REREAD_INIT's. */
uint64_t reread_hash(uint64_t hash, struct str bytes);

void reread_save(const struct reread *r, struct buf *out);
/* `with_marks`: as it is saved now; states of before had none. */
void reread_restore(struct reread *r, bool with_marks, struct str *state, bool *bad);

#endif
