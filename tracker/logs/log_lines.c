#include "tracker/logs/log_lines.h"

#include "base/mem.h"
#include "tracker/logs/line.h"
#include "tracker/logs/regex.h"

struct log_lines {
  struct line_reader *lines;
  struct regex *regex; /* NULL: every line */
};

struct log_lines *log_lines_new(const char *pattern, struct err *err) {
  struct log_lines *filter = mem_zalloc(sizeof *filter);
  if (!filter) {
    err_no_memory(err);
    return NULL;
  }
  filter->lines = line_reader_new(LINE_CELLS_MAX, err);
  filter->regex = filter->lines && pattern ? regex_new(pattern, err) : NULL;
  if (filter->lines && (filter->regex || !pattern))
    return filter;
  log_lines_free(filter);
  return NULL;
}

void log_lines_free(struct log_lines *filter) {
  if (!filter)
    return;
  line_reader_free(filter->lines);
  regex_free(filter->regex);
  mem_free(filter);
}

static void take(struct log_lines *filter, const struct line *line, struct buf *out) {
  const size_t *at;
  if (filter->regex && !regex_find(filter->regex, line->text, 0, &at))
    return;
  buf_add_str(out, line->text);
  buf_putc(out, '\n');
}

bool log_lines_feed(struct log_lines *filter, struct str bytes, struct buf *out, struct err *err) {
  struct line line;
  enum line_answer answer;
  while ((answer = line_next(filter->lines, &bytes, &line)) == LINE_READY)
    take(filter, &line, out);
  return answer == LINE_NO_MEMORY ? err_no_memory(err) : buf_ok(out, err);
}

bool log_lines_end(struct log_lines *filter, struct buf *out, struct err *err) {
  struct line line;
  if (line_last(filter->lines, &line))
    take(filter, &line, out);
  return buf_ok(out, err);
}
