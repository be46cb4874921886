/* Every statement of sql/queries is prepared against the real schema, and the server's types are compared with the declared ones. */
#define WINNOW_ALLOW_BLOCKING_PQ /* asks the server what it makes of a statement */
#include "storage/pg/pq.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "storage/pg/pg_target.h"
#include "tests/support/pg_cluster.h"

static struct pg_cluster cluster;
static PGconn *pg;

static int start_all(void **state) {
  (void)state;
  struct err err;
  struct pg_target target;
  pg_cluster_start(&cluster, NULL);
  if (!pg_target_init(&target, cluster.conninfo, 0, &err))
    return 1;
  pg = PQconnectdbParams(target.keywords, target.values, 0);
  pg_target_release(&target);
  return PQstatus(pg) != CONNECTION_OK;
}

static int stop_all(void **state) {
  (void)state;
  PQfinish(pg);
  pg_cluster_stop(&cluster);
  return 0;
}

static bool compare(const struct stmt_info *info, const PGresult *described) {
  bool same = true;
  if (PQnparams(described) != info->param_count) {
    print_message("%s: %s declares %u parameters, the server counts %d\n", info->where, info->name, info->param_count,
                  PQnparams(described));
    return false;
  }
  for (int i = 0; i < info->param_count; i++)
    if (PQparamtype(described, i) != pg_type_oid(info->params[i])) {
      print_message("%s: parameter %d of %s is declared %s, the server takes type %u\n", info->where, i + 1, info->name,
                    pg_type_name(info->params[i]), PQparamtype(described, i));
      same = false;
    }
  int columns = PQnfields(described);
  if (columns != info->result_count) {
    print_message("%s: %s declares %u columns, the server gives %d\n", info->where, info->name, info->result_count, columns);
    return false;
  }
  for (int i = 0; i < columns; i++)
    if (PQftype(described, i) != pg_type_oid(info->results[i])) {
      print_message("%s: column %d of %s is declared %s, the server gives type %u\n", info->where, i + 1, info->name,
                    pg_type_name(info->results[i]), PQftype(described, i));
      same = false;
    }
  return same;
}

static bool check(const struct stmt_info *info) {
  Oid types[STMT_PARAMS_MAX];
  for (int i = 0; i < info->param_count; i++)
    types[i] = pg_type_oid(info->params[i]);
  PGresult *prepared = PQprepare(pg, info->name, info->sql, info->param_count, types);
  bool ok = PQresultStatus(prepared) == PGRES_COMMAND_OK;
  if (!ok)
    print_message("%s: %s: %s", info->where, info->name, PQerrorMessage(pg));
  PQclear(prepared);
  if (!ok)
    return false;
  PGresult *described = PQdescribePrepared(pg, info->name);
  ok = PQresultStatus(described) == PGRES_COMMAND_OK && compare(info, described);
  PQclear(described);
  return ok;
}

static void test_all(void **state) {
  (void)state;
  int wrong = 0;
  for (int i = 0; i < STMT_COUNT; i++) {
    const struct stmt_info *info = stmt_info((enum stmt)i);
    wrong += !check(info);
  }
  assert_int_equal(wrong, 0);
}

int main(void) {
  const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
  return cmocka_run_group_tests(tests, start_all, stop_all);
}
