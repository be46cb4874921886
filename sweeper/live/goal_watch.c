#include "sweeper/live/goal_watch.h"

#include "base/mem.h"

enum { WORDS_MAX = 16, NAMES_TOLD = 8 };

void goal_watch_release(struct goal_watch *watch) {
  for (size_t i = 0; i < watch->count; i++)
    mem_free(watch->names[i]);
  mem_free(watch->warning);
  *watch = (struct goal_watch){.count = 0};
}

void goal_watch_name(struct goal_watch *watch, struct str name) {
  for (size_t i = 0; i < watch->count; i++)
    if (str_is(name, watch->names[i]))
      return;
  char *copy = watch->count < GOAL_NAMES_MAX ? mem_strndup(name.p, name.n) : NULL;
  if (copy)
    watch->names[watch->count++] = copy;
}

static bool is_word(char c) {
  return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

/* "valAccuracy@5" is val, Accuracy, 5. */
static size_t split_words(struct str s, struct str words[WORDS_MAX]) {
  size_t n = 0;
  for (size_t i = 0; i < s.n && n < WORDS_MAX;) {
    size_t from = i;
    while (i < s.n && is_word(s.p[i]) && (i == from || !(isupper((unsigned char)s.p[i]) && islower((unsigned char)s.p[i - 1]))))
      i++;
    if (i > from)
      words[n++] = str_slice(s, from, i);
    else
      i++;
  }
  return n;
}

/* The same word, or one short for the other: acc, accuracy. */
static bool alike(struct str a, struct str b) {
  struct str shorter = a.n < b.n ? a : b, longer = a.n < b.n ? b : a;
  return str_eq_nocase(a, b) || (shorter.n >= 3 && str_eq_nocase(shorter, str_slice(longer, 0, shorter.n)));
}

/* Which share of the words of both have a counterpart. */
static double likeness(struct str goal, struct str name) {
  struct str a[WORDS_MAX], b[WORDS_MAX];
  size_t n = split_words(goal, a), m = split_words(name, b), same = 0;
  bool taken[WORDS_MAX] = {false};
  for (size_t i = 0; i < n; i++)
    for (size_t k = 0; k < m; k++)
      if (!taken[k] && alike(a[i], b[k])) {
        taken[k] = true;
        same++;
        break;
      }
  return n + m ? 2.0 * (double)same / (double)(n + m) : 0;
}

const char *goal_watch_nearest(const struct goal_watch *watch, struct str goal) {
  const char *best = str_nearest_of(goal, (const char *const *)watch->names, watch->count);
  double most = best ? MAX_OF(likeness(goal, str_of(best)), 0.5) : 0.49;
  for (size_t i = 0; i < watch->count; i++) {
    double value = likeness(goal, str_of(watch->names[i]));
    if (value > most) {
      most = value;
      best = watch->names[i];
    }
  }
  return best;
}

void goal_watch_explain(const struct goal_watch *watch, struct str goal, struct buf *out) {
  const char *near = goal_watch_nearest(watch, goal);
  if (near) {
    buf_printf(out, "; the nearest name seen is \"%.200s\"", near);
  } else if (watch->count) {
    buf_puts(out, "; names seen: ");
    for (size_t i = 0; i < MIN_OF(watch->count, (size_t)NAMES_TOLD); i++)
      buf_printf(out, "%s%.100s", i ? ", " : "", watch->names[i]);
    buf_puts(out, watch->count > NAMES_TOLD ? ", …" : "");
  } else {
    buf_puts(out, "; no metric was recognised at all");
  }
}
