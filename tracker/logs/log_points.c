/* From the pairs of a line to points: which of them are metrics, which series each belongs to, and where it stands. */
#include "tracker/logs/log_state.h"

char *log_scratch(struct log_parse *p, size_t n) {
  if (n > SCRATCH_MAX - p->scratch_n)
    return NULL;
  char *room = p->scratch + p->scratch_n;
  p->scratch_n += n;
  return room;
}

struct raw *log_add_raw(struct log_parse *p, struct str name, double value) {
  if (p->raw_n == RAW_MAX || !name.n || name.n > LOG_NAME_MAX) {
    p->kept.dropped++;
    return NULL;
  }
  struct log_key key = log_classify(p, name);
  struct raw *raw = &p->raw[p->raw_n++];
  *raw = (struct raw){.name = name,
                      .section = p->line_section,
                      .suffix = "",
                      .value = value,
                      .line = p->number,
                      .kind = key.kind,
                      .sections = key.sections};
  return raw;
}

/* ---- series ---- */

static struct series *find_series(struct log_parse *p, struct str key) {
  uint64_t hash = log_key_hash(p, key);
  for (size_t i = hash & (SERIES_MAX - 1);; i = (i + 1) & (SERIES_MAX - 1)) {
    struct series *s = &p->kept.series[i];
    if (s->hash == hash || !s->hash) {
      if (!s->hash && p->kept.series_n >= SERIES_MAX * 3 / 4)
        return NULL;
      return s;
    }
  }
}

/* What is being collected may be written over before the points are read. */
static bool in_block(const struct log_parse *p, struct str s) {
  return s.p >= p->kept.block.text && s.p < p->kept.block.text + BLOCK_MAX;
}

static struct str concat(struct log_parse *p, struct str a, struct str b, struct str c) {
  size_t n = a.n + b.n + c.n;
  if (n == a.n && !in_block(p, a))
    return a;
  char *text = log_scratch(p, n);
  if (!text)
    return STR("");
  if (a.n)
    memcpy(text, a.p, a.n);
  if (b.n)
    memcpy(text + a.n, b.p, b.n);
  if (c.n)
    memcpy(text + a.n + b.n, c.p, c.n);
  return str_n(text, n);
}

static enum level line_level(const struct log_parse *p) {
  const struct place *own = &p->own;
  if (p->complete_bar && (!isnan(own->epoch) || !isnan(p->kept.carried.epoch)))
    return LEVEL_EPOCH;
  if (!isnan(own->batch))
    return LEVEL_BATCH;
  if (!isnan(own->step))
    return LEVEL_STEP;
  return isnan(own->epoch) ? LEVEL_NONE : LEVEL_EPOCH;
}

/* Where the points of this line stand: what it says itself, and what earlier lines said. */
static struct place line_place(const struct log_parse *p) {
  struct place place = p->own;
  if (place_is_none(&place)) {
    place = p->kept.carried;
  } else if (isnan(place.epoch)) {
    place.epoch = p->kept.carried.epoch;
  }
  if (p->complete_bar && !isnan(place.epoch) && place.batch == place.batch_total)
    place.batch = NAN;
  return place;
}

/* The step to store: a step that is global; a batch counted through the epochs; an epoch; else the ordinal. `*said` tells whether the
 * log says it, or it must be counted. */
static int64_t wanted_step(const struct log_parse *p, const struct place *place, bool *said) {
  double step = NAN;
  if (!isnan(place->step))
    step = place->step;
  else if (!isnan(place->batch) && !isnan(place->epoch) && place->batch_total > 0)
    step = (floor(place->epoch) - (isnan(p->kept.epoch_first) ? 0 : p->kept.epoch_first)) * place->batch_total + place->batch;
  else if (isnan(place->batch) && place->epoch == floor(place->epoch))
    step = place->epoch;
  *said = step >= 0 && step < 9e15;
  return *said ? (int64_t)step : 0;
}

