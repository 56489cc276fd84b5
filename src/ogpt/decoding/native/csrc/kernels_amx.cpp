// Matrix products by tiles (AMX, from Sapphire Rapids on), the rest by AVX-512 with VNNI.
//
// Measured on Emerald Rapids, in cycles of one core: a product of whole tiles takes 16 (52 until its
// sum can be used, so four sums go on side by side), a tile's load from the L1 cache 12, and 25
// where its rows straddle lines, its store 15. int8: of 16 rows by 16 outputs a group of 64 inputs
// takes one product, 43 cycles with loads and store, and as many again for the 16 vectors that are
// converted, scaled and added. What that comes to stands in docs/log.md.
#include "kernels.h"

#if defined(OGPT_X86) && defined(__linux__)
#ifdef OGPT_TRAPPED_TILES  // tests/native runs tiles on any processor with AVX2
#pragma GCC target("avx2,fma")
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma")
#endif
#include "avx512.inc"
#include "tiles.h"
#define OGPT_TILES
#include "kernels_body.inc"

namespace ogpt {
namespace {

// For int8 and int4, whose bits are the same either way: with fewer rows VNNI is faster (measured).
// bfloat16 always takes tiles, whose order of summation no other instruction has.
#ifdef OGPT_TRAPPED_TILES
constexpr int kLeastInt8 = 8, kLeastInt4 = 8;
#else
constexpr int kLeastInt8 = 128, kLeastInt4 = 32;
#endif
constexpr int kBlockPairs = 192;  // of bfloat16 inputs: 32 outputs of them take half the L1 cache
constexpr int kBlockGroups = 16;  // of bytes: 16 outputs of them take a third of it

template <int N>
struct Number {
  static constexpr int value = N;
};
template <typename Do>
inline void for_each_sum(Do act) {
  act(Number<0>{}), act(Number<1>{}), act(Number<2>{}), act(Number<3>{});
}

// Inputs of some rows, and where their sums go.
struct Rows {
  const uint8_t* x;
  size_t x_bytes;  // from row to row
  float* y;
  size_t stride;
  int count;

