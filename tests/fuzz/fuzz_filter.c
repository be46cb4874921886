/* The search language: any text gives a tree or an error; a tree compiles to a statement in which nothing of the text stands. The first
 * byte chooses the domain, a line break divides filter and order. And of trials, what they are sorted by. */
#include "base/mem.h"
#include "tracker/search/search_sql.h"
#include "tracker/search/trial_search.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_parameters(const struct search_sql *sql) {
  const char *text = buf_text(&sql->text);
  for (const char *at = strchr(text, '$'); at; at = strchr(at + 1, '$')) {
    size_t counts[] = {sql->text_count, sql->int_count, sql->number_count, sql->id_count};
    if (at[1] < '1' || at[1] > '4' || at[2] != '[')
      __builtin_trap();
    size_t n = 0;
    for (const char *digit = at + 3; *digit >= '0' && *digit <= '9'; digit++)
      n = n * 10 + (size_t)(*digit - '0');
    if (n < 1 || n > counts[at[1] - '1'])
      __builtin_trap();
  }
}

/* The first line is what trials are sorted by, the second where their page begins, keys with blanks between. */
static void try_trials(struct str text, struct arena *arena) {
  struct id run = {{1}};
  double reported = 1;
  struct str keys[4], sort = STR(""), rest = text;
  struct trial_search search = {.runs = &run, .reported = &reported, .reported_count = 1, .limit = 5, .page = {.values = keys}};
  struct err err = {.code = ERR_NONE};
  str_split(&rest, '\n', &sort);
  while (search.page.count < ARRAY_LEN(keys) && str_split(&rest, ' ', &keys[search.page.count]))
    search.page.count++;
  if (!trial_sort_parse(sort, &search.sort, &err))
    return;
  AUTO_SEARCH_SQL struct search_sql sql;
  search_sql_init(&sql, arena);
  if (trial_search_compile(&search, &sql, &err))
    check_parameters(&sql);
  else if (err.code != ERR_INVALID && err.code != ERR_NO_MEMORY)
    __builtin_trap();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 1)
    return 0;
  static const int64_t experiments[] = {1, 2};
  AUTO_ARENA struct arena arena = ARENA_INIT(8 * MIB);
  if ((data[0] & 0x7F) == 0x7F) {
    try_trials(str_n((const char *)data + 1, size - 1), &arena);
    return 0;
  }
  struct search search = {
      .domain = (enum filter_domain)(data[0] % 5), .experiments = experiments, .experiment_count = data[0] / 5 % 3, .limit = 5};
  search.numbers_only = data[0] & 0x80;
  struct str text = str_n((const char *)data + 1, size - 1), filter, order = STR("");
  size_t line = str_find(text, '\n'), at = 0;
  struct err err = {.code = ERR_NONE};
  filter = line == SIZE_MAX ? text : str_slice(text, 0, line);
  if (line != SIZE_MAX)
    order = str_slice(text, line + 1, text.n);
  if (!filter_parse(search.domain, filter, &arena, &search.filter, &at, &err)) {
    if ((err.code != ERR_INVALID && err.code != ERR_NO_MEMORY) || at > filter.n || !err.text[0])
      __builtin_trap();
    return 0;
  }
  search.order_count = order.n ? 1 : 0;
  if (!filter_parse_order(search.domain, &order, search.order_count, &arena, &search.order, &err))
    return 0;
  AUTO_SEARCH_SQL struct search_sql sql;
  search_sql_init(&sql, &arena);
  if (search_compile(&search, &sql, &err))
    check_parameters(&sql);
  else if (err.code != ERR_NO_MEMORY && err.code != ERR_TOO_LARGE)
    __builtin_trap();
  return 0;
}
