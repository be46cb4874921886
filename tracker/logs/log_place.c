/* Where a line stands: "Epoch 3/10", "[0][10/500]", "step 100", "391/391 [" are found. */
#include "tracker/logs/log_state.h"

static void use(struct log_parse *p, size_t from, size_t to) {
  for (size_t i = from; i < to; i++)
    p->tokens[i].flags |= LOG_T_USED;
}

static void set_batch(struct log_parse *p, double batch, double total) {
  if (isnan(p->own.batch)) {
    p->own.batch = batch;
    p->own.batch_total = total;
  }
}

static bool is_whole(double value) {
  return value >= 0 && value < 1e15 && value == floor(value);
}

/* "[10/500]", "[640/30000 (2%)]", "100 / 500" behind an epoch. Returns where it ends, or i. */
static size_t batch_behind_epoch(struct log_parse *p, size_t i) {
  bool bracket = token_is(p, i, '[');
  size_t at = i + bracket;
  if (!log_is_fraction(p, at) || (!bracket && !token_is(p, at + 1, '/')))
    return i;
  size_t end = log_skip_share(p, at + 3);
  if (bracket && !token_is(p, end, ']'))
    return i;
  if (!bracket && end < p->tokens_n && p->tokens[end].type == LOG_T_OPAQUE)
    return i;
  set_batch(p, p->tokens[at].value, p->tokens[at + 2].value);
  return end + bracket;
}

/* "Line search step: 1.000", "seconds for this iteration: 0.000": with a point, and words before that belong to it. */
static bool is_step_size(struct log_parse *p, size_t i, size_t number) {
  if (token_key(p, i).kind == LOG_KEY_EPOCH || p->tokens[number].flags & LOG_T_INT)
    return false;
  struct str name = str_n(p->text.p + p->tokens[i - 1].at, p->tokens[i].end - p->tokens[i - 1].at);
  return !is_place_kind(log_classify(p, name).kind) && !token_is_section(p, i - 1);
}

/* Does what stands before the place word at i speak against it? "max epoch: 10", "accuracy per epoch: 0.9" */
static bool is_denied(struct log_parse *p, size_t i, bool with_sign, size_t number) {
  double value = p->tokens[number].value;
  if (i == p->first)
    return false;
  size_t before = i - 1;
  if (token_is(p, before, '#') && before == p->first) /* "# epoch: 6", a setting; "#epoch" otherwise */
    return p->tokens[i].flags & LOG_T_SPACE;
  if (!token_is_word(p, before))
    return false;
  if (token_word(p, before) & (LOG_WORD_LIMIT | LOG_WORD_SETTING))
    return true;
  if (with_sign && is_step_size(p, i, number))
    return true;
  if (!with_sign || is_whole(value))
    return with_sign && token_key(p, before).kind == LOG_KEY_METRIC;
  for (size_t k = i; k-- > p->first && token_is_word(p, k);)
    if (token_key(p, k).kind == LOG_KEY_METRIC)
      return true;
  return false;
}

static size_t skip_number_words(const struct log_parse *p, size_t i) {
  static const char *const fillers[] = {"number", "no", "nr", "id", "num", "index"};
  for (size_t k = 0; k < ARRAY_LEN(fillers); k++)
    if (token_is_word(p, i) && str_eq_nocase(token_text(p, i), str_of(fillers[k])))
      return i + 1;
  return i;
}

/* "global_step", "global step" */
static bool is_global(const struct log_parse *p, size_t i) {
  struct str rest = token_text(p, i > p->first && token_is_word(p, i - 1) ? i - 1 : i), word;
  return log_subword(&rest, &word) && str_eq_nocase(word, STR("global"));
}

/* "410/3000: episode: 1": the steps of all episodes are counted on. */
static bool is_episode(const struct log_parse *p, size_t i) {
  return str_eq_nocase(token_text(p, i), STR("episode"));
}

/* "i=100 loss=0.5", "t = 100, loss = 0.5": a loop's variable begins the line. */
static bool is_counter_name(const struct log_parse *p, size_t i) {
  struct str word = token_text(p, i);
  return i == p->first && (str_is(word, "i") || str_is(word, "t")) && (token_is(p, i + 1, '=') || token_is(p, i + 1, ':')) &&
         token_is_int(p, i + 2) && i + 3 < p->tokens_n;
}

