# What reads logs is where the service's processor time goes when jobs print much.
set(parsers line log_dict log_metrics log_pairs log_parse log_place log_prefix log_search log_shape log_table log_token)
list(TRANSFORM parsers REPLACE "(.+)" "${CMAKE_SOURCE_DIR}/tracker/logs/\\1.c")
if(CMAKE_BUILD_TYPE STREQUAL "RelWithDebInfo")
  set(how -O3)
  if(CMAKE_SYSTEM_PROCESSOR STREQUAL "x86_64") # any such processor runs it; made for old ones, small structures are cleared slowly
    list(APPEND how -mtune=skylake)
  endif()
  set_source_files_properties(${parsers} PROPERTIES COMPILE_OPTIONS "${how}")
endif()
