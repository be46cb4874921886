#include "base/glob.h"

enum { NAMES_MAX = 64 };

/* The class at pattern[*at] == '['; false when it is none (then '[' is a plain character). */
static bool match_class(struct str pattern, size_t *at, unsigned char c, bool *ret_match) {
  size_t i = *at + 1;
  bool negated = i < pattern.n && (pattern.p[i] == '!' || pattern.p[i] == '^'), match = false;
  i += negated;
  for (size_t first = i; i < pattern.n && (pattern.p[i] != ']' || i == first); i++) {
    unsigned char low = (unsigned char)pattern.p[i], high = low;
    if (i + 2 < pattern.n && pattern.p[i + 1] == '-' && pattern.p[i + 2] != ']') {
      high = (unsigned char)pattern.p[i + 2];
      i += 2;
    }
    match |= c >= low && c <= high;
  }
  if (i >= pattern.n)
    return false;
  *at = i + 1;
  *ret_match = match != negated;
  return true;
}

/* One character of the name against what stands at *at, which is moved behind it. */
static bool match_one(struct str pattern, size_t *at, unsigned char c) {
  bool match;
  if (pattern.p[*at] == '[' && match_class(pattern, at, c, &match))
    return match;
  match = pattern.p[*at] == '?' || (unsigned char)pattern.p[*at] == c;
  (*at)++;
  return match;
}

static bool match_name(struct str pattern, struct str name) {
  size_t p = 0, n = 0, star = SIZE_MAX, resume = 0;
  if (name.n && name.p[0] == '.' && !(pattern.n && pattern.p[0] == '.'))
    return false;
  while (n < name.n) {
    size_t next = p;
    if (p < pattern.n && pattern.p[p] == '*') {
      star = ++p;
      resume = n;
    } else if (p < pattern.n && match_one(pattern, &next, (unsigned char)name.p[n])) {
      p = next;
      n++;
    } else if (star != SIZE_MAX) {
      p = star;
      n = ++resume;
    } else {
      return false;
    }
  }
  while (p < pattern.n && pattern.p[p] == '*')
    p++;
  return p == pattern.n;
}

/* False when there are more than NAMES_MAX. Empty names and "." are left out. */
static bool split(struct str path, struct str names[NAMES_MAX], size_t *ret_count) {
  struct str name;
  *ret_count = 0;
  while (path.p && str_split(&path, '/', &name)) {
    if (!name.n || str_is(name, "."))
      continue;
    if (*ret_count == NAMES_MAX)
      return false;
    names[(*ret_count)++] = name;
  }
  return true;
}

/* reach[i]: the first i names of the pattern take the whole path. */
static bool walk(struct str pattern, struct str path, bool reach[NAMES_MAX + 1], size_t *ret_count) {
  struct str names[NAMES_MAX], parts[NAMES_MAX];
  size_t count, depth;
  if (!split(pattern, names, &count) || !split(path, parts, &depth))
    return false;
  for (size_t i = 0; i <= count; i++)
    reach[i] = i == 0 || (reach[i - 1] && str_is(names[i - 1], "**"));
  for (size_t d = 0; d < depth; d++) {
    bool before = reach[0];
    reach[0] = false;
    for (size_t i = 1; i <= count; i++) {
      bool stays = reach[i];
      if (str_is(names[i - 1], "**"))
        reach[i] = reach[i - 1] || (stays && parts[d].p[0] != '.');
      else
        reach[i] = before && match_name(names[i - 1], parts[d]);
      before = stays;
    }
  }
  *ret_count = count;
  return true;
}

bool glob_match(struct str pattern, struct str path) {
  bool reach[NAMES_MAX + 1];
  size_t count;
  return walk(pattern, path, reach, &count) && count && reach[count];
}

bool glob_reaches(struct str pattern, struct str path) {
  bool reach[NAMES_MAX + 1];
  size_t count;
  struct str names[NAMES_MAX];
  if (!walk(pattern, path, reach, &count) || !split(pattern, names, &count))
    return false;
  for (size_t i = 0; i < count; i++)
    if (reach[i])
      return true;
  return count && reach[count] && str_is(names[count - 1], "**");
}
