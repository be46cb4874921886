/* Values: a number, and what belongs to it. */
#include "tracker/logs/log_state.h"

bool log_is_wrapper(struct str word) {
  static const char *const wrappers[] = {"tensor", "array", "Array", "DeviceArray", "Tensor", "NDArray", "Variable", "Decimal", "scalar"};
  for (size_t i = 0; i < ARRAY_LEN(wrappers); i++)
    if (str_ends(word, str_of(wrappers[i])))
      return true;
  return str_find_str(word, STR("float")) != SIZE_MAX || str_find_str(word, STR("Float")) != SIZE_MAX;
}

size_t log_find_close(const struct log_parse *p, size_t open, size_t limit) {
  unsigned depth = 0;
  for (size_t i = open; i < p->tokens_n && i < open + limit; i++) {
    const struct log_token *t = &p->tokens[i];
    if (t->type != LOG_T_MARK)
      continue;
    depth += t->mark == '(' || t->mark == '[' || t->mark == '{';
    depth -= t->mark == ')' || t->mark == ']' || t->mark == '}';
    if (!depth)
      return i;
  }
  return SIZE_MAX;
}

/* A unit word behind the number at i: "3.5 seconds", "50.9 K". A letter alone makes no time of a metric: "average loss = 0.42 h". */
static bool has_unit_word(const struct log_parse *p, size_t i, bool metric) {
  if (!token_is_word(p, i) || p->tokens[i].flags & LOG_T_USED || !(token_word(p, i) & LOG_WORD_UNIT))
    return false;
  if (token_text(p, i).n == 1 && (metric || strchr("bkmg", token_text(p, i).p[0]))) /* K, M, G, B only */
    return false;
  return !token_is(p, i + 1, ':') && !token_is(p, i + 1, '=') && !token_is_number(p, i + 1);
}

/* "2.29 (2.31)", "86.6% (234/270)", "0.05 (5%)", "0.683 (10)" */
static void read_parentheses(const struct log_parse *p, struct log_reading *r, struct str name) {
  if (!token_is(p, r->end, '(') || p->tokens[r->end].flags & LOG_T_USED || !token_is_number(p, r->end + 1))
    return;
  const struct log_token *t = &p->tokens[r->end + 1];
  if (token_is(p, r->end + 2, '/') && token_is_number(p, r->end + 3) && token_is(p, r->end + 4, ')')) {
    r->end += 5;
    return;
  }
  if (!token_is(p, r->end + 2, ')'))
    return;
  bool best = memchr(name.p, 'b', name.n) && str_find_str(name, STR("best")) != SIZE_MAX;
  bool count = (t->flags & LOG_T_INT && !r->integer) || best;
  if (t->flags & LOG_T_PERCENT && !r->percent) {
    r->values[1] = t->value;
    r->second = STR(" %");
    r->second_percent = true;
    r->count = 2;
  } else if (!(t->flags & LOG_T_UNIT) && !count) {
    r->values[1] = t->value;
    r->second = STR(" avg");
    r->second_percent = r->percent;
    r->count = 2;
  }
  r->end += 3;
}

/* "0.85 +/- 0.03", "0.4+0.01" */
static bool read_deviation(const struct log_parse *p, struct log_reading *r) {
  size_t i = r->end;
  if (!token_is(p, i, '+'))
    return false;
  i++;
  if (token_is(p, i, '/') && token_is(p, i + 1, '-'))
    i += 2;
  else if (token_is(p, i, '-'))
    i++;
  else if (token_is(p, i, '/') && token_is_number(p, i + 1))
    i++;
  if (!token_is_number(p, i) || p->tokens[i].flags & LOG_T_UNIT)
    return false;
  r->values[1] = fabs(p->tokens[i].value);
  r->second = STR(" std");
  r->count = 2;
  r->end = i + 1;
  return true;
}

