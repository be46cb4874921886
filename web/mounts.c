#include "web/http/http_req.h"
#include "web/mlflow/mlflow.h"
#include "web/mlflow/mlflow_tables.h"
#include "web/problem.h"
#include "web/tables.h"

/* At the root, MLflow's rows and ours lie side by side. */
static bool is_mlflow_row(const struct route *route) {
  for (size_t i = 0; i < mlflow_root_route_count; i++)
    if (route == &mlflow_root_routes[i])
      return true;
  for (size_t i = 0; i < mlflow_version_file_route_count; i++)
    if (route == &mlflow_version_file_routes[i])
      return true;
  return false;
}

static int write_root_error(const struct http_req *req, const char *request_id, const struct err *err, struct buf *body,
                            const char **ret_content_type) {
  bool is_mlflow = req && is_mlflow_row(http_req_route(req));
  return (is_mlflow ? &mlflow_family : &api_family)->write_error(req, request_id, err, body, ret_content_type);
}

/* MLflow's clients ask for //model-versions/get-artifact. */
static const struct route_family root_family = {.name = "root", .write_error = write_root_error, .collapse_slashes = true};

const struct route_mount *web_mounts(size_t *ret_count) {
#define ROUTE_TABLE_ROW(name) {name##_routes, name##_route_count},
  const struct {
    const struct route *routes;
    size_t count;
  } api[] = {API_ROUTE_TABLES(ROUTE_TABLE_ROW)};
  static struct route_mount mounts[1 + ARRAY_LEN(api) + MLFLOW_MOUNTS_MAX];
  size_t n = 0;
  mounts[n++] = (struct route_mount){"", root_routes, root_route_count, &root_family};
  for (size_t i = 0; i < ARRAY_LEN(api); i++)
    mounts[n++] = (struct route_mount){"/api/v1", api[i].routes, api[i].count, &api_family};
  n += mlflow_mounts(mounts + n);
  *ret_count = n;
  return mounts;
}
