/* term, table, encode, output: how things look, and what never gets through. */
#include "cli/output.h"
#include "cli/verbs.h"
#include "tests/support/test.h"

#include <math.h>

static void widths(void **state UNUSED) {
  assert_int_equal(text_width(STR("plain")), 5);
  assert_int_equal(text_width(STR("naïve")), 5);
  assert_int_equal(text_width(STR("日本")), 4);
  assert_int_equal(text_width(STR("e\xCC\x81")), 1); /* a combining accent */
  assert_int_equal(text_width(STR("🎉")), 2);
  assert_int_equal(text_width(STR("⚡⏰")), 4);
  assert_int_equal(text_width(STR("हिन्दी")), 5); /* three letters, and two of their three signs stand beside them */
  assert_int_equal(text_width(STR("ที่")), 1);
  assert_int_equal(text_width(STR("\u2764")), 1);
  assert_int_equal(text_width(STR("\u2764\uFE0F")), 2); /* made an emoji */
  assert_int_equal(text_width(STR("🎉\uFE0F")), 2);
  assert_int_equal(text_width(STR("\xff\xfe")), 2);
  assert_int_equal(text_fit(STR("日本語"), 5).n, 6);
  assert_int_equal(text_fit(STR("abc"), 9).n, 3);
  assert_int_equal(text_fit(STR("日"), 1).n, 0);
  assert_int_equal(text_fit(STR("a\u2764\uFE0F"), 2).n, 4);
  assert_int_equal(text_fit(STR("a\u2764\uFE0F"), 3).n, 7);
}

static void hostile_text_is_escaped(void **state UNUSED) {
  static const struct {
    const char *in, *out;
  } rows[] = {
      {"plain ü 日", "plain ü 日"},
      {"a\nb\tc\rd", "a\\nb\\tc\\rd"},
      {"\x1b[31m", "\\x1b[31m"},
      {"\x7f", "\\x7f"},
      {"\xc2\x9b"
       "31m",
       "\\x9b31m"},
      {"a\xe2\x80\xae"
       "b",
       "a\\u202eb"},
      {"\xe2\x81\xa6", "\\u2066"},
      {"\xef\xbb\xbf", "\\ufeff"},
      {"\xef\xbf\xbe\xef\xbf\xbf", "\\ufffe\\uffff"}, /* no reader of YAML takes them as they are */
      {"\xff\xc3", "\\xff\\xc3"},
      {"\xed\xa0\x80", "\\xed\\xa0\\x80"},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_BUF struct buf out = BUF_INIT(KIB);
    text_escape(&out, str_of(rows[i].in));
    assert_string_equal(buf_text(&out), rows[i].out);
  }
}

/* However the bytes are cut, the same text comes out. */
static void logs_are_filtered_across_cuts(void **state UNUSED) {
  static const struct {
    const char *in;
    bool is_log; /* colours and carriage returns pass */
    const char *out;
  } rows[] = {
      {"a\x1b[1;31mred\x1b[0m\n", true, "a\x1b[1;31mred\x1b[0m\n"},
      {"a\x1b[1;31mred\x1b[0m\n", false, "ared\n"},
      {"\x1b]0;title\x07", true, "\\x1b]0;title\\x07"},
      {"\x1b[2J\x1b[5m", true, "\\x1b[2J\x1b[5m"},
      {"\x1b[31", true, "\\x1b[31"},
      {"\x1b[1111111111111111111111111111111111111111m", true, "\\x1b[1111111111111111111111111111111111111111m"},
      {"日\xe6\x97", true, "日\\xe6\\x97"},
      {"50%\r100%\n\ttab", true, "50%\r100%\n\ttab"},
      {"a,b\rc\n\ttab", false, "a,b\\rc\n\ttab"},
      {"\x1b\x1b[31m", true, "\\x1b\x1b[31m"},
      {"\xe2\x1b[31m\xc2", true, "\\xe2\x1b[31m\\xc2"},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    size_t n = strlen(rows[i].in);
    for (size_t piece = 1; piece <= n; piece++) {
      AUTO_BUF struct buf out = BUF_INIT(KIB);
      struct log_filter filter = {.colours = rows[i].is_log, .returns = rows[i].is_log};
      for (size_t at = 0; at < n; at += piece)
        log_filter_feed(&filter, str_slice(str_of(rows[i].in), at, at + piece), &out);
      log_filter_end(&filter, &out);
      assert_string_equal(buf_text(&out), rows[i].out);
    }
  }
}

