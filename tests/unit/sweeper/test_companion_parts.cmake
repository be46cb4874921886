set(companion ${CMAKE_SOURCE_DIR}/sweeper/companion)
target_sources(${name} PRIVATE ${companion}/samples.c ${companion}/exit_file.c ${companion}/spool.c ${companion}/marks.c ${companion}/metric_files.c ${companion}/lineage.c
               ${companion}/find.c)
