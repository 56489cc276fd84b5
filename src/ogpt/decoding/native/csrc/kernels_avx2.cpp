// AVX2 with fused multiply-add. It has no product of four bytes that is exact for any of them:
// int8 weights meet 16-bit inputs two by two, int4 weights are small enough to be added in 16 bits.
#include "kernels.h"
#ifdef OGPT_X86
#pragma GCC target("avx2,fma")
#include <immintrin.h>
#include <stdint.h>

#define OGPT_LANES 8
#define OGPT_ROWS 6
#define OGPT_SUMS 12
#define OGPT_BYTE_ROWS 4
#define OGPT_BYTE_SUMS 8
#define OGPT_BYTE_BLOCKS
#define OGPT_FUSED
#include "pieces.inc"

namespace ogpt {
namespace {

inline V fused(V a, V b, V c) { return _mm256_fmadd_ps(a, b, c); }

// 64 inputs, of each four the first and the third before the second and the fourth: so the even
// and the odd bytes of weights find them.
struct Int8Row {
  int16_t values[kGroup];
  float scale;
  int32_t offset;  // what 128 too much in every weight adds

  Int8Row() = default;
  explicit Int8Row(const Int8Group& group) : scale(group.scale), offset(-128 * group.sum) {
    for (int i = 0; i < kGroup; i += 4) {
      values[i] = group.values[i];
      values[i + 1] = group.values[i + 2];
      values[i + 2] = group.values[i + 1];
      values[i + 3] = group.values[i + 3];
    }
  }
};
typedef Int8Group Int4Row;

inline __m256i bytes_at(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
inline __m256i four_bytes(const void* p) {
  int four;
  __builtin_memcpy(&four, p, 4);
  return _mm256_set1_epi32(four);
}

// The empty instruction keeps the compiler from adding products to each other first, for which it
// would need registers that it has not.
inline void add(__m256i& sum, __m256i product) {
  sum = _mm256_add_epi32(sum, product);
  asm("" : "+x"(sum));
}
inline void add_small(__m256i& sum, __m256i product) {
  sum = _mm256_add_epi16(sum, product);
  asm("" : "+x"(sum));
}

// sums += dots * (scales of the outputs * scale of the row)
template <int NV>
inline void scale(V* sums, const __m256i* dots, const float* scales, float scale) {
#pragma GCC unroll 8
  for (int v = 0; v < NV; ++v)
    sums[v] = fused((V)_mm256_cvtepi32_ps(dots[v]), load(scales + v * kWidth) * scale, sums[v]);
}

// One group of inputs, in a function of its own so that nothing but its products takes registers.
template <int MR, int NV>
__attribute__((noinline)) void add_int8(const uint8_t* w, int sub, const Int8Row* const* x,
                                        V (*sums)[NV], Ahead ahead) {
  const __m256i even_bytes = _mm256_set1_epi16(0xff);
  __m256i dots[MR][NV];
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m)
#pragma GCC unroll 8
    for (int v = 0; v < NV; ++v) dots[m][v] = _mm256_set1_epi32(x[m]->offset);
  for (int q = 0; q < kGroup / 4; ++q) {
    fetch<MR, NV>(ahead);
#pragma GCC unroll 2
    for (int odd = 0; odd < 2; ++odd) {
      __m256i weights[NV];
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) {
        const __m256i bytes = bytes_at(w + (q * kPanel + sub) * 4 + v * 32);
        weights[v] = odd ? _mm256_srli_epi16(bytes, 8) : _mm256_and_si256(bytes, even_bytes);
      }
#pragma GCC unroll 8
      for (int m = 0; m < MR; ++m) {
        const __m256i inputs = four_bytes(x[m]->values + q * 4 + odd * 2);
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) add(dots[m][v], _mm256_madd_epi16(weights[v], inputs));
      }
    }
  }
  const float* scales = reinterpret_cast<const float*>(w + kGroup * kPanel) + sub;
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m) scale<NV>(sums[m], dots[m], scales, x[m]->scale);
}

template <int MR, int NV>
__attribute__((noinline)) void add_int4(const uint8_t* w, int sub, const Int4Row* const* x,
                                        V (*sums)[NV], Ahead ahead) {
  const __m256i nibbles = _mm256_set1_epi8(15), ones = _mm256_set1_epi16(1);
  const float* scales = reinterpret_cast<const float*>(w + kGroup * kPanel / 2) + sub;
  __m256i dots[MR][NV];
#pragma GCC unroll 2
  for (int half = 0; half < 2; ++half, w += kGroup * kPanel / 4) {
    // eight times two products of at most 15 * 127: 30,480 fits 16 bits
    __m256i small[MR][NV];
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m)
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v) small[m][v] = _mm256_setzero_si256();
#pragma GCC unroll 1
    for (int q = 0; q < kGroup / 16; ++q) {
      fetch<MR, NV>(ahead);
#pragma GCC unroll 2
      for (int high = 0; high < 2; ++high) {
        __m256i weights[NV];
#pragma GCC unroll 8
        for (int v = 0; v < NV; ++v) {
          const __m256i bytes = bytes_at(w + (q * kPanel + sub) * 4 + v * 32);
          weights[v] = _mm256_and_si256(high ? _mm256_srli_epi16(bytes, 4) : bytes, nibbles);
        }
#pragma GCC unroll 8
        for (int m = 0; m < MR; ++m) {
          const __m256i inputs = four_bytes(x[m]->values + half * 32 + q * 8 + high * 4);
#pragma GCC unroll 8
          for (int v = 0; v < NV; ++v)
            add_small(small[m][v], _mm256_maddubs_epi16(weights[v], inputs));
        }
      }
    }
#pragma GCC unroll 8
    for (int m = 0; m < MR; ++m) {
      const __m256i before = _mm256_set1_epi32(-8 * x[m]->sum);
#pragma GCC unroll 8
      for (int v = 0; v < NV; ++v)
        dots[m][v] = _mm256_add_epi32(half ? dots[m][v] : before,
                                      _mm256_madd_epi16(small[m][v], ones));
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < MR; ++m) scale<NV>(sums[m], dots[m], scales, x[m]->scale);
}

template <int MR, int NV, size_t kBytes, typename Row>
inline void block_groups(const Piece& piece, void (*add_group)(const uint8_t*, int,
                                                               const Row* const*, V (*)[NV],
                                                               Ahead)) {
  const uint8_t* w = piece.weights;
  Ahead ahead = piece.ahead;
  const Row* x[MR];
  for (int m = 0; m < MR; ++m) x[m] = static_cast<const Row*>(piece.rows[m]);
  V sums[MR][NV];
  begin<MR, NV>(piece, sums);
  for (int g = 0; g < piece.inputs / kGroup; ++g, w += kBytes + kPanel * 4) {
    add_group(w, piece.sub, x, sums, ahead);
    ahead.at += kBytes / kPanel * NV * kWidth;
    for (int m = 0; m < MR; ++m) ++x[m];
  }
  end<MR, NV>(piece, sums);
}

template <int MR, int NV>
void block_int8(const Piece& piece) {
  block_groups<MR, NV, kGroup * kPanel>(piece, add_int8<MR, NV>);
}
template <int MR, int NV>
void block_int4(const Piece& piece) {
  block_groups<MR, NV, kGroup * kPanel / 2>(piece, add_int4<MR, NV>);
}

}  // namespace
}  // namespace ogpt
#include "kernels_body.inc"

namespace ogpt {
namespace {
bool available() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
}
const Kernels kAvx2{"avx2", available, row_bytes, narrow,  multiply,
                    activate, add_norm,  attend,    summarize};
}  // namespace ogpt
#endif
