add_library(fake_nvml MODULE ${CMAKE_SOURCE_DIR}/tests/support/nvml/fake_nvml.c)
target_compile_definitions(${name} PRIVATE FAKE_NVML_PATH="$<TARGET_FILE:fake_nvml>")
add_dependencies(${name} fake_nvml)
