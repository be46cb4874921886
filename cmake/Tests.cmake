# Tests are found by their place and name:
#   tests/unit/<layer>/test_x.c   cmocka; links <layer> and what is below          label unit
#   tests/pg/test_x.c             cmocka; starts its own Postgres; links everything  label pg
#   tests/e2e/test_x.py           runs the program; `python3 test_x.py PROGRAM`      label e2e
#   tests/check/*.cmake           statements about the tree itself                   label check
#   tests/fuzz/fuzz_x.c           LLVMFuzzerTestOneInput; replays corpus/x           label fuzz
function(winnow_tests)
  pkg_check_modules(CMOCKA REQUIRED IMPORTED_TARGET cmocka)
  file(GLOB support CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/support/*.c)
  list(FILTER support EXCLUDE REGEX "fuzz_replay\\.c$")
  add_library(winnow_test_support STATIC ${support})
  target_link_libraries(winnow_test_support PUBLIC winnow_web PkgConfig::CMOCKA)
  target_link_options(winnow_test_support INTERFACE -Wl,--wrap=loop_turn)

  foreach(layer IN LISTS WINNOW_LAYERS)
    file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/unit/${layer}/test_*.c)
    foreach(source IN LISTS sources)
      get_filename_component(name ${source} NAME_WE)
      winnow_cmocka_test(unit_${layer}_${name} ${source} unit winnow_${layer})
    endforeach()
  endforeach()

  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/pg/test_*.c)
  foreach(source IN LISTS sources)
    get_filename_component(name ${source} NAME_WE)
    winnow_cmocka_test(pg_${name} ${source} pg winnow_web)
  endforeach()

  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/fuzz/fuzz_*.c)
  foreach(source IN LISTS sources)
    get_filename_component(name ${source} NAME_WE)
    string(REGEX REPLACE "^fuzz_" "" subject ${name})
    add_executable(${name} ${source})
    target_link_libraries(${name} PRIVATE winnow_web)
    if(WINNOW_FUZZ)
      target_link_options(${name} PRIVATE -fsanitize=fuzzer)
    else()
      target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/support/fuzz_replay.c)
      add_test(NAME ${name} COMMAND ${name} ${CMAKE_SOURCE_DIR}/tests/fuzz/corpus/${subject})
      set_tests_properties(${name} PROPERTIES LABELS fuzz TIMEOUT 120)
    endif()
    if(EXISTS ${CMAKE_SOURCE_DIR}/tests/fuzz/${name}.cmake)
      include(${CMAKE_SOURCE_DIR}/tests/fuzz/${name}.cmake)
    endif()
  endforeach()

  add_library(slow_disk MODULE ${CMAKE_SOURCE_DIR}/tests/support/preload/slow_disk.c) # Postgres gets it too: no sanitizer in it
  target_compile_options(slow_disk PRIVATE -fno-sanitize=all)
  target_link_options(slow_disk PRIVATE -fno-sanitize=all)
  file(GLOB scripts CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/e2e/test_*.py)
  foreach(script IN LISTS scripts)
    if(NOT TARGET winnow)
      continue()
    endif()
    get_filename_component(name ${script} NAME_WE)
    add_test(NAME e2e_${name} COMMAND python3 ${script} $<TARGET_FILE:winnow>)
    set_tests_properties(e2e_${name} PROPERTIES LABELS e2e) # the time limit is that of who runs them: full counts take long
  endforeach()

  file(GLOB scripts CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/tests/check/*.cmake)
  foreach(script IN LISTS scripts)
    get_filename_component(name ${script} NAME_WE)
    add_test(NAME check_${name} COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DBUILD=${CMAKE_BINARY_DIR} -P ${script})
    set_tests_properties(check_${name} PROPERTIES LABELS check)
  endforeach()
endfunction()

function(winnow_cmocka_test name source label library)
  add_executable(${name} ${source})
  target_link_libraries(${name} PRIVATE ${library} PkgConfig::CMOCKA winnow_test_support)
  add_test(NAME ${name} COMMAND ${name})
  set_tests_properties(${name} PROPERTIES LABELS ${label} TIMEOUT 180)
  string(REGEX REPLACE "\\.c$" ".cmake" extra ${source}) # what only this test needs; the target is ${name}
  if(EXISTS ${extra})
    include(${extra})
  endif()
endfunction()