/* "Epoch [3/10]": a place word and its number. */
struct worded {
  size_t at; /* the word */
  enum log_key_kind kind;
  bool plural;  /* "epochs" */
  bool sign;    /* a sign stands between: "step: 3", "step = 3" */
  bool bracket; /* the number stands in one */
  bool fraction;
  double value, total; /* NAN: no total */
  size_t number, end;
};

/* Does the word name a place? */
static bool read_place_word(const struct log_parse *p, struct worded *w) {
  struct str word = token_text(p, w->at);
  w->kind = token_key(p, w->at).kind;
  w->plural = word.n == 6 && str_eq_nocase(word, STR("epochs"));
  if (w->plural)
    w->kind = LOG_KEY_EPOCH;
  if (is_counter_name(p, w->at))
    w->kind = LOG_KEY_STEP;
  else if (!is_place_kind(w->kind) || word.n == 1 || str_eq_nocase(word, STR("it")))
    return false;
  return true;
}

/* What may stand between the word and its number: "no.", "(train)", ":", "=", "#", "->", a bracket. */
static void skip_to_number(struct log_parse *p, struct worded *w) {
  size_t i = skip_number_words(p, w->at + 1);
  if (token_text(p, w->at).n <= 4 && token_is(p, i, '.') && !(p->tokens[i].flags & LOG_T_SPACE)) /* Ep. 1 */
    i++;
  if (token_is(p, i, '(') && token_is_word(p, i + 1) && token_is(p, i + 2, ')')) { /* Epoch(train) */
    if (token_is_section(p, i + 1))
      p->line_section = token_text(p, i + 1);
    i += 3;
  }
  while (token_is(p, i, ':') || token_is(p, i, '=') || token_is(p, i, '#') || (token_is(p, i, '-') && p->tokens[i].flags & LOG_T_SPACE)) {
    w->sign |= !token_is(p, i, '#');
    i += 1 + is_arrow(p, i);
  }
  w->bracket = token_is(p, i, '[') || token_is(p, i, '(');
  w->number = i + w->bracket;
}

/* Can the number be that of the place? */
static bool is_place_number(const struct log_parse *p, const struct worded *w) {
  if (!token_is_number(p, w->number))
    return false;
  const struct log_token *t = &p->tokens[w->number];
  if (t->flags & (LOG_T_PERCENT | LOG_T_UNIT) || !(t->value >= 0) || (w->kind != LOG_KEY_EPOCH && !is_whole(t->value)))
    return false;
  bool unit_behind = token_is_word(p, w->number + 1) && token_word(p, w->number + 1) & LOG_WORD_UNIT;
  return t->flags & LOG_T_INT || !unit_behind; /* no "this epoch: 12.1 seconds" */
}

static void read_place_number(const struct log_parse *p, struct worded *w) {
  w->value = p->tokens[w->number].value;
  w->total = w->fraction ? p->tokens[w->number + 2].value : NAN;
  w->end = w->number + (w->fraction ? 3 : 1);
  if (w->kind == LOG_KEY_STEP && token_is_int(p, w->number) && !w->fraction)
    w->end = log_read_thousands(p, w->number, &w->value);
  if (w->bracket && !w->fraction && token_is(p, w->end, '-') && token_is_int(p, w->end + 1)) { /* Batch [0-100] */
    w->value = p->tokens[w->end + 1].value;
    w->end += 2;
  }
  w->end += w->bracket && (token_is(p, w->end, ']') || token_is(p, w->end, ')'));
}

static void take_epoch(struct log_parse *p, struct worded *w) {
  if (isnan(p->own.epoch))
    p->own.epoch = w->value;
  size_t next = w->end + (token_is(p, w->end, ':') || token_is(p, w->end, ','));
  size_t batch_end = batch_behind_epoch(p, next);
  if (batch_end > next)
    w->end = batch_end;
}

