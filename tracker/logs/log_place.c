/* Where a line stands: the logger's prefix is skipped, then "Epoch 3/10", "[0][10/500]", "step 100", "391/391 [" are found. */
#include "tracker/logs/log_state.h"

/* ---- the logger's prefix ---- */

/* "error" and "success" in small letters are names. */
static bool is_level(const struct log_parse *p, size_t i) {
  if (!token_is_word(p, i))
    return false;
  unsigned flags = token_word(p, i);
  char second = p->text.p[p->tokens[i].at + 1];
  return flags & LOG_WORD_LEVEL && (!(flags & LOG_WORD_METRIC) || (second >= 'A' && second <= 'Z'));
}

/* "I0615" of glog */
static bool is_glog(struct str word) {
  if (word.n != 5 || !strchr("IWEF", word.p[0]))
    return false;
  for (size_t i = 1; i < 5; i++)
    if (word.p[i] < '0' || word.p[i] > '9')
      return false;
  return true;
}

static size_t find_mark(const struct log_parse *p, size_t i, size_t limit, char mark) {
  for (size_t end = MIN_OF(p->tokens_n, i + limit); i < end; i++)
    if (token_is(p, i, mark))
      return i;
  return SIZE_MAX;
}

bool log_is_source_file(struct str word) {
  static const char *const endings[] = {".py", ".cc", ".cpp", ".c", ".cu", ".lua", ".jl", ".java"};
  size_t tail = MIN_OF(word.n, (size_t)5);
  if (!memchr(word.p + word.n - tail, '.', tail))
    return false;
  for (size_t i = 0; i < ARRAY_LEN(endings); i++)
    if (str_ends(word, str_of(endings[i])))
      return true;
  return false;
}

static enum log_key_kind word_kind(struct log_parse *p, size_t i) {
  return token_key(p, i).kind;
}

static bool is_place_kind(enum log_key_kind kind) {
  return kind == LOG_KEY_EPOCH || kind == LOG_KEY_STEP || kind == LOG_KEY_BATCH;
}

/* "6/5" behind "5/5": the total was rounded down, and the last batch is a smaller one. */
static bool is_one_more(const struct log_parse *p, double value, double total) {
  return value == total + 1 && p->kept.carried.batch_total == total;
}

/* INT '/' INT, INT "of" INT */
static bool is_fraction(const struct log_parse *p, size_t i) {
  if (!token_is_int(p, i) || !token_is_int(p, i + 2))
    return false;
  double value = p->tokens[i].value, total = p->tokens[i + 2].value;
  if (value > total && total > 0 && !is_one_more(p, value, total))
    return false;
  return token_is(p, i + 1, '/') || (token_is_word(p, i + 1) && str_eq_nocase(token_text(p, i + 1), STR("of")));
}

/* A bracketed group that a logger writes: a time, a level, a file, one word that means nothing here. */
static bool is_logger_group(struct log_parse *p, size_t from, size_t to) {
  bool words_only = to > from;
  for (size_t i = from; i < to; i++) {
    const struct log_token *t = &p->tokens[i];
    if (t->type == LOG_T_OPAQUE || is_level(p, i))
      return true;
    if (t->type == LOG_T_WORD) {
      struct str word = token_text(p, i);
      if (log_is_source_file(word) || str_eq_nocase(word, STR("rank")) || str_eq_nocase(word, STR("pid")))
        return true;
      if (token_is_section(p, i) || is_place_kind(word_kind(p, i)) || word_kind(p, i) == LOG_KEY_METRIC)
        return false;
    } else if (i == from) {
      words_only = false;
    } else if (!(t->type == LOG_T_MARK && strchr("-.@:/", t->mark)) && !(t->type == LOG_T_NUMBER && !(t->flags & LOG_T_SPACE))) {
      words_only = false;
    }
  }
  return words_only && to - from <= 5;
}

