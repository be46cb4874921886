#include "tracker/logs/file_reader.h"

#include "base/mem.h"
#include "tracker/logs/reread.h"
#include "tracker/pack.h"

enum {
  STATE_VERSION = 5,
  WITHOUT_LAST = 4,
  WITHOUT_ENDS = 3,
  WITHOUT_POINTS = 2,
  WITHOUT_MARKS = 1,
  KEY_MAX = 250,
  FIRST_MAX = 2048,
  LAST_MAX = 512
};

/* The points that a file has given. Of the first ones and of the last it is known exactly how far they are the same, of those between them
 * by marks: what is written anew is mostly all of it, very little, or all but the last few. */
struct given {
  struct reread all;
  uint64_t hash; /* of the points of this reading, `at` of them */
  uint32_t at, count;
  uint32_t first[FIRST_MAX]; /* the hash behind each point */
  uint32_t last[LAST_MAX];   /* the same of those from last_from on, each at its number modulo LAST_MAX */
  uint32_t last_from;
};

static const uint32_t nobody_counted = UINT32_MAX; /* for `at`, after a state of before */

struct file_reader {
  const struct metric_sources *sources;
  size_t source;
  struct metric_file *file; /* of the formats with records */
  struct log_metrics *text;
  bool is_whole; /* what `file` was made for */
  uint64_t generation;
  struct reread bytes; /* of the file as it is now */
  struct given points; /* where it is other bytes, the points of its beginning may still be the same */
  bool is_broken, is_ended;
};

static enum metric_format format_of(const struct file_reader *reader) {
  switch (metric_sources_at(reader->sources, reader->source)->format) {
  case SOURCE_CSV:
    return METRIC_CSV;
  case SOURCE_TFEVENTS:
    return METRIC_TFEVENTS;
  default:
    return reader->is_whole ? METRIC_JSON : METRIC_JSONL;
  }
}

static void given_clear(struct given *given) {
  *given = (struct given){.all = REREAD_INIT, .hash = REREAD_INIT.hash};
}

static void given_begin(struct given *given) {
  reread_begin(&given->all);
  given->hash = REREAD_INIT.hash;
  given->at = 0;
}

static uint32_t *end_of(struct given *given, uint32_t i) {
  return i < FIRST_MAX ? &given->first[i] : &given->last[i % LAST_MAX];
}

/* Is the hash behind point i known, one that was given? */
static bool has_end(const struct given *given, uint32_t i) {
  return i < given->count && (i < FIRST_MAX || i >= given->last_from);
}

/* It is point i, and all that were given behind it are others. */
static void given_add(struct given *given, uint32_t i) {
  *end_of(given, i) = (uint32_t)given->hash;
  given->count = i + 1;
  given->last_from = MIN_OF(given->last_from, i);
  if (given->count > LAST_MAX)
    given->last_from = MAX_OF(given->last_from, given->count - LAST_MAX);
}

/* False: point i is another one, and nobody knows whether those before it are. */
static bool given_compare(struct given *given, uint32_t i) {
  if (i < given->count && (!has_end(given, i) || *end_of(given, i) == (uint32_t)given->hash))
    return true;
  if (i < given->count && i > 0 && !has_end(given, i - 1))
    return false;
  if (i < given->count) /* from here on they are others */
    reread_cut(&given->all);
  if (reread_known(&given->all) > 0) /* given before, and not counted then */
    given->at = nobody_counted;
  else
    given_add(given, i);
  return true;
}

/* The next point: false, it is another one than was given before, and nobody knows from where on. *ret_known: it was given before. */
static bool given_pass(struct given *given, struct str point, bool *ret_known) {
  *ret_known = reread_known(&given->all) > 0;
  if (given->at < nobody_counted) {
    uint32_t i = given->at++;
    given->hash = reread_hash(given->hash, point);
    if (!given_compare(given, i))
      return false;
    *ret_known = reread_known(&given->all) > 0;
  }
  return reread_pass(&given->all, point);
}

/* Those of this reading are fewer: are they the first of those that were given? */
static bool given_begins_so(const struct given *given) {
  return given->at == 0 || (given->at < nobody_counted && has_end(given, given->at - 1));
}

static uint32_t first_count(const struct given *given) {
  return MIN_OF(given->count, (uint32_t)FIRST_MAX);
}

