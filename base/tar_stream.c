#include "base/tar_stream.h"

enum { HEAD_MAX = 256 * 1024 };

void tar_stream_init(struct tar_stream *stream, const struct tar_events *events, void *ctx) {
  *stream = (struct tar_stream){.events = events, .ctx = ctx, .head = BUF_INIT(HEAD_MAX)};
}

void tar_stream_release(struct tar_stream *stream) {
  buf_release(&stream->head);
}

static bool take_head(struct tar_stream *stream, struct err *err) {
  struct tar_entry entry;
  stream->reader.rest = buf_str(&stream->head);
  if (!tar_next_head(&stream->reader, &entry, &stream->left, err)) {
    stream->at_end = err->code == ERR_NONE;
    return stream->at_end;
  }
  stream->padding = tar_padding(stream->left);
  stream->is_file = entry.kind == TAR_FILE;
  bool ok = !stream->is_file || stream->events->file(stream->ctx, entry.path, entry.size, err);
  buf_reset(&stream->head);
  return ok && (stream->left || !stream->is_file || stream->events->end(stream->ctx, err));
}

/* Adds to the head what it lacks; *ret_taken is how much that was. */
static bool feed_head(struct tar_stream *stream, struct str bytes, size_t *ret_taken, struct err *err) {
  size_t lacks = tar_head_bytes(buf_str(&stream->head)) - stream->head.n;
  *ret_taken = MIN_OF(bytes.n, lacks);
  buf_add(&stream->head, bytes.p, *ret_taken);
  if (!buf_ok(&stream->head, err))
    return err_set(err, ERR_INVALID, "the tar archive is damaged: a header is too large");
  return tar_head_bytes(buf_str(&stream->head)) > stream->head.n || take_head(stream, err);
}

static bool feed_content(struct tar_stream *stream, struct str bytes, struct err *err) {
  stream->left -= bytes.n;
  if (!stream->is_file)
    return true;
  return stream->events->data(stream->ctx, bytes, err) && (stream->left || stream->events->end(stream->ctx, err));
}

bool tar_stream_feed(struct tar_stream *stream, struct str bytes, struct err *err) {
  while (bytes.n && !stream->at_end) {
    size_t n;
    bool ok = true;
    if (stream->left) {
      n = (size_t)MIN_OF((uint64_t)bytes.n, stream->left);
      ok = feed_content(stream, str_slice(bytes, 0, n), err);
    } else if (stream->padding) {
      n = MIN_OF(bytes.n, stream->padding);
      stream->padding -= n;
    } else {
      ok = feed_head(stream, bytes, &n, err);
    }
    if (!ok)
      return false;
    bytes = str_slice(bytes, n, bytes.n);
  }
  return true;
}

bool tar_stream_finish(const struct tar_stream *stream, struct err *err) {
  return stream->at_end || err_set(err, ERR_INVALID, "the tar archive ends too early");
}
