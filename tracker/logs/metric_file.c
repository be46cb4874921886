#include "tracker/logs/metric_file.h"

#include <math.h>

#include "base/mem.h"
#include "tracker/logs/log_key.h"
#include "tracker/logs/log_token.h"
#include "tracker/logs/tfevents.h"
#include "tracker/pack.h"

enum { STATE_VERSION = 1, CSV_COLUMNS_MAX = 256, CSV_HEADER_MAX = 8192, BATCH = 256, KEY_MAX = 250, KEYS_MAX = 64 * 1024 };

struct csv_column {
  uint16_t at, n; /* in header */
  enum log_key_kind kind;
};

struct metric_file {
  enum metric_format format;
  char *prefix;
  struct log_parse *counts; /* gives steps to series; reads JSON records */
  uint64_t number;          /* of the next line, record or element */
  uint64_t bad;
  struct buf rest;        /* an unfinished line or record */
  bool overlong;          /* the line is beyond its ceiling and is passed over */
  uint64_t skip;          /* bytes of a large record still to come */
  bool broken;            /* a checksum was wrong */
  uint64_t elements;      /* of the last snapshot */
  uint64_t elements_hash; /* of all of them */
  /* CSV */
  char separator; /* 0: no header yet */
  char header[CSV_HEADER_MAX];
  struct csv_column columns[CSV_COLUMNS_MAX];
  size_t column_count;
  /* points on their way out */
  struct log_point points[BATCH];
  char keys[KEYS_MAX];
  size_t keys_n;
};

struct out {
  log_metrics_sink *sink;
  void *ctx;
};

struct metric_file *metric_file_new(enum metric_format format, const char *prefix, struct err *err) {
  struct metric_file *f = mem_zalloc(sizeof *f);
  if (!f) {
    err_no_memory(err);
    return NULL;
  }
  f->format = format;
  f->number = 1;
  buf_init(&f->rest, METRIC_LINE_MAX);
  f->counts = log_parse_new(NULL, err);
  f->prefix = prefix ? mem_strdup(prefix) : NULL;
  if (f->counts && (!prefix || f->prefix))
    return f;
  if (f->counts)
    err_no_memory(err);
  metric_file_free(f);
  return NULL;
}

void metric_file_free(struct metric_file *f) {
  if (!f)
    return;
  buf_release(&f->rest);
  log_parse_free(f->counts);
  mem_free(f->prefix);
  mem_free(f);
}

uint64_t metric_file_bad(const struct metric_file *f) {
  return f->bad;
}

/* ---- points ---- */

/* The key with its prefix, kept until the points are out. Empty when it is too long. */
static struct str make_key(struct metric_file *f, struct str name) {
  struct str prefix = str_of(f->prefix);
  size_t n = prefix.n + name.n;
  if (!name.n || n > KEY_MAX || n > KEYS_MAX - f->keys_n)
    return STR("");
  char *key = f->keys + f->keys_n;
  if (prefix.n)
    memcpy(key, prefix.p, prefix.n);
  memcpy(key + prefix.n, name.p, name.n);
  f->keys_n += n;
  return str_n(key, n);
}

static bool emit(struct metric_file *f, const struct out *out, size_t n, struct err *err) {
  bool ok = n == 0 || out->sink(out->ctx, f->points, n, err);
  f->keys_n = 0;
  return ok;
}

/* ---- JSON ---- */

static bool record(struct metric_file *f, struct str text, uint64_t number, const struct out *out, struct err *err) {
  const struct log_point *points;
  size_t n = log_parse_record(f->counts, text, number, &points);
  for (size_t i = 0; i < n;) {
    size_t batch = 0;
    for (; i < n && batch < BATCH; i++) {
      struct log_point point = points[i];
      point.key = make_key(f, points[i].key);
      if (point.key.n)
        f->points[batch++] = point;
    }
    if (!emit(f, out, batch, err))
      return false;
  }
  return true;
}

