# The second opinion on HTTP heads, for the tests that want it.
if(NOT TARGET winnow_http_oracle)
  add_library(winnow_http_oracle STATIC ${CMAKE_SOURCE_DIR}/tests/oracle/http_oracle.c ${CMAKE_SOURCE_DIR}/tests/oracle/http_parser_says.c)
  target_link_libraries(winnow_http_oracle PUBLIC winnow_web http_parser)
endif()
