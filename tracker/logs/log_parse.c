#include "tracker/logs/log_parse.h"

#include "base/mem.h"
#include "tracker/logs/log_state.h"
#include "tracker/pack.h"

enum { STATE_VERSION = 1 };

static const int64_t STEP_MAX = INT64_MAX / 4;

struct log_parse *log_parse_new(const struct log_parse_options *options, struct err *err) {
  struct log_parse *p = mem_zalloc(sizeof *p);
  if (!p) {
    err_no_memory(err);
    return NULL;
  }
  if (options)
    p->options = *options;
  p->kept.carried = p->here = PLACE_NONE;
  p->kept.epoch_first = NAN;
  return p;
}

void log_parse_free(struct log_parse *p) {
  mem_free(p);
}

size_t log_parse_series(const struct log_parse *p) {
  return p->kept.series_n;
}

uint64_t log_parse_dropped(const struct log_parse *p) {
  return p->kept.dropped;
}

/* ---- services for the parts ---- */

/* Stands in stored states: it stays as it is. */
static uint64_t stored_hash(struct str s) {
  uint64_t hash = 14695981039346656037u;
  for (size_t i = 0; i < s.n; i++)
    hash = (hash ^ (unsigned char)s.p[i]) * 1099511628211u;
  return hash ? hash : 1;
}

static uint64_t load(const char *p, size_t n) {
  uint64_t word = 0;
  memcpy(&word, p, n);
  return word;
}

/* Eight bytes at a time, for what is kept only while the program runs. */
static uint64_t quick_hash(struct str s) {
  uint64_t hash = s.n * 0x9e3779b97f4a7c15u;
  size_t i = 0;
  for (; i + 8 <= s.n; i += 8) {
    hash = (hash ^ load(s.p + i, 8)) * 0xff51afd7ed558ccdu;
    hash ^= hash >> 32;
  }
  if (s.n - i >= 4) {
    hash = (hash ^ load(s.p + i, 4) ^ load(s.p + s.n - 4, 4) << 32) * 0xff51afd7ed558ccdu;
  } else if (s.n > i) {
    size_t rest = s.n - i;
    uint64_t last = (uint64_t)(unsigned char)s.p[i] << 16 | (uint64_t)(unsigned char)s.p[i + rest / 2] << 8 | (unsigned char)s.p[s.n - 1];
    hash = (hash ^ last) * 0xff51afd7ed558ccdu;
  }
  hash ^= hash >> 29;
  hash *= 0xc4ceb9fe1a85ec53u;
  hash ^= hash >> 32;
  return hash ? hash : 1;
}

/* stored_hash(), looked up. */
static uint64_t key_hash(struct log_parse *p, struct str key) {
  uint64_t quick = quick_hash(key);
  size_t at = quick & (CACHE_MAX - 1);
  if (p->hashes[at].quick != quick) {
    p->hashes[at].quick = quick;
    p->hashes[at].stored = stored_hash(key);
  }
  return p->hashes[at].stored;
}

static const struct word_info *look_up(struct log_parse *p, struct str name) {
  uint64_t hash = quick_hash(name);
  size_t at = hash & (CACHE_MAX - 1);
  if (p->cache[at].hash != hash) {
    p->cache[at].hash = hash;
    p->cache[at].info = (struct word_info){(uint16_t)log_word(name), log_is_section(name), log_may_be_place(name), log_key_classify(name)};
  }
  return &p->cache[at].info;
}

unsigned log_flags(struct log_parse *p, struct str word) {
  return look_up(p, word)->flags;
}

/* A name is asked for several times in turn. */
struct log_key log_classify(struct log_parse *p, struct str name) {
  if (name.n && name.n == p->asked.n && memcmp(name.p, p->asked.name, name.n) == 0)
    return p->asked.key;
  struct log_key key = look_up(p, name)->key;
  if (name.n <= sizeof p->asked.name && name.n) {
    memcpy(p->asked.name, name.p, name.n);
    p->asked.n = (uint8_t)name.n;
    p->asked.key = key;
  }
  return key;
}