static void given_save(const struct given *given, struct buf *out) {
  reread_save(&given->all, out);
  pack_u64(out, given->hash);
  pack_u64(out, given->at);
  pack_u64(out, given->count);
  for (uint32_t i = 0; i < first_count(given); i++)
    pack_u64(out, given->first[i]);
  pack_u64(out, given->last_from);
  for (uint32_t i = MAX_OF(given->last_from, (uint32_t)FIRST_MAX); i < given->count; i++)
    pack_u64(out, given->last[i % LAST_MAX]);
}

static void given_restore(struct given *given, uint64_t version, struct str *state, bool *bad) {
  given_clear(given);
  if (version <= WITHOUT_POINTS)
    return;
  reread_restore(&given->all, true, state, bad);
  given->at = nobody_counted;
  if (version <= WITHOUT_ENDS)
    return;
  given->hash = unpack_u64(state, bad);
  given->at = (uint32_t)unpack_below(state, nobody_counted, bad);
  given->count = (uint32_t)unpack_below(state, version <= WITHOUT_LAST ? FIRST_MAX : nobody_counted, bad);
  if (given->at > given->count)
    given->at = nobody_counted;
  for (uint32_t i = 0; i < first_count(given) && !*bad; i++)
    given->first[i] = (uint32_t)unpack_below(state, UINT32_MAX, bad);
  given->last_from = given->count;
  if (version <= WITHOUT_LAST)
    return;
  given->last_from = (uint32_t)unpack_below(state, given->count, bad);
  *bad |= given->count - given->last_from > LAST_MAX;
  for (uint32_t i = MAX_OF(given->last_from, (uint32_t)FIRST_MAX); i < given->count && !*bad; i++)
    given->last[i % LAST_MAX] = (uint32_t)unpack_below(state, UINT32_MAX, bad);
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
  *reader = (struct file_reader){.sources = sources, .source = source, .bytes = REREAD_INIT};
  given_clear(&reader->points);
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

bool file_reader_has_given(const struct file_reader *reader) {
  return reader->points.all.next || reader->points.all.check_to;
}

int64_t file_reader_next(const struct file_reader *reader) {
  return reader->bytes.next;
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

/* ---- points that were given before ---- */

struct giver {
  struct file_reader *reader;
  bool is_other; /* than was given before */
  log_metrics_sink *sink;
  void *ctx;
};

static bool pass_point(struct given *points, const struct log_point *point, bool *ret_known) {
  struct { /* what tells points apart stands before the first mark */
    double value;
    int64_t at;
    double epoch;
    char key[KEY_MAX];
  } text = {.value = point->value, .at = point->at, .epoch = point->epoch};
  size_t n = MIN_OF(point->key.n, sizeof text.key);
  memcpy(text.key, point->key.p, n);
  return given_pass(points, str_n((const char *)&text, offsetof(typeof(text), key) + n), ret_known);
}

static bool give(void *ctx, const struct log_point *points, size_t count, struct err *err) {
  struct giver *g = ctx;
  size_t known = 0;
  for (size_t i = 0; i < count && !g->is_other; i++) {
    bool is_known;
    g->is_other = !pass_point(&g->reader->points, &points[i], &is_known);
    known += is_known;
  }
  return g->is_other || known == count || g->sink(g->ctx, points + known, count - known, err);
}

/* What comes whole tells itself what is new. */
static bool give_new(void *ctx, const struct log_point *points, size_t count, struct err *err) {
  struct giver *g = ctx;
  for (size_t i = 0; i < count; i++)
    g->is_other |= !pass_point(&g->reader->points, &points[i], &(bool){false});
  return g->sink(g->ctx, points, count, err);
}

/* It is another file, and read from its beginning. */
static bool read_anew(struct file_reader *reader, uint64_t generation, struct err *err) {
  if (!begin(reader, err))
    return false;
  reader->generation = generation;
  reader->bytes = REREAD_INIT;
  reader->is_broken = reader->is_ended = false;
  return true;
}

/* A list, or an object of several lines, is read whole, lines piece by piece. */
static bool turn_into(struct file_reader *reader, bool whole, uint64_t generation, struct err *err) {
  if (reader->is_whole == whole)
    return true;
  reader->is_whole = whole;
  if (read_anew(reader, generation, err)) {
    given_clear(&reader->points);
    return true;
  }
  reader->is_whole = !whole;
  return false;
}

static bool take_snapshot(struct file_reader *reader, const struct file_piece *piece, struct giver *giver, int64_t *ret_next,
                          struct err *err) {
  if (!turn_into(reader, true, piece->generation, err))
    return false;
  reader->bytes.next = *ret_next = (int64_t)piece->bytes.n;
  return metric_file_snapshot(reader->file, piece->bytes, give_new, giver, err);
}

static bool take_bytes(struct file_reader *reader, struct str bytes, struct giver *giver, struct err *err) {
  struct err why;
  bool ok UNUSED = reread_pass(&reader->bytes, bytes);
  if (feed(reader, bytes, false, give, giver, &why))
    return true;
  if (why.code != ERR_INVALID) {
    *err = why;
    return false;
  }
  reader->is_broken = true;
  return true;
}

/* What of the piece is new, and the end. */
static bool take_new(struct file_reader *reader, struct str bytes, bool is_last, struct giver *giver, struct err *err) {
  if (bytes.n && !take_bytes(reader, bytes, giver, err))
    return false;
  if (!is_last || reader->is_broken || giver->is_other)
    return true;
  reader->is_ended = true;
  return feed(reader, STR(""), true, give, giver, err);
}

bool file_reader_feed(struct file_reader *reader, const struct file_piece *piece, log_metrics_sink *sink, void *ctx, int64_t *ret_next,
                      struct err *err) {
  struct reread *at = &reader->bytes;
  struct str bytes = piece->bytes;
  struct giver giver = {.reader = reader, .sink = sink, .ctx = ctx};
  if (piece->is_snapshot && metric_sources_at(reader->sources, reader->source)->format == SOURCE_JSON)
    return take_snapshot(reader, piece, &giver, ret_next, err);
  if (!turn_into(reader, false, piece->generation, err))
    return false;
  if (piece->generation > reader->generation) { /* it begins anew, and may be what it was */
    reread_begin(at);
    reader->generation = piece->generation;
    reader->is_broken = reader->is_ended = false;
  }
  *ret_next = reader->is_broken ? FILE_READER_ENOUGH : at->next;
  if (reader->is_broken || reader->is_ended || piece->generation < reader->generation)
    return true;
  if (piece->offset > at->next)
    return err_set(err, ERR_RANGE, "bytes from %lld on are missing", (long long)at->next);
  bytes = str_slice(bytes, (size_t)MIN_OF(at->next - piece->offset, (int64_t)bytes.n), bytes.n);
  struct str known = str_slice(bytes, 0, (size_t)reread_known(at));
  bytes = str_slice(bytes, known.n, bytes.n);
  if ((known.n && !reread_pass(at, known)) || (piece->is_last && reread_known(at))) {
    *ret_next = 0;
    given_begin(&reader->points);
    return read_anew(reader, piece->generation, err);
  }
  if (!take_new(reader, bytes, piece->is_last, &giver, err))
    return false;
  bool are_fewer = piece->is_last && reread_known(&reader->points.all);
  if (giver.is_other || (are_fewer && !given_begins_so(&reader->points))) { /* other points, too: all of them are news */
    *ret_next = 0;
    given_clear(&reader->points);
    return read_anew(reader, piece->generation, err);
  }
  *ret_next = reader->is_broken ? FILE_READER_ENOUGH : at->next;
  return true;
}

void file_reader_save(const struct file_reader *reader, struct buf *out) {
  AUTO_BUF struct buf part = BUF_INIT(METRIC_FILE_STATE_MAX);
  pack_u64(out, STATE_VERSION);
  pack_u64(out, (uint64_t)reader->is_whole | (uint64_t)reader->is_broken << 1 | (uint64_t)reader->is_ended << 2);
  pack_u64(out, reader->generation);
  reread_save(&reader->bytes, out);
  given_save(&reader->points, out);
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
  bool bad = version < WITHOUT_MARKS || version > STATE_VERSION;
  uint64_t flags = unpack_below(&state, 7, &bad), generation = unpack_u64(&state, &bad);
  struct reread bytes;
  struct given points;
  reread_restore(&bytes, version > WITHOUT_MARKS, &state, &bad);
  given_restore(&points, version, &state, &bad);
  struct str part = unpack_str(&state, METRIC_FILE_STATE_MAX, &bad);
  if (bad || state.n)
    return err_set(err, ERR_INVALID, "the stored state of the metric file is not valid");
  reader->is_whole = flags & 1;
  if (!begin(reader, err))
    return false;
  reader->generation = generation;
  reader->bytes = bytes;
  reader->points = points;
  reader->is_broken = flags & 2;
  reader->is_ended = flags & 4;
  return reader->text ? log_metrics_restore(reader->text, part, err) : metric_file_restore(reader->file, part, err);
}
