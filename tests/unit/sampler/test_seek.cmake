target_link_options(${name} PRIVATE -Wl,--wrap=space_allows)
