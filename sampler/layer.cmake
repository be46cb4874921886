# The inner loops are worth vectorising at full strength; no NaN reaches them, and nobody reads errno or the floating-point flags after them.
set_source_files_properties(sampler/parzen_kernel.c sampler/gp_kernel.c PROPERTIES COMPILE_OPTIONS "-O3;-fno-math-errno;-fno-trapping-math")
