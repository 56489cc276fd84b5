// AVX-512 with VNNI for bytes and dot products of bfloat16.
#include "kernels.h"
#ifdef OGPT_X86
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma")
#include <immintrin.h>
#include <stdint.h>
#define OGPT_ROWS 6
#define OGPT_VECTORS 4
#define OGPT_VNNI
#define OGPT_BFLOAT16
namespace ogpt { namespace {
typedef float V __attribute__((vector_size(64), aligned(4)));
typedef int32_t I __attribute__((vector_size(64), aligned(4)));
typedef uint8_t B __attribute__((vector_size(64), aligned(1)));
inline I dot_bytes(I acc, B weight, uint32_t four) {
  return (I)_mm512_dpbusd_epi32((__m512i)acc, (__m512i)weight, _mm512_set1_epi32(int(four)));
}
template <int MR, int NV>
void block_bfloat16(const uint16_t* w, const uint16_t* const* x, int in, float* const* y,
                    const float* bias) {
  __m512 acc[MR][NV];
  for (int m = 0; m < MR; ++m)
    for (int v = 0; v < NV; ++v) acc[m][v] = _mm512_setzero_ps();
  for (int k = 0; k < in; k += 2)
    for (int v = 0; v < NV; ++v) {
      const __m512bh weight = (__m512bh)_mm512_loadu_si512(w + size_t(k) * 64 + v * 32);
      for (int m = 0; m < MR; ++m) {
        int pair;
        __builtin_memcpy(&pair, x[m] + k, 4);
        acc[m][v] = _mm512_dpbf16_ps(acc[m][v], weight, (__m512bh)_mm512_set1_epi32(pair));
      }
    }
  for (int m = 0; m < MR; ++m)
    for (int v = 0; v < NV; ++v)
      _mm512_storeu_ps(y[m] + v * 16, bias ? _mm512_add_ps(acc[m][v], _mm512_loadu_ps(bias + v * 16))
                                           : acc[m][v]);
}
} }
#include "kernels_body.inc"

namespace ogpt {
namespace {
bool available() {
  return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
}
const Kernels kAvx512Bf16{"avx512_bf16", available, narrow, multiply, activate, add_norm, attend};
}  // namespace ogpt
#endif
