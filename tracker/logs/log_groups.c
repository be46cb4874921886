/* Brackets and parentheses in a line: values in them, names that end in them, and what is passed over. */
#include "tracker/logs/log_scan.h"

enum { GROUP_MAX = 24, TUPLE_MAX = 32 };

/* Does (...) or [...] hold names with numbers? */
static bool holds_pairs(const struct log_parse *p, size_t open, size_t close) {
  bool round = token_is(p, open, '(');
  for (size_t i = open + 1; i < close; i++)
    if (token_is_number(p, i) && i > open + 1 && (!round || token_is(p, i - 1, '=') || token_is(p, i - 1, ':')))
      return true;
  return false;
}

static bool holds_settings(struct log_parse *p, size_t open, size_t close) {
  for (size_t i = open + 1; i + 1 < close; i++)
    if (token_is_word(p, i) && token_is(p, i + 1, '=')) {
      enum log_key_kind kind = token_key(p, i).kind;
      if (kind == LOG_KEY_SETTING || kind == LOG_KEY_SCHEDULE)
        return true;
    }
  return false;
}

/* "loss tensor(0.5, grad_fn=...)", "loss tensor([0.5])" */
static bool wrapped_value(struct log_scan *s, size_t close) {
  struct log_parse *p = s->p;
  size_t word = s->at - 1, value = s->at + 1;
  if (token_is(p, value, '[') && token_is(p, value + 2, ']'))
    value++;
  if (word <= s->segment || close == SIZE_MAX || !token_is_number(p, value) || !log_is_wrapper(token_text(p, word)))
    return false;
  struct str name = log_make_name(p, s->segment, word);
  if (!name.n || log_classify(p, name).kind != LOG_KEY_METRIC)
    return false;
  struct log_reading r;
  log_read_number(p, value, LOG_KEY_METRIC, name, &r);
  log_take_reading(s, name, &r);
  s->at = close;
  s->segment = close + 1;
  return true;
}

/* "eval/Accuracy[0.8123]": the number right behind the name, in brackets of its own. */
static bool bracketed_value(struct log_scan *s, size_t close) {
  struct log_parse *p = s->p;
  size_t value = s->at + 1;
  if (s->segment == s->at || close != value + 1 || !token_is_number(p, value) || p->tokens[value].flags & (LOG_T_INT | LOG_T_UNIT))
    return false;
  struct str name = log_make_name(p, s->segment, s->at);
  if (!name.n || log_classify(p, name).kind != LOG_KEY_METRIC)
    return false;
  log_add_pair(s, name, p->tokens[value].value, p->tokens[value].flags & LOG_T_PERCENT);
  s->at = close;
  s->segment = close + 1;
  return true;
}

/* ('epoch', 1, 'loss', 0.5), (:loss, 0.5): names and numbers in turn. */
static bool tuple(struct log_scan *s) {
  struct log_parse *p = s->p;
  size_t i = s->at + 1, names[TUPLE_MAX], n = 0;
  for (;;) {
    bool quoted = token_is(p, i, '\'') || token_is(p, i, '"');
    i += quoted || token_is(p, i, ':');
    if (n == TUPLE_MAX || !token_is_word(p, i))
      return false;
    names[n++] = i++;
    i += quoted;
    if (!token_is(p, i, ',') || !token_is_number(p, i + 1) || p->tokens[i + 1].flags & LOG_T_UNIT)
      return false;
    i += 2;
    if (token_is(p, i, ')'))
      break;
    if (!token_is(p, i++, ','))
      return false;
  }
  for (size_t k = 0; k < n; k++) {
    size_t value = k + 1 < n ? names[k + 1] - 2 : i - 1;
    while (!token_is_number(p, value))
      value--;
    double *place = token_key(p, names[k]).kind == LOG_KEY_EPOCH  ? &p->own.epoch
                    : token_key(p, names[k]).kind == LOG_KEY_STEP ? &p->own.step
                                                                  : NULL;
    if (place && !token_is_int(p, value))
      place = NULL;
    if (place && isnan(*place))
      *place = p->tokens[value].value;
    struct raw *raw = place ? NULL : log_add_pair(s, token_text(p, names[k]), p->tokens[value].value, false);
    if (raw)
      raw->integer = p->tokens[value].flags & LOG_T_INT;
  }
  log_next_segment(s, i + 1);
  s->at = i;
  return true;
}

