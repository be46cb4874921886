# The statements and migrations of sql/, as C. The header is found as "storage/stmt.h".
set(stmt_out ${CMAKE_BINARY_DIR}/generated/storage)
file(MAKE_DIRECTORY ${stmt_out})
file(GLOB stmt_sql CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/sql/queries/*.sql ${CMAKE_SOURCE_DIR}/sql/migrations/*.sql
     ${CMAKE_SOURCE_DIR}/sql/schema.sql)
add_custom_command(
  OUTPUT ${stmt_out}/stmt.h ${stmt_out}/stmt_table.c ${stmt_out}/migrations.c
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUT=${stmt_out} -P ${CMAKE_SOURCE_DIR}/sql/embed.cmake
  COMMAND ${CMAKE_COMMAND} -E touch ${stmt_out}/stmt_table.c ${stmt_out}/migrations.c
  DEPENDS ${stmt_sql} ${CMAKE_SOURCE_DIR}/sql/embed.cmake
  COMMENT "Statements and migrations" VERBATIM)
target_sources(winnow_storage PRIVATE ${stmt_out}/stmt.h ${stmt_out}/stmt_table.c ${stmt_out}/migrations.c)
