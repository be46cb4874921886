/* Statements of the tests' own, over a table `probe (id bigint primary key, name text, at timestamptz, v float8, b bytea, j jsonb, u
 * uuid)`. */
#ifndef WINNOW_TESTS_TEST_STMTS_H
#define WINNOW_TESTS_TEST_STMTS_H

#include "storage/pg/stmt_info.h"

#define TEST_STMTS(X)                                                                                                                      \
  X(T_INSERT, "t_insert", "insert into probe (id, name) values ($1, $2)", P(PG_INT8, PG_TEXT), P(0), 2, 0, false)                          \
  X(T_INSERT_SAFE, "t_insert_safe", "insert into probe (id, name) values ($1, $2) on conflict (id) do nothing", P(PG_INT8, PG_TEXT), P(0), \
    2, 0, true)                                                                                                                            \
  X(T_COUNT, "t_count", "select count(*) from probe", P(0), P(PG_INT8), 0, 1, true)                                                        \
  X(T_SLEEP, "t_sleep", "select $1 from (select pg_sleep($1)) as slept", P(PG_FLOAT8), P(PG_FLOAT8), 1, 1, false)                          \
  X(T_SERIES, "t_series", "select n, repeat('x', 100) from generate_series(1, $1) as n", P(PG_INT8), P(PG_INT8, PG_TEXT), 1, 2, true)      \
  X(T_ECHO, "t_echo", "select $1, $2, $3, $4, $5, $6, $7, $8, $9, $10",                                                                    \
    P(PG_BOOL, PG_INT2, PG_INT4, PG_INT8, PG_FLOAT8, PG_TEXT, PG_BYTEA, PG_UUID, PG_JSONB, PG_TIMESTAMPTZ),                                \
    P(PG_BOOL, PG_INT2, PG_INT4, PG_INT8, PG_FLOAT8, PG_TEXT, PG_BYTEA, PG_UUID, PG_JSONB, PG_TIMESTAMPTZ), 10, 10, true)                  \
  X(T_ECHO_ARRAYS, "t_echo_arrays", "select $1, $2, $3, $4, $5, $6",                                                                       \
    P(PG_INT4 + PG_ARRAY, PG_INT8 + PG_ARRAY, PG_FLOAT8 + PG_ARRAY, PG_TEXT + PG_ARRAY, PG_BYTEA + PG_ARRAY, PG_UUID + PG_ARRAY),          \
    P(PG_INT4 + PG_ARRAY, PG_INT8 + PG_ARRAY, PG_FLOAT8 + PG_ARRAY, PG_TEXT + PG_ARRAY, PG_BYTEA + PG_ARRAY, PG_UUID + PG_ARRAY), 6, 6,    \
    true)                                                                                                                                  \
  X(T_MISDECLARED, "t_misdeclared", "select 1::int4", P(0), P(PG_INT8), 0, 1, true)                                                        \
  X(T_NO_TABLE, "t_no_table", "select 1::int8 from nowhere", P(0), P(PG_INT8), 0, 1, true)                                                 \
  X(T_DEFERRED, "t_deferred", "insert into probe_child values ($1)", P(PG_INT8), P(0), 1, 0, false)                                        \
  X(T_SERIALIZE, "t_serialize", "select fail_sometimes()", P(0), P(PG_INT8), 0, 1, false)                                                  \
  X(T_DISK_FULL, "t_disk_full", "do $$ begin raise exception 'no room' using errcode = '53100'; end $$", P(0), P(0), 0, 0, false)          \
  X(T_BIG_INSERT, "t_big_insert", "insert into probe (id, name) select n, $3 from generate_series($1::bigint, $2) as n",                   \
    P(PG_INT8, PG_INT8, PG_TEXT), P(0), 3, 0, false)                                                                                       \
  X(T_UNNEST, "t_unnest", "insert into probe (id, name) select * from unnest($1, $2)", P(PG_INT8 + PG_ARRAY, PG_TEXT + PG_ARRAY), P(0), 2, \
    0, false)

enum {
  T_BEFORE = STMT_COUNT - 1,
#define X(id, name, sql, params, results, param_count, result_count, repeatable) id,
  TEST_STMTS(X)
#undef X
};

void test_stmts_use(void);
/* The tables. For pg_cluster_sql(). */
extern const char test_stmts_schema[];

#endif