/* "avg. loss [951-1000]: 34.1": over which of them it is taken. */
static bool ranged_value(struct log_scan *s, size_t close) {
  struct log_parse *p = s->p;
  size_t i = s->at;
  if (s->segment == i || close != i + 4 || !token_is_int(p, i + 1) || !token_is(p, i + 2, '-') || !token_is_int(p, i + 3) ||
      !(token_is(p, close + 1, ':') || token_is(p, close + 1, '=')) || token_is_word(p, close + 2))
    return false;
  struct str name = log_make_name(p, s->segment, i);
  struct log_reading r;
  if (!name.n || !log_read_value(p, close + 2, log_classify(p, name).kind, name, &r))
    return false;
  log_take_reading(s, name, &r);
  s->at = r.end - 1;
  s->segment = r.end;
  return true;
}

void log_enter_group(struct log_scan *s) {
  struct log_parse *p = s->p;
  size_t close = log_find_close(p, s->at, GROUP_MAX);
  bool round = token_is(p, s->at, '(');
  bool tight = s->at > p->first && !(p->tokens[s->at].flags & LOG_T_SPACE) && token_is_word(p, s->at - 1);
  if (round ? (tight ? wrapped_value(s, close) : tuple(s)) : (tight && bracketed_value(s, close)) || ranged_value(s, close))
    return;
  if (close == SIZE_MAX) {
    size_t wide = tight && round ? log_find_close(p, s->at, TOKENS_MAX) : SIZE_MAX;
    if (wide != SIZE_MAX && holds_settings(p, s->at, wide)) { /* Namespace(lr=0.1, ...) */
      log_next_segment(s, wide + 1);
      s->at = wide;
    } else {
      log_next_segment(s, s->at + 1);
    }
    return;
  }
  if ((tight && round && holds_settings(p, s->at, close)) || token_is(p, s->at + 1, '*')) { /* "(* 1 = 0.09 loss)" repeats */
    log_next_segment(s, close + 1);
    s->at = close;
  } else if (holds_pairs(p, s->at, close) ||
             (token_is(p, s->at + 1, '[') && token_is(p, s->at + 2, '('))) { /* OrderedDict([('loss', 1)]) */
    log_next_segment(s, s->at + 1);
  } else if (round && s->segment < s->at) {
    bool places = false;
    for (size_t i = s->at + 1; i < close; i++) {
      places |= (p->tokens[i].flags & LOG_T_USED) != 0;
      if (token_is_section(p, i))
        p->line_section = token_text(p, i);
    }
    if (places)
      log_next_segment(s, close + 1);
    s->at = close;
  } else if (!round && (token_is(p, close + 1, '=')) && token_is_number(p, close + 2) && s->segment < s->at) {
    s->at = close; /* "Average Precision (AP) @[ IoU=0.50:0.95 | area=all ] = 0.362" */
  } else if (token_is_number(p, s->at + 1) || round) {
    log_next_segment(s, s->at + 1);
  } else {
    log_next_segment(s, s->at + 1);
    log_leave_words(p, s->at + 1, close);
    if (close == s->at + 2 && token_is_word(p, s->at + 1) && log_is_label(p, token_text(p, s->at + 1)))
      p->label = token_text(p, s->at + 1);
    s->at = close;
    s->segment = close + 1;
  }
}

/* "@[ IoU=0.50:0.95 | area=   all ] = 0.362" */
size_t log_bracket_in_name(const struct log_parse *p, size_t at) {
  if (!token_is(p, at, '[') || at == p->first || !token_is(p, at - 1, '@'))
    return SIZE_MAX;
  size_t close = log_find_close(p, at, 40);
  return close != SIZE_MAX && token_is(p, close + 1, '=') && token_is_number(p, close + 2) ? close : SIZE_MAX;
}