static void take_step(struct log_parse *p, const struct worded *w) {
  if (isnan(p->own.step) && w->fraction) { /* a step of so many: within the epoch when there are epochs, decided later */
    p->own.step = w->value;
    p->own.batch_total = isnan(p->own.batch) ? w->total : p->own.batch_total;
  } else if (isnan(p->own.step)) {
    bool within = is_episode(p, w->at) && !isnan(p->own.batch) && isnan(p->own.epoch) && isnan(p->kept.carried.epoch);
    p->own.step = within ? p->own.batch : w->value;
    p->own.batch = within ? (double)NAN : p->own.batch;
  } else if (!w->fraction && !isnan(p->own.batch_total) && isnan(p->own.batch) && is_global(p, w->at)) {
    p->own.batch = p->own.step; /* STEP: 5/15 -- GLOBAL_STEP: 20 */
    p->own.step = w->value;
  }
}

/* A place word at i with its number. Returns where the place ends, or 0. */
static size_t worded_place(struct log_parse *p, size_t i) {
  struct worded w = {.at = i};
  if (!read_place_word(p, &w))
    return 0;
  skip_to_number(p, &w);
  if (!is_place_number(p, &w))
    return 0;
  w.fraction = log_is_fraction(p, w.number);
  if ((w.plural && !w.fraction) || is_denied(p, i, w.sign, w.number))
    return 0;
  read_place_number(p, &w);
  if (w.kind == LOG_KEY_EPOCH)
    take_epoch(p, &w);
  else if (w.kind == LOG_KEY_BATCH)
    set_batch(p, w.value, w.total);
  else
    take_step(p, &w);
  use(p, i, w.end);
  return w.end;
}

/* "15 - 1214.37 sent/s - MLM-en: 2.2398", "15 - loss: 2.2 - acc: 0.3": dashes divide the line, a number stands alone in the first part,
 * and in a later one a metric, or a speed. */
static bool stands_in_parts(const struct log_parse *p, size_t i) {
  size_t parts = 0;
  bool trains = false;
  for (size_t k = i + 1; k + 1 < p->tokens_n; k++) {
    bool dash = token_is(p, k, '-') && p->tokens[k].flags & p->tokens[k + 1].flags & LOG_T_SPACE;
    if (k == i + 1 && !dash)
      return false;
    parts += dash;
    trains |=
        token_is_word(p, k) && (token_key(p, k).kind == LOG_KEY_METRIC || (token_is_number(p, k - 1) && token_word(p, k) & LOG_WORD_UNIT));
  }
  return parts >= 2 && trains;
}

/* "  3  avg. loss 0.149  correct 478/500": a number, set apart from a metric's name with its value. */
static bool counts_line(const struct log_parse *p, size_t i) {
  size_t end = i + 1;
  if (!token_is_word(p, end) || !(p->tokens[end].flags & LOG_T_GAP))
    return false;
  while (end < i + 5 && (token_is_word(p, end) || token_is(p, end, '.')))
    end++;
  if (!token_is_number(p, end) || p->tokens[end].flags & (LOG_T_INT | LOG_T_UNIT) || !token_is_word(p, end - 1))
    return false;
  return token_key(p, end - 1).kind == LOG_KEY_METRIC;
}

/* "age" of the list "1: "age" mean: 40.2" */
static bool is_no_list(const struct log_parse *p, size_t i) {
  const struct log_token *t = &p->tokens[i + 2];
  return t->type != LOG_T_MARK || !mark_is(t->mark, MARK_QUOTE);
}

static bool is_set_apart(const struct log_parse *p, size_t i) {
  return p->tokens[i + 1].flags & LOG_T_GAP;
}

struct place_shape {
  const char *shape;                                  /* see log_match() */
  bool (*holds)(const struct log_parse *p, size_t i); /* what the shape cannot say; NULL: nothing */
};

/* How a line begins that says its place without a word. The first that fits is taken. */
static const struct place_shape bracketed_shapes[] = {
    {"[e]s^||", NULL},  /* "[  0]      10 || B: 1.294" */
    {"[s]^.", NULL},    /* "[10] loss", "[12,000] loss" */
    {"[e,b]", NULL},    /* "[1,  2000]" */
    {"[e,b/]", NULL},   /* "[1, 50/1000]" */
    {"[e:_b]", NULL},   /* "[0: 10]" */
    {"[e:_b/]", NULL},  /* "[0: 10/782]" */
    {"[s|n]^w", NULL},  /* "[10 | 23.45] loss" */
    {"[eE]", NULL},     /* "[10 epochs]" */
    {"[e/][b/]", NULL}, /* "[0/5][10/782]" */
    {"[s/]", NULL},     /* "[10/500]" */
    {"[S|e/]", NULL},   /* "[ Train | 001/080 ]" */
};

