#include "tracker/logs/file_reader.h"

#include "base/mem.h"
#include "tracker/pack.h"

/* Marks stand at FIRST_MARK, and each twice as far as the one before. */
enum { STATE_VERSION = 2, WITHOUT_MARKS = 1, KEY_MAX = 250, MARKS = 40, FIRST_MARK = 16 };
static const uint64_t hash_start = 14695981039346656037u;

/* What has been read of the file as it is now. */
struct progress {
  uint64_t generation;
  int64_t next;
  uint64_t hash; /* of all bytes before `next` */
  /* A file that began anew: up to here it must be what was read before. */
  int64_t check_to;
  uint64_t check_hash;
  uint64_t marks[MARKS]; /* the hash at each mark that was read over; 0: not known. So most of what is other is seen long before check_to */
  bool is_broken, is_ended;
};

struct file_reader {
  const struct metric_sources *sources;
  size_t source;
  struct metric_file *file; /* of the formats with records */
  struct log_metrics *text;
  bool is_list; /* what `file` was made for */
  struct progress at;
};

static enum metric_format format_of(const struct file_reader *reader) {
  switch (metric_sources_at(reader->sources, reader->source)->format) {
  case SOURCE_CSV:
    return METRIC_CSV;
  case SOURCE_TFEVENTS:
    return METRIC_TFEVENTS;
  default:
    return reader->is_list ? METRIC_JSON : METRIC_JSONL;
  }
}

/* Forgets everything that was in the file. On failure nothing has changed. */
static bool begin(struct file_reader *reader, struct err *err) {
  const struct metric_source *source = metric_sources_at(reader->sources, reader->source);
  struct log_pattern_spec spec;
  struct log_metrics_options options;
  struct log_metrics *text = NULL;
  struct metric_file *file = NULL;
  if (source->format == SOURCE_TEXT) {
    metric_sources_of_file(reader->sources, reader->source, &spec, &options);
    text = log_metrics_new(&options, err);
  } else {
    file = metric_file_new(format_of(reader), source->prefix, err);
  }
  if (!text && !file)
    return false;
  metric_file_free(reader->file);
  log_metrics_free(reader->text);
  reader->file = file;
  reader->text = text;
  return true;
}

struct file_reader *file_reader_new(const struct metric_sources *sources, size_t source, struct err *err) {
  struct file_reader *reader = mem_zalloc(sizeof *reader);
  if (!reader) {
    err_no_memory(err);
    return NULL;
  }
  *reader = (struct file_reader){.sources = sources, .source = source, .at = {.hash = hash_start}};
  if (begin(reader, err))
    return reader;
  file_reader_free(reader);
  return NULL;
}

void file_reader_free(struct file_reader *reader) {
  if (!reader)
    return;
  metric_file_free(reader->file);
  log_metrics_free(reader->text);
  mem_free(reader);
}

uint64_t file_reader_bad(const struct file_reader *reader) {
  return reader->file ? metric_file_bad(reader->file) : 0;
}

int64_t file_reader_next(const struct file_reader *reader) {
  return reader->at.next;
}

static uint64_t add_to_hash(uint64_t hash, struct str bytes) {
  for (size_t i = 0; i < bytes.n; i++)
    hash = (hash ^ (unsigned char)bytes.p[i]) * 1099511628211u;
  return hash;
}

/* The built-in recognisers know of no prefix. */
struct prefixed {
  struct str prefix;
  log_metrics_sink *sink;
  void *ctx;
};

static bool take_prefixed(void *ctx, const struct log_point *points, size_t count, struct err *err) {
  const struct prefixed *p = ctx;
  char key[2 * KEY_MAX];
  for (size_t i = 0; i < count; i++) {
    struct log_point point = points[i];
    if (p->prefix.n + point.key.n > KEY_MAX)
      continue;
    int n = snprintf(key, sizeof key, "%.*s%.*s", STR_ARG(p->prefix), STR_ARG(point.key));
    point.key = str_n(key, (size_t)n);
    if (!p->sink(p->ctx, &point, 1, err))
      return false;
  }
  return true;
}