static int64_t stored_step(const struct log_parse *p, struct series *s, const struct place *place, bool carried) {
  bool said;
  int64_t wanted = wanted_step(p, place, &said);
  if (!said)
    return s->count ? s->last + 1 : 0;
  int64_t step = wanted + s->offset;
  if (s->count && step < s->last) { /* it restarts: count on from the last */
    s->offset = s->last + (wanted > 0 ? 0 : 1);
    step = wanted + s->offset;
  } else if (s->count && step == s->last && carried) { /* it stands still while reports go on */
    s->offset++;
    step++;
  }
  return MIN_OF(step, LOG_STEP_MAX);
}

/* The step that the line prints, told apart from the same step of another epoch. */
static double printed_place(const struct log_parse *p) {
  return isnan(p->here.epoch) ? p->own.step : p->own.step + p->here.epoch * M_SQRT2;
}

static const char *const level_names[LEVEL_COUNT] = {" (end)", " (epoch)", " (step)", " (batch)"};

/* The series of a raw pair: its name with what keeps it apart. NULL when there are too many. */
static struct series *name_series(struct log_parse *p, const struct raw *raw, enum level level, struct str *ret_key) {
  struct str section = raw->section;
  if (p->record) {
    struct series *s = find_series(p, raw->name);
    if (s && !s->hash) {
      *s = (struct series){.hash = log_key_hash(p, raw->name), .level = (uint8_t)level, .printed = NAN};
      p->kept.series_n++;
    }
    *ret_key = raw->name;
    return s;
  }
  bool strong = p->best;
  if (strong)
    section = STR("best iteration");
  if (!section.n && p->kept.section_n) {
    section = str_n(p->kept.section, p->kept.section_n);
    strong = p->kept.section_strong;
  }
  bool says_itself = raw->sections && !strong && !str_is(section, "*");
  if (says_itself || raw->kind == LOG_KEY_SCHEDULE || raw->kind == LOG_KEY_SECTION)
    section = STR("");
  struct str name = section.n ? concat(p, section, STR(" "), raw->name) : raw->name;
  /* What a bar shows on its way is kept apart from what it ends with. */
  struct str key = concat(p, name, str_of(raw->suffix), p->running_bar ? STR(" (running)") : STR(""));
  if (!key.n)
    return NULL;
  struct series *s = find_series(p, key);
  if (s && s->hash && s->line == raw->line) { /* twice on one line */
    key = concat(p, key, STR(" 2"), STR(""));
    s = key.n ? find_series(p, key) : NULL;
  }
  if (s && s->hash && s->level != level && raw->kind != LOG_KEY_SCHEDULE) {
    key = concat(p, key, str_of(level_names[level]), STR(""));
    s = key.n ? find_series(p, key) : NULL;
  }
  /* A dict beside lines that give the same, or the same step of the same epoch again: it repeats. */
  bool again = level == LEVEL_STEP && s && s->printed == printed_place(p) && s->line != raw->line;
  if (s && s->hash && (s->in_dict != raw->in_dict || again)) {
    key = concat(p, key, STR(" (repeat)"), STR(""));
    s = key.n ? find_series(p, key) : NULL;
  }
  if (s && !s->hash) {
    *s = (struct series){.hash = log_key_hash(p, key), .level = (uint8_t)level, .in_dict = raw->in_dict, .printed = NAN};
    p->kept.series_n++;
  }
  *ret_key = key;
  return s;
}

static void add_point(struct log_parse *p, const struct raw *raw, const struct place *place, enum level level, enum style style, bool aux) {
  struct str key;
  struct series *s = p->points_n < LOG_POINTS_MAX ? name_series(p, raw, level, &key) : NULL;
  struct str name = s ? concat(p, raw->name, str_of(raw->suffix), STR("")) : STR("");
  if (!s || !name.n) {
    p->kept.dropped++;
    return;
  }
  int64_t at = stored_step(p, s, place, place_is_none(&p->own));
  s->last = at;
  s->printed = printed_place(p);
  s->line = raw->line;
  s->offset = MIN_OF(s->offset, LOG_STEP_MAX);
  s->count++;
  p->points[p->points_n++] = (struct log_point){.key = key,
                                                .name = name,
                                                .value = raw->value,
                                                .step = isnan(place->step) ? place->batch : place->step,
                                                .epoch = place->epoch,
                                                .at = at,
                                                .line = raw->line,
                                                .percent = raw->percent,
                                                .aux = aux};
  p->kept.points_by_style[style] += !aux;
}

