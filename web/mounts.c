#include "web/mlflow.h"
#include "web/problem.h"
#include "web/tables.h"

const struct route_mount *web_mounts(size_t *ret_count) {
  static struct route_mount mounts[7 + MLFLOW_MOUNTS_MAX];
  static struct route_family root_family; /* MLflow's clients ask for //model-versions/get-artifact */
  size_t n = 0;
  root_family = api_family;
  root_family.collapse_slashes = true;
  mounts[n++] = (struct route_mount){"", root_routes, root_route_count, &root_family};
  mounts[n++] = (struct route_mount){"/api/v1", service_routes, service_route_count, &api_family};
  const struct {
    const struct route *routes;
    size_t count;
  } api[] = {
      {metric_routes, metric_route_count},
      {api_run_routes, api_run_route_count},
      {api_experiment_routes, api_experiment_route_count},
      {api_artifact_routes, api_artifact_route_count},
      {api_model_routes, api_model_route_count},
  };
  for (size_t i = 0; i < ARRAY_LEN(api); i++)
    mounts[n++] = (struct route_mount){"/api/v1", api[i].routes, api[i].count, &api_family};
  n += mlflow_mounts(mounts + n);
  *ret_count = n;
  return mounts;
}
