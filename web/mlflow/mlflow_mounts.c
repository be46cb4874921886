/* Where MLflow's protocol is mounted. */
#include "web/mlflow/mlflow.h"
#include "web/mlflow/mlflow_tables.h"

size_t mlflow_mounts(struct route_mount *mounts) {
  static const char *const apis[] = {"/api", "/ajax-api"};
  static const char *const tracking[] = {"/api/2.0/mlflow", "/ajax-api/2.0/mlflow"};
  static const char *const artifacts[] = {"/api/2.0/mlflow-artifacts", "/ajax-api/2.0/mlflow-artifacts"};
  static const char *const info[] = {"/api/3.0/mlflow", "/ajax-api/3.0/mlflow"};
  const struct {
    const struct route *routes;
    size_t count;
  } tables[] = {
      {mlflow_experiment_routes, mlflow_experiment_route_count},
      {mlflow_run_routes, mlflow_run_route_count},
      {mlflow_log_routes, mlflow_log_route_count},
      {mlflow_metric_routes, mlflow_metric_route_count},
      {mlflow_model_routes, mlflow_model_route_count},
      {mlflow_registry_routes, mlflow_registry_route_count},
      {mlflow_version_routes, mlflow_version_route_count},
      {mlflow_registry_search_routes, mlflow_registry_search_route_count},
      {mlflow_file_routes, mlflow_file_route_count},
  };
  size_t n = 0;
  for (size_t api = 0; api < ARRAY_LEN(apis); api++) {
    for (size_t i = 0; i < ARRAY_LEN(tables); i++)
      mounts[n++] = (struct route_mount){tracking[api], tables[i].routes, tables[i].count, &mlflow_family};
    mounts[n++] = (struct route_mount){artifacts[api], mlflow_artifact_routes, mlflow_artifact_route_count, &mlflow_family};
    mounts[n++] = (struct route_mount){artifacts[api], mlflow_part_routes, mlflow_part_route_count, &mlflow_family};
    mounts[n++] = (struct route_mount){info[api], mlflow_info_routes, mlflow_info_route_count, &mlflow_family};
  }
  mounts[n++] = (struct route_mount){"", mlflow_root_routes, mlflow_root_route_count, &mlflow_family};
  mounts[n++] = (struct route_mount){"", mlflow_version_file_routes, mlflow_version_file_route_count, &mlflow_family};
  return n;
}
