include(${CMAKE_SOURCE_DIR}/tests/oracle/oracle.cmake)
target_link_libraries(${name} PRIVATE winnow_http_oracle)
