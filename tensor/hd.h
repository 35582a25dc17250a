// TACIT_HD marks functions that also run on a GPU; TACIT_ISA names the instruction set a file is compiled for.
// The rule: every inline function that a CPU kernel file (backends/cpu/kernels/) includes lives in the inline
// namespace TACIT_ISA, so that the linker can never merge an AVX-512 copy into code for an older CPU.
#pragma once

#ifdef __CUDACC__
#define TACIT_HD __host__ __device__
#else
#define TACIT_HD
#endif

#ifndef TACIT_ISA
#define TACIT_ISA isa_baseline
#endif
