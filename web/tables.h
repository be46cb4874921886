/* The tables of routes, one for each family of handlers, and where they are mounted. */
#ifndef WINNOW_WEB_TABLES_H
#define WINNOW_WEB_TABLES_H

#include "web/route.h"

extern const struct route root_routes[]; /* the plain page, /health, /metrics, /docs */
extern const size_t root_route_count;
extern const struct route service_routes[]; /* /api/v1: status, tokens, sessions, shutdown */
extern const size_t service_route_count;
extern const struct route metric_routes[]; /* /api/v1: points of runs, charts */
extern const size_t metric_route_count;

extern const struct route api_run_routes[], api_experiment_routes[], api_artifact_routes[], api_model_routes[]; /* /api/v1: tracking */
extern const size_t api_run_route_count, api_experiment_route_count, api_artifact_route_count, api_model_route_count;

/* /api/v1: sweeps and their jobs */
extern const struct route sweep_routes[], trial_routes[], ask_routes[], companion_routes[], log_routes[], event_routes[];
extern const size_t sweep_route_count, trial_route_count, ask_route_count, companion_route_count, log_route_count, event_route_count;

/* Everything that is served: the index of the API. Lives as long as the program. */
const struct route_mount *web_mounts(size_t *ret_count);

#endif
