# parse_tool: what `winnow parse` does, on its own; the judge over the recorded logs uses it. parse_bench: megabytes a second.
set(logs ${CMAKE_SOURCE_DIR}/tests/logs)
add_executable(parse_tool ${CMAKE_CURRENT_LIST_DIR}/parse_tool.c)
target_link_libraries(parse_tool PRIVATE winnow_tracker)
add_test(NAME logs_recordings COMMAND python3 ${logs}/check.py --dir ${CMAKE_SOURCE_DIR}/tests/data/logs/recordings "$<TARGET_FILE:parse_tool> -o jsonl {file}")
add_test(NAME logs_styles COMMAND python3 ${logs}/styles.py $<TARGET_FILE:parse_tool>)
add_test(NAME logs_samples COMMAND python3 ${logs}/samples.py $<TARGET_FILE:parse_tool>)
set_tests_properties(logs_recordings logs_styles logs_samples PROPERTIES LABELS unit TIMEOUT 180)

add_executable(parse_bench EXCLUDE_FROM_ALL ${CMAKE_CURRENT_LIST_DIR}/parse_bench.c)
target_link_libraries(parse_bench PRIVATE winnow_tracker)
