# With the composition root in place, its verbs are part of the table.
if(EXISTS ${CMAKE_SOURCE_DIR}/cli/serve.c)
  target_compile_definitions(winnow_cli PUBLIC WINNOW_WITH_SERVE)
endif()
