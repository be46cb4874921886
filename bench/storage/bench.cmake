# `ninja bench_storage_inserts`, then bin/bench_storage_inserts: durable inserts through the pool beside pgbench.
add_executable(bench_storage_inserts EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/bench/storage/bench_inserts.c)
target_link_libraries(bench_storage_inserts PRIVATE winnow_test_support)
