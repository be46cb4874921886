#include "tracker/logs/log_metrics.h"

#include <math.h>

#include "base/mem.h"
#include "tracker/logs/line.h"
#include "tracker/logs/log_search.h"
#include "tracker/pack.h"

enum { STATE_VERSION = 1 };

struct log_metrics {
  struct line_reader *reader;
  struct log_parse *parse;
  bool no_builtin;
  struct log_pattern *patterns[LOG_METRICS_PATTERNS_MAX];
  char *wanted[LOG_METRICS_PATTERNS_MAX]; /* of a pattern that looks for one metric: its name */
  size_t pattern_count;
  struct log_point points[LOG_PATTERN_HITS_MAX];
  bool may_skip; /* lines that lack what all patterns look for give nothing */
  struct log_literal literals[LOG_METRICS_PATTERNS_MAX];
  /* Where each comes next in the bytes at hand: the rarest character of the literal, the literal, a control character. NULL: not looked
   * for. */
  const char *next_rarest[LOG_METRICS_PATTERNS_MAX], *next_literal[LOG_METRICS_PATTERNS_MAX], *next_control[LOG_METRICS_PATTERNS_MAX];
};

struct log_metrics *log_metrics_new(const struct log_metrics_options *options, struct err *err) {
  struct log_metrics *m = mem_zalloc(sizeof *m);
  if (!m) {
    err_no_memory(err);
    return NULL;
  }
  m->no_builtin = options->no_builtin;
  bool ok = (m->reader = line_reader_new(LINE_CELLS_MAX, err)) && (m->parse = log_parse_new(&options->parse, err));
  if (ok && options->pattern_count > LOG_METRICS_PATTERNS_MAX)
    ok = err_set(err, ERR_INVALID, "there are %zu patterns; at most %d are allowed", options->pattern_count, LOG_METRICS_PATTERNS_MAX);
  for (size_t i = 0; ok && i < options->pattern_count; i++) {
    const struct log_pattern_spec *spec = &options->patterns[i];
    bool wanted = i >= options->pattern_count - options->wanted_count;
    m->patterns[i] = log_pattern_new(spec, err);
    ok = m->patterns[i] != NULL;
    m->pattern_count += ok;
    if (ok && wanted && !(m->wanted[i] = mem_strdup(spec->key)))
      ok = err_no_memory(err);
  }
  m->may_skip = options->no_builtin;
  for (size_t i = 0; ok && i < m->pattern_count; i++) {
    m->literals[i] = log_literal_of(log_pattern_literal(m->patterns[i]));
    m->may_skip &= m->literals[i].text.n > 0;
  }
  if (ok)
    return m;
  log_metrics_free(m);
  return NULL;
}

void log_metrics_free(struct log_metrics *m) {
  if (!m)
    return;
  line_reader_free(m->reader);
  log_parse_free(m->parse);
  for (size_t i = 0; i < m->pattern_count; i++) {
    log_pattern_free(m->patterns[i]);
    mem_free(m->wanted[i]);
  }
  mem_free(m);
}

static bool same_value(double a, double b) {
  return a == b || (isnan(a) && isnan(b));
}

/* What the built-in recognisers gave already under the same key is not given twice. */
static bool is_known(const struct log_point *points, size_t n, const struct log_pattern_hit *hit) {
  for (size_t i = 0; i < n; i++)
    if (str_eq(points[i].key, hit->key) && same_value(points[i].value, hit->value))
      return true;
  return false;
}

/* Something of that name, or of a longer one ("best accuracy", "Test loss"), was recognised. */
static bool has_name(const struct log_point *points, size_t n, struct str name) {
  for (size_t i = 0; i < n; i++)
    if (str_find_str(points[i].key, name) != SIZE_MAX)
      return true;
  return false;
}

static bool match_patterns(struct log_metrics *m, const struct line *line, const struct log_point *known, size_t known_n,
                           log_metrics_sink *sink, void *ctx, struct err *err) {
  for (size_t i = 0; i < m->pattern_count; i++) {
    const struct log_pattern_hit *hits;
    if (m->wanted[i] && has_name(known, known_n, str_of(m->wanted[i])))
      continue;
    size_t hits_n = log_pattern_match(m->patterns[i], line->text, &hits), n = 0;
    for (size_t k = 0; k < hits_n; k++)
      if (!is_known(known, known_n, &hits[k])) {
        struct log_point point = {.key = hits[k].key,
                                  .name = hits[k].key,
                                  .value = hits[k].value,
                                  .step = hits[k].step,
                                  .epoch = hits[k].epoch,
                                  .line = line->number,
                                  .time_ms = hits[k].time_ms};
        if (log_parse_count(m->parse, &point))
          m->points[n++] = point;
      }
    if (n && !sink(ctx, m->points, n, err))
      return false;
  }
  return true;
}

static bool take_line(struct log_metrics *m, const struct line *line, log_metrics_sink *sink, void *ctx, struct err *err) {
  const struct log_point *points = NULL;
  size_t n = m->no_builtin ? 0 : log_parse_line(m->parse, line->text, line->number, &points);
  if (n && !sink(ctx, points, n, err))
    return false;
  return match_patterns(m, line, points, n, sink, ctx, err);
}

