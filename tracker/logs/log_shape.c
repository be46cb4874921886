/* Tokens compared with a shape: a place as people print it, written down in a few characters. */
#include "tracker/logs/log_state.h"

/* "6/5" behind "5/5": the total was rounded down, and the last batch is a smaller one. */
static bool is_one_more(const struct log_parse *p, double value, double total) {
  return value == total + 1 && p->kept.carried.batch_total == total;
}

bool log_is_fraction(const struct log_parse *p, size_t i) {
  if (!token_is_int(p, i) || !token_is_int(p, i + 2))
    return false;
  double value = p->tokens[i].value, total = p->tokens[i + 2].value;
  if (value > total && total > 0 && !is_one_more(p, value, total))
    return false;
  return token_is(p, i + 1, '/') || (token_is_word(p, i + 1) && str_eq_nocase(token_text(p, i + 1), STR("of")));
}

size_t log_skip_share(const struct log_parse *p, size_t i) {
  return token_is(p, i, '(') && token_is_number(p, i + 1) && token_is(p, i + 2, ')') ? i + 3 : i;
}

size_t log_read_thousands(const struct log_parse *p, size_t i, double *ret) {
  *ret = p->tokens[i].value;
  for (i++; token_is(p, i, ',') && token_is_int(p, i + 1) && !((p->tokens[i].flags | p->tokens[i + 1].flags) & LOG_T_SPACE) &&
            p->tokens[i + 1].end - p->tokens[i + 1].at == 3;
       i += 2)
    *ret = *ret * 1000 + p->tokens[i + 1].value;
  return i;
}

/* The counter at i, with its total when the shape asks for one. Returns where it ends, or i. */
static size_t match_counter(const struct log_parse *p, size_t i, const char *shape, struct place *place) {
  bool of = shape[1] == '/';
  if (of ? !log_is_fraction(p, i) : !token_is_int(p, i))
    return i;
  double value = p->tokens[i].value;
  size_t end = i + (of ? 3 : 1);
  if (of && *shape != 'e')
    place->batch_total = p->tokens[i + 2].value;
  if (*shape == 'e')
    place->epoch = value;
  else if (*shape == 'b')
    place->batch = value;
  else if (*shape == 's' && of)
    place->step = value;
  else if (*shape == 's')
    end = log_read_thousands(p, i, &place->step);
  return end;
}

/* "t", "v", "e" and whole words. */
static bool names_section(const struct log_parse *p, size_t i) {
  struct str word = token_text(p, i);
  return str_is(word, "t") || str_is(word, "v") || str_is(word, "e") || token_is_section(p, i);
}

static bool match_word(const struct log_parse *p, size_t i, char wanted, struct log_match *m) {
  if (!token_is_word(p, i))
    return false;
  enum log_key_kind kind = token_key(p, i).kind;
  switch (wanted) {
  case 'M':
    return kind == LOG_KEY_METRIC;
  case 'P':
    return is_place_kind(kind);
  case 'E':
    return str_eq_nocase(token_text(p, i), STR("epochs"));
  case 'S':
    m->section = token_text(p, i);
    return token_is_section(p, i);
  case 'L':
    m->section = token_text(p, i);
    return names_section(p, i);
  default:
    return true;
  }
}

/* The element of the shape at i. Returns where it ends, or i. */
static size_t match_element(const struct log_parse *p, size_t i, const char *shape, struct log_match *m) {
  if (i >= p->tokens_n)
    return i;
  switch (*shape) {
  case 'e':
  case 's':
  case 'b':
  case 'i':
    return match_counter(p, i, shape, &m->place);
  case 'x':
    m->place.epoch = p->tokens[i].value;
    return i + (token_is_number(p, i) && !token_is_int(p, i));
  case 'n':
    return i + token_is_number(p, i);
  case '.':
    return i + 1;
  case 'w':
  case 'M':
  case 'P':
  case 'E':
  case 'S':
  case 'L':
    return i + match_word(p, i, *shape, m);
  default:
    return i + token_is(p, i, *shape);
  }
}

bool log_match(const struct log_parse *p, size_t i, const char *shape, struct log_match *m) {
  *m = (struct log_match){.place = PLACE_NONE, .end = SIZE_MAX};
  for (const char *s = shape; *s; s++) {
    if (*s == '^') {
      m->end = i;
    } else if (*s == '_' || *s == '~') {
      if (i >= p->tokens_n || !(p->tokens[i].flags & LOG_T_SPACE) != (*s == '~'))
        return false;
    } else if (*s == '%') {
      i = log_skip_share(p, i);
    } else if (s[1] == '?') {
      i += token_is(p, i, *s);
      s++;
    } else {
      size_t end = match_element(p, i, s, m);
      if (end == i)
        return false;
      i = end;
      s += s[1] == '/';
    }
  }
  m->end = MIN_OF(m->end, i);
  return true;
}
