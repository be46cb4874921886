#include "web/problem.h"
#include "web/tables.h"

const struct route_mount *web_mounts(size_t *ret_count) {
  static struct route_mount mounts[2];
  size_t n = 0;
  mounts[n++] = (struct route_mount){"", root_routes, root_route_count, &api_family};
  mounts[n++] = (struct route_mount){"/api/v1", service_routes, service_route_count, &api_family};
  *ret_count = n;
  return mounts;
}