static void colours_only_where_wanted(void **state UNUSED) {
  assert_true(color_wanted(COLOR_AUTO, true, NULL, "xterm"));
  assert_true(color_wanted(COLOR_AUTO, true, "", NULL));
  assert_false(color_wanted(COLOR_AUTO, true, "1", "xterm"));
  assert_false(color_wanted(COLOR_AUTO, true, NULL, "dumb"));
  assert_false(color_wanted(COLOR_AUTO, false, NULL, "xterm"));
  assert_true(color_wanted(COLOR_ALWAYS, false, "1", "dumb"));
  assert_false(color_wanted(COLOR_NEVER, true, NULL, "xterm"));
}

static void sparklines(void **state UNUSED) {
  static const double values[] = {0, 1, 2, 3, 4, 5, 6, 7}, holes[] = {0, (double)NAN, 7, (double)INFINITY, -(double)INFINITY},
                      wide[] = {-1.7e308, 1.7e308};
  AUTO_BUF struct buf out = BUF_INIT(KIB);
  sparkline(&out, values, 8, 20);
  assert_string_equal(buf_text(&out), "▁▂▃▄▅▆▇█");
  buf_reset(&out);
  sparkline(&out, values, 8, 2);
  assert_string_equal(buf_text(&out), "▄█");
  buf_reset(&out);
  sparkline(&out, holes, 5, 20);
  assert_string_equal(buf_text(&out), "▁ ██▁");
  buf_reset(&out);
  sparkline(&out, wide, 2, 20);
  assert_string_equal(buf_text(&out), "▁█");
  buf_reset(&out);
  sparkline(&out, values, 1, 20);
  assert_string_equal(buf_text(&out), "▄");
  buf_reset(&out);
  sparkline(&out, NULL, 0, 20);
  assert_int_equal(out.n, 0);
}

/* Titles give way before what stands below them, and the gaps before a number. */
static void narrow_tables_keep_their_values(void **state UNUSED) {
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  struct table table CLEANUP(table_release);
  struct err err;
  table_init(&table, &arena);
  table_column(&table, "ID", false, YIELD_NEVER);
  table_column(&table, "RUNNING", true, YIELD_LAST);
  table_column(&table, "METRIC", false, YIELD_FIRST);
  table_column(&table, "BEST", true, YIELD_LAST);
  for (size_t i = 0; i < 4; i++)
    table_cell(&table, (struct str[]){STR("0123456789ab"), STR("3"), STR("val_accuracy"), STR("0.9463")}[i], STYLE_NONE);
  static const struct {
    size_t columns;
    const char *shown;
  } rows[] = {
      {40, "ID            RUNNING  METRIC       BEST\n0123456789ab        3  val_accu…  0.9463\n"},
      {36, "ID            RUN…  METRIC      BEST\n0123456789ab     3  val_acc…  0.9463\n"},
      {33, "ID            RUN…  METR…    BEST\n0123456789ab     3  val_…  0.9463\n"},
      {29, "ID           RUN… MET…   BEST\n0123456789ab    3 val… 0.9463\n"},
      {28, "ID       0123456789ab\nRUNNING  3\nMETRIC   val_accuracy\nBEST     0.9463\n"},
      {10, "ID       0123456789ab\nRUNNING  3\nMETRIC   val_accuracy\nBEST     0.9463\n"},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_BUF struct buf out = BUF_INIT(MIB);
    assert_true(table_print(&table, rows[i].columns, false, true, &out, &err));
    assert_string_equal(buf_text(&out), rows[i].shown);
  }
}