static const char *next_rarest(struct log_metrics *m, size_t i, const char *p, const char *end) {
  if (!m->next_rarest[i] || m->next_rarest[i] < p) {
    const char *at = memchr(p, log_literal_rarest(&m->literals[i]), (size_t)(end - p));
    m->next_rarest[i] = at ? at : end;
  }
  return m->next_rarest[i];
}

static const char *next_literal(struct log_metrics *m, size_t i, const char *p, const char *end) {
  if (!m->next_literal[i] || m->next_literal[i] < p)
    m->next_literal[i] = log_find_literal(&m->literals[i], p, end);
  return m->next_literal[i];
}

/* Each pattern has gone its own way, so each remembers its own. */
static const char *next_control(struct log_metrics *m, size_t i, const char *p, const char *end) {
  if (!m->next_control[i] || m->next_control[i] < p)
    m->next_control[i] = log_find_control(p, end);
  return m->next_control[i];
}

static const char *line_of(const char *from, const char *at) {
  const char *before = at > from ? memrchr(from, '\n', (size_t)(at - from)) : NULL;
  return before ? before + 1 : from;
}

/* Whatever control characters do with a line, it shows no character that it has not. */
static bool has_all(struct str line, struct str text) {
  for (size_t i = 0; i < text.n; i++)
    if (text.p[i] != ' ' && !memchr(line.p, text.p[i], line.n))
      return false;
  return true;
}

/* The first line from p on, which begins one, that may match the pattern: it has the rarest character of the literal, and the whole literal
 * too, or control characters between that do not show. The end when there is none. */
static const char *next_line(struct log_metrics *m, size_t i, const char *p, const char *end) {
  while (p < end) {
    const char *rarest = next_rarest(m, i, p, end);
    if (rarest == end)
      return end;
    const char *line = line_of(p, rarest), *literal = next_literal(m, i, line, end);
    const char *needed = MIN_OF(literal, next_control(m, i, line, end));
    if (needed == end)
      return end;
    p = line_of(line, needed);
    if (p > line)
      continue;
    const char *close = memchr(needed, '\n', (size_t)(end - needed));
    if (!close || literal < close || has_all(str_n(line, (size_t)(close - line)), m->literals[i].text))
      return line;
    p = close + 1;
  }
  return end;
}

/* Where only patterns are looked for: lines that none of them can match need not be made. */
static void skip_lines(struct log_metrics *m, struct str *bytes) {
  const char *end = bytes->p + bytes->n, *nearest = end;
  for (size_t i = 0; i < m->pattern_count; i++)
    nearest = MIN_OF(nearest, next_line(m, i, bytes->p, end));
  nearest = line_of(bytes->p, nearest);
  if (nearest > bytes->p)
    line_skip(m->reader, bytes, (size_t)(nearest - bytes->p));
}

bool log_metrics_feed(struct log_metrics *m, struct str bytes, log_metrics_sink *sink, void *ctx, struct err *err) {
  struct line line;
  enum line_answer answer;
  memset(m->next_rarest, 0, sizeof m->next_rarest);
  memset(m->next_literal, 0, sizeof m->next_literal);
  memset(m->next_control, 0, sizeof m->next_control);
  do {
    if (m->may_skip)
      skip_lines(m, &bytes);
    answer = line_next(m->reader, &bytes, &line);
    if (answer == LINE_READY && !take_line(m, &line, sink, ctx, err))
      return false;
  } while (answer == LINE_READY);
  return answer == LINE_MORE || err_no_memory(err);
}

bool log_metrics_end(struct log_metrics *m, log_metrics_sink *sink, void *ctx, struct err *err) {
  struct line line;
  const struct log_point *points;
  if (line_last(m->reader, &line) && !take_line(m, &line, sink, ctx, err))
    return false;
  size_t n = log_parse_end(m->parse, &points);
  return n == 0 || sink(ctx, points, n, err);
}

void log_metrics_summary(const struct log_metrics *m, char *out, size_t room) {
  log_parse_summary(m->parse, out, room);
}

size_t log_metrics_series(const struct log_metrics *m) {
  return log_parse_series(m->parse);
}

uint64_t log_metrics_lost(const struct log_metrics *m) {
  return line_lost(m->reader);
}

void log_metrics_save(const struct log_metrics *m, struct buf *out) {
  AUTO_BUF struct buf part = BUF_INIT(LOG_METRICS_STATE_MAX);
  pack_u64(out, STATE_VERSION);
  line_save(m->reader, &part);
  pack_str(out, buf_str(&part));
  if (part.fail != ERR_NONE)
    out->fail = part.fail;
  buf_reset(&part);
  log_parse_save(m->parse, &part);
  pack_str(out, buf_str(&part));
  if (part.fail != ERR_NONE)
    out->fail = part.fail;
}

bool log_metrics_restore(struct log_metrics *m, struct str state, struct err *err) {
  bool bad = unpack_u64(&state, &(bool){false}) != STATE_VERSION;
  struct str reader = unpack_str(&state, LOG_METRICS_STATE_MAX, &bad);
  struct str parse = unpack_str(&state, LOG_METRICS_STATE_MAX, &bad);
  if (bad || state.n)
    return err_set(err, ERR_INVALID, "the stored state of the metrics reader is not valid");
  return line_restore(m->reader, reader, err) && log_parse_restore(m->parse, parse, err);
}