static const struct place_shape bare_shapes[] = {
    {"<s>^w", NULL},         /* "<10> LL/token: -9.1" */
    {"e~|s|^w", NULL},       /* "1|20|Loss: 0.5" */
    {"s,x:^n", NULL},        /* "12, 0.178: 1.27" */
    {"i:_^P", NULL},         /* "0: epoch 3", a rank */
    {"s:_^.", is_no_list},   /* "0: loss 0.5" */
    {"s--", NULL},           /* "0 -- loss" */
    {"s-", stands_in_parts}, /* "15 - loss: 2.2 - acc: 0.3" */
    {"s^w:", is_set_apart},  /* "10    loss: 0.5" */
    {"s^[w", NULL},          /* "0 [D loss: 0.69]" */
    {"s^|Mn", NULL},         /* "10 | loss 0.5" */
    {"s^SM:", NULL},         /* "   1 train loss: 0.5" */
    {"s^.", counts_line},    /* "  3  avg. loss 0.149  correct 478/500" */
    {"e/(L)", NULL},         /* "0/10(t)" */
    {"e/*", NULL},           /* "1/3 * Epoch (train): ..." */
};

/* The section and the epoch together. */
static const struct place_shape section_shapes[] = {
    {"Se/:", NULL},         /* "train 1/4: 100%|####|" */
    {"S(e/)", NULL},        /* "train (1/3)" */
    {"S:?e[b/%]", NULL},    /* "Train: 0 [   0/1251 (  0%)]" */
    {"S:?e/%[b/%]", NULL},  /* "Train: 1/80 (1%) [50/464 (10%)]" */
    {"S:?e,b/]", NULL},     /* "[train: 1, 50 / 1000]" */
    {"S:?[e][b/%]", NULL},  /* "Train [0][1/500]" */
    {"S:?[e/][b/%]", NULL}, /* "Train [0/90][1/500]" */
};

static void take(struct log_parse *p, size_t from, const struct log_match *m) {
  const struct place *place = &m->place;
  if (!isnan(place->epoch))
    p->own.epoch = place->epoch;
  if (!isnan(place->step))
    p->own.step = place->step;
  if (!isnan(place->batch))
    set_batch(p, place->batch, place->batch_total);
  else if (!isnan(place->batch_total))
    p->own.batch_total = place->batch_total;
  if (m->section.n)
    p->line_section = m->section;
  use(p, from, m->end);
}

/* Takes the first of the shapes that fits. Returns where it ends, or i. */
static size_t shaped_place(struct log_parse *p, size_t i, const struct place_shape *shapes, size_t n) {
  struct log_match m;
  for (size_t k = 0; k < n; k++)
    if (log_match(p, i, shapes[k].shape, &m) && (!shapes[k].holds || shapes[k].holds(p, i))) {
      take(p, i, &m);
      return m.end;
    }
  return i;
}

static size_t leading_place(struct log_parse *p, size_t i) {
  if (token_is(p, i, '['))
    return shaped_place(p, i, bracketed_shapes, ARRAY_LEN(bracketed_shapes));
  return token_is_int(p, i) || token_is(p, i, '<') ? shaped_place(p, i, bare_shapes, ARRAY_LEN(bare_shapes)) : i;
}

/* "16epoch:train:1-100batch" */
static size_t place_in_units(struct log_parse *p, size_t i) {
  struct str unit = token_unit(p, i);
  if (!str_eq_nocase(unit, STR("epoch")) && !str_eq_nocase(unit, STR("ep")))
    return i;
  p->own.epoch = p->tokens[i].value;
  use(p, i, i + 1);
  for (size_t j = i + 1; j < p->tokens_n && j < i + 8; j++)
    if (str_is(token_unit(p, j), "batch"))
      set_batch(p, p->tokens[j].value, NAN);
  return i + 1;
}

static size_t sectioned_place(struct log_parse *p, size_t i) {
  if (token_is_number(p, i))
    return place_in_units(p, i);
  return token_is_word(p, i) && token_is_section(p, i) ? shaped_place(p, i, section_shapes, ARRAY_LEN(section_shapes)) : i;
}