  Rows part(int first, int n) const {
    return {x + first * x_bytes, x_bytes, y + first * stride, stride, n};
  }
};

// What comes between weights that are taken in several blocks, because y holds exact sums.
struct Block {
  bool first, last;
};

// Two row tiles by two of outputs, or one by four, over `steps` times 32 inputs; sums begin with the
// bias.
template <int kRowTiles>
void sum_bfloat16(const uint8_t* w, const Rows& rows, int steps, bool first, const float* bias) {
  constexpr size_t kWeightRow = kPanel * 4;  // a pair of each output
  const size_t y_bytes = rows.stride * 4;
  auto place = [&](int i) {
    return rows.y + (i % kRowTiles) * kTile * rows.stride + i / kRowTiles * kTile;
  };
  for_each_sum([&](auto number) {
    constexpr int i = decltype(number)::value;
    if (!first)
      tile_load<i>(place(i), y_bytes);
    else if (bias)
      tile_load<i>(bias + i / kRowTiles * kTile, 0);  // the same row again and again
    else
      tile_zero<i>();
  });
  for (int step = 0; step < steps; ++step, w += kTile * kWeightRow) {
    const uint8_t* x = rows.x + step * kTileBytes;
    tile_load<kInputs>(x, rows.x_bytes);
    if (kRowTiles == 2) tile_load<kInputs + 1>(x + kTile * rows.x_bytes, rows.x_bytes);
    for_each_sum([&](auto number) {
      constexpr int i = decltype(number)::value, row = i % kRowTiles, column = i / kRowTiles;
      if (row == 0) tile_load<kWeights + column % 2>(w + column * kTileBytes, kWeightRow);
      tile_dot_bfloat16<i, kInputs + row, kWeights + column % 2>();
    });
  }
  for_each_sum([&](auto number) {
    constexpr int i = decltype(number)::value;
    tile_store<i>(place(i), y_bytes);
  });
}

void panel_bfloat16(const uint8_t* w, int in, const float* bias, const Rows& rows, Tiles& tiles) {
  constexpr int kBoth = 2 * kTile;
  for (int pair = 0; pair < in / 2; pair += kBlockPairs, w += kBlockPairs * kPanel * 4) {
    const int left = in / 2 - pair;
    const int steps = (left < kBlockPairs ? left : kBlockPairs) / kTile;
    const int whole = rows.count / kBoth * kBoth, rest = rows.count - whole;
    auto halves = [&](int first, int last) {
      for (int half = 0; half < kPanel; half += kBoth)
        for (int r = first; r < last; r += kBoth) {
          Rows part = rows.part(r, kBoth);
          part.x += size_t(pair) * 4;
          part.y += half;
          sum_bfloat16<2>(w + half * 4, part, steps, pair == 0, bias ? bias + half : nullptr);
        }
    };
    if (whole) tiles.shape(kBoth);
    halves(0, whole);
    if (!rest) continue;
    tiles.shape(rest);
    if (rest > kTile) {
      halves(whole, rows.count);
    } else {
      Rows part = rows.part(whole, rest);
      part.x += size_t(pair) * 4;
      sum_bfloat16<1>(w, part, steps, pair == 0, bias);
    }
  }
}

// 16 outputs of a panel, whose groups begin at `w`, as tiles of signed bytes.
template <bool kNibbles>
void unpack_tiles(const uint8_t* w, size_t group_bytes, int groups, uint8_t* out) {
  for (int g = 0; g < groups; ++g, w += group_bytes)
    for (int q = 0; q < (kNibbles ? kTile / 2 : kTile); ++q) {
      const B bytes = *reinterpret_cast<const B*>(w + q * kPanel * 4);
      auto put = [&](B tile_row) {
        *reinterpret_cast<B*>(out) = tile_row;
        out += kTileBytes;
      };
      if (kNibbles) {
        put((bytes & 15) - 8);
        put((B)((U)bytes >> 4 & 0x0f0f0f0fu) - 8);
      } else {
        put(bytes ^ 128);
      }
    }
}

// Up to 16 rows by 16 outputs over `groups`, added to y in the order and the roundings of
// `block_bytes`. A group's products start before those of the previous group are scaled.
template <bool kWhole>
void sum_bytes(const uint8_t* tiles, const float* scales, size_t scale_step, const Rows& rows,
               int groups, Block block, const float* bias) {
  const int count = kWhole ? kTile : rows.count;
  alignas(64) int32_t dots[2][kTile * kTile];
  auto multiply_group = [&](int g) {
    tile_zero<0>();
    tile_load<kInputs>(rows.x + g * sizeof(Int8Group), rows.x_bytes);
    tile_load<kWeights>(tiles + g * kTile * kTileBytes, kTileBytes);
    tile_dot_bytes<0, kInputs, kWeights>();
    tile_store<0>(dots[g % 2], kTileBytes);
  };
  V acc[kTile];
#pragma GCC unroll 16  // else the sums lie in memory
  for (int m = 0; m < count; ++m) acc[m] = block.first ? V{} : load(rows.y + m * rows.stride);
  multiply_group(0);
  for (int g = 0; g < groups; ++g, scales += scale_step) {
    if (g + 1 < groups) multiply_group(g + 1);
    const V weight_scale = load(scales);
    const uint8_t* x = rows.x + g * sizeof(Int8Group) + offsetof(Int8Group, scale);
#pragma GCC unroll 16
    for (int m = 0; m < count; ++m, x += rows.x_bytes) {
      const I dot = *reinterpret_cast<const I*>(dots[g % 2] + m * kTile);
      acc[m] = fused(__builtin_convertvector(dot, V),
                     weight_scale * *reinterpret_cast<const float*>(x), acc[m]);
    }
  }
#pragma GCC unroll 16
  for (int m = 0; m < count; ++m)
    store(rows.y + m * rows.stride, block.last && bias ? acc[m] + load(bias) : acc[m]);
}

template <bool kNibbles>
void panel_bytes(const uint8_t* w, int in, const float* bias, const Rows& rows, Tiles& tiles) {
  constexpr size_t kBytes = kNibbles ? kGroup * kPanel / 2 : kGroup * kPanel;
  constexpr size_t kGroupBytes = kBytes + kPanel * sizeof(float);
  const int all = in / kGroup;
  alignas(64) uint8_t unpacked[kBlockGroups * kTile * kTileBytes];
  for (int first = 0; first < all; first += kBlockGroups, w += kBlockGroups * kGroupBytes) {
    const int groups = all - first < kBlockGroups ? all - first : kBlockGroups;
    const Block block{first == 0, first + groups == all};
    for (int sub = 0; sub < kPanel; sub += kTile) {
      unpack_tiles<kNibbles>(w + sub * 4, kGroupBytes, groups, unpacked);
      const float* scales = reinterpret_cast<const float*>(w + kBytes) + sub;
      for (int r = 0; r < rows.count; r += kTile) {
        const int count = rows.count - r < kTile ? rows.count - r : kTile;
        Rows part = rows.part(r, count);
        part.x += first * sizeof(Int8Group);
        part.y += sub;
        tiles.shape(count);
        const float* part_bias = bias ? bias + sub : nullptr;
        (count == kTile ? sum_bytes<true> : sum_bytes<false>)(
            unpacked, scales, kGroupBytes / 4, part, groups, block, part_bias);
      }
    }
  }
}

void multiply_by_tiles(const Matrix& weight, const void* x, int rows, int first, int last,
                       float* y, size_t stride) {
  const Precision precision = weight.precision;
  if (precision == kFloat32 || (precision == kInt8 && rows < kLeastInt8) ||
      (precision == kInt4 && rows < kLeastInt4))
    return multiply(weight, x, rows, first, last, y, stride);
  const int in = weight.padded_in();
  const Rows all{static_cast<const uint8_t*>(x), row_bytes(precision, in), y, stride, rows};
  const auto sum = precision == kBFloat16 ? panel_bfloat16
                   : precision == kInt8   ? panel_bytes<false>
                                          : panel_bytes<true>;
  Tiles tiles;
  for (int panel = first; panel < last; ++panel) {
    Rows part = all;
    part.y += size_t(panel) * kPanel;
    sum(weight.data + panel * weight.panel_bytes(), in,
        weight.bias ? weight.bias + size_t(panel) * kPanel : nullptr, part, tiles);
  }
}

bool available() {
#ifdef OGPT_TRAPPED_TILES
  return __builtin_cpu_supports("avx2") && system_grants_tiles();
#else
  return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni") &&
         processor_has_tiles() && system_grants_tiles();
#endif
}

}  // namespace
const Kernels kAmx{"amx", available, row_bytes, narrow,  multiply_by_tiles,
                   activate, add_norm,  attend,    summarize};
}  // namespace ogpt
#endif
