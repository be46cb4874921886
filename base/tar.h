/* Tar archives of plain files: a writer of headers, and a reader that takes bytes as they come. Names are UTF-8 of any length (pax). Pure.
 */
#ifndef WINNOW_BASE_TAR_H
#define WINNOW_BASE_TAR_H

#include "base/buf.h"

enum { TAR_BLOCK = 512, TAR_NAME_MAX = 16 * 1024 };

/* What stands before a file's content. */
void tar_put_file(struct buf *out, struct str name, uint64_t size, int64_t mtime_s);
/* What stands behind it. */
void tar_put_padding(struct buf *out, uint64_t size);
void tar_put_end(struct buf *out);

/* What a reader tells; false (with *err) ends the reading. Text is borrowed for the call. */
struct tar_events {
  bool (*file)(void *ctx, struct str name, uint64_t size, struct err *err);
  bool (*data)(void *ctx, struct str bytes, struct err *err);
  bool (*end)(void *ctx, struct err *err); /* of a file */
};

struct tar_reader {
  const struct tar_events *events;
  void *ctx;
  char block[TAR_BLOCK];
  size_t have;       /* bytes of the block */
  uint64_t left;     /* of the content */
  size_t padding;    /* after it */
  int kind;          /* of what is being read: 0 a header, 1 a file, 2 a pax header, 3 something left out */
  struct buf pax;    /* of the next file */
  struct buf name;   /* from it */
  uint64_t pax_size; /* UINT64_MAX: none */
  unsigned empty_blocks;
  bool at_end;
};
void tar_reader_init(struct tar_reader *reader, const struct tar_events *events, void *ctx);
void tar_reader_release(struct tar_reader *reader);
/* Directories, links and other kinds are left out. What comes after the end is too. */
MUST_CHECK bool tar_feed(struct tar_reader *reader, struct str bytes, struct err *err);
/* Is it complete? */
MUST_CHECK bool tar_finish(const struct tar_reader *reader, struct err *err);

#endif
