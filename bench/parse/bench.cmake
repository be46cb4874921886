# parse_tool: what `winnow parse` does, on its own. parse_bench: megabytes a second. Not built by default.
add_executable(parse_tool EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/parse_tool.c)
target_link_libraries(parse_tool PRIVATE winnow_tracker)
