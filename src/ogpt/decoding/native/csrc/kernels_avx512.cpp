// AVX-512 with VNNI for bytes; bfloat16 is widened.
#include "kernels.h"
#ifdef OGPT_X86
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma")
#include <immintrin.h>
#include <stdint.h>
#define OGPT_LANES 16
#define OGPT_ROWS 6
#define OGPT_SUMS 24
#define OGPT_BYTE_ROWS 6
#define OGPT_BYTE_SUMS 24
#define OGPT_DOT_BYTES
#include "pieces.inc"

namespace ogpt {
namespace {

inline I dot_bytes(I acc, B weight, uint32_t four) {
  return (I)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)weight, _mm512_set1_epi32(int(four)));
}
}  // namespace
}  // namespace ogpt
#include "kernels_body.inc"

namespace ogpt {
namespace {
bool available() {
  return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}
}
const Kernels kAvx512{"avx512", available, row_bytes, narrow,  multiply,
                      activate, add_norm,  attend,    summarize};
}  // namespace ogpt
#endif