static bool draws_bar(const struct log_parse *p, size_t i) {
  return token_is(p, i, '=') || token_is(p, i, '>') || token_is(p, i, '#') || token_is(p, i, '.');
}

static bool starts_with_bar(const struct log_parse *p) {
  return token_is(p, p->first, '[') && draws_bar(p, p->first + 1);
}

/* "Steps:  40%|####", "Training epochs on cpu: 12%|##", "12%|## 1/8 [00:07<00:49, 7.1s/epoch]": does the bar, by its title or its rate,
 * count what goes through the whole training? The counter is at i. */
static bool bar_counts_all(const struct log_parse *p, size_t i) {
  bool titled = false;
  if (!isnan(p->own.epoch) || !isnan(p->kept.carried.epoch))
    return false;
  for (size_t k = p->first; k < i && token_is_word(p, k); k++) {
    if (token_is_section(p, k) && !(token_word(p, k) & LOG_WORD_TRAIN))
      return false;
    titled |= str_eq_nocase(token_text(p, k), STR("epochs")) || str_eq_nocase(token_text(p, k), STR("steps"));
  }
  struct str rest = str_slice(p->text, p->tokens[i].at, p->text.n);
  return titled || str_find_str(rest, STR("s/epoch")) != SIZE_MAX || str_find_str(rest, STR("epoch/s")) != SIZE_MAX;
}

/* "[=====>....]  Loss: 1.4 | Acc: 48% 391/391", "[===== 391/391 =====>]  Loss: 1.4" */
static bool is_of_bar(const struct log_parse *p, size_t i, size_t end) {
  return starts_with_bar(p) && (end == p->tokens_n || draws_bar(p, i - 1));
}

/* "14/15, loss: 0.5", "15/15, loss: 0.4": batches are counted one by one, and this is the last of them. */
static bool counts_on(const struct log_parse *p) {
  return p->kept.carried.batch_total == p->own.batch_total;
}

/* "50/100 [00:01<00:01, 9.5it/s]{'loss': 0.5}": something else is printed behind the bar that begins at the bracket at i. */
static bool is_printed_over(const struct log_parse *p, size_t i) {
  size_t close = log_find_mark(p, i, 40, ']');
  if (!token_is(p, i, '[') || close == SIZE_MAX || close + 1 >= p->tokens_n)
    return false;
  if (p->tokens[close + 1].flags & LOG_T_SPACE) /* blanks wipe out the rest of a longer state */
    return log_is_level(p, close + 1);
  enum log_token_type type = (enum log_token_type)p->tokens[close + 1].type;
  return type == LOG_T_WORD || type == LOG_T_OPAQUE || token_is(p, close + 1, '{') || token_is(p, close + 1, '[');
}

/* "(100/400) loss", "[Train](100/400)": the number at i is of a parenthesis that starts the line, or belongs to a section in brackets. */
static bool is_behind_label(const struct log_parse *p, size_t i) {
  if (i == p->first || !token_is(p, i - 1, '('))
    return false;
  return i - 1 == p->first ||
         (i >= p->first + 4 && token_is(p, i - 2, ']') && token_is_word(p, i - 3) && token_is_section(p, i - 3) && token_is(p, i - 4, '['));
}

/* "[01/03 10:00:00]" */
static bool is_date_in_brackets(const struct log_parse *p, size_t i, size_t end) {
  return i > 0 && token_is(p, i - 1, '[') && end < p->tokens_n && p->tokens[end].type == LOG_T_OPAQUE && token_is(p, end + 1, ']');
}

/* "Final validation 1/299 loss: 1.11": the counter at i stands between the section and a metric's name. */
static bool is_behind_section(struct log_parse *p, size_t i, size_t end) {
  return i > p->first && i <= p->first + 3 && token_is_word(p, i - 1) && token_is_section(p, i - 1) && token_is_word(p, end) &&
         token_key(p, end).kind == LOG_KEY_METRIC;
}

