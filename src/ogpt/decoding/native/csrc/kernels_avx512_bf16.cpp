// AVX-512 with VNNI for bytes and dot products of bfloat16.
#include "kernels.h"
#ifdef OGPT_X86
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,avx512bf16,fma")
#include "avx512.inc"
#define OGPT_BFLOAT16

namespace ogpt {
namespace {

template <int MR, int NV>
void block_bfloat16(const Piece& piece) {
  const uint16_t* w = reinterpret_cast<const uint16_t*>(piece.weights) + piece.sub * 2;
  const uint16_t* const* x = reinterpret_cast<const uint16_t* const*>(piece.rows);
  Ahead ahead = piece.ahead;
  V sums[MR][NV];
  begin<MR, NV>(piece, sums);
  for (int k = 0; k < piece.inputs; k += 2) {
    fetch<MR, NV>(ahead);
    __m512bh weight[NV];
#pragma GCC unroll 4
    for (int v = 0; v < NV; ++v)
      weight[v] = (__m512bh)_mm512_loadu_si512(w + size_t(k) * kPanel + v * 32);
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      int pair;
      __builtin_memcpy(&pair, x[m] + k, 4);
      const __m512bh inputs = (__m512bh)_mm512_set1_epi32(pair);
#pragma GCC unroll 4
      for (int v = 0; v < NV; ++v)
        sums[m][v] = (V)_mm512_dpbf16_ps((__m512)sums[m][v], weight[v], inputs);
    }
  }
  end<MR, NV>(piece, sums);
}

}  // namespace
}  // namespace ogpt
#include "kernels_body.inc"

namespace ogpt {
namespace {
bool available() {
  return __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512vnni") &&
         __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl");
}
}
const Kernels kAvx512Bf16{"avx512_bf16", available, row_bytes, narrow,  multiply,
                          activate, add_norm,  attend,    summarize};
}  // namespace ogpt
#endif