/* "[------------]", "[   20%      ]": a drawn margin, or how far everything is. */
static bool is_margin(const struct log_parse *p, size_t from, size_t to) {
  if (to == from + 1 && token_is_number(p, from) && p->tokens[from].flags & LOG_T_PERCENT)
    return true;
  for (size_t i = from; i < to; i++)
    if (!token_is(p, i, '-'))
      return false;
  return to > from;
}

/* "(pid=123)", "(RayTrainWorker pid=1234, ip=10.0.0.1)" */
static bool holds_pid(const struct log_parse *p, size_t from, size_t to) {
  for (size_t i = from; i < to; i++)
    if (token_is_word(p, i) && str_is(token_text(p, i), "pid"))
      return true;
  return false;
}

/* "__main__:train:42 -", "root -", "module.name:" between the level and the message. Returns where it ends, or i. */
static size_t skip_logger_name(struct log_parse *p, size_t i) {
  size_t j = i, words = 0;
  while (j < p->tokens_n && j < i + 10) {
    const struct log_token *t = &p->tokens[j];
    bool dash = token_is(p, j, '-') && t->flags & LOG_T_SPACE && !is_arrow(p, j);
    bool bar = t->type == LOG_T_MARK && t->mark == '|';
    if ((dash || bar) && words) {
      if (words == 1 && token_is_section(p, j - 1))
        p->line_section = token_text(p, j - 1);
      return j + 1;
    }
    if (t->type == LOG_T_WORD && !(words && t->flags & LOG_T_SPACE)) {
      if (is_place_kind(word_kind(p, j)))
        return i;
      words++;
    } else if (!(t->type == LOG_T_MARK && strchr(":.<>", t->mark)) && !(t->type == LOG_T_NUMBER && words && !(t->flags & LOG_T_SPACE))) {
      return i;
    }
    j++;
  }
  return i;
}

static size_t skip_glog(const struct log_parse *p, size_t i) {
  if (!token_is_word(p, i) || !is_glog(token_text(p, i)))
    return i;
  size_t close = find_mark(p, i, 10, ']');
  return close == SIZE_MAX ? i : close + 1;
}