static bool json_line(struct metric_file *f, struct str line, const struct out *out, struct err *err) {
  line = str_trim(line);
  if (!line.n)
    return true;
  if (line.p[0] != '{') {
    f->bad++;
    return true;
  }
  return record(f, line, f->number, out, err);
}

/* The next complete object of the list at *at; false when there is none. */
static bool next_object(struct str content, size_t *at, struct str *ret) {
  size_t start = SIZE_MAX;
  unsigned depth = 0;
  bool string = false;
  for (size_t i = *at; i < content.n; i++) {
    char c = content.p[i];
    if (string) {
      if (c == '\\')
        i++;
      else
        string = c != '"';
    } else if (c == '"') {
      string = true;
    } else if (c == '{') {
      if (!depth++)
        start = i;
    } else if (c == '}' && depth && !--depth) {
      *ret = str_slice(content, start, i + 1);
      *at = i + 1;
      return true;
    }
  }
  return false;
}

static uint64_t add_to_hash(uint64_t hash, struct str s) {
  for (size_t i = 0; i < s.n; i++)
    hash = (hash ^ (unsigned char)s.p[i]) * 1099511628211u;
  return (hash ^ 0xff) * 1099511628211u;
}

bool metric_file_snapshot(struct metric_file *f, struct str content, log_metrics_sink *sink, void *ctx, struct err *err) {
  struct out out = {sink, ctx};
  struct str object;
  size_t at = 0;
  uint64_t hash = 14695981039346656037u, same_to = 0;
  bool known = f->elements == 0;
  for (uint64_t n = 0; !known && n < f->elements && next_object(content, &at, &object);) {
    hash = add_to_hash(hash, object);
    known = ++n == f->elements && hash == f->elements_hash;
  }
  if (known) {
    same_to = f->elements;
  } else if (!str_starts(str_trim(content), STR("{"))) { /* it is another list now; an object is written anew with each report */
    struct log_parse *counts = log_parse_new(NULL, err);
    if (!counts)
      return false;
    log_parse_free(f->counts);
    f->counts = counts;
  }
  at = 0;
  hash = 14695981039346656037u;
  uint64_t n = 0;
  while (next_object(content, &at, &object)) {
    hash = add_to_hash(hash, object);
    n++;
    if (n > same_to && !record(f, object, n, &out, err))
      return false;
  }
  f->elements = n;
  f->elements_hash = hash;
  return true;
}

/* ---- CSV ---- */

/* The next field of a line, without its quotes (doubled quotes inside stay). False at the end. */
static bool next_csv_field(struct str *rest, char separator, struct str *ret) {
  if (!rest->p)
    return false;
  size_t i = 0;
  bool quoted = rest->n && rest->p[0] == '"';
  if (quoted) {
    for (i = 1; i < rest->n; i++)
      if (rest->p[i] == '"') {
        if (i + 1 < rest->n && rest->p[i + 1] == '"')
          i++;
        else
          break;
      }
    *ret = str_n(rest->p + 1, i - 1);
    while (i < rest->n && rest->p[i] != separator)
      i++;
  } else {
    while (i < rest->n && rest->p[i] != separator)
      i++;
    *ret = str_trim(str_n(rest->p, i));
  }
  *rest = i < rest->n ? str_n(rest->p + i + 1, rest->n - i - 1) : STR_NONE;
  return true;
}

static char find_separator(struct str line) {
  static const char candidates[] = {',', ';', '\t', '|'};
  char best = ',';
  size_t most = 0;
  for (size_t k = 0; k < ARRAY_LEN(candidates); k++) {
    size_t n = 0;
    for (size_t i = 0; i < line.n; i++)
      n += line.p[i] == candidates[k];
    if (n > most) {
      most = n;
      best = candidates[k];
    }
  }
  return best;
}

