target_sources(${name} PRIVATE ${CMAKE_SOURCE_DIR}/sweeper/companion/samples.c ${CMAKE_SOURCE_DIR}/sweeper/companion/cgroup.c)
