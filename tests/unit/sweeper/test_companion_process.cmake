set(companion ${CMAKE_SOURCE_DIR}/sweeper/companion)
target_sources(${name} PRIVATE ${companion}/process.c ${companion}/tty.c)