void log_read_tokens(struct log_parse *p, struct str text) {
  p->text = text;
  p->tokens_n = log_tokenize(text, p->tokens, TOKENS_MAX);
  for (size_t i = 0; i < p->tokens_n; i++)
    p->words[i] = p->tokens[i].type == LOG_T_WORD ? *look_up(p, token_text(p, i)) : (struct word_info){0};
}

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

void log_set_section(struct log_parse *p, struct str section, bool strong) {
  p->kept.section_n = (uint8_t)MIN_OF(section.n, (size_t)SECTION_MAX);
  if (section.n)
    memcpy(p->kept.section, section.p, p->kept.section_n);
  p->kept.section_strong = strong;
}

/* ---- from raw pairs to points ---- */

static struct series *find_series(struct log_parse *p, struct str key) {
  uint64_t hash = key_hash(p, key);
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
  return MIN_OF(step, STEP_MAX);
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
      *s = (struct series){.hash = key_hash(p, raw->name), .level = (uint8_t)level, .printed = NAN};
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
    *s = (struct series){.hash = key_hash(p, key), .level = (uint8_t)level, .in_dict = raw->in_dict, .printed = NAN};
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
  s->offset = MIN_OF(s->offset, STEP_MAX);
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

/* ---- headlines ---- */

/* "Validation", "Evaluating ...", "***** eval metrics *****": the section of the lines that follow. */
static void find_headline(struct log_parse *p) {
  size_t words = 0, at = SIZE_MAX, from = p->first, to = p->tokens_n;
  while (from < to && p->tokens[from].type != LOG_T_WORD)
    from++;
  while (to > from && p->tokens[to - 1].type != LOG_T_WORD)
    to--;
  for (size_t i = from; i < to; i++) {
    const struct log_token *t = &p->tokens[i];
    if (t->type == LOG_T_MARK && strchr("=/\\<{", t->mark))
      return;
    if (t->type != LOG_T_WORD || t->flags & LOG_T_USED)
      continue;
    words++;
    if (at == SIZE_MAX && token_is_section(p, i))
      at = words == 1 || words == 2 ? i : SIZE_MAX;
  }
  if (at == SIZE_MAX || words > 5)
    return;
  bool strong = from - p->first >= 3 && p->tokens_n - to >= 3;
  if (strong) {
    log_set_section(p, str_n(p->text.p + p->tokens[from].at, p->tokens[to - 1].end - p->tokens[from].at), true);
  } else if (token_word(p, at) & LOG_WORD_TRAIN) {
    p->kept.section_n = 0;
  } else {
    log_set_section(p, token_text(p, at), false);
  }
}

/* The indented lines under a headline are over: "***** Running Evaluation *****" says from now on what "Evaluation" would. */
static void demote_section(struct log_parse *p) {
  struct str rest = str_n(p->kept.section, p->kept.section_n), word;
  p->kept.section_strong = false;
  while (str_split(&rest, ' ', &word))
    if (log_is_section(word) && !(log_word(word) & LOG_WORD_TRAIN)) {
      memmove(p->kept.section, word.p, word.n);
      p->kept.section_n = (uint8_t)word.n;
      return;
    }
  p->kept.section_n = 0;
}

/* "Early stopping, best iteration is:" : the line after it repeats an earlier one. */
static bool announces_best(struct log_parse *p) {
  if (!token_is(p, p->tokens_n - 1, ':') || p->tokens_n < 3)
    return false;
  bool best = false;
  for (size_t i = p->first; i < p->tokens_n; i++)
    best |= token_is_word(p, i) && str_eq_nocase(token_text(p, i), STR("best"));
  return best && str_find_str(p->text, STR("iteration")) != SIZE_MAX;
}

/* ---- lines ---- */

static void one_line(struct log_parse *p, struct str text, uint64_t number);

static void begin_line(struct log_parse *p) {
  p->line_section = STR("");
  p->complete_bar = p->running_bar = p->refused = p->measured = false;
  p->own = PLACE_NONE;
  p->message = STR("");
  p->raw_n = 0;
  p->best = p->kept.best_next;
  p->kept.best_next = false;
  bool indented = p->text.n && (p->text.p[0] == ' ' || p->text.p[0] == '\t');
  if (p->kept.section_strong && !indented && !log_is_rule(p->text))
    demote_section(p);
}

static void plain_line(struct log_parse *p) {
  log_skip_prefix(p);
  if (p->first >= p->tokens_n)
    return;
  if (log_find_table(p)) {
    p->kept.pending_n = 0;
    return;
  }
  log_find_place(p);
  p->pending_new = false;
  log_find_pairs(p);
  if (!p->pending_new)
    p->kept.pending_n = 0;
  size_t found = p->raw_n, before = p->points_n;
  log_settle(p, STYLE_PAIRS);
  if (p->message.n && !p->wrapped && p->points_n == before) {
    p->wrapped = true;
    one_line(p, p->message, p->number);
    p->wrapped = false;
    return;
  }
  if (!found && !p->refused)
    find_headline(p);
  p->kept.best_next = announces_best(p);
}

static void one_line(struct log_parse *p, struct str text, uint64_t number) {
  size_t from;
  p->number = number;
  p->text = text;
  p->here = p->kept.carried;
  bool row = log_may_be_row(p, &from);
  if (row) {
    begin_line(p);
    if (log_find_row(p, from))
      return;
  }
  log_read_tokens(p, text);
  if (!p->tokens_n)
    return;
  if (!row)
    begin_line(p);
  plain_line(p);
}

/* ---- what goes over several lines ---- */

static void end_block(struct log_parse *p) {
  enum block_kind kind = (enum block_kind)p->kept.block.kind;
  struct str rest = str_n(p->kept.block.text, p->kept.block.n), line;
  uint64_t number = p->kept.block.first_line;
  p->kept.block.kind = BLOCK_NONE;
  if (kind == BLOCK_BOX) {
    p->tokens_n = p->first = 0;
    p->line_section = STR("");
    p->complete_bar = p->running_bar = p->refused = p->best = false;
    log_settle_box(p);
    return;
  }
  while (str_split(&rest, '\n', &line)) /* no dict after all */
    one_line(p, line, number++);
}

static void add_to_block(struct log_parse *p, struct str text) {
  struct block *b = &p->kept.block;
  memcpy(b->text + b->n, text.p, text.n);
  b->n += (uint32_t)text.n;
  b->text[b->n++] = '\n';
  b->lines++;
}

static bool fits_block(const struct log_parse *p, struct str text) {
  return p->kept.block.n + text.n + 1 <= BLOCK_MAX && p->kept.block.lines < BLOCK_LINES_MAX;
}

static void begin_block(struct log_parse *p, enum block_kind kind, struct str text, uint64_t number) {
  p->kept.block.kind = (uint8_t)kind;
  p->kept.block.first_line = number;
  p->kept.block.lines = p->kept.block.n = 0;
  add_to_block(p, text);
}

static char first_char(struct str text) {
  text = str_trim(text);
  return text.n ? text.p[0] : 0;
}

/* Does a dict start here that ends on a later line? "{'loss': 0.5," or "Metrics: {" */
static bool opens_dict(struct str text) {
  text = str_trim(text);
  if (!text.n || text.n > BLOCK_MAX / 4)
    return false;
  size_t brace = str_find(text, '{');
  if (brace == SIZE_MAX)
    return false;
  bool ends = brace == text.n - 1 && (brace == 0 || text.p[brace - 1] == ' ' || text.p[brace - 1] == ':');
  bool quoted = brace + 1 < text.n && (text.p[brace + 1] == '"' || text.p[brace + 1] == '\'');
  return (ends || quoted) && log_dict_depth(str_slice(text, brace, text.n)) > 0;
}

/* The dict is complete: its pairs, with what stands before it on its first line. */
static void settle_dict(struct log_parse *p) {
  struct str text = str_n(p->kept.block.text, p->kept.block.n);
  size_t brace = str_find(text, '{');
  uint64_t number = p->kept.block.first_line;
  p->kept.block.kind = BLOCK_NONE;
  p->number = number;
  p->line_section = STR("");
  p->complete_bar = p->running_bar = p->refused = p->best = false;
  p->own = PLACE_NONE;
  p->raw_n = 0;
  log_read_tokens(p, str_slice(text, 0, brace));
  log_skip_prefix(p);
  log_find_place(p);
  bool skip = false;
  for (size_t i = p->first; i < p->tokens_n; i++) {
    skip |= token_is_word(p, i) && token_key(p, i).kind == LOG_KEY_SETTING;
    if (token_is_word(p, i) && token_is_section(p, i))
      p->line_section = token_text(p, i);
  }
  if (!log_find_dict(p, text, brace, skip)) {
    struct str rest = text, line;
    while (str_split(&rest, '\n', &line))
      one_line(p, line, number++);
    return;
  }
  log_settle(p, STYLE_DICT);
}

/* True when the line belongs to what is being collected. */
static bool block_takes(struct log_parse *p, struct str text) {
  struct block *b = &p->kept.block;
  struct str name, value;
  if (!fits_block(p, text))
    return false;
  if (b->kind == BLOCK_BOX) {
    if (!log_box_row(text, &name, &value))
      return false;
    add_to_block(p, text);
    return true;
  }
  char c = first_char(text);
  if (c != '"' && c != '\'' && c != '}' && c != ']' && c != ')' && !(c && strchr("-.0123456789[n", c)))
    return false;
  add_to_block(p, text);
  struct str all = str_n(b->text, b->n);
  if (log_dict_depth(str_slice(all, str_find(all, '{'), all.n)) <= 0)
    settle_dict(p);
  return true;
}

static void take_line(struct log_parse *p, struct str text, uint64_t number) {
  if (p->kept.block.kind != BLOCK_NONE) {
    if (block_takes(p, text))
      return;
    end_block(p);
  }
  struct str name, value;
  if (text.n < BLOCK_MAX / 4 && log_box_row(text, &name, &value))
    begin_block(p, BLOCK_BOX, text, number);
  else if (opens_dict(text))
    begin_block(p, BLOCK_DICT, text, number);
  else
    one_line(p, text, number);
}

size_t log_parse_line(struct log_parse *p, struct str text, uint64_t number, const struct log_point **ret) {
  p->points_n = p->scratch_n = 0;
  take_line(p, text, number);
  *ret = p->points;
  return p->points_n;
}

size_t log_parse_end(struct log_parse *p, const struct log_point **ret) {
  p->points_n = p->scratch_n = 0;
  if (p->kept.block.kind != BLOCK_NONE)
    end_block(p);
  *ret = p->points;
  return p->points_n;
}

size_t log_parse_record(struct log_parse *p, struct str text, uint64_t number, const struct log_point **ret) {
  p->points_n = p->scratch_n = p->raw_n = p->tokens_n = p->first = 0;
  p->line_section = STR("");
  p->complete_bar = p->running_bar = p->refused = p->best = false;
  p->kept.carried = p->own = PLACE_NONE;
  p->number = number;
  p->record = true;
  size_t brace = str_find(text, '{');
  if (brace != SIZE_MAX && log_find_dict(p, text, brace, false))
    log_settle(p, STYLE_DICT);
  p->record = false;
  *ret = p->points;
  return p->points_n;
}

bool log_parse_count(struct log_parse *p, struct log_point *point) {
  struct series *s = find_series(p, point->key);
  if (!s) {
    p->kept.dropped++;
    return false;
  }
  if (!s->hash) {
    *s = (struct series){.hash = key_hash(p, point->key), .level = isnan(point->step) ? LEVEL_EPOCH : LEVEL_STEP, .printed = NAN};
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
  s->offset = MIN_OF(s->offset, STEP_MAX);
  s->count++;
  p->kept.points_by_style[STYLE_PAIRS]++;
  return true;
}

/* ---- the summary ---- */

void log_parse_summary(const struct log_parse *p, char *out, size_t room) {
  static const char *const names[STYLE_COUNT] = {"", "table", "dict lines", "boxed table"};
  enum style most = STYLE_PAIRS;
  for (unsigned i = 1; i < STYLE_COUNT; i++)
    if (p->kept.points_by_style[i] > p->kept.points_by_style[most])
      most = (enum style)i;
  if (!p->kept.points_by_style[most]) {
    snprintf(out, room, "nothing yet");
    return;
  }
  const char *plural = p->kept.series_n == 1 ? "" : "s";
  if (most == STYLE_PAIRS && p->kept.style_n)
    snprintf(out, room, "%.*s style, %zu metric%s", (int)p->kept.style_n, p->kept.style, p->kept.series_n, plural);
  else
    snprintf(out, room, "%s, %zu metric%s", most == STYLE_PAIRS ? "names with numbers" : names[most], p->kept.series_n, plural);
}

/* ---- the state ---- */

static void save_place(struct buf *out, const struct place *place) {
  pack_f64(out, place->epoch);
  pack_f64(out, place->step);
  pack_f64(out, place->batch);
  pack_f64(out, place->batch_total);
}

static void save_table(struct buf *out, const struct table *t) {
  pack_u64(out, t->by);
  if (t->by == BY_NONE)
    return;
  pack_u64(out, (uint64_t)t->seen_row | (uint64_t)t->label_first << 1);
  pack_u64(out, t->count);
  for (size_t i = 0; i < t->count; i++) {
    pack_u64(out, t->columns[i].at);
    pack_u64(out, t->columns[i].end);
    pack_u64(out, t->columns[i].kind);
    pack_str(out, str_n(t->text + t->columns[i].name_at, t->columns[i].name_n));
  }
}

void log_parse_save(const struct log_parse *p, struct buf *out) {
  buf_putc(out, STATE_VERSION);
  save_place(out, &p->kept.carried);
  pack_f64(out, p->kept.epoch_first);
  pack_f64(out, p->kept.bar_total);
  pack_str(out, str_n(p->kept.section, p->kept.section_n));
  pack_u64(out, (uint64_t)p->kept.section_strong | (uint64_t)p->kept.header_open << 1 | (uint64_t)p->kept.header_seen << 2 |
                    (uint64_t)p->kept.best_next << 3);
  pack_str(out, str_n(p->kept.pending, p->kept.pending_n));
  pack_str(out, str_n(p->kept.above, p->kept.above_n));
  save_table(out, &p->kept.table);
  save_table(out, &p->kept.candidate);
  pack_u64(out, p->kept.block.kind);
  if (p->kept.block.kind != BLOCK_NONE) {
    pack_u64(out, p->kept.block.first_line);
    pack_u64(out, p->kept.block.lines);
    pack_str(out, str_n(p->kept.block.text, p->kept.block.n));
  }
  pack_u64(out, p->kept.series_n);
  for (size_t i = 0; i < SERIES_MAX; i++) {
    const struct series *s = &p->kept.series[i];
    if (!s->hash)
      continue;
    pack_u64(out, s->hash);
    pack_u64(out, s->count);
    pack_i64(out, s->last);
    pack_i64(out, s->offset);
    pack_u64(out, (uint64_t)s->level | (uint64_t)s->in_dict << 4);
    pack_u64(out, s->line);
    pack_f64(out, s->printed);
  }
  for (size_t i = 0; i < STYLE_COUNT; i++)
    pack_u64(out, p->kept.points_by_style[i]);
  pack_str(out, str_n(p->kept.style, p->kept.style_n));
  pack_u64(out, p->kept.dropped);
}

static void restore_place(struct str *rest, struct place *place, bool *bad) {
  place->epoch = unpack_f64(rest, bad);
  place->step = unpack_f64(rest, bad);
  place->batch = unpack_f64(rest, bad);
  place->batch_total = unpack_f64(rest, bad);
}

static void restore_table(struct str *rest, struct table *t, bool *bad) {
  *t = (struct table){.by = (uint8_t)unpack_below(rest, BY_SEMICOLONS, bad)};
  if (*bad || t->by == BY_NONE)
    return;
  uint64_t flags = unpack_below(rest, 3, bad);
  t->seen_row = flags & 1;
  t->label_first = flags >> 1 & 1;
  t->count = (uint8_t)unpack_below(rest, COLUMNS_MAX, bad);
  *bad |= t->count < 1;
  for (size_t i = 0; i < t->count && !*bad; i++) {
    struct column *c = &t->columns[i];
    c->at = (uint32_t)unpack_below(rest, UINT32_MAX / 2, bad);
    c->end = (uint32_t)unpack_below(rest, UINT32_MAX / 2, bad);
    c->kind = (uint8_t)unpack_below(rest, LOG_KEY_BATCH, bad);
    struct str name = unpack_str(rest, COLUMN_TEXT_MAX - t->text_n, bad);
    *bad |= c->end < c->at;
    c->name_at = t->text_n;
    c->name_n = (uint16_t)name.n;
    if (name.n)
      memcpy(t->text + t->text_n, name.p, name.n);
    t->text_n = (uint16_t)(t->text_n + name.n);
  }
}

static size_t restore_text(struct str *rest, char *text, size_t max, bool *bad) {
  struct str s = unpack_str(rest, max, bad);
  if (s.n)
    memcpy(text, s.p, s.n);
  return s.n;
}

static void restore_block(struct str *rest, struct block *b, bool *bad) {
  b->kind = (uint8_t)unpack_below(rest, BLOCK_BOX, bad);
  if (*bad || b->kind == BLOCK_NONE)
    return;
  b->first_line = unpack_u64(rest, bad);
  b->lines = (uint32_t)unpack_below(rest, BLOCK_LINES_MAX, bad);
  b->n = (uint32_t)restore_text(rest, b->text, BLOCK_MAX, bad);
  *bad |= b->kind == BLOCK_DICT && !memchr(b->text, '{', b->n);
}

static void restore_series(struct str *rest, struct kept *kept, bool *bad) {
  uint64_t n = unpack_below(rest, SERIES_MAX * 3 / 4, bad);
  for (uint64_t i = 0; i < n && !*bad; i++) {
    struct series s = {.hash = unpack_u64(rest, bad)};
    s.count = unpack_u64(rest, bad);
    s.last = unpack_i64(rest, bad);
    s.offset = unpack_i64(rest, bad);
    uint64_t flags = unpack_below(rest, 31, bad);
    s.level = flags & 15;
    s.in_dict = flags >> 4;
    s.line = unpack_u64(rest, bad);
    s.printed = unpack_f64(rest, bad);
    *bad |= s.hash == 0 || s.level >= LEVEL_COUNT || s.last > STEP_MAX || s.last < 0 || s.offset > STEP_MAX || s.offset < 0;
    size_t at = s.hash & (SERIES_MAX - 1);
    while (kept->series[at].hash && kept->series[at].hash != s.hash)
      at = (at + 1) & (SERIES_MAX - 1);
    *bad |= kept->series[at].hash == s.hash;
    if (*bad)
      return;
    kept->series[at] = s;
    kept->series_n++;
  }
}

bool log_parse_restore(struct log_parse *p, struct str state, struct err *err) {
  AUTO_FREE struct kept *next = mem_zalloc(sizeof *next);
  if (!next)
    return err_no_memory(err);
  bool bad = unpack_u64(&state, &(bool){false}) != STATE_VERSION;
  restore_place(&state, &next->carried, &bad);
  next->epoch_first = unpack_f64(&state, &bad);
  next->bar_total = unpack_f64(&state, &bad);
  next->section_n = (uint8_t)restore_text(&state, next->section, SECTION_MAX, &bad);
  uint64_t flags = unpack_below(&state, 15, &bad);
  next->section_strong = flags & 1;
  next->header_open = flags >> 1 & 1;
  next->header_seen = flags >> 2 & 1;
  next->best_next = flags >> 3 & 1;
  next->pending_n = (uint8_t)restore_text(&state, next->pending, LOG_NAME_MAX, &bad);
  next->above_n = (uint16_t)restore_text(&state, next->above, sizeof next->above, &bad);
  restore_table(&state, &next->table, &bad);
  restore_table(&state, &next->candidate, &bad);
  restore_block(&state, &next->block, &bad);
  restore_series(&state, next, &bad);
  for (size_t i = 0; i < STYLE_COUNT; i++)
    next->points_by_style[i] = unpack_u64(&state, &bad);
  next->style_n = (uint8_t)restore_text(&state, next->style, STYLE_MAX, &bad);
  next->dropped = unpack_u64(&state, &bad);
  if (!bad && !state.n)
    p->kept = *next;
  p->above_is_prose = false;
  return (!bad && !state.n) || err_set(err, ERR_INVALID, "the stored state of the log parser is not valid");
}