void log_skip_prefix(struct log_parse *p) {
  size_t i = skip_glog(p, 0);
  bool stamped = i > 0, named = false;
  for (unsigned parts = 0; parts < 10 && i < p->tokens_n; parts++) {
    const struct log_token *t = &p->tokens[i];
    size_t close;
    if (stamped && token_is(p, i, '|') && token_is(p, p->tokens_n - 1, '|') && i + 1 < p->tokens_n) /* a row of a table */
      break;
    if (t->type == LOG_T_OPAQUE) { /* a time; milliseconds may follow */
      i++;
      if (token_is(p, i, ',') && token_is_int(p, i + 1))
        i += 2;
      if (token_is(p, i, ':') && i + 1 < p->tokens_n)
        i++;
      stamped = true;
    } else if (token_is_int(p, i) && token_is(p, i + 1, '/') && token_is_int(p, i + 2) && i + 3 < p->tokens_n &&
               p->tokens[i + 3].type == LOG_T_OPAQUE) { /* 11/21 16:00:00 */
      i += 3;
    } else if (token_is_number(p, i) && t->value > 1e9 && token_is(p, i + 1, ':')) { /* seconds since 1970 */
      i += 2;
    } else if (is_level(p, i) && (stamped || i > 0 || token_is(p, i + 1, ':') || token_is(p, i + 1, '-') || token_is(p, i + 1, '|'))) {
      i++;
      if (token_is(p, i, ':')) {
        i++;
        if (token_is_word(p, i) && token_is(p, i + 1, ':') && !(p->tokens[i].flags & LOG_T_SPACE) && !is_place_kind(word_kind(p, i)))
          i += 2; /* INFO:root: */
      }
      stamped = true;
    } else if (token_is(p, i, '[') && (close = find_mark(p, i, 16, ']')) != SIZE_MAX && close + 1 < p->tokens_n &&
               (is_logger_group(p, i + 1, close) || is_margin(p, i + 1, close))) {
      bool time = p->tokens[i + 1].type == LOG_T_OPAQUE;
      if (close == i + 2 && token_is_word(p, i + 1) && !is_level(p, i + 1) && log_is_label(p, token_text(p, i + 1)))
        p->label = token_text(p, i + 1);
      i = close + 1 + (token_is(p, close + 1, ':') && close + 2 < p->tokens_n);
      stamped = true;
      if (time && token_is(p, i, '[') && !(p->tokens[i].flags & LOG_T_SPACE) && token_is_int(p, i + 1) && token_is(p, i + 2, ']') &&
          i + 3 < p->tokens_n && p->tokens[i + 3].flags & LOG_T_SPACE) /* [2021-06-01 10:11:12][01234] Reward: the process */
        i += 3;
    } else if (stamped && token_is(p, i, '(') && is_fraction(p, i + 1) && token_is(p, i + 4, ')') && token_is_word(p, i + 5) &&
               is_place_kind(word_kind(p, i + 5))) { /* (0/4) Epoch 0, batch 50: the process */
      i += 5;
    } else if (token_is(p, i, '(') && token_is_word(p, i + 1) && (close = find_mark(p, i, 12, ')')) != SIZE_MAX &&
               (stamped || holds_pid(p, i + 1, close))) { /* (pid=123), (trainer:284), (main.py 212): */
      i = close + 1 + (token_is(p, close + 1, ':') && is_level(p, close + 2));
    } else if (token_is(p, i, '[') && token_is_int(p, i + 1) && token_is(p, i + 2, ',') && token_is_int(p, i + 3) &&
               token_is(p, i + 4, ']') && token_is(p, i + 5, '<') && token_is(p, i + 7, '>')) { /* [1,0]<stdout>: of mpirun */
      i += 8 + token_is(p, i + 8, ':');
    } else if (token_is(p, i, '[') && token_is_int(p, i + 1) && token_is(p, i + 2, ']') && token_is(p, i + 3, '<') &&
               token_is(p, i + 5, '>')) { /* [0]<stdout>: of horovodrun */
      i += 6 + token_is(p, i + 6, ':');
    } else if (i == 0 && token_is_word(p, 0) && token_is(p, 1, ':') && str_is(token_text(p, 0), "wandb")) {
      i = 2;
    } else if (stamped && (token_is(p, i, '-') || token_is(p, i, '|')) && i + 1 < p->tokens_n && i > 0) {
      i++;
    } else if (stamped && !named && skip_logger_name(p, i) > i) {
      i = skip_logger_name(p, i);
      named = true;
    } else {
      break;
    }
  }
  p->first = MIN_OF(i, p->tokens_n);
}

/* ---- places ---- */

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

/* "(2%)" behind so many of so many: where it ends. */
static size_t skip_share(const struct log_parse *p, size_t i) {
  return token_is(p, i, '(') && token_is_number(p, i + 1) && token_is(p, i + 2, ')') ? i + 3 : i;
}

/* "[10/500]", "[640/30000 (2%)]", "100 / 500" behind an epoch. Returns where it ends, or i. */
static size_t batch_behind_epoch(struct log_parse *p, size_t i) {
  bool bracket = token_is(p, i, '[');
  size_t at = i + bracket;
  if (!is_fraction(p, at) || (!bracket && !token_is(p, at + 1, '/')))
    return i;
  size_t end = skip_share(p, at + 3);
  if (bracket && !token_is(p, end, ']'))
    return i;
  if (!bracket && end < p->tokens_n && p->tokens[end].type == LOG_T_OPAQUE)
    return i;
  set_batch(p, p->tokens[at].value, p->tokens[at + 2].value);
  return end + bracket;
}