/* N/M of a progress bar or counter, anywhere in the line: "391/391 [01:30<", "63/63 ━━━", "200/ 2983 batches", "[1/63]". */
static size_t counter(struct log_parse *p, size_t i) {
  if (!log_is_fraction(p, i) || !token_is(p, i + 1, '/'))
    return 0;
  size_t end = log_skip_share(p, i + 3);
  if (is_date_in_brackets(p, i, end))
    return 0;
  bool line_start = i == p->first;
  bool bracketed = i > 0 && token_is(p, i - 1, '[') && token_is(p, end, ']');
  bool labelled = is_behind_label(p, i) && token_is(p, end, ')');
  bool drawn = is_of_bar(p, i, end); /* or a progress bar follows */
  bool counts = line_start && (end == p->tokens_n || token_is(p, end, '-') || token_is(p, end, ',') || token_is(p, end, ':') ||
                               (token_is(p, end, '(') && token_is_word(p, end + 1)));
  bool sectioned = is_behind_section(p, i, end);
  counts |= drawn || labelled || sectioned;
  bool names_value = token_is(p, end + 1, ':') || token_is(p, end + 1, '='); /* "rep: 2/2    steps: 951" */
  if (end < p->tokens_n) {
    const struct log_token *t = &p->tokens[end];
    bool dash = t->type == LOG_T_BREAK && (unsigned char)p->text.p[t->at + 1] == 0x80; /* and bullets, dots */
    drawn |= token_is(p, end, '[') || (token_is(p, end, '=') && (line_start || draws_bar(p, end + 1))) ||
             (t->type == LOG_T_BREAK && !dash) || t->type == LOG_T_OPAQUE || (t->type == LOG_T_NUMBER && t->flags & LOG_T_UNIT);
    counts |= drawn || dash || (bracketed && (!isnan(p->own.epoch) || i - 1 == p->first || !isnan(p->kept.carried.epoch)));
    counts |= t->type == LOG_T_WORD && !names_value &&
              (token_word(p, end) & LOG_WORD_BATCH || str_eq_nocase(token_text(p, end), STR("batches")) ||
               str_eq_nocase(token_text(p, end), STR("steps")) || str_eq_nocase(token_text(p, end), STR("iters")));
  }
  if (!counts)
    return 0;
  if (is_printed_over(p, end)) {
    use(p, i, end);
    return end;
  }
  if (drawn && !bracketed && isnan(p->own.step) && bar_counts_all(p, i)) {
    p->own.step = p->tokens[i].value;
    use(p, i, end);
    return end;
  }
  set_batch(p, p->tokens[i].value, p->tokens[i + 2].value);
  bool here = p->own.batch == p->tokens[i].value && p->own.batch_total == p->tokens[i + 2].value;
  bracketed |= labelled;
  p->complete_bar = !bracketed && here && p->own.batch == p->own.batch_total && (drawn || !counts_on(p));
  p->running_bar = drawn && !bracketed && here && !p->complete_bar;
  bool word = !names_value && !sectioned && token_is_word(p, end);
  use(p, bracketed ? i - 1 : i, end + (bracketed || word));
  return end;
}

/* "Up. 1000": updates, as Marian writes them. */
static size_t abbreviated_place(struct log_parse *p, size_t i) {
  if (!str_is(token_text(p, i), "Up") || !token_is(p, i + 1, '.') || !token_is_int(p, i + 2) || !isnan(p->own.step))
    return 0;
  p->own.step = p->tokens[i + 2].value;
  use(p, i, i + 3);
  return i + 3;
}

/* "after 250 iterations": returns where it ends, or 0. */
static size_t place_after(struct log_parse *p, size_t i) {
  static const char *const steps[] = {"iterations", "iteration", "steps", "step", "rounds", "updates", "iters"};
  if (!str_eq_nocase(token_text(p, i), STR("after")) || !token_is_int(p, i + 1) || !token_is_word(p, i + 2))
    return 0;
  struct str word = token_text(p, i + 2);
  bool step = false;
  for (size_t k = 0; k < ARRAY_LEN(steps); k++)
    step |= str_eq_nocase(word, str_of(steps[k]));
  double *place = step ? &p->own.step : str_eq_nocase(word, STR("epochs")) ? &p->own.epoch : NULL;
  if (!place || !isnan(*place))
    return 0;
  *place = p->tokens[i + 1].value;
  use(p, i, i + 3);
  return i + 3;
}

