/* The logger's prefix: time stamps, levels, ranks and names of loggers before the message. */
#include "tracker/logs/log_state.h"

bool log_is_level(const struct log_parse *p, size_t i) {
  if (!token_is_word(p, i))
    return false;
  unsigned flags = token_word(p, i);
  /* "error" and "success" in small letters are names */
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

size_t log_find_mark(const struct log_parse *p, size_t i, size_t limit, char mark) {
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

/* A bracketed group that a logger writes: a time, a level, a file, one word that means nothing here. */
static bool is_logger_group(const struct log_parse *p, size_t from, size_t to) {
  bool words_only = to > from;
  for (size_t i = from; i < to; i++) {
    const struct log_token *t = &p->tokens[i];
    if (t->type == LOG_T_OPAQUE || log_is_level(p, i))
      return true;
    if (t->type == LOG_T_WORD) {
      struct str word = token_text(p, i);
      if (log_is_source_file(word) || str_eq_nocase(word, STR("rank")) || str_eq_nocase(word, STR("pid")))
        return true;
      if (token_is_section(p, i) || is_place_kind(token_key(p, i).kind) || token_key(p, i).kind == LOG_KEY_METRIC)
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
      if (is_place_kind(token_key(p, j).kind))
        return i;
      words++;
    } else if (!(t->type == LOG_T_MARK && strchr(":.<>", t->mark)) && !(t->type == LOG_T_NUMBER && words && !(t->flags & LOG_T_SPACE))) {
      return i;
    }
    j++;
  }
  return i;
}

/* What has been skipped of a prefix. */
struct prefix {
  bool stamped; /* something that only a logger writes */
  bool named;   /* the logger's name */
};

/* Each skips one part of a prefix: returns where it ends, or i. */
typedef size_t skip_fn(struct log_parse *p, size_t i, struct prefix *seen);

/* "I0615 10:00:00.000 123 train.cc:42]" */
static size_t skip_glog(struct log_parse *p, size_t i, struct prefix *seen) {
  if (i > 0 || !token_is_word(p, i) || !is_glog(token_text(p, i)))
    return i;
  size_t close = log_find_mark(p, i, 10, ']');
  if (close == SIZE_MAX)
    return i;
  seen->stamped = true;
  return close + 1;
}

/* A time; milliseconds may follow. */
static size_t skip_time(struct log_parse *p, size_t i, struct prefix *seen) {
  if (p->tokens[i].type != LOG_T_OPAQUE)
    return i;
  seen->stamped = true;
  i++;
  if (token_is(p, i, ',') && token_is_int(p, i + 1))
    i += 2;
  return i + (token_is(p, i, ':') && i + 1 < p->tokens_n);
}

/* The date of "11/21 16:00:00", the seconds since 1970 of "1700000000.5:". */
static size_t skip_date(struct log_parse *p, size_t i, struct prefix *seen) {
  (void)seen;
  if (token_is_int(p, i) && token_is(p, i + 1, '/') && token_is_int(p, i + 2) && i + 3 < p->tokens_n &&
      p->tokens[i + 3].type == LOG_T_OPAQUE)
    return i + 3;
  return token_is_number(p, i) && p->tokens[i].value > 1e9 && token_is(p, i + 1, ':') ? i + 2 : i;
}

/* "INFO", "INFO:", "INFO:root:" */
static size_t skip_level(struct log_parse *p, size_t i, struct prefix *seen) {
  bool set_off = token_is(p, i + 1, ':') || token_is(p, i + 1, '-') || token_is(p, i + 1, '|');
  if (!log_is_level(p, i) || !(seen->stamped || i > 0 || set_off))
    return i;
  seen->stamped = true;
  i++;
  if (!token_is(p, i, ':'))
    return i;
  i++;
  bool root = token_is_word(p, i) && token_is(p, i + 1, ':') && !(p->tokens[i].flags & LOG_T_SPACE) && !is_place_kind(token_key(p, i).kind);
  return root ? i + 2 : i;
}

/* "[train.py:42]", "[10:00:00]", "[student]", which is a label too; and the process behind a time: "[2021-06-01 10:11:12][01234] Reward:"
 */
static size_t skip_group(struct log_parse *p, size_t i, struct prefix *seen) {
  size_t close = token_is(p, i, '[') ? log_find_mark(p, i, 16, ']') : SIZE_MAX;
  if (close == SIZE_MAX || close + 1 >= p->tokens_n || !(is_logger_group(p, i + 1, close) || is_margin(p, i + 1, close)))
    return i;
  seen->stamped = true;
  if (close == i + 2 && token_is_word(p, i + 1) && !log_is_level(p, i + 1) && log_is_label(p, token_text(p, i + 1)))
    p->label = token_text(p, i + 1);
  struct log_match process;
  bool time = p->tokens[i + 1].type == LOG_T_OPAQUE;
  i = close + 1 + (token_is(p, close + 1, ':') && close + 2 < p->tokens_n);
  return time && log_match(p, i, "~[i]^_.", &process) ? process.end : i;
}

/* "(pid=123)", "(trainer:284)", "(main.py 212):" and the process of "(0/4) Epoch 0, batch 50" */
static size_t skip_parenthesis(struct log_parse *p, size_t i, struct prefix *seen) {
  struct log_match process;
  if (seen->stamped && log_match(p, i, "(i/)^P", &process))
    return process.end;
  if (!token_is(p, i, '(') || !token_is_word(p, i + 1))
    return i;
  size_t close = log_find_mark(p, i, 12, ')');
  if (close == SIZE_MAX || !(seen->stamped || holds_pid(p, i + 1, close)))
    return i;
  return close + 1 + (token_is(p, close + 1, ':') && log_is_level(p, close + 2));
}

/* "[1,0]<stdout>:" of mpirun, "[0]<stdout>:" of horovodrun, "wandb:" */
static size_t skip_launcher(struct log_parse *p, size_t i, struct prefix *seen) {
  (void)seen;
  struct log_match m;
  if (token_is(p, i, '['))
    return log_match(p, i, "[i,i]<w>:?", &m) || log_match(p, i, "[i]<w>:?", &m) ? m.end : i;
  return i == 0 && token_is_word(p, 0) && token_is(p, 1, ':') && str_is(token_text(p, 0), "wandb") ? 2 : i;
}

static size_t skip_divider(struct log_parse *p, size_t i, struct prefix *seen) {
  return i + (seen->stamped && i > 0 && (token_is(p, i, '-') || token_is(p, i, '|')) && i + 1 < p->tokens_n);
}

static size_t skip_name(struct log_parse *p, size_t i, struct prefix *seen) {
  if (!seen->stamped || seen->named)
    return i;
  size_t end = skip_logger_name(p, i);
  seen->named = end > i;
  return end;
}

static bool is_row_between_bars(const struct log_parse *p, size_t i) {
  return token_is(p, i, '|') && token_is(p, p->tokens_n - 1, '|') && i + 1 < p->tokens_n;
}

static size_t skip_part(struct log_parse *p, size_t i, struct prefix *seen) {
  static skip_fn *const parts[] = {skip_glog,        skip_time,     skip_date,    skip_level, skip_group,
                                   skip_parenthesis, skip_launcher, skip_divider, skip_name};
  if (seen->stamped && is_row_between_bars(p, i))
    return i;
  for (size_t k = 0; k < ARRAY_LEN(parts); k++) {
    size_t end = parts[k](p, i, seen);
    if (end > i)
      return end;
  }
  return i;
}

void log_skip_prefix(struct log_parse *p) {
  struct prefix seen = {0};
  size_t i = 0;
  for (unsigned parts = 0; parts < 11 && i < p->tokens_n; parts++) {
    size_t end = skip_part(p, i, &seen);
    if (end == i)
      break;
    i = end;
  }
  p->first = MIN_OF(i, p->tokens_n);
}
