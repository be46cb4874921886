/* Pieces of a metric file, some said again or under a new generation, through a state that is stored and read between them; and a state of
 * any bytes. The first byte says the format and the cut. */
#include "tests/support/fuzz.h"
#include "tracker/logs/file_reader.h"

static bool count(void *ctx, const struct log_point *points, size_t n, struct err *err) {
  (void)points;
  (void)err;
  *(size_t *)ctx += n;
  return true;
}

static struct file_reader *make(const struct metric_sources *sources) {
  struct err err;
  struct file_reader *reader = file_reader_new(sources, 0, &err);
  claim(reader != NULL);
  return reader;
}

/* From the beginning to the end, in pieces; gives the number of points. */
static size_t read_all(const struct metric_sources *sources, struct file_reader **reader, uint64_t generation, struct str bytes,
                       size_t cut) {
  struct err err;
  size_t points = 0;
  int64_t at = 0, next;
  for (int rounds = 0; *reader && at < (int64_t)bytes.n && rounds < 4000; rounds++) {
    struct file_piece piece = {.generation = generation, .offset = at, .bytes = str_slice(bytes, (size_t)at, (size_t)at + cut)};
    if (!claim(file_reader_feed(*reader, &piece, count, &points, &next, &err)))
      break;
    AUTO_BUF struct buf state = BUF_INIT(FILE_READER_STATE_MAX);
    file_reader_save(*reader, &state);
    file_reader_free(*reader);
    *reader = make(sources);
    if (!*reader || !claim(file_reader_restore(*reader, buf_str(&state), &err)))
      break;
    if (next == FILE_READER_ENOUGH)
      break;
    at = next;
  }
  return points;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2 || size > 4 * KIB)
    return 0;
  struct err err;
  const struct metric_source item = {.file = "f", .format = (enum source_format)(data[0] % SOURCE_FORMAT_COUNT), .prefix = "p/"};
  struct metric_sources *sources = metric_sources_new(&item, 1, false, &err);
  struct str bytes = str_n((const char *)data + 1, size - 1);
  if (!claim(sources != NULL))
    return 0;
  struct file_reader *reader = make(sources);
  size_t cut = 16 + (size_t)data[0] * 8;
  read_all(sources, &reader, 0, bytes, cut);
  claim(read_all(sources, &reader, 1, bytes, cut + 5) == 0); /* the same again gives nothing */
  (void)!(reader && file_reader_restore(reader, bytes, &err));
  file_reader_free(reader);
  metric_sources_unref(sources);
  return 0;
}
