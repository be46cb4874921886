# What reads logs is where the service's processor time goes when jobs print much.
set(parsers line log_dict log_metrics log_pairs log_parse log_place log_table log_token)
list(TRANSFORM parsers REPLACE "(.+)" "${CMAKE_SOURCE_DIR}/tracker/logs/\\1.c")
if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  set_source_files_properties(${parsers} PROPERTIES COMPILE_OPTIONS -O3)
endif()