/* "Line search step: 1.000", "seconds for this iteration: 0.000": with a point, and words before that belong to it. */
static bool is_step_size(struct log_parse *p, size_t i, size_t number) {
  if (word_kind(p, i) == LOG_KEY_EPOCH || p->tokens[number].flags & LOG_T_INT)
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

/* "12,000": the whole number at i with the thousands behind it. Returns where it ends. */
static size_t thousands(const struct log_parse *p, size_t i, double *ret) {
  *ret = p->tokens[i].value;
  for (i++; token_is(p, i, ',') && token_is_int(p, i + 1) && !((p->tokens[i].flags | p->tokens[i + 1].flags) & LOG_T_SPACE) &&
            p->tokens[i + 1].end - p->tokens[i + 1].at == 3;
       i += 2)
    *ret = *ret * 1000 + p->tokens[i + 1].value;
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

/* A place word at i with its number. Returns where the place ends, or 0. */
static size_t worded_place(struct log_parse *p, size_t i) {
  struct str word = token_text(p, i);
  enum log_key_kind kind = word_kind(p, i);
  bool plural = word.n == 6 && str_eq_nocase(word, STR("epochs"));
  if (is_counter_name(p, i))
    kind = LOG_KEY_STEP;
  else if ((!plural && !is_place_kind(kind)) || word.n == 1 || str_eq_nocase(word, STR("it")))
    return 0;
  if (plural)
    kind = LOG_KEY_EPOCH;
  size_t j = skip_number_words(p, i + 1);
  if (word.n <= 4 && token_is(p, j, '.') && !(p->tokens[j].flags & LOG_T_SPACE)) /* Ep. 1 */
    j++;
  bool sign = false;
  if (token_is(p, j, '(') && token_is_word(p, j + 1) && token_is(p, j + 2, ')')) { /* Epoch(train) */
    if (token_is_section(p, j + 1))
      p->line_section = token_text(p, j + 1);
    j += 3;
  }
  while (token_is(p, j, ':') || token_is(p, j, '=') || token_is(p, j, '#') || (token_is(p, j, '-') && p->tokens[j].flags & LOG_T_SPACE)) {
    sign |= !token_is(p, j, '#');
    j += 1 + is_arrow(p, j);
  }
  bool bracket = token_is(p, j, '[') || token_is(p, j, '(');
  size_t number = j + bracket;
  if (!token_is_number(p, number))
    return 0;
  const struct log_token *t = &p->tokens[number];
  if (t->flags & (LOG_T_PERCENT | LOG_T_UNIT) || !(t->value >= 0) || (kind != LOG_KEY_EPOCH && !is_whole(t->value)))
    return 0;
  if (!(t->flags & LOG_T_INT) && token_is_word(p, number + 1) && token_word(p, number + 1) & LOG_WORD_UNIT) /* this epoch: 12.1 seconds */
    return 0;
  bool fraction = is_fraction(p, number);
  if ((plural && !fraction) || is_denied(p, i, sign, number))
    return 0;
  double value = t->value, total = fraction ? p->tokens[number + 2].value : NAN;
  size_t end = number + (fraction ? 3 : 1);
  if (kind == LOG_KEY_STEP && token_is_int(p, number) && !fraction)
    end = thousands(p, number, &value);
  if (bracket && !fraction && token_is(p, end, '-') && token_is_int(p, end + 1)) { /* Batch [0-100] */
    value = p->tokens[end + 1].value;
    end += 2;
  }
  if (bracket && (token_is(p, end, ']') || token_is(p, end, ')')))
    end++;
  if (kind == LOG_KEY_EPOCH) {
    if (isnan(p->own.epoch))
      p->own.epoch = value;
    size_t next = token_is(p, end, ':') || token_is(p, end, ',') ? end + 1 : end;
    size_t batch_end = batch_behind_epoch(p, next);
    if (batch_end > next)
      end = batch_end;
  } else if (kind == LOG_KEY_BATCH) {
    set_batch(p, value, total);
  } else if (fraction) { /* a step of so many: within the epoch when there are epochs, decided later */
    if (isnan(p->own.step)) {
      p->own.step = value;
      p->own.batch_total = isnan(p->own.batch) ? total : p->own.batch_total;
    }
  } else if (isnan(p->own.step)) {
    bool within = is_episode(p, i) && !isnan(p->own.batch) && isnan(p->own.epoch) && isnan(p->kept.carried.epoch);
    p->own.step = within ? p->own.batch : value;
    p->own.batch = within ? (double)NAN : p->own.batch;
  } else if (!isnan(p->own.batch_total) && isnan(p->own.batch) && is_global(p, i)) { /* STEP: 5/15 -- GLOBAL_STEP: 20 */
    p->own.batch = p->own.step;
    p->own.step = value;
  }
  use(p, i, end);
  return end;
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
static bool counts_line(struct log_parse *p, size_t i) {
  size_t end = i + 1;
  if (!token_is_word(p, end) || !(p->tokens[end].flags & LOG_T_GAP))
    return false;
  while (end < i + 5 && (token_is_word(p, end) || token_is(p, end, '.')))
    end++;
  if (!token_is_number(p, end) || p->tokens[end].flags & (LOG_T_INT | LOG_T_UNIT) || !token_is_word(p, end - 1))
    return false;
  return word_kind(p, end - 1) == LOG_KEY_METRIC;
}

/* What stands at the start of a line without a word: "[10]", "[0/5][10/782]", "[1,  2000]", "[0: 10/782]", "0:", "0 --". */
static size_t leading_place(struct log_parse *p, size_t i) {
  if (token_is(p, i, '[') && token_is_int(p, i + 1)) {
    double step;
    size_t close = thousands(p, i + 1, &step);
    if (token_is(p, close, ']') && token_is_int(p, close + 1) && token_is(p, close + 2, '|') && token_is(p, close + 3, '|')) {
      p->own.epoch = step; /* "[  0]      10 || B: 1.294" */
      p->own.step = p->tokens[close + 1].value;
      use(p, i, close + 2);
      return close + 2;
    }
    if (token_is(p, close, ']') && close + 1 < p->tokens_n) {
      p->own.step = step;
      use(p, i, close + 1);
      return close + 1;
    }
    bool divided = token_is(p, i + 2, ',') || (token_is(p, i + 2, ':') && p->tokens[i + 3].flags & LOG_T_SPACE);
    size_t batch_end = i + 3 + (is_fraction(p, i + 3) ? 3 : 1);
    if (divided && token_is_int(p, i + 3) && token_is(p, batch_end, ']')) {
      p->own.epoch = p->tokens[i + 1].value;
      set_batch(p, p->tokens[i + 3].value, batch_end > i + 4 ? p->tokens[i + 5].value : (double)NAN);
      use(p, i, batch_end + 1);
      return batch_end + 1;
    }
    if (token_is(p, i + 2, '|') && token_is_number(p, i + 3) && token_is(p, i + 4, ']') && token_is_word(p, i + 5)) { /* [10 | 23.45] */
      p->own.step = p->tokens[i + 1].value;
      use(p, i, i + 5);
      return i + 5;
    }
    if (token_is_word(p, i + 2) && str_eq_nocase(token_text(p, i + 2), STR("epochs")) && token_is(p, i + 3, ']')) { /* [10 epochs] */
      p->own.epoch = p->tokens[i + 1].value;
      use(p, i, i + 4);
      return i + 4;
    }
    if (!is_fraction(p, i + 1) || !token_is(p, i + 4, ']'))
      return i;
    if (token_is(p, i + 5, '[') && is_fraction(p, i + 6) && token_is(p, i + 9, ']')) {
      p->own.epoch = p->tokens[i + 1].value;
      set_batch(p, p->tokens[i + 6].value, p->tokens[i + 8].value);
      use(p, i, i + 10);
      return i + 10;
    }
    p->own.step = p->tokens[i + 1].value;
    p->own.batch_total = p->tokens[i + 3].value;
    use(p, i, i + 5);
    return i + 5;
  }
  if (token_is(p, i, '<') && token_is_int(p, i + 1) && token_is(p, i + 2, '>') && token_is_word(p, i + 3)) { /* "<10> LL/token: -9.1" */
    p->own.step = p->tokens[i + 1].value;
    use(p, i, i + 3);
    return i + 3;
  }
  if (!token_is_int(p, i) || i + 2 >= p->tokens_n)
    return i;
  if (token_is(p, i + 1, '|') && token_is_int(p, i + 2) && token_is(p, i + 3, '|') && token_is_word(p, i + 4) &&
      !(p->tokens[i + 1].flags & LOG_T_SPACE)) { /* "1|20|Loss: 0.5" */
    p->own.epoch = p->tokens[i].value;
    p->own.step = p->tokens[i + 2].value;
    use(p, i, i + 4);
    return i + 4;
  }
  if (token_is(p, i + 1, ',') && token_is_number(p, i + 2) && !token_is_int(p, i + 2) && token_is(p, i + 3, ':') &&
      token_is_number(p, i + 4)) { /* "12, 0.178: 1.27" */
    p->own.step = p->tokens[i].value;
    p->own.epoch = p->tokens[i + 2].value;
    use(p, i, i + 4);
    return i + 4;
  }
  bool quoted = p->tokens[i + 2].type == LOG_T_MARK && mark_is(p->tokens[i + 2].mark, MARK_QUOTE); /* 1: "age" mean:40.2, of a list */
  bool colon = token_is(p, i + 1, ':') && p->tokens[i + 2].flags & LOG_T_SPACE && !quoted;
  bool dashes = token_is(p, i + 1, '-') && token_is(p, i + 2, '-');
  bool dash = stands_in_parts(p, i);
  bool bare = token_is_word(p, i + 1) && p->tokens[i + 1].flags & LOG_T_GAP && token_is(p, i + 2, ':');
  bool bracket = token_is(p, i + 1, '[') && token_is_word(p, i + 2); /* "0 [D loss: 0.69]" */
  bool bar = token_is(p, i + 1, '|') && token_is_word(p, i + 2) && word_kind(p, i + 2) == LOG_KEY_METRIC && token_is_number(p, i + 3);
  if (token_is_word(p, i + 1) && token_is_section(p, i + 1) && token_is_word(p, i + 2) && word_kind(p, i + 2) == LOG_KEY_METRIC &&
      token_is(p, i + 3, ':')) /* "   1 train loss: 0.5" */
    bare = true;
  if (!colon && !dashes && !dash && !bare && !bracket && !bar && !counts_line(p, i))
    return i;
  if (colon && token_is_word(p, i + 2) && is_place_kind(token_key(p, i + 2).kind)) { /* "0: epoch 3", a rank */
    use(p, i, i + 2);
    return i + 2;
  }
  p->own.step = p->tokens[i].value;
  size_t end = i + (colon || dash ? 2 : dashes ? 3 : 1);
  use(p, i, end);
  return end;
}

/* "train (1/3)", "Train: 0 [   0/1251 (  0%)]", "0/10(t)", "16epoch:train:1-100batch": the section and the epoch together. */
static size_t sectioned_place(struct log_parse *p, size_t i) {
  if (token_is_number(p, i) && p->tokens[i].flags & LOG_T_UNIT) {
    struct str unit = str_n(p->text.p + p->tokens[i].end, p->tokens[i].unit_end - p->tokens[i].end);
    if (!str_eq_nocase(unit, STR("epoch")) && !str_eq_nocase(unit, STR("ep")))
      return i;
    p->own.epoch = p->tokens[i].value;
    use(p, i, i + 1);
    for (size_t j = i + 1; j < p->tokens_n && j < i + 8; j++) { /* 1epoch:train:101-200batch */
      struct str last = str_n(p->text.p + p->tokens[j].end, p->tokens[j].unit_end - p->tokens[j].end);
      if (p->tokens[j].flags & LOG_T_UNIT && str_is(last, "batch"))
        set_batch(p, p->tokens[j].value, NAN);
    }
    return i + 1;
  }
  if (is_fraction(p, i) && token_is(p, i + 3, '(') && token_is_word(p, i + 4) && token_is(p, i + 5, ')')) {
    struct str letter = token_text(p, i + 4);
    if (!str_is(letter, "t") && !str_is(letter, "v") && !str_is(letter, "e") && !log_is_section(letter))
      return i;
    p->own.epoch = p->tokens[i].value;
    p->line_section = letter;
    use(p, i, i + 6);
    return i + 6;
  }
  if (is_fraction(p, i) && token_is(p, i + 3, '*')) { /* "1/3 * Epoch (train): ..." */
    p->own.epoch = p->tokens[i].value;
    use(p, i, i + 4);
    return i + 4;
  }
  if (!token_is_word(p, i) || !token_is_section(p, i))
    return i;
  size_t j = i + 1;
  if (is_fraction(p, j) && token_is(p, j + 3, ':') && p->tokens[j + 1].type == LOG_T_MARK) { /* "train 1/4: 100%|####|" */
    p->own.epoch = p->tokens[j].value;
    p->line_section = token_text(p, i);
    use(p, i, j + 4);
    return j + 4;
  }
  if (i > p->first && token_is(p, i - 1, '[') && token_is(p, j, '|') && is_fraction(p, j + 1) && token_is(p, j + 4, ']')) {
    p->own.epoch = p->tokens[j + 1].value; /* [ Train | 001/080 ] */
    p->line_section = token_text(p, i);
    use(p, i - 1, j + 5);
    return j + 5;
  }
  if (token_is(p, j, '(') && is_fraction(p, j + 1) && token_is(p, j + 4, ')')) {
    p->own.epoch = p->tokens[j + 1].value;
    p->line_section = token_text(p, i);
    use(p, i, j + 5);
    return j + 5;
  }
  j += token_is(p, j, ':');
  size_t share = is_fraction(p, j) ? skip_share(p, j + 3) : j;
  if (share > j + 3 && token_is(p, share, '[') && batch_behind_epoch(p, share) > share) { /* Train: 1/80 (1%) [50/464 (10%)] */
    size_t end = batch_behind_epoch(p, share);
    p->own.epoch = p->tokens[j].value;
    p->line_section = token_text(p, i);
    use(p, i, end);
    return end;
  }
  if (token_is_int(p, j) && token_is(p, j + 1, ',') && is_fraction(p, j + 2) && token_is(p, j + 5, ']')) { /* [train: 1, 50 / 1000] */
    p->own.epoch = p->tokens[j].value;
    set_batch(p, p->tokens[j + 2].value, p->tokens[j + 4].value);
    p->line_section = token_text(p, i);
    use(p, i, j + 6);
    return j + 6;
  }
  size_t close = j + (is_fraction(p, j + 1) ? 4 : 2);
  if (token_is(p, j, '[') && token_is_int(p, j + 1) && token_is(p, close, ']') && batch_behind_epoch(p, close + 1) > close + 1) {
    size_t end = batch_behind_epoch(p, close + 1); /* [0/90][1/500], [0][1/500] */
    p->own.epoch = p->tokens[j + 1].value;
    p->line_section = token_text(p, i);
    use(p, i, end);
    return end;
  }
  if (token_is_int(p, j) && token_is(p, j + 1, '[') && batch_behind_epoch(p, j + 1) > j + 1) {
    size_t end = batch_behind_epoch(p, j + 1);
    p->own.epoch = p->tokens[j].value;
    p->line_section = token_text(p, i);
    use(p, i, end);
    return end;
  }
  return i;
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
  size_t close = find_mark(p, i, 40, ']');
  if (!token_is(p, i, '[') || close == SIZE_MAX || close + 1 >= p->tokens_n)
    return false;
  if (p->tokens[close + 1].flags & LOG_T_SPACE) /* blanks wipe out the rest of a longer state */
    return is_level(p, close + 1);
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
         word_kind(p, end) == LOG_KEY_METRIC;
}

/* N/M of a progress bar or counter, anywhere in the line: "391/391 [01:30<", "63/63 ━━━", "200/ 2983 batches", "[1/63]". */
static size_t counter(struct log_parse *p, size_t i) {
  if (!is_fraction(p, i) || !token_is(p, i + 1, '/'))
    return 0;
  size_t end = skip_share(p, i + 3);
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
  return str_eq_nocase(word, STR("after")) || str_is(word, "Up") || str_find(word, '/') != SIZE_MAX;
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