static bool csv_header(struct metric_file *f, struct str line) {
  struct str bom = STR("\xef\xbb\xbf");
  if (str_starts(line, bom))
    line = str_slice(line, bom.n, line.n);
  if (line.n > CSV_HEADER_MAX || !line.n)
    return false;
  memcpy(f->header, line.p, line.n);
  char separator = find_separator(line);
  struct str rest = str_n(f->header, line.n), name;
  bool has_names = false;
  f->column_count = 0;
  while (f->column_count < CSV_COLUMNS_MAX && next_csv_field(&rest, separator, &name)) {
    has_names |= name.n && !log_number_whole(name, &(struct log_number){0});
    f->columns[f->column_count++] =
        (struct csv_column){(uint16_t)(name.n ? name.p - f->header : 0), (uint16_t)name.n, log_key_classify(name).kind};
  }
  if (!has_names) { /* a row of a file without a header */
    f->column_count = 0;
    return false;
  }
  f->separator = separator;
  return true;
}

static bool is_place(enum log_key_kind kind) {
  return kind == LOG_KEY_EPOCH || kind == LOG_KEY_STEP || kind == LOG_KEY_BATCH;
}

/* Where semicolons stand between the fields, commas stand in the numbers. */
static bool csv_number(const struct metric_file *f, struct str field, struct log_number *ret) {
  char text[64];
  size_t comma = f->separator == ';' ? str_find(field, ',') : SIZE_MAX;
  if (comma == SIZE_MAX || field.n > sizeof text)
    return log_number_whole(field, ret);
  memcpy(text, field.p, field.n);
  text[comma] = '.';
  return log_number_whole(str_n(text, field.n), ret);
}

static bool csv_row(struct metric_file *f, struct str line, const struct out *out, struct err *err) {
  struct str rest = line, field;
  struct log_number numbers[CSV_COLUMNS_MAX];
  bool given[CSV_COLUMNS_MAX];
  double step = NAN, epoch = NAN, batch = NAN;
  size_t n = 0, any = 0;
  for (; n < f->column_count && next_csv_field(&rest, f->separator, &field); n++) {
    given[n] = csv_number(f, field, &numbers[n]);
    any += given[n];
    if (!given[n])
      continue;
    double *place = f->columns[n].kind == LOG_KEY_EPOCH ? &epoch : f->columns[n].kind == LOG_KEY_STEP ? &step : &batch;
    if (is_place(f->columns[n].kind) && isnan(*place))
      *place = numbers[n].value;
  }
  if (!any || rest.p) {
    f->bad++;
    return true;
  }
  size_t points = 0;
  for (size_t i = 0; i < n; i++) {
    struct str key =
        given[i] && !is_place(f->columns[i].kind) ? make_key(f, str_n(f->header + f->columns[i].at, f->columns[i].n)) : STR("");
    if (!key.n)
      continue;
    struct log_point point = {
        .key = key, .name = key, .value = numbers[i].value, .step = isnan(step) ? batch : step, .epoch = epoch, .line = f->number};
    if (log_parse_count(f->counts, &point))
      f->points[points++] = point;
  }
  return emit(f, out, points, err);
}

static bool csv_line(struct metric_file *f, struct str line, const struct out *out, struct err *err) {
  if (!str_trim(line).n || line.p[0] == '#')
    return true;
  if (line.n && line.p[line.n - 1] == '\r')
    line.n--;
  if (f->separator)
    return csv_row(f, line, out, err);
  f->bad += !csv_header(f, line);
  return true;
}

/* ---- growing files ---- */

static bool take_line(struct metric_file *f, struct str line, const struct out *out, struct err *err) {
  bool ok = true;
  if (f->overlong)
    f->bad++;
  else
    ok = f->format == METRIC_CSV ? csv_line(f, line, out, err) : json_line(f, line, out, err);
  f->overlong = false;
  f->number++;
  return ok;
}

static bool keep_rest(struct metric_file *f, struct str bytes, struct err *err) {
  if (f->overlong || f->rest.n + bytes.n > METRIC_LINE_MAX) {
    f->overlong = true;
    buf_reset(&f->rest);
    return true;
  }
  buf_add_str(&f->rest, bytes);
  return buf_ok(&f->rest, err);
}

