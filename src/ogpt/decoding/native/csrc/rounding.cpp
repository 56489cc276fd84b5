#include "rounding.h"

#include <cstring>

namespace ogpt {
namespace {

#define OGPT_INLINE inline __attribute__((always_inline))

constexpr float kWhole = 12582912.0f;  // 1.5 * 2^23: added to a number, no bits are left of its parts

// Rounds the outputs of one vector of kBytes bytes at a time.
template <int kBytes>
struct Rounding {
  typedef float V __attribute__((vector_size(kBytes), aligned(4)));
  typedef int32_t I __attribute__((vector_size(kBytes), aligned(4)));
  typedef uint32_t U __attribute__((vector_size(kBytes), aligned(4)));

  static OGPT_INLINE V load(const float* p) { return *reinterpret_cast<const V*>(p); }
  static OGPT_INLINE V least(V a, V b) { return a < b ? a : b; }
  static OGPT_INLINE V most(V a, V b) { return a > b ? a : b; }

  // A weight in whole steps, none beyond the last on either side; to the nearest, for |x| < 2^22.
  static OGPT_INLINE V in_steps(V w, V inverse, float steps) {
    const V q = (w * inverse + kWhole) - kWhole;
    return least(most(q, V{} - (steps + 1)), V{} + steps);
  }

  // What 64 weights of each output lose under a scale, as a sum of squares.
  static OGPT_INLINE V loss(const float* w, V scale, float steps) {
    const V inverse = 1.0f / scale;
    V total = {};
    for (int i = 0; i < kGroup; ++i) {
      const V one = load(w + i * kPanel), lost = in_steps(one, inverse, steps) * scale - one;
      total += lost * lost;
    }
    return total;
  }

  static OGPT_INLINE void round(const float* w, Precision precision, uint32_t* words,
                                float* sizes) {
    const bool nibbles = precision == kInt4;
    const float steps = nibbles ? 7 : 127;
    V top = {};
    for (int i = 0; i < kGroup; ++i) {
      const V one = load(w + i * kPanel);
      top = most(top, most(one, -one));
    }
    const I none = top / steps < V{} + 1e-30f;
    V scale = none ? V{} + 1.0f : top / steps;
    if (nibbles) {  // with so few steps a smaller scale, which clips the largest, is better
      const V full = scale;
      V lowest = loss(w, full, steps);
      for (int shrink = 1; shrink < 12; ++shrink) {
        const V tried = full * (1.0f - 0.03f * float(shrink)), lost = loss(w, tried, steps);
        scale = lost < lowest ? tried : scale;
        lowest = least(lost, lowest);
      }
    }
    const V inverse = none ? V{} : 1.0f / scale;
    for (int i = 0, word = 0; i < kGroup; i += nibbles ? 8 : 4, ++word) {
      U bytes = {};
      for (int k = 0; k < (nibbles ? 8 : 4); ++k) {
        // 0 to 255, in the last bits of the sum
        const V q = in_steps(load(w + (i + k) * kPanel), inverse, steps) + (steps + 1 + kWhole);
        bytes |= ((U)q & 255) << (nibbles ? k % 4 * 8 + k / 4 * 4 : k * 8);
      }
      *reinterpret_cast<U*>(words + word * kPanel) = bytes;
    }
    *reinterpret_cast<V*>(sizes) = none ? V{} : scale;
  }

  static OGPT_INLINE void round_tile(const float* tile, Precision precision, uint8_t* group) {
    uint32_t* words = reinterpret_cast<uint32_t*>(group);
    float* sizes = reinterpret_cast<float*>(group + group_bytes(precision)) - kPanel;
    for (int o = 0; o < kPanel; o += kBytes / 4)
      round(tile + o, precision, words + o, sizes + o);
  }
};

#if defined(__x86_64__)
// twice as wide; without fused products, so that the same weights become the same steps
__attribute__((target("avx2"))) void round_avx2(const float* tile, Precision precision,
                                                uint8_t* group) {
  Rounding<32>::round_tile(tile, precision, group);
}
#endif

uint32_t spread(uint32_t half) {  // 16 bits to the low halves of four bytes
  half = (half | half << 8) & 0x00ff00ff;
  return (half | half << 4) & 0x0f0f0f0f;
}

uint32_t gathered(uint32_t bytes) {  // and back
  bytes = (bytes | bytes >> 4) & 0x00ff00ff;
  return (bytes | bytes >> 8) & 0x0000ffff;
}

}  // namespace

void round_group(const float* tile, Precision precision, uint8_t* group) {
#if defined(__x86_64__)
  static const bool wide = __builtin_cpu_supports("avx2");
  if (wide) return round_avx2(tile, precision, group);
#endif
  Rounding<16>::round_tile(tile, precision, group);
}

uint32_t group_word(Precision precision, uint32_t word) {
  if (precision == kInt8) return word ^ 0x80808080;
  return spread(word & 0xffff) | spread(word >> 16) << 4;
}

uint32_t file_word(Precision precision, uint32_t word) {
  if (precision == kInt8) return word ^ 0x80808080;
  return gathered(word & 0x0f0f0f0f) | gathered(word >> 4 & 0x0f0f0f0f) << 16;
}

}  // namespace ogpt
