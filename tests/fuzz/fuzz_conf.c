#include "base/buf.h"
#include "base/conf.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct settings {
  bool flag;
  int64_t number, wait;
  uint64_t size;
  const char *text;
  int choice;
};

static const char *const choices[] = {"one", "two", NULL};
static const struct conf_row rows[] = {
    {"flag", CONF_BOOL, CONF_FIELD(struct settings, flag), "no", 0, 0, NULL, false, false, ""},
    {"number", CONF_INT, CONF_FIELD(struct settings, number), "1", -5, 5000, NULL, false, false, ""},
    {"wait", CONF_DURATION, CONF_FIELD(struct settings, wait), "1s", 0, 0, NULL, false, false, ""},
    {"size", CONF_SIZE, CONF_FIELD(struct settings, size), "1", 0, 0, NULL, false, false, ""},
    {"text", CONF_TEXT, CONF_FIELD(struct settings, text), NULL, 0, 0, NULL, false, false, ""},
    {"choice", CONF_CHOICE, CONF_FIELD(struct settings, choice), "one", 0, 0, choices, false, false, ""},
};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  struct settings settings;
  struct err err;
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  if (!conf_defaults(rows, ARRAY_LEN(rows), &settings, &arena, &err))
    abort();
  if (!conf_read_text(rows, ARRAY_LEN(rows), &settings, &arena, "f", str_n((const char *)data, size), &err) && !err.text[0])
    abort(); /* an error says something */
  if (settings.number < -5 || settings.number > 5000)
    abort();
  AUTO_BUF struct buf out = BUF_INIT(MIB);
  for (size_t i = 0; i < ARRAY_LEN(rows); i++)
    conf_print_value(&rows[i], &settings, &out);
  return 0;
}
