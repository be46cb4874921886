target_compile_definitions(${name} PRIVATE WINNOW_EXEC="$<TARGET_FILE:winnow-exec>")
add_dependencies(${name} winnow-exec)