static bool feed_lines(struct metric_file *f, struct str bytes, const struct out *out, struct err *err) {
  while (bytes.n) {
    const char *end = memchr(bytes.p, '\n', bytes.n);
    struct str part = str_n(bytes.p, end ? (size_t)(end - bytes.p) : bytes.n);
    bool whole = end && !f->rest.n && !f->overlong && part.n <= METRIC_LINE_MAX;
    if (!whole && !keep_rest(f, part, err))
      return false;
    if (!end)
      return true;
    if (!take_line(f, whole ? part : buf_str(&f->rest), out, err))
      return false;
    buf_reset(&f->rest);
    bytes.p += part.n + 1;
    bytes.n -= part.n + 1;
  }
  return true;
}

static bool event(struct metric_file *f, struct str content, const struct out *out, struct err *err) {
  struct tfevents_scalar scalars[BATCH];
  size_t n, points = 0;
  if (!tfevents_scalars(content, scalars, BATCH, &n)) {
    f->bad++;
    return true;
  }
  for (size_t i = 0; i < n; i++) {
    struct str key = make_key(f, scalars[i].tag);
    double ms = scalars[i].wall_time * 1000;
    struct log_point point = {.key = key,
                              .name = key,
                              .value = scalars[i].value,
                              .step = (double)scalars[i].step,
                              .epoch = NAN,
                              .line = f->number,
                              .time_ms = ms > 0 && ms < 1e16 ? (int64_t)ms : 0};
    if (key.n && log_parse_count(f->counts, &point))
      f->points[points++] = point;
  }
  return emit(f, out, points, err);
}

/* The frames in `bytes`. *ret_used is how much of it they take. */
static bool feed_frames(struct metric_file *f, struct str bytes, const struct out *out, size_t *ret_used, struct err *err) {
  size_t used = 0;
  while (used < bytes.n) {
    if (f->skip) {
      size_t n = (size_t)MIN_OF(f->skip, (uint64_t)(bytes.n - used));
      f->skip -= n;
      used += n;
      continue;
    }
    struct str content;
    uint64_t size;
    enum tfevents_answer answer = tfevents_frame(str_slice(bytes, used, bytes.n), &content, &size);
    if (answer == TFEVENTS_MORE)
      break;
    if (answer == TFEVENTS_BAD) {
      f->broken = true;
      return err_set(err, ERR_INVALID, "record %llu of the event file has a wrong checksum", (unsigned long long)f->number);
    }
    if (answer == TFEVENTS_LARGE) {
      f->skip = size;
    } else {
      if (!event(f, content, out, err))
        return false;
      used += (size_t)size;
    }
    f->number++;
  }
  *ret_used = used;
  return true;
}

static bool feed_events(struct metric_file *f, struct str bytes, const struct out *out, struct err *err) {
  if (f->broken)
    return err_set(err, ERR_INVALID, "the event file is broken");
  while (bytes.n) {
    /* No more than one record and a bit is ever kept. */
    size_t part = MIN_OF(bytes.n, (size_t)METRIC_LINE_MAX - f->rest.n), used = 0;
    buf_add(&f->rest, bytes.p, part);
    if (!buf_ok(&f->rest, err) || !feed_frames(f, buf_str(&f->rest), out, &used, err))
      return false;
    buf_drop(&f->rest, used);
    bytes.p += part;
    bytes.n -= part;
  }
  return true;
}

bool metric_file_feed(struct metric_file *f, struct str bytes, log_metrics_sink *sink, void *ctx, struct err *err) {
  struct out out = {sink, ctx};
  if (f->format == METRIC_JSON)
    return err_set(err, ERR_INVALID, "a JSON list is read as a whole");
  return f->format == METRIC_TFEVENTS ? feed_events(f, bytes, &out, err) : feed_lines(f, bytes, &out, err);
}

