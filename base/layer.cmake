# The part of base that needs nothing but libc, for programs that must stay small.
add_library(winnow_base_bytes STATIC)
foreach(file arena buf clock err file glob id mem rng str str_number)
  target_sources(winnow_base_bytes PRIVATE ${CMAKE_SOURCE_DIR}/base/${file}.c)
endforeach()
target_link_libraries(winnow_base_bytes PUBLIC winnow_flags m)