/* ---- what is wanted ---- */

static bool measures(const struct raw *raw) {
  return raw->kind == LOG_KEY_METRIC || (raw->kind == LOG_KEY_SECTION && (!raw->integer || raw->percent));
}

static bool wants(const struct log_parse *p, const struct raw *raw, bool metrics, bool placed, bool *ret_aux) {
  *ret_aux = false;
  if (p->record)
    return true;
  switch (raw->kind) {
  case LOG_KEY_METRIC:
    return true;
  case LOG_KEY_SECTION:
    return measures(raw);
  case LOG_KEY_UNKNOWN:
    return metrics || (placed && !raw->integer);
  case LOG_KEY_SCHEDULE:
    return metrics;
  case LOG_KEY_CLOCK:
    *ret_aux = true;
    return metrics && p->options.want_aux;
  default:
    return false;
  }
}

/* What this line says about the place is remembered for the lines after it. */
static void carry_place(struct log_parse *p, bool has_points) {
  struct place *own = &p->own, *carried = &p->kept.carried;
  if (!isnan(own->epoch)) {
    if (isnan(p->kept.epoch_first))
      p->kept.epoch_first = own->epoch >= 1 ? 1 : 0;
    if (own->epoch != carried->epoch) {
      carried->step = NAN;
      if (!p->kept.section_strong)
        p->kept.section_n = 0;
    }
    carried->epoch = own->epoch;
  }
  if (!isnan(own->step)) {
    if (isnan(own->batch_total) && !p->kept.section_strong)
      p->kept.section_n = 0;
    carried->step = own->step;
  }
  if (!place_is_none(own)) {
    carried->batch = has_points || p->complete_bar ? (double)NAN : own->batch;
    carried->batch_total = own->batch_total;
  }
}

/* A bar under no headline of its own, when there have been such: an evaluation after the training. */
static void find_evaluation(struct log_parse *p, bool metrics) {
  if (!p->complete_bar || !isnan(p->own.epoch) || !p->kept.header_seen || !metrics)
    return;
  /* The same bar again is drawn again, with more in it; one of another length is another data set's. */
  bool again = p->own.batch_total == p->kept.bar_total;
  if (p->kept.header_open)
    p->kept.bar_total = p->own.batch_total;
  else if (!again && !p->kept.section_n)
    for (size_t i = 0; i < p->raw_n; i++)
      if (!p->raw[i].section.n)
        p->raw[i].section = STR("evaluate");
  p->kept.header_open = false;
}

/* How the first line with points begins: "Train Epoch", "[0]". */
static void note_style(struct log_parse *p) {
  if (p->kept.style_n || p->first >= p->tokens_n)
    return;
  bool telling = false;
  for (size_t i = p->first; i < p->first + 2 && token_is_word(p, i); i++)
    telling |= p->tokens[i].flags & LOG_T_USED || token_is_section(p, i);
  for (size_t i = p->first; telling && i < p->first + 2 && token_is_word(p, i); i++) {
    struct str word = token_text(p, i);
    if (p->kept.style_n + word.n + 1 > STYLE_MAX)
      break;
    if (p->kept.style_n)
      p->kept.style[p->kept.style_n++] = ' ';
    memcpy(p->kept.style + p->kept.style_n, word.p, word.n);
    p->kept.style_n = (uint8_t)(p->kept.style_n + word.n);
  }
  if (!p->kept.style_n && token_is(p, p->first, '[')) {
    memcpy(p->kept.style, "[n]", 3);
    p->kept.style_n = 3;
  }
}