/* Also where their column holds texts as well, and with their units. */
static void numbers_stand_whole(void **state UNUSED) {
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  struct table table CLEANUP(table_release);
  struct err err;
  static const char *const cells[] = {"learning rate", "-1.23457e-10", "1.5 GB", "optimizer", "a long name of one", "2 B"};
  table_init(&table, &arena);
  table_column(&table, "PARAM", false, YIELD_FIRST);
  table_column(&table, "VALUE", false, YIELD_FIRST);
  table_column(&table, "SIZE", true, YIELD_LAST);
  for (size_t i = 0; i < ARRAY_LEN(cells); i++)
    table_cell(&table, str_of(cells[i]), STYLE_NONE);
  static const struct {
    size_t columns;
    const char *shown;
  } rows[] = {
      {26, "PAR…  VALUE           SIZE\nlea…  -1.23457e-10  1.5 GB\nopt…  a long name…     2 B\n"},
      {23, "PARAM  learning rate\nVALUE  -1.23457e-10\nSIZE   1.5 GB\n\nPARAM  optimizer\nVALUE  a long name of …\nSIZE   2 B\n"},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_BUF struct buf out = BUF_INIT(MIB);
    assert_true(table_print(&table, rows[i].columns, false, true, &out, &err));
    assert_string_equal(buf_text(&out), rows[i].shown);
  }
}

static void no_half_numbers_in_lists(void **state UNUSED) {
  static const struct {
    size_t columns;
    const char *shown;
  } rows[] = {{22, "lr=1.5e-10 batch=32 x\n"},
              {19, "lr=1.5e-10 batch=…\n"},
              {14, "lr=1.5e-10 ba…\n"},
              {11, "lr=1.5e-10…\n"},
              {9, "lr=…\n"},
              {6, "lr=…\n"}};
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  struct table table CLEANUP(table_release);
  struct err err;
  table_init(&table, &arena);
  table_column(&table, "", false, YIELD_FIRST);
  table_cell(&table, STR("lr=1.5e-10 batch=32 x"), STYLE_NONE);
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_BUF struct buf out = BUF_INIT(MIB);
    assert_true(table_print(&table, rows[i].columns, false, false, &out, &err));
    assert_string_equal(buf_text(&out), rows[i].shown);
  }
}

static void tables_fit(void **state UNUSED) {
  AUTO_ARENA struct arena arena = ARENA_INIT(MIB);
  struct table table CLEANUP(table_release);
  struct err err;
  table_init(&table, &arena);
  table_column(&table, "NAME", false, YIELD_FIRST);
  table_column(&table, "N", true, YIELD_LAST);
  table_column(&table, "TEXT", false, YIELD_FIRST);
  table_cell(&table, STR("日本"), STYLE_NONE);
  table_cell(&table, STR("12"), STYLE_GOOD);
  table_cell(&table, STR("a long text that gives way"), STYLE_NONE);
  table_cell(&table, STR("x\n"), STYLE_NONE);
  table_cell(&table, STR("3"), STYLE_NONE);
  table_cell(&table, STR(""), STYLE_NONE);
  AUTO_BUF struct buf out = BUF_INIT(MIB);
  assert_true(table_print(&table, 0, false, true, &out, &err));
  assert_string_equal(buf_text(&out), "NAME   N  TEXT\n日本  12  a long text that gives way\nx\\n    3\n");
  buf_reset(&out);
  assert_true(table_print(&table, 20, false, false, &out, &err));
  assert_string_equal(buf_text(&out), "日本  12  a long te…\nx\\n    3\n");
  buf_reset(&out);
  assert_true(table_print(&table, 0, true, false, &out, &err));
  assert_non_null(strstr(buf_text(&out), "\x1b[32m12\x1b[0m"));
}

static json_t *json_of(const char *text) {
  json_t *json = NULL;
  struct err err;
  if (!json_read(str_of(text), &json, &err))
    fail_msg("%s", err.text);
  return json;
}

static void yaml(void **state UNUSED) {
  static const struct {
    const char *in, *out;
  } rows[] = {
      {"{\"a\":1,\"b\":\"x\"}", "a: 1\nb: x\n"},
      {"{\"a\":{},\"b\":[],\"c\":[1,[2,3],{\"d\":4,\"e\":[5]}]}",
       "a: {}\nb: []\nc:\n  - 1\n  - - 2\n    - 3\n  - d: 4\n    e:\n      - 5\n"},
      {"[\"yes\",\"No\",\"1\",\"0x1\",\"\",\"a b\",\"~\",\"null\",\"1e3\",\"- a\",\"a: b\",\"#c\",\"NaN\",\"ok-1.2\",\"2021-01-01\"]",
       "- \"yes\"\n- \"No\"\n- \"1\"\n- \"0x1\"\n- \"\"\n- \"a b\"\n- \"~\"\n- \"null\"\n- \"1e3\"\n- \"- a\"\n- \"a: b\"\n- \"#c\"\n- \"NaN\"\n- "
       "ok-1.2\n- \"2021-01-01\"\n"},
      {"{\"k\":\"a\\nb\\u001b\\u009b\\u202e\",\"n\":null,\"t\":true,\"f\":0.1}",
       "k: \"a\\nb\\u001b\\u009b\\u202e\"\n\"n\": null\nt: true\nf: 0.1\n"},
      {"{\"true\":1}", "\"true\": 1\n"},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_JSON json_t *json = json_of(rows[i].in);
    AUTO_BUF struct buf out = BUF_INIT(MIB);
    encode_yaml(&out, json);
    assert_string_equal(buf_text(&out), rows[i].out);
  }
}

