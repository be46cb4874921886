#include "base/ignore.h"

#include <ctype.h>
#include <string.h>

/* ---- one name ---- */

static bool class_has(struct str name, unsigned char c) {
  static const struct {
    const char *name;
    int (*has)(int);
  } classes[] = {{"alnum", isalnum}, {"alpha", isalpha}, {"blank", isblank}, {"cntrl", iscntrl}, {"digit", isdigit}, {"graph", isgraph},
                 {"lower", islower}, {"print", isprint}, {"punct", ispunct}, {"space", isspace}, {"upper", isupper}, {"xdigit", isxdigit}};
  for (size_t i = 0; i < ARRAY_LEN(classes); i++)
    if (str_is(name, classes[i].name))
      return classes[i].has(c) != 0;
  return false;
}

/* "[:alpha:]" at `at`: its length, or 0. */
static size_t class_at(struct str p, size_t at, struct str *ret_name) {
  if (at + 1 >= p.n || p.p[at] != '[' || p.p[at + 1] != ':')
    return 0;
  size_t end = str_find_str(str_slice(p, at + 2, p.n), STR(":]"));
  if (end == SIZE_MAX)
    return 0;
  *ret_name = str_slice(p, at + 2, at + 2 + end);
  return end + 4;
}

/* One character of a set; moves on. */
static unsigned char set_char(struct str p, size_t *at) {
  if (p.p[*at] == '\\' && *at + 1 < p.n)
    (*at)++;
  return (unsigned char)p.p[(*at)++];
}

/* A set begins at p[at] == '['. Its length, 0 when it does not end: then nothing fits. */
static size_t set_fits(struct str p, size_t at, unsigned char c, bool *ret_fits) {
  size_t begin = at++;
  bool negated = at < p.n && (p.p[at] == '!' || p.p[at] == '^'), found = false;
  at += negated;
  for (bool first = true; at < p.n && (first || p.p[at] != ']'); first = false) {
    struct str name;
    size_t class = class_at(p, at, &name);
    if (class) {
      found = found || class_has(name, c);
      at += class;
      continue;
    }
    unsigned char low = set_char(p, &at), high = low;
    if (at + 1 < p.n && p.p[at] == '-' && p.p[at + 1] != ']') {
      at++;
      high = set_char(p, &at);
    }
    found = found || (low <= c && c <= high);
  }
  *ret_fits = found != negated;
  return at < p.n ? at + 1 - begin : 0;
}

/* Does one character fit what stands at p[*at]? Moves on if so. */
static bool char_fits(struct str p, size_t *at, unsigned char c) {
  size_t n = 1;
  bool fits;
  if (*at >= p.n || p.p[*at] == '*')
    return false;
  if (p.p[*at] == '?') {
    fits = true;
  } else if (p.p[*at] == '[') {
    n = set_fits(p, *at, c, &fits);
    fits = fits && n;
  } else {
    bool quoted = p.p[*at] == '\\' && *at + 1 < p.n;
    n = quoted ? 2 : 1;
    fits = (unsigned char)p.p[*at + quoted] == c;
  }
  *at += fits ? n : 0;
  return fits;
}

static bool name_fits(struct str p, struct str name) {
  size_t at = 0, i = 0, star = SIZE_MAX, mark = 0;
  while (i < name.n) {
    if (at < p.n && p.p[at] == '*') {
      star = at++;
      mark = i;
    } else if (char_fits(p, &at, (unsigned char)name.p[i])) {
      i++;
    } else if (star != SIZE_MAX) {
      at = star + 1;
      i = ++mark;
    } else {
      return false;
    }
  }
  while (at < p.n && p.p[at] == '*')
    at++;
  return at == p.n;
}

/* ---- a path ---- */

/* The part up to the next slash; *at is behind it, or past the end. */
static struct str part_at(struct str s, size_t *at) {
  size_t end = str_find(str_slice(s, *at, s.n), '/');
  struct str part = str_slice(s, *at, end == SIZE_MAX ? s.n : *at + end);
  *at = end == SIZE_MAX ? s.n + 1 : *at + end + 1;
  return part;
}

bool ignore_path_fits(struct str pattern, struct str path) {
  size_t p = 0, i = 0, after = SIZE_MAX, mark = 0; /* after: what follows the last `**` */
  while (i <= path.n) {
    size_t next_p = p, next_i = i;
    struct str wanted = p <= pattern.n ? part_at(pattern, &next_p) : STR_NONE;
    if (wanted.p && str_is(wanted, "**")) {
      if (next_p > pattern.n)
        return true; /* at the end: everything within */
      after = p = next_p;
      mark = i;
    } else if (wanted.p && name_fits(wanted, part_at(path, &next_i))) {
      p = next_p;
      i = next_i;
    } else if (after != SIZE_MAX) {
      p = after;
      part_at(path, &mark);
      i = mark;
    } else {
      return false;
    }
  }
  return p > pattern.n;
}

/* ---- the file ---- */

/* Blanks at the end do not count unless a backslash stands before them. */
static struct str trim_end(struct str line) {
  if (str_ends(line, STR("\r")))
    line.n--;
  while (line.n && line.p[line.n - 1] == ' ') {
    size_t slashes = 0;
    while (slashes + 1 < line.n && line.p[line.n - 2 - slashes] == '\\')
      slashes++;
    if (slashes % 2)
      break;
    line.n--;
  }
  return line;
}

static bool read_line(struct str line, struct ignore_line *ret) {
  line = trim_end(line);
  if (!line.n || line.p[0] == '#')
    return false;
  *ret = (struct ignore_line){.back = line.p[0] == '!'};
  line = str_slice(line, ret->back, line.n);
  ret->directories = str_ends(line, STR("/"));
  line = str_slice(line, 0, line.n - ret->directories);
  ret->anchored = str_find(line, '/') != SIZE_MAX;
  ret->pattern = str_starts(line, STR("/")) ? str_slice(line, 1, line.n) : line;
  return ret->pattern.n != 0;
}

bool ignore_read(struct str text, struct arena *arena, struct ignore *ret, struct err *err) {
  size_t lines = 1;
  *ret = (struct ignore){0};
  if (str_starts(text, STR("\xEF\xBB\xBF")))
    text = str_slice(text, 3, text.n);
  for (size_t i = 0; i < text.n; i++)
    lines += text.p[i] == '\n';
  if (lines > IGNORE_LINES_MAX)
    return err_set(err, ERR_TOO_LARGE, "more than %d lines", IGNORE_LINES_MAX);
  ret->lines = ARENA_NEW_ARRAY(arena, struct ignore_line, lines);
  if (!ret->lines)
    return err_no_memory(err);
  struct str line;
  while (str_split(&text, '\n', &line))
    ret->count += read_line(line, &ret->lines[ret->count]);
  return true;
}

enum ignore_says ignore_ask(const struct ignore *ignore, struct str path, bool is_directory) {
  const char *slash = path.n ? memrchr(path.p, '/', path.n) : NULL;
  struct str name = slash ? str_slice(path, (size_t)(slash - path.p) + 1, path.n) : path;
  for (size_t i = ignore->count; i-- > 0;) {
    const struct ignore_line *line = &ignore->lines[i];
    if (line->directories && !is_directory)
      continue;
    if (line->anchored ? ignore_path_fits(line->pattern, path) : name_fits(line->pattern, name))
      return line->back ? IGNORE_IN : IGNORE_OUT;
  }
  return IGNORE_SILENT;
}
