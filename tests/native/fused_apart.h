// Included before everything by test_native_bitwise.py: the compiler may fuse these products and sums,
// or not, where the kernels ask for one fused operation.
#include <immintrin.h>
#define _mm256_fmadd_ps(a, b, c) ((a) * (b) + (c))
