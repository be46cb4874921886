# The shapes of the API: every web/schemas/*.json is a component named after its file.
file(GLOB schema_files CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/web/schemas/*.json)
set(schemas_c ${CMAKE_BINARY_DIR}/generated/web_schemas.c)
add_custom_command(OUTPUT ${schemas_c}
  COMMAND ${CMAKE_COMMAND} "-DFILES=${schema_files}" -DOUT=${schemas_c} -P ${CMAKE_SOURCE_DIR}/cmake/EmbedText.cmake
  DEPENDS ${schema_files} ${CMAKE_SOURCE_DIR}/cmake/EmbedText.cmake VERBATIM)
target_sources(winnow_web PRIVATE ${schemas_c})
