/* Boxes of two columns, "| name | number |", which are collected until they end, since the step may come last. */
#include "tracker/logs/log_table.h"

bool log_box_row(struct str line, struct str *ret_name, struct str *ret_value) {
  struct cell cells[CELLS_MAX];
  size_t start = 0;
  while (start < line.n && line.p[start] == ' ')
    start++;
  if (!log_scan_pipe(str_slice(line, start, line.n)))
    return false;
  size_t n = log_split_pipes(line, start, cells);
  if (n < 1 || n > 2 || cells[0].kind != CELL_TEXT)
    return false;
  *ret_name = cells[0].text;
  *ret_value = n == 2 ? cells[1].text : STR("");
  return n == 2 ? cells[1].kind != CELL_TEXT : str_ends(cells[0].text, STR("/"));
}

static void box_line(struct log_parse *p, struct str line, char *group, size_t *group_n) {
  struct str name, value;
  struct log_number number;
  if (!log_box_row(line, &name, &value))
    return;
  if (!value.n) {
    *group_n = MIN_OF(name.n, (size_t)LABEL_MAX);
    memcpy(group, name.p, *group_n);
    return;
  }
  if (!log_number_whole(value, &number))
    return;
  enum log_key_kind kind = log_classify(p, name).kind;
  if (kind == LOG_KEY_EPOCH)
    p->own.epoch = number.value;
  else if (kind == LOG_KEY_STEP && !(p->own.step >= number.value)) /* iterations, n_updates, total_timesteps: the finest */
    p->own.step = number.value;
  if (is_place_kind(kind))
    return;
  char *text = log_scratch(p, *group_n + name.n);
  if (!text)
    return;
  memcpy(text, group, *group_n);
  memcpy(text + *group_n, name.p, name.n);
  struct raw *raw = log_add_raw(p, str_n(text, *group_n + name.n), number.value);
  if (raw && kind != LOG_KEY_UNKNOWN)
    raw->kind = kind;
}

void log_settle_box(struct log_parse *p) {
  struct str rest = str_n(p->kept.block.text, p->kept.block.n), line;
  char group[LABEL_MAX];
  size_t group_n = 0;
  p->raw_n = 0;
  p->own = PLACE_NONE;
  p->number = p->kept.block.first_line;
  while (str_split(&rest, '\n', &line)) {
    box_line(p, line, group, &group_n);
    p->number++;
  }
  p->kept.block.kind = BLOCK_NONE;
  p->kept.block.n = 0;
  log_settle(p, STYLE_BOX);
}
