# Programs that are measured, not shipped: `ninja bench_http`, then bench/http/run.py.
add_executable(hello_winnow EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/bench/http/hello_winnow.c)
target_link_libraries(hello_winnow PRIVATE winnow_web)
add_executable(hello_evhttp EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/bench/http/hello_evhttp.c)
target_link_libraries(hello_evhttp PRIVATE winnow_base)
add_custom_target(bench_http DEPENDS hello_winnow hello_evhttp)

# `ninja bench_storage_inserts`, then bin/bench_storage_inserts: durable inserts through the pool beside pgbench.
add_executable(bench_storage_inserts EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/bench/storage/bench_inserts.c)
target_link_libraries(bench_storage_inserts PRIVATE winnow_test_support)