void log_read_number(const struct log_parse *p, size_t i, enum log_key_kind kind, struct str name, struct log_reading *r) {
  const struct log_token *t = &p->tokens[i];
  *r = (struct log_reading){.values = {t->value, 0}, .count = 1, .end = i + 1};
  r->integer = t->flags & LOG_T_INT;
  r->percent = t->flags & LOG_T_PERCENT;
  r->measure = t->flags & LOG_T_UNIT;
  if (token_is(p, r->end, '%')) {
    r->percent = true;
    r->end++;
  }
  if (r->measure)
    return;
  if (has_unit_word(p, r->end, kind == LOG_KEY_METRIC)) {
    r->measure = true;
    r->end++;
    return;
  }
  if (token_is(p, r->end, '/') && token_is_number(p, r->end + 1) && !(p->tokens[r->end].flags & LOG_T_USED)) {
    const struct log_token *second = &p->tokens[r->end + 1];
    r->end += 2;
    if (!(r->integer && second->flags & LOG_T_INT)) { /* D(G(z)): 0.1 / 0.05 */
      r->values[1] = second->value;
      r->second = STR(" 2");
      r->count = 2;
      return;
    }
    if (kind != LOG_KEY_METRIC && kind != LOG_KEY_SECTION) { /* a counter */
      r->measure = true;
      return;
    }
    if (second->value != 0 && r->values[0] <= second->value) /* 9836/10000 (98%) */
      r->values[0] /= second->value;
    r->integer = false;
    read_parentheses(p, r, name);
    return;
  }
  if (!read_deviation(p, r))
    read_parentheses(p, r, name);
}

/* "progress: (1, 2.3, {'accuracy': 0.5})": what is named in it counts. */
static bool holds_dict(const struct log_parse *p, size_t from, size_t close) {
  for (size_t i = from; close != SIZE_MAX && i < close; i++)
    if (token_is(p, i, '{'))
      return true;
  return false;
}

/* "[(0, '12.3')]": a list of one number with its index, as of one policy. Returns the number's token; 0 when it is none. */
static size_t value_of_pair(const struct log_parse *p, size_t open) {
  size_t i = open + 4;
  if (!token_is(p, open, '[') || !token_is(p, open + 1, '(') || !token_is_int(p, open + 2) || !token_is(p, open + 3, ','))
    return 0;
  bool quoted = token_is(p, i, '\'');
  i += quoted;
  size_t close = i + 1 + (quoted && token_is(p, i + 1, '\''));
  return token_is_number(p, i) && token_is(p, close, ')') && token_is(p, close + 1, ']') ? i : 0;
}

/* "1-roc_auc", "5-fold": no value. */
static bool is_term(const struct log_parse *p, size_t i) {
  return token_is_int(p, i) && token_is(p, i + 1, '-') && token_is_word(p, i + 2) &&
         !((p->tokens[i + 1].flags | p->tokens[i + 2].flags) & LOG_T_SPACE);
}

bool log_read_value(const struct log_parse *p, size_t i, enum log_key_kind kind, struct str name, struct log_reading *r) {
  size_t open[4], opened = 0;
  for (unsigned steps = 0; steps < 10 && i < p->tokens_n; steps++) {
    const struct log_token *t = &p->tokens[i];
    if (t->flags & LOG_T_USED)
      return false;
    if (t->type == LOG_T_NUMBER) {
      size_t second = opened == 2 ? value_of_pair(p, open[0]) : 0;
      if (second) {
        log_read_number(p, second, kind, name, r);
        r->end = log_find_close(p, open[0], 16) + 1;
        return true;
      }
      bool list = opened && token_is(p, open[opened - 1], '[') && (token_is(p, i + 1, ',') || token_is_number(p, i + 1));
      bool pairs = opened == 2 && token_is(p, open[0], '[') && t->flags & LOG_T_INT && token_is(p, i + 1, ',');
      size_t close = opened ? log_find_close(p, open[0], 64) : SIZE_MAX;
      if (list || pairs || holds_dict(p, i, close))
        return false;
      if (is_term(p, i))
        return false;
      log_read_number(p, i, kind, name, r);
      if (opened) {
        r->end = close == SIZE_MAX ? r->end : close + 1;
      }
      while (r->end < p->tokens_n && p->tokens[r->end].type == LOG_T_MARK && strchr("\"'", p->tokens[r->end].mark) &&
             !(p->tokens[r->end].flags & LOG_T_SPACE))
        r->end++;
      return true;
    }
    if (t->type == LOG_T_MARK && (t->mark == '[' || t->mark == '(') && opened < ARRAY_LEN(open)) {
      open[opened++] = i++;
    } else if (t->type == LOG_T_MARK && mark_is(t->mark, MARK_LEADS)) {
      i++;
    } else if (t->type == LOG_T_WORD && token_is(p, i + 1, '(') && log_is_wrapper(token_text(p, i))) {
      i++;
    } else if (t->type == LOG_T_MARK && t->mark == '<' && token_is_word(p, i + 1)) { /* <tf.Tensor: shape=(), numpy=0.5> */
      size_t k = i + 1;
      while (k < p->tokens_n && k < i + 20 && !(token_is_word(p, k) && str_is(token_text(p, k), "numpy")))
        k++;
      if (!token_is(p, k + 1, '='))
        return false;
      i = k + 2;
    } else {
      return false;
    }
  }
  return false;
}
