# Programs that are measured, not shipped: `ninja bench_metrics`, then bin/bench_metric_code and bin/bench_metric_store.
add_executable(bench_metric_code EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/bench/metrics/code.c)
target_link_libraries(bench_metric_code PRIVATE winnow_tracker)
add_executable(bench_metric_store EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/bench/metrics/store.c)
target_link_libraries(bench_metric_store PRIVATE winnow_test_support)
add_custom_target(bench_metrics DEPENDS bench_metric_code bench_metric_store)
