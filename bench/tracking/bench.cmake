# `ninja bench_load`, then bench/tracking/run.py.
add_executable(bench_load EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/bench/tracking/load.c)
target_link_libraries(bench_load PRIVATE winnow_web)