/* `bytes`, and the end when there are none. */
static bool feed(struct file_reader *reader, struct str bytes, bool is_end, log_metrics_sink *sink, void *ctx, struct err *err) {
  const struct metric_source *source = metric_sources_at(reader->sources, reader->source);
  if (reader->file)
    return is_end ? metric_file_end(reader->file, sink, ctx, err) : metric_file_feed(reader->file, bytes, sink, ctx, err);
  struct prefixed prefixed = {str_of(source->prefix), sink, ctx};
  if (source->prefix && !source->pattern) { /* a pattern has it already */
    sink = take_prefixed;
    ctx = &prefixed;
  }
  return is_end ? log_metrics_end(reader->text, sink, ctx, err) : log_metrics_feed(reader->text, bytes, sink, ctx, err);
}

/* It is another file: everything in it is new. */
static bool read_anew(struct file_reader *reader, uint64_t generation, struct err *err) {
  if (!begin(reader, err))
    return false;
  reader->at = (struct progress){.generation = generation, .hash = hash_start};
  return true;
}

/* A list is read whole, lines piece by piece. */
static bool turn_into(struct file_reader *reader, bool list, uint64_t generation, struct err *err) {
  if (reader->is_list == list)
    return true;
  reader->is_list = list;
  if (read_anew(reader, generation, err))
    return true;
  reader->is_list = !list;
  return false;
}

static int64_t mark_at(size_t mark) {
  return (int64_t)FIRST_MARK << mark;
}

static size_t next_mark(const struct progress *at) {
  size_t mark = 0;
  while (mark < MARKS && mark_at(mark) <= at->next)
    mark++;
  return mark;
}

/* Passes over bytes. False when they were `known`, and are others. */
static bool pass(struct progress *at, struct str bytes, bool known) {
  bool same = true;
  while (bytes.n && same) {
    size_t mark = next_mark(at);
    struct str step = mark < MARKS ? str_slice(bytes, 0, (size_t)(mark_at(mark) - at->next)) : bytes;
    at->hash = add_to_hash(at->hash, step);
    at->next += (int64_t)step.n;
    bytes = str_slice(bytes, step.n, bytes.n);
    if (mark == MARKS || at->next < mark_at(mark))
      continue;
    if (known)
      same = !at->marks[mark] || at->marks[mark] == at->hash;
    else
      at->marks[mark] = at->hash;
  }
  return same;
}

/* The bytes that were read before: only looked at. False in *ret_same when they are others. */
static void check_again(struct file_reader *reader, struct str *bytes, bool *ret_same) {
  struct progress *at = &reader->at;
  struct str known = str_slice(*bytes, 0, (size_t)(at->check_to - at->next));
  *bytes = str_slice(*bytes, known.n, bytes->n);
  *ret_same = pass(at, known, true) && (at->next < at->check_to || at->hash == at->check_hash);
}

/* It begins anew, and may be what it was. */
static void look_again(struct progress *at, uint64_t generation) {
  if (at->next >= at->check_to) {
    at->check_to = at->next;
    at->check_hash = at->hash;
  }
  at->generation = generation;
  at->next = 0;
  at->hash = hash_start;
  at->is_broken = at->is_ended = false;
}

static bool take_snapshot(struct file_reader *reader, const struct file_piece *piece, log_metrics_sink *sink, void *ctx, int64_t *ret_next,
                          struct err *err) {
  if (!turn_into(reader, true, piece->generation, err))
    return false;
  reader->at.next = *ret_next = (int64_t)piece->bytes.n;
  return metric_file_snapshot(reader->file, piece->bytes, sink, ctx, err);
}

static bool take_bytes(struct file_reader *reader, struct str bytes, log_metrics_sink *sink, void *ctx, struct err *err) {
  struct err why;
  bool ok UNUSED = pass(&reader->at, bytes, false);
  if (feed(reader, bytes, false, sink, ctx, &why))
    return true;
  if (why.code != ERR_INVALID) {
    *err = why;
    return false;
  }
  reader->at.is_broken = true;
  return true;
}

