include(${CMAKE_SOURCE_DIR}/tests/oracle/oracle.cmake)
target_link_libraries(fuzz_http_head PRIVATE winnow_http_oracle)
