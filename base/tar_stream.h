/* A tar archive read as its bytes come: only heads are held. What base/tar.h says of archives holds. Pure. */
#ifndef WINNOW_BASE_TAR_STREAM_H
#define WINNOW_BASE_TAR_STREAM_H

#include "base/tar.h"

/* Only plain files are told; false (with *err) ends the reading. Text is borrowed for the call. */
struct tar_events {
  bool (*file)(void *ctx, struct str path, uint64_t size, struct err *err);
  bool (*data)(void *ctx, struct str bytes, struct err *err);
  bool (*end)(void *ctx, struct err *err); /* of a file */
};

struct tar_stream {
  const struct tar_events *events;
  void *ctx;
  struct buf head;
  struct tar_reader reader; /* for names */
  uint64_t left;            /* of the content */
  size_t padding;           /* after it */
  bool is_file, at_end;
};

void tar_stream_init(struct tar_stream *stream, const struct tar_events *events, void *ctx);
void tar_stream_release(struct tar_stream *stream);
/* What comes after the end is left out. */
MUST_CHECK bool tar_stream_feed(struct tar_stream *stream, struct str bytes, struct err *err);
/* Has the end come? */
MUST_CHECK bool tar_stream_finish(const struct tar_stream *stream, struct err *err);

#endif
