# winnow-exec, the companion of one attempt: small, so it links nothing but libevent's core and base's bytes, and statically where that can
# be done: there is one of them for each job, and finding shared libraries would be most of its start.
file(GLOB companion_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/sweeper/companion/*.c)
add_executable(winnow-exec ${companion_sources} ${CMAKE_SOURCE_DIR}/sweeper/machine/job_file.c ${CMAKE_SOURCE_DIR}/sweeper/machine/cgroup.c)
pkg_check_modules(EVENT_CORE REQUIRED IMPORTED_TARGET libevent_core)
find_library(EVENT_CORE_ARCHIVE libevent_core.a HINTS ${EVENT_CORE_LIBRARY_DIRS})
find_library(LIBC_ARCHIVE libc.a)
if(EVENT_CORE_ARCHIVE AND LIBC_ARCHIVE AND CMAKE_C_COMPILER_ID STREQUAL "GNU" AND NOT WINNOW_SANITIZE)
  # Among the libraries, so that it comes after CMake's own -pie and takes its place. libevent names getaddrinfo(), of which the linker warns;
  # the companion is given addresses, not names.
  target_link_libraries(winnow-exec PRIVATE winnow_base_bytes ${EVENT_CORE_ARCHIVE} -static-pie -Wl,--no-warnings)
else()
  target_link_libraries(winnow-exec PRIVATE winnow_base_bytes PkgConfig::EVENT_CORE)
  target_link_options(winnow-exec PRIVATE -pie)
endif()
install(TARGETS winnow-exec DESTINATION ${CMAKE_INSTALL_LIBEXECDIR})