bool metric_file_end(struct metric_file *f, log_metrics_sink *sink, void *ctx, struct err *err) {
  struct out out = {sink, ctx};
  if (f->format == METRIC_JSON || f->format == METRIC_TFEVENTS || !(f->rest.n || f->overlong))
    return true;
  bool ok = take_line(f, buf_str(&f->rest), &out, err);
  buf_reset(&f->rest);
  return ok;
}

/* ---- the state ---- */

void metric_file_save(const struct metric_file *f, struct buf *out) {
  AUTO_BUF struct buf counts = BUF_INIT(LOG_METRICS_STATE_MAX);
  log_parse_save(f->counts, &counts);
  pack_u64(out, STATE_VERSION);
  pack_u64(out, f->format);
  pack_str(out, buf_str(&counts));
  pack_u64(out, f->number);
  pack_u64(out, f->bad);
  pack_str(out, buf_str(&f->rest));
  pack_u64(out, (uint64_t)f->overlong | (uint64_t)f->broken << 1);
  pack_u64(out, f->skip);
  pack_u64(out, f->elements);
  pack_u64(out, f->elements_hash);
  size_t header = 0;
  for (size_t i = 0; i < f->column_count; i++)
    header = MAX_OF(header, (size_t)f->columns[i].at + f->columns[i].n);
  pack_u64(out, (unsigned char)f->separator);
  pack_str(out, str_n(f->header, header));
  pack_u64(out, f->column_count);
  for (size_t i = 0; i < f->column_count; i++) {
    pack_u64(out, f->columns[i].at);
    pack_u64(out, f->columns[i].n);
  }
  if (counts.fail != ERR_NONE)
    out->fail = counts.fail;
}

bool metric_file_restore(struct metric_file *f, struct str state, struct err *err) {
  bool bad = unpack_u64(&state, &(bool){false}) != STATE_VERSION;
  bad |= unpack_below(&state, METRIC_FORMAT_COUNT - 1, &bad) != f->format;
  struct str counts = unpack_str(&state, LOG_METRICS_STATE_MAX, &bad);
  uint64_t number = unpack_u64(&state, &bad), lines_bad = unpack_u64(&state, &bad);
  struct str rest = unpack_str(&state, METRIC_LINE_MAX, &bad);
  uint64_t flags = unpack_below(&state, 3, &bad), skip = unpack_u64(&state, &bad);
  uint64_t elements = unpack_u64(&state, &bad), elements_hash = unpack_u64(&state, &bad);
  uint64_t separator = unpack_below(&state, 127, &bad);
  struct str header = unpack_str(&state, CSV_HEADER_MAX, &bad);
  size_t column_count = (size_t)unpack_below(&state, CSV_COLUMNS_MAX, &bad);
  struct csv_column columns[CSV_COLUMNS_MAX];
  for (size_t i = 0; i < column_count && !bad; i++) {
    columns[i].at = (uint16_t)unpack_below(&state, header.n, &bad);
    columns[i].n = (uint16_t)unpack_below(&state, header.n - columns[i].at, &bad);
    columns[i].kind = log_key_classify(str_n(header.p + columns[i].at, columns[i].n)).kind;
  }
  if (bad || state.n)
    return err_set(err, ERR_INVALID, "the stored state of the metric file is not valid");
  if (!log_parse_restore(f->counts, counts, err))
    return false;
  buf_reset(&f->rest);
  buf_add_str(&f->rest, rest);
  f->number = number;
  f->bad = lines_bad;
  f->overlong = flags & 1;
  f->broken = flags >> 1 & 1;
  f->skip = skip;
  f->elements = elements;
  f->elements_hash = elements_hash;
  f->separator = (char)separator;
  if (header.n)
    memcpy(f->header, header.p, header.n);
  f->column_count = column_count;
  if (column_count)
    memcpy(f->columns, columns, column_count * sizeof *columns);
  return buf_ok(&f->rest, err);
}
