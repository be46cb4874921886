/* From the pairs of a line to points: which of them are metrics, which series each belongs to, and where it stands. */
#include "tracker/logs/log_state.h"

enum { SETTINGS_DUMPED = 8 };

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
  *raw =
      (struct raw){.name = name, .section = p->line_section, .value = value, .line = p->number, .kind = key.kind, .sections = key.sections};
  return raw;
}

struct raw *log_add_second(struct log_parse *p, double value, bool percent, struct str suffix) {
  if (p->raw_n == RAW_MAX) {
    p->kept.dropped++;
    return NULL;
  }
  struct raw *raw = &p->raw[p->raw_n++];
  *raw = raw[-1];
  raw->value = value;
  raw->percent = percent;
  raw->integer = false;
  raw->suffix = suffix;
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

bool log_names_nothing(struct log_parse *p) {
  const struct series *unnamed = find_series(p, STR("value"));
  return !p->kept.series_n || (unnamed && unnamed->hash && p->kept.series_n == 1);
}

/* What is being collected may be written over before the points are read. */
static bool in_block(const struct log_parse *p, struct str s) {
  return s.p >= p->kept.block.text && s.p < p->kept.block.text + BLOCK_MAX;
}

static struct str concat(struct log_parse *p, struct str a, struct str b) {
  char *text = log_scratch(p, a.n + b.n);
  if (!text)
    return STR("");
  memcpy(text, a.p, a.n);
  memcpy(text + a.n, b.p, b.n);
  return str_n(text, a.n + b.n);
}

static enum level line_level(const struct log_parse *p) {
  const struct place *own = &p->own;
  if (p->complete_bar && (!isnan(own->epoch) || !isnan(p->kept.carried.epoch)))
    return LEVEL_EPOCH;
  if (!isnan(own->batch))
    return LEVEL_BATCH;
  if (!isnan(own->step))
    return LEVEL_STEP;
  if (!isnan(own->epoch))
    return LEVEL_EPOCH;
  return place_is_none(&p->kept.carried) ? LEVEL_OPEN : LEVEL_NONE;
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

/* Where the points of a line stand, worked out once. */
struct stand {
  struct place place;
  enum level level;
  double printed; /* the step that the line prints, told apart from the same step of another epoch */
  int64_t wanted; /* the step to store, */
  bool said;      /* when the log says it */
  bool carried;   /* the line itself says nothing */
};

static struct stand line_stand(struct log_parse *p) {
  struct stand stand = {.place = line_place(p), .level = line_level(p), .carried = place_is_none(&p->own)};
  stand.printed = isnan(stand.place.epoch) ? p->own.step : p->own.step + stand.place.epoch * M_SQRT2;
  stand.wanted = wanted_step(p, &stand.place, &stand.said);
  return stand;
}

static int64_t stored_step(struct series *s, const struct stand *stand) {
  if (!stand->said)
    return s->count ? s->last + 1 : 0;
  int64_t step = stand->wanted + s->offset;
  if (s->count && step < s->last) { /* it restarts: count on from the last */
    s->offset = s->last + (stand->wanted > 0 ? 0 : 1);
    step = stand->wanted + s->offset;
  } else if (s->count && step == s->last && stand->carried) { /* it stands still while reports go on */
    s->offset++;
    step++;
  }
  s->offset = MIN_OF(s->offset, LOG_STEP_MAX);
  return MIN_OF(step, LOG_STEP_MAX);
}

/* One more point of the series: the step to store. */
static int64_t count_point(struct series *s, const struct stand *stand) {
  s->last = stored_step(s, stand);
  s->count++;
  return s->last;
}

static uint16_t label_hash(struct log_parse *p) {
  return p->label.n ? (uint16_t)(log_key_hash(p, p->label) | 1) : 0;
}

static bool begin_series(struct log_parse *p, struct series *s, struct str key, enum level level, bool in_dict) {
  if (!s)
    return false;
  if (s->hash)
    return true;
  *s = (struct series){.hash = log_key_hash(p, key), .level = (uint8_t)level, .in_dict = in_dict, .label = label_hash(p), .printed = NAN};
  p->kept.series_n++;
  return true;
}

static const char *const level_names[LEVEL_COUNT] = {" (end)", " (epoch)", " (step)", " (batch)", " (end)"};

/* The series that lines of this level have for themselves. */
static struct series *own_series(struct log_parse *p, enum level level, struct str key, struct str *ret_key) {
  *ret_key = concat(p, key, str_of(level_names[level]));
  return ret_key->n ? find_series(p, *ret_key) : NULL;
}

/* What goes before the name, so that series of other parts of the log have other keys. */
static struct str key_section(struct log_parse *p, const struct raw *raw) {
  struct str section = p->best ? STR("best iteration") : raw->section;
  bool strong = p->best;
  if (!section.n && p->kept.section_n) {
    section = str_n(p->kept.section, p->kept.section_n);
    strong = p->kept.section_strong || log_says_all(section);
    p->kept.section_used = true;
  }
  bool says_itself = raw->sections && !strong && !str_is(section, "*");
  return says_itself || raw->kind == LOG_KEY_SCHEDULE || (raw->kind == LOG_KEY_SECTION && !log_says_all(section)) ? STR("") : section;
}

/* The name with what stands around it; in it lies the name with its suffix. Empty when there is no room. */
static struct str full_name(struct log_parse *p, const struct raw *raw, struct str *ret_name) {
  struct str section = key_section(p, raw), end = p->running_bar ? STR(" (running)") : STR(""); /* apart from what a bar ends with */
  size_t before = section.n ? section.n + 1 : 0, n = raw->name.n + raw->suffix.n;
  if (before + n + end.n == raw->name.n && !in_block(p, raw->name))
    return *ret_name = raw->name;
  char *text = log_scratch(p, before + n + end.n);
  if (!text)
    return STR("");
  *ret_name = str_n(text + before, n);
  if (before) {
    memcpy(text, section.p, section.n);
    text[section.n] = ' ';
  }
  memcpy(text + before, raw->name.p, raw->name.n);
  if (raw->suffix.n)
    memcpy(text + before + raw->name.n, raw->suffix.p, raw->suffix.n);
  if (end.n)
    memcpy(text + before + n, end.p, end.n);
  return str_n(text, before + n + end.n);
}

static uint8_t beside(const struct log_parse *p) {
  return (uint8_t)MIN_OF(p->raw_n, (size_t)UINT8_MAX);
}

/* Does the series go on with lines of another level than it had? What came before the first place was of no level: one measurement
 * before the training, or several, when the lines of a level come twice and none of the others between them. Under a headline it may
 * be one before the training, too, if the lines of the level begin alike or in a later epoch. */
static bool takes_level(const struct log_parse *p, const struct series *s, const struct stand *stand, bool has_own) {
  if (s->level == LEVEL_OPEN)
    return s->count == 1 || stand->level == LEVEL_NONE || has_own;
  if (s->level != LEVEL_NONE || s->count != 1 || stand->carried)
    return false;
  bool alike = s->beside == beside(p) && p->raw_n > 1;
  bool later = stand->level == LEVEL_EPOCH && stand->said && stand->wanted > s->last;
  return alike || (later && !has_own);
}

/* The same name under another label at the same place, "[student] step 5: loss", "[teacher] step 5: loss": from then on the label is
 * part of the key. */
static struct series *labelled_series(struct log_parse *p, struct series *s, const struct stand *stand, struct str *key) {
  struct str begin = concat(p, p->label, STR(" ")), full = concat(p, begin, *key);
  struct series *own = full.n ? find_series(p, full) : NULL;
  bool same_place = s && s->hash && stand->said && stand->wanted + s->offset == s->last;
  if (!own || !(own->hash || (same_place && s->label && s->label != label_hash(p))))
    return s;
  *key = full;
  return own;
}

/* The series of a raw pair: its name with what keeps it apart. NULL when there are too many. */
static struct series *name_series(struct log_parse *p, const struct raw *raw, const struct stand *stand, struct str *ret_key,
                                  struct str *ret_name) {
  struct str key = full_name(p, raw, ret_name);
  struct series *s = key.n ? find_series(p, key) : NULL;
  if (p->label.n && key.n)
    s = labelled_series(p, s, stand, &key);
  if (s && s->hash && s->line == raw->line) { /* twice on one line */
    key = concat(p, key, STR(" 2"));
    s = key.n ? find_series(p, key) : NULL;
  }
  if (s && s->hash && s->level != stand->level && raw->kind != LOG_KEY_SCHEDULE) {
    struct str own_key;
    struct series *own = own_series(p, stand->level, key, &own_key);
    if (takes_level(p, s, stand, own && own->hash)) {
      s->level = (uint8_t)stand->level;
      s->in_dict = raw->in_dict;
    } else {
      key = own_key;
      s = own;
    }
  }
  /* A dict beside lines that give the same, or the same step of the same epoch again on a line of another kind: it repeats. */
  bool again = stand->level == LEVEL_STEP && s && s->printed == stand->printed && s->line != raw->line && s->beside != beside(p);
  if (s && s->hash && (s->in_dict != raw->in_dict || again)) {
    key = concat(p, key, STR(" (repeat)"));
    s = key.n ? find_series(p, key) : NULL;
  }
  *ret_key = key;
  return begin_series(p, s, key, stand->level, raw->in_dict) ? s : NULL;
}

/* Of a metric file: the name as it is. */
static struct series *name_record(struct log_parse *p, const struct raw *raw, const struct stand *stand, struct str *ret_key,
                                  struct str *ret_name) {
  struct series *s = find_series(p, raw->name);
  *ret_key = *ret_name = raw->name;
  return begin_series(p, s, raw->name, stand->level, false) ? s : NULL;
}

static void add_point(struct log_parse *p, const struct raw *raw, const struct stand *stand, enum style style, bool aux) {
  struct str key, name;
  struct series *s = p->points_n == LOG_POINTS_MAX ? NULL : (p->record ? name_record : name_series)(p, raw, stand, &key, &name);
  if (!s) {
    p->kept.dropped++;
    return;
  }
  s->printed = stand->printed;
  s->line = raw->line;
  s->beside = beside(p);
  p->points[p->points_n++] = (struct log_point){.key = key,
                                                .name = name,
                                                .value = raw->value,
                                                .step = isnan(stand->place.step) ? stand->place.batch : stand->place.step,
                                                .epoch = stand->place.epoch,
                                                .at = count_point(s, stand),
                                                .line = raw->line,
                                                .percent = raw->percent,
                                                .aux = aux};
  p->kept.points_by_style[style] += !aux;
}

/* ---- what is wanted ---- */

static bool measures(const struct raw *raw) {
  return raw->kind == LOG_KEY_METRIC || (raw->kind == LOG_KEY_SECTION && (!raw->integer || raw->percent));
}

/* "training's l2: 1074  training's l1: 26.4": a whole number among others may be the next value of what was measured before. */
static bool goes_on(struct log_parse *p, const struct raw *raw) {
  bool among = false;
  for (size_t i = 0; i < p->raw_n; i++)
    among |= p->raw[i].kind == raw->kind && !p->raw[i].integer;
  if (!among)
    return false;
  size_t scratch_n = p->scratch_n;
  bool section_used = p->kept.section_used;
  struct str name, key = full_name(p, raw, &name);
  struct series *s = key.n ? find_series(p, key) : NULL;
  p->scratch_n = scratch_n; /* it was only asked */
  p->kept.section_used = section_used;
  return s && s->hash;
}

static bool wants(struct log_parse *p, const struct raw *raw, bool metrics, bool placed, bool *ret_aux) {
  *ret_aux = false;
  if (p->record)
    return true;
  switch (raw->kind) {
  case LOG_KEY_METRIC:
    return true;
  case LOG_KEY_SECTION:
    return measures(raw) || goes_on(p, raw);
  case LOG_KEY_UNKNOWN:
    return metrics || (placed && (!raw->integer || goes_on(p, raw)));
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
    bool goes_on = isnan(own->batch_total) || (own->batch_total == carried->batch_total && own->step > carried->step);
    if (goes_on && !p->kept.section_strong && (has_points || p->kept.section_used))
      p->kept.section_n = 0;
    carried->step = own->step;
  }
  if (!place_is_none(own)) {
    carried->batch = has_points || p->complete_bar ? (double)NAN : own->batch;
    carried->batch_total = p->complete_bar || p->running_bar ? (double)NAN : own->batch_total;
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
  for (size_t i = 0; i < p->raw_n && isnan(p->own.step) && isnan(p->own.batch); i++)
    if (str_eq_nocase(p->raw[i].name, STR("episodes")) && p->raw[i].integer &&
        p->raw[i].value >= 0) /* what is counted besides them goes first */
      p->own.step = p->raw[i].value;
  return taken;
}

/* "val_loss improved by 0.04. New best score: 0.31": the talk ends in a report. */
static void keep_new_best(struct log_parse *p) {
  static const char new_best[] = "new best ";
  size_t kept = 0;
  for (size_t i = 0; i < p->raw_n; i++)
    if (p->raw[i].name.n > strlen(new_best) && strncasecmp(p->raw[i].name.p, new_best, strlen(new_best)) == 0)
      p->raw[kept++] = p->raw[i];
  p->raw_n = kept;
}

/* A dict of settings, some of which are named after metrics. */
static bool is_settings_dump(const struct log_parse *p) {
  size_t settings = 0, metrics = 0;
  for (size_t i = 0; i < p->raw_n; i++) {
    settings += p->raw[i].in_dict && p->raw[i].kind == LOG_KEY_SETTING;
    metrics += p->raw[i].kind == LOG_KEY_METRIC;
  }
  return settings >= SETTINGS_DUMPED && settings > 2 * metrics && !p->record;
}

void log_settle(struct log_parse *p, enum style style) {
  bool metrics = style == STYLE_PAIRS && p->measured;
  if (is_settings_dump(p))
    p->raw_n = 0;
  size_t settings = 0, before = p->points_n;
  if (p->refused)
    keep_new_best(p);
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
  struct stand stand = line_stand(p);
  p->here = stand.place;
  for (size_t i = 0; i < p->raw_n; i++) {
    bool aux;
    if (wants(p, &p->raw[i], metrics, placed, &aux))
      add_point(p, &p->raw[i], &stand, style, aux);
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
  if (!begin_series(p, s, point->key, isnan(point->step) ? LEVEL_EPOCH : LEVEL_STEP, false)) {
    p->kept.dropped++;
    return false;
  }
  struct stand stand = {.carried = isnan(point->step) && isnan(point->epoch)};
  if (stand.carried) { /* the pattern does not say: what the line, or one before it, says */
    point->step = isnan(p->here.step) ? p->here.batch : p->here.step;
    point->epoch = p->here.epoch;
  }
  stand.place = (struct place){point->epoch, point->step, NAN, NAN};
  stand.wanted = wanted_step(p, &stand.place, &stand.said);
  point->at = count_point(s, &stand);
  return true;
}