static void csv(void **state UNUSED) {
  static const struct {
    const char *in, *out;
  } rows[] = {
      {"plain", "plain"},     {"a,b", "\"a,b\""},
      {"a\"b", "\"a\"\"b\""}, {"a\nb", "\"a\nb\""},
      {"=1+1", "\"'=1+1\""},  {"-1.5", "-1.5"},
      {"-x", "\"'-x\""},      {"@cmd", "\"'@cmd\""},
      {"+1", "+1"},           {"", ""},
      {"\tx", "\"'\tx\""},    {"-Infinity", "-Infinity"},
      {"1=2", "1=2"},         {"=\"a\"", "\"'=\"\"a\"\"\""},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_BUF struct buf out = BUF_INIT(KIB);
    encode_csv_text(&out, str_of(rows[i].in));
    assert_string_equal(buf_text(&out), rows[i].out);
  }
  AUTO_JSON json_t *list = json_of("[1,\"a\"]");
  AUTO_BUF struct buf out = BUF_INIT(KIB);
  encode_csv_value(&out, list);
  assert_string_equal(buf_text(&out), "\"[1,\"\"a\"\"]\"");
}

static void json(void **state UNUSED) {
  AUTO_JSON json_t *value = json_of("{\"a\":[1,{}],\"b\":{\"c\":1e-7},\"d\":[],\"e\":\"\\u009b\\u061c\x7f\"}");
  AUTO_BUF struct buf out = BUF_INIT(MIB);
  encode_json(&out, value, 0);
  assert_string_equal(buf_text(&out), "{\"a\":[1,{}],\"b\":{\"c\":1e-07},\"d\":[],\"e\":\"\\u009b\\u061c\\u007f\"}");
  buf_reset(&out);
  encode_json(&out, value, 2);
  AUTO_JSON json_t *again = json_of(buf_text(&out));
  assert_true(json_equal(value, again));
}

static void for_people(void **state UNUSED) {
  AUTO_BUF struct buf out = BUF_INIT(KIB);
  static const int64_t spans[] = {0, 450, 1500, 59999, 61000, 3725000, 200000000, -61000};
  for (size_t i = 0; i < ARRAY_LEN(spans); i++) {
    encode_duration(&out, spans[i]);
    buf_putc(&out, '|');
  }
  assert_string_equal(buf_text(&out), "0ms|450ms|1.5s|60s|1m 01s|1h 02m|2d 07h|-1m 01s|");
  buf_reset(&out);
  static const double sizes[] = {0, 999, 1000, 1500, 123456, 9949999, 2e9, 1e18};
  for (size_t i = 0; i < ARRAY_LEN(sizes); i++) {
    encode_size(&out, sizes[i]);
    buf_putc(&out, '|');
  }
  assert_string_equal(buf_text(&out), "0 B|999 B|1.0 kB|1.5 kB|123 kB|9.9 MB|2.0 GB|1000 PB|");
  buf_reset(&out);
  encode_age(&out, 1000, 181000);
  buf_putc(&out, '|');
  encode_age(&out, 7200000 + 181000, 181000);
  buf_putc(&out, '|');
  encode_age(&out, INT64_MIN, INT64_MAX);
  assert_string_equal(buf_text(&out), "3m ago|in 2h|?");
}

static const struct column columns[] = {
    {"ID", "id", COLUMN_ID, false, NULL},
    {"VALUE", "best.value", COLUMN_NUMBER, false, NULL},
    {"TAGS", "tags", COLUMN_LIST, true, NULL},
};
static const struct view view = VIEW(columns, "id", "none");

