# winnow-exec, the companion of one attempt: small, so it links nothing but libevent's core and base's bytes.
file(GLOB companion_sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/sweeper/companion/*.c)
add_executable(winnow-exec ${companion_sources} ${CMAKE_SOURCE_DIR}/sweeper/job_file.c)
pkg_check_modules(EVENT_CORE REQUIRED IMPORTED_TARGET libevent_core)
target_link_libraries(winnow-exec PRIVATE winnow_base_bytes PkgConfig::EVENT_CORE)
target_link_options(winnow-exec PRIVATE -pie)
install(TARGETS winnow-exec DESTINATION ${CMAKE_INSTALL_LIBEXECDIR})