bool file_reader_feed(struct file_reader *reader, const struct file_piece *piece, log_metrics_sink *sink, void *ctx, int64_t *ret_next,
                      struct err *err) {
  struct progress *at = &reader->at;
  struct str bytes = piece->bytes;
  bool same = true;
  if (piece->is_snapshot && metric_sources_at(reader->sources, reader->source)->format == SOURCE_JSON)
    return take_snapshot(reader, piece, sink, ctx, ret_next, err);
  if (!turn_into(reader, false, piece->generation, err))
    return false;
  if (piece->generation > at->generation)
    look_again(at, piece->generation);
  *ret_next = at->is_broken ? FILE_READER_ENOUGH : at->next;
  if (at->is_broken || at->is_ended || piece->generation < at->generation)
    return true;
  if (piece->offset > at->next)
    return err_set(err, ERR_RANGE, "bytes from %lld on are missing", (long long)at->next);
  bytes = str_slice(bytes, (size_t)MIN_OF(at->next - piece->offset, (int64_t)bytes.n), bytes.n);
  if (at->next < at->check_to)
    check_again(reader, &bytes, &same);
  if (!same || (piece->is_last && at->next < at->check_to)) {
    *ret_next = 0;
    return read_anew(reader, piece->generation, err);
  }
  if (bytes.n && !take_bytes(reader, bytes, sink, ctx, err))
    return false;
  if (piece->is_last && !at->is_broken) {
    at->is_ended = true;
    if (!feed(reader, STR(""), true, sink, ctx, err))
      return false;
  }
  *ret_next = at->is_broken ? FILE_READER_ENOUGH : at->next;
  return true;
}

void file_reader_save(const struct file_reader *reader, struct buf *out) {
  const struct progress *at = &reader->at;
  AUTO_BUF struct buf part = BUF_INIT(METRIC_FILE_STATE_MAX);
  pack_u64(out, STATE_VERSION);
  pack_u64(out, (uint64_t)reader->is_list | (uint64_t)at->is_broken << 1 | (uint64_t)at->is_ended << 2);
  pack_u64(out, at->generation);
  pack_i64(out, at->next);
  pack_u64(out, at->hash);
  pack_i64(out, at->check_to);
  pack_u64(out, at->check_hash);
  for (size_t i = 0; i < MARKS && mark_at(i) <= MAX_OF(at->next, at->check_to); i++)
    pack_u64(out, at->marks[i]);
  if (reader->text)
    log_metrics_save(reader->text, &part);
  else
    metric_file_save(reader->file, &part);
  pack_str(out, buf_str(&part));
  if (part.fail != ERR_NONE)
    out->fail = part.fail;
}

bool file_reader_restore(struct file_reader *reader, struct str state, struct err *err) {
  uint64_t version = unpack_u64(&state, &(bool){false});
  bool bad = version != STATE_VERSION && version != WITHOUT_MARKS;
  uint64_t flags = unpack_below(&state, 7, &bad);
  struct progress at = {.generation = unpack_u64(&state, &bad), .is_broken = flags & 2, .is_ended = flags & 4};
  at.next = unpack_i64(&state, &bad);
  at.hash = unpack_u64(&state, &bad);
  at.check_to = unpack_i64(&state, &bad);
  at.check_hash = unpack_u64(&state, &bad);
  for (size_t i = 0; version == STATE_VERSION && i < MARKS && mark_at(i) <= MAX_OF(at.next, at.check_to); i++)
    at.marks[i] = unpack_u64(&state, &bad);
  struct str part = unpack_str(&state, METRIC_FILE_STATE_MAX, &bad);
  if (bad || state.n || at.next < 0 || at.check_to < 0)
    return err_set(err, ERR_INVALID, "the stored state of the metric file is not valid");
  reader->is_list = flags & 1;
  if (!begin(reader, err))
    return false;
  reader->at = at;
  return reader->text ? log_metrics_restore(reader->text, part, err) : metric_file_restore(reader->file, part, err);
}