/* "epoch/iter: 0/199" */
static size_t place_pair(struct log_parse *p, size_t i) {
  struct str word = token_text(p, i);
  size_t slash = str_find(word, '/');
  if (slash == SIZE_MAX || !token_is(p, i + 1, ':') || !token_is_int(p, i + 2) || !token_is(p, i + 3, '/') || !token_is_int(p, i + 4))
    return 0;
  enum log_key_kind first = log_classify(p, str_slice(word, 0, slash)).kind;
  enum log_key_kind second = log_classify(p, str_slice(word, slash + 1, word.n)).kind;
  if (first != LOG_KEY_EPOCH || !is_place_kind(second))
    return 0;
  p->own.epoch = p->tokens[i + 2].value;
  p->own.step = p->tokens[i + 4].value;
  use(p, i, i + 5);
  return i + 5;
}

/* The mean of "step of N" depends on whether there are epochs. */
static void settle_step_of(struct log_parse *p) {
  if (isnan(p->own.step) || isnan(p->own.batch_total) || !isnan(p->own.batch))
    return;
  if (isnan(p->own.epoch) && isnan(p->kept.carried.epoch))
    return;
  p->own.batch = p->own.step;
  p->own.step = NAN;
}

/* "第3轮", "第100步": the third round, the hundredth step. */
static bool ordinal_place(struct str word, enum log_key_kind *ret_kind, double *ret_number) {
  struct log_number number;
  size_t before = strlen("第"), unit = strlen("轮");
  if (word.n <= before + unit || !str_starts(word, STR("第")) || !log_number_whole(str_slice(word, before, word.n - unit), &number) ||
      !number.integer)
    return false;
  *ret_number = number.value;
  *ret_kind = str_ends(word, STR("步")) ? LOG_KEY_STEP : LOG_KEY_EPOCH;
  return *ret_kind == LOG_KEY_STEP || str_ends(word, STR("轮")) || str_ends(word, STR("輪"));
}

/* "EP0_train", "epoch12": a place with its number in one word, and maybe the section. False when it is none. */
static bool fused_place(struct str word, enum log_key_kind *ret_kind, double *ret_number, struct str *ret_section) {
  struct str rest = word, place, digits;
  struct log_number number;
  *ret_section = STR("");
  if (ordinal_place(word, ret_kind, ret_number))
    return true;
  if (!log_subword(&rest, &place) || place.n < 2 || !log_subword(&rest, &digits) || !isdigit((unsigned char)digits.p[0]))
    return false;
  if (rest.n > 1 && rest.p[0] == '/' && log_number_whole(str_slice(rest, 1, rest.n), &number) && number.integer) /* Epoch1/10 */
    rest = STR("");
  else if (str_find(word, '/') != SIZE_MAX)
    return false;
  unsigned flags = log_word(place);
  if (!(flags & (LOG_WORD_EPOCH | LOG_WORD_STEP)) || !log_number_whole(digits, &number) ||
      (log_subword(&rest, ret_section) && (!(log_word(*ret_section) & LOG_WORD_SECTION) || rest.n)))
    return false;
  *ret_kind = flags & LOG_WORD_EPOCH ? LOG_KEY_EPOCH : LOG_KEY_STEP;
  *ret_number = number.value;
  return true;
}

bool log_may_be_place(struct str word) {
  enum log_key_kind kind;
  double number;
  struct str section;
  if (fused_place(word, &kind, &number, &section))
    return true;
  return str_eq_nocase(word, STR("after")) || str_is(word, "Up") || str_is(word, "第") || str_find(word, '/') != SIZE_MAX;
}

/* "[lfw][2000]Accuracy: 0.98": nothing but brackets around the number at i, and a name. Returns where the place ends, or 0. */
static size_t step_between_brackets(struct log_parse *p, size_t i) {
  if (i < p->first + 3 || !token_is(p, i - 1, '[') || !token_is(p, i - 2, ']') || !token_is(p, i + 1, ']') || !token_is_word(p, i + 2) ||
      (p->tokens[i - 1].flags | p->tokens[i + 2].flags) & LOG_T_SPACE || !place_is_none(&p->own))
    return 0;
  p->own.step = p->tokens[i].value;
  use(p, i - 1, i + 2);
  return i + 2;
}

