#include "tests/support/test_stmts.h"

#define P(...) ((const unsigned char[]){__VA_ARGS__})
static const struct stmt_info table[] = {
#define X(id, name, sql, params, results, param_count, result_count, repeatable) \
  {name, sql, "tests", params, results, param_count, result_count, repeatable},
    TEST_STMTS(X)
#undef X
};

void test_stmts_use(void) {
  stmt_set_extra(table, ARRAY_LEN(table));
}

const char test_stmts_schema[] =
    "create table probe (id bigint primary key, name text);"
    "create table probe_child (id bigint references probe deferrable initially deferred);"
    "create sequence attempts;"
    "create function fail_sometimes() returns bigint language plpgsql as $$ declare n bigint := nextval('attempts'); begin"
    " if n % 3 <> 0 then raise exception 'again' using errcode = '40001'; end if; return n; end $$;";
