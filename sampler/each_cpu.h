/* A function in one version for each kind of processor, chosen when the program starts. Sanitizers and clang get the plain one. */
#ifndef WINNOW_SAMPLER_EACH_CPU_H
#define WINNOW_SAMPLER_EACH_CPU_H

#if defined(__x86_64__) && !defined(__clang__) && !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
#define FOR_EACH_CPU __attribute__((target_clones("default", "avx2", "avx512f")))
#else
#define FOR_EACH_CPU
#endif

#endif