bool log_is_time(const struct log_parse *p, size_t i) {
  if (!token_is_number(p, i) || !(p->tokens[i].flags & LOG_T_UNIT))
    return false;
  struct str unit = str_n(p->text.p + p->tokens[i].end, p->tokens[i].unit_end - p->tokens[i].end);
  return str_is(unit, "d") || str_is(unit, "h") || str_is(unit, "m") || str_is(unit, "s");
}

/* "0m 9s (- 0m 21s) (30 30%) 1.8708", "500 5% (0m 7s) 2.2208": a step and its share of all, beside the time it took. Returns where the
 * place ends, or 0. */
static size_t step_with_share(struct log_parse *p, size_t i) {
  if (!token_is_int(p, i) || !token_is_number(p, i + 1) || !(p->tokens[i + 1].flags & LOG_T_PERCENT) || !place_is_none(&p->own))
    return 0;
  bool bracket = i > p->first && token_is(p, i - 1, '(') && token_is(p, i + 2, ')');
  size_t end = i + 2 + bracket;
  if (bracket ? !log_is_time(p, p->first) : i != p->first || !token_is(p, end, '(') || !log_is_time(p, end + 1))
    return 0;
  p->own.step = p->tokens[i].value;
  use(p, i - bracket, end);
  return end;
}

static size_t place_in_word(struct log_parse *p, size_t i) {
  enum log_key_kind kind;
  double number;
  struct str section;
  if (!fused_place(token_text(p, i), &kind, &number, &section))
    return 0;
  double *place = kind == LOG_KEY_EPOCH ? &p->own.epoch : &p->own.step;
  bool bounded = i == p->first || token_is(p, i - 1, '|') || token_is(p, i - 1, '['); /* Train|Epoch1/10|Iter10 */
  if (!isnan(*place) || token_is(p, i + 1, '=') || (!section.n && !bounded))          /* of a path, of a setting */
    return 0;
  *place = number;
  if (section.n)
    p->line_section = section;
  use(p, i, i + 1);
  return i + 1;
}

/* "第 3 轮": the same in three words. */
static size_t ordinal_words(struct log_parse *p, size_t i) {
  if (!str_is(token_text(p, i), "第") || !token_is_int(p, i + 1) || !token_is_word(p, i + 2))
    return 0;
  struct str unit = token_text(p, i + 2);
  double *place = str_is(unit, "轮") || str_is(unit, "輪") ? &p->own.epoch : str_is(unit, "步") ? &p->own.step : NULL;
  if (!place || !isnan(*place))
    return 0;
  *place = p->tokens[i + 1].value;
  use(p, i, i + 3);
  return i + 3;
}

static size_t place_at_word(struct log_parse *p, size_t i) {
  size_t end = worded_place(p, i);
  if (!p->words[i].placing)
    return end;
  if (!end)
    end = place_after(p, i);
  if (!end)
    end = abbreviated_place(p, i);
  if (!end)
    end = place_in_word(p, i);
  if (!end)
    end = ordinal_words(p, i);
  return end ? end : place_pair(p, i);
}

void log_find_place(struct log_parse *p) {
  size_t i = p->first;
  bool comment = token_is(p, i, '#') && i + 1 < p->tokens_n && p->tokens[i + 1].flags & LOG_T_SPACE;
  if (comment || i >= p->tokens_n)
    return;
  size_t lead = leading_place(p, i);
  if (lead == i)
    lead = sectioned_place(p, i + (token_is(p, i, '[') && token_is_word(p, i + 1)));
  for (i = lead; i < p->tokens_n; i++) {
    if (p->tokens[i].flags & LOG_T_USED)
      continue;
    size_t end = 0;
    if (p->tokens[i].type == LOG_T_WORD)
      end = p->words[i].section && token_is(p, i + 1, ':') && isnan(p->own.epoch) ? sectioned_place(p, i) : place_at_word(p, i);
    else if (p->tokens[i].flags & LOG_T_INT && p->tokens[i].type == LOG_T_NUMBER && !(end = counter(p, i)) &&
             !(end = step_with_share(p, i)))
      end = step_between_brackets(p, i);
    if (end > i)
      i = end - 1;
  }
  settle_step_of(p);
}
