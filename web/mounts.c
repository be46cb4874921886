#include "web/mlflow.h"
#include "web/problem.h"
#include "web/tables.h"

const struct route_mount *web_mounts(size_t *ret_count) {
  static struct route_mount mounts[2 + MLFLOW_MOUNTS_MAX];
  size_t n = 0;
  mounts[n++] = (struct route_mount){"", root_routes, root_route_count, &api_family};
  mounts[n++] = (struct route_mount){"/api/v1", service_routes, service_route_count, &api_family};
  n += mlflow_mounts(mounts + n);
  *ret_count = n;
  return mounts;
}