/* "num steps: 1000, reward: 5": how far it is, in the words of a setting. Beside a metric it is a place. */
static double *counted_place(struct log_parse *p, struct str name) {
  static const char *const names[] = {"steps",     "iters",       "iterations",  "num steps", "num_steps",
                                      "timesteps", "total steps", "total_steps", "env steps", "env_steps",
                                      "updates",   "num updates", "num trees",   "num_trees", "num-trees"};
  for (size_t i = 0; i < ARRAY_LEN(names); i++)
    if (str_eq_nocase(name, str_of(names[i])))
      return isnan(p->own.batch) ? &p->own.step : NULL;
  return str_eq_nocase(name, STR("epochs")) ? &p->own.epoch : NULL;
}

/* "Epochs seen: 1", "total env steps: 2000": places whose names are several words. */
static void place_by_names(struct log_parse *p) {
  for (size_t i = 0; i < p->raw_n; i++) {
    double *place = p->raw[i].kind == LOG_KEY_EPOCH ? &p->own.epoch : p->raw[i].kind == LOG_KEY_STEP ? &p->own.step : NULL;
    if (place && isnan(*place) && p->raw[i].integer && p->raw[i].value >= 0)
      *place = p->raw[i].value;
  }
}

static size_t place_by_settings(struct log_parse *p) {
  size_t taken = 0;
  for (size_t i = 0; i < p->raw_n; i++) {
    const struct raw *raw = &p->raw[i];
    bool counts = raw->kind == LOG_KEY_SETTING && raw->integer && raw->value >= 0 && raw->name.n <= 11;
    double *place = counts ? counted_place(p, raw->name) : NULL;
    if (place && isnan(*place)) {
      *place = raw->value;
      taken++;
    }
  }
  return taken;
}

void log_settle(struct log_parse *p, enum style style) {
  bool metrics = style == STYLE_PAIRS && p->measured;
  size_t settings = 0, before = p->points_n;
  if (p->refused)
    p->raw_n = 0;
  for (size_t i = 0; i < p->raw_n; i++) {
    metrics |= measures(&p->raw[i]);
    settings += p->raw[i].kind == LOG_KEY_SETTING;
  }
  if (style == STYLE_PAIRS && !p->record)
    place_by_names(p);
  if (settings && (metrics || !isnan(p->own.epoch)) && style == STYLE_PAIRS && !p->record)
    settings -= place_by_settings(p);
  bool placed = !place_is_none(&p->own) && settings < 2;
  struct place old = p->kept.carried;
  carry_place(p, metrics);
  if (style == STYLE_PAIRS)
    find_evaluation(p, metrics);
  struct place place = p->here = line_place(p);
  enum level level = line_level(p);
  for (size_t i = 0; i < p->raw_n; i++) {
    bool aux;
    if (wants(p, &p->raw[i], metrics, placed, &aux))
      add_point(p, &p->raw[i], &place, level, style, aux);
  }
  if (p->points_n > before) {
    if (style == STYLE_PAIRS)
      note_style(p);
  } else if (!isnan(p->own.epoch) && !p->refused && (p->own.epoch != old.epoch || !p->kept.header_seen)) {
    p->kept.header_open = p->kept.header_seen = true;
  }
}

bool log_parse_count(struct log_parse *p, struct log_point *point) {
  struct series *s = find_series(p, point->key);
  if (!s) {
    p->kept.dropped++;
    return false;
  }
  if (!s->hash) {
    *s = (struct series){.hash = log_key_hash(p, point->key), .level = isnan(point->step) ? LEVEL_EPOCH : LEVEL_STEP, .printed = NAN};
    p->kept.series_n++;
  }
  bool carried = isnan(point->step) && isnan(point->epoch);
  if (carried) { /* the pattern does not say: what the line, or one before it, says */
    point->step = isnan(p->here.step) ? p->here.batch : p->here.step;
    point->epoch = p->here.epoch;
  }
  struct place place = {point->epoch, point->step, NAN, NAN};
  point->at = stored_step(p, s, &place, carried);
  s->last = point->at;
  s->offset = MIN_OF(s->offset, LOG_STEP_MAX);
  s->count++;
  p->kept.points_by_style[STYLE_PAIRS]++;
  return true;
}