static void lists_in_every_format(void **state UNUSED) {
  static const struct {
    enum output_format format;
    const char *out;
  } rows[] = {
      {OUTPUT_TABLE, "ID                 VALUE\n0193aaaaaaaaaaaa1   0.25\n0193aaaaaaaaaaaa2    NaN\n"},
      {OUTPUT_WIDE, "ID                     VALUE  TAGS\n0193aaaaaaaaaaaa1bbbb   0.25  a=1 b=x\n0193aaaaaaaaaaaa2cccc    NaN\n"},
      {OUTPUT_JSONL, "{\"id\":\"0193aaaaaaaaaaaa1bbbb\",\"best\":{\"value\":0.25},\"tags\":{\"a\":1,\"b\":\"x\"}}\n"
                     "{\"id\":\"0193aaaaaaaaaaaa2cccc\",\"best\":{\"value\":\"NaN\"}}\n"},
      {OUTPUT_CSV, "id,best.value,tags\n0193aaaaaaaaaaaa1bbbb,0.25,\"{\"\"a\"\":1,\"\"b\"\":\"\"x\"\"}\"\n0193aaaaaaaaaaaa2cccc,NaN,\n"},
      {OUTPUT_NAME, "0193aaaaaaaaaaaa1bbbb\n0193aaaaaaaaaaaa2cccc\n"},
  };
  AUTO_JSON json_t *items = json_of("[{\"id\":\"0193aaaaaaaaaaaa1bbbb\",\"best\":{\"value\":0.25},\"tags\":{\"a\":1,\"b\":\"x\"}},"
                                    "{\"id\":\"0193aaaaaaaaaaaa2cccc\",\"best\":{\"value\":\"NaN\"}}]");
  struct err err;
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_BUF struct buf out = BUF_INIT(MIB);
    struct output output = {.format = rows[i].format, .clock = &clock_system};
    assert_true(output_render_list(&output, &view, items, NULL, &out, &err));
    if (strcmp(buf_text(&out), rows[i].out) != 0)
      fail_msg("%s:\n%s\nnot\n%s", output_formats[rows[i].format], buf_text(&out), rows[i].out);
  }
  AUTO_BUF struct buf out = BUF_INIT(MIB);
  struct output output = {.format = OUTPUT_JSON, .clock = &clock_system};
  assert_true(output_render_list(&output, &view, items, NULL, &out, &err));
  AUTO_JSON json_t *envelope = json_of(buf_text(&out));
  assert_true(json_equal(json_object_get(envelope, "items"), items));
  assert_true(json_is_null(json_object_get(envelope, "next")));
}

/* However narrow the terminal is. */
static void the_id_of_an_object_is_whole(void **state UNUSED) {
  AUTO_JSON json_t *item = json_of("{\"id\":\"0193aaaaaaaaaaaa1bbbb\",\"tags\":{\"a\":\"longer than the id is itself\"}}");
  AUTO_BUF struct buf out = BUF_INIT(KIB);
  struct output output = {.format = OUTPUT_TABLE, .columns = 12, .clock = &clock_system};
  struct err err;
  assert_true(output_render_object(&output, &view, item, &out, &err));
  assert_string_equal(buf_text(&out), "ID    0193aaaaaaaaaaaa1bbbb\nTAGS  a=longer than the id…\n");
}

static void objects_in_a_list_are_words(void **state UNUSED) {
  AUTO_JSON json_t *item = json_of("{\"tags\":[{\"uuid\":\"GPU-1\",\"memory\":80,\"used_by\":null},\"x\",{},3]}");
  AUTO_BUF struct buf out = BUF_INIT(KIB);
  column_text(&columns[2], item, 0, &out);
  assert_string_equal(buf_text(&out), "uuid=GPU-1 memory=80 used_by=, x, , 3");
}

