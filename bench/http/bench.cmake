# Programs that are measured, not shipped: `ninja bench_http`, then bench/http/run.py.
add_executable(hello_winnow EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/bench/http/hello_winnow.c)
target_link_libraries(hello_winnow PRIVATE winnow_web)
add_executable(hello_evhttp EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/bench/http/hello_evhttp.c)
target_link_libraries(hello_evhttp PRIVATE winnow_base)
add_custom_target(bench_http DEPENDS hello_winnow hello_evhttp)