static void items_of_an_object_stand_on_lines_of_their_own(void **state UNUSED) {
  static const struct column item_columns[] = {{"Warnings", "warnings", COLUMN_ITEMS, false, NULL},
                                               {"End", "end", COLUMN_TEXT, false, NULL}};
  static const struct view item_view = VIEW(item_columns, "end", "");
  AUTO_JSON json_t *item = json_of("{\"warnings\":[\"one that goes on and on\",\"two\",\"incomprehensibilities\"],\"end\":\"x\"}");
  static const struct {
    size_t columns;
    const char *shown;
  } rows[] = {
      {0, "Warnings  one that goes on and on\n          two\n          incomprehensibilities\nEnd       x\n"},
      {24, "Warnings  one that goes\n          on and on\n          two\n          incomprehensib\n          ilities\nEnd       x\n"},
  };
  for (size_t i = 0; i < ARRAY_LEN(rows); i++) {
    AUTO_BUF struct buf out = BUF_INIT(KIB);
    struct output output = {.format = OUTPUT_TABLE, .columns = rows[i].columns, .clock = &clock_system};
    struct err err;
    assert_true(output_render_object(&output, &item_view, item, &out, &err));
    assert_string_equal(buf_text(&out), rows[i].shown);
  }
}

static void a_command_is_shown_as_a_shell_reads_it(void **state UNUSED) {
  static const struct column command = {"Command", "command", COLUMN_COMMAND, false, NULL};
  AUTO_JSON json_t *item = json_of("{\"command\":[\"sh\",\"-c\",\"echo 'hi'; exit 3\",\"\",\"--lr=1e-05\",\"a/b,c:d\"]}");
  AUTO_BUF struct buf out = BUF_INIT(KIB);
  column_text(&command, item, 0, &out);
  assert_string_equal(buf_text(&out), "sh -c 'echo '\\''hi'\\''; exit 3' '' --lr=1e-05 a/b,c:d");
}

static void paths_into_json(void **state UNUSED) {
  AUTO_JSON json_t *value = json_of("{\"a.b\":1,\"a\":{\"c\":{\"d.e\":2},\"n\":null,\"f.g\":{\"h\":3}}}");
  assert_int_equal(json_integer_value(json_at_path(value, "a.b")), 1);
  assert_int_equal(json_integer_value(json_at_path(value, "a.c.d.e")), 2);
  assert_int_equal(json_integer_value(json_at_path(value, "a.f.g.h")), 3);
  assert_null(json_at_path(value, "a.n"));
  assert_null(json_at_path(value, "a.c.x"));
  assert_null(json_at_path(value, "a.b.c"));
  assert_null(json_at_path(NULL, "a"));
  char dots[200];
  memset(dots, '.', sizeof dots - 1);
  dots[sizeof dots - 1] = 0;
  assert_null(json_at_path(value, dots)); /* not every way to part it is tried where nothing is */
}

static void names_of_artifacts(void **state UNUSED) {
  static const char *const good[] = {"a", "a/b", "model/weights.npz", "a b", "ü", ".hidden", "a..b", "-x"};
  static const char *const bad[] = {"", "/a", "a/", "a//b", "..", ".", "a/../b", "../a", "a/.", "a\nb", "a\x1b", "a\\b", "\xff"};
  for (size_t i = 0; i < ARRAY_LEN(good); i++)
    assert_true(artifact_name_is_safe(str_of(good[i])));
  for (size_t i = 0; i < ARRAY_LEN(bad); i++)
    assert_false(artifact_name_is_safe(str_of(bad[i])));
  assert_false(artifact_name_is_safe(STR("a\0b")));
}

int main(void) {
  const struct CMUnitTest tests[] = {
      cmocka_unit_test(widths),
      cmocka_unit_test(hostile_text_is_escaped),
      cmocka_unit_test(logs_are_filtered_across_cuts),
      cmocka_unit_test(colours_only_where_wanted),
      cmocka_unit_test(sparklines),
      cmocka_unit_test(tables_fit),
      cmocka_unit_test(narrow_tables_keep_their_values),
      cmocka_unit_test(numbers_stand_whole),
      cmocka_unit_test(no_half_numbers_in_lists),
      cmocka_unit_test(yaml),
      cmocka_unit_test(csv),
      cmocka_unit_test(json),
      cmocka_unit_test(the_id_of_an_object_is_whole),
      cmocka_unit_test(objects_in_a_list_are_words),
      cmocka_unit_test(items_of_an_object_stand_on_lines_of_their_own),
      cmocka_unit_test(for_people),
      cmocka_unit_test(lists_in_every_format),
      cmocka_unit_test(a_command_is_shown_as_a_shell_reads_it),
      cmocka_unit_test(paths_into_json),
      cmocka_unit_test(names_of_artifacts),
  };
  return cmocka_run_group_tests(tests, NULL, NULL);
}
