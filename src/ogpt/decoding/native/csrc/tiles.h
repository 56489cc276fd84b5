// Intel's tiles (AMX): eight registers of at most 16 rows of 64 bytes. For one file only, which
// compiles them for its instruction set.
#pragma once
#include <cpuid.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace ogpt {
namespace {

constexpr int kTile = 16;        // rows of a tile, and its floats in a row
constexpr int kTileBytes = 64;   // of a row
constexpr int kInputs = 4, kWeights = 6;  // tiles 0 to 3 hold sums, 4 and 5 inputs, 6 and 7 weights

// Assembly and not intrinsics: those take a tile's number as text, which no template can give, and
// those of gcc 12 do not say that a load reads memory.
template <int kTo>
inline void tile_load(const void* from, size_t stride) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2" : : "r"(from), "r"(stride), "i"(kTo) : "memory");
}
template <int kFrom>
inline void tile_store(void* to, size_t stride) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(stride), "i"(kFrom) : "memory");
}
template <int kTo>
inline void tile_zero() {
  asm volatile("tilezero %%tmm%c0" : : "i"(kTo));
}
// To (rows, 16) add a (rows, 16 pairs) times b (16 pairs, 16) of bfloat16. For each sum even and odd
// products are added up apart by fused multiply-add, then those two, then the result to the sum; so
// the bits of a row do not depend on the rows beside it.
template <int kTo, int kA, int kB>
inline void tile_dot_bfloat16() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kTo), "i"(kA), "i"(kB));
}
// The same of 16 times four signed bytes into int32: exact.
template <int kTo, int kA, int kB>
inline void tile_dot_bytes() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(kTo), "i"(kA), "i"(kB));
}

// The shape of the tiles of this thread, until they are given back.
class Tiles {
 public:
  Tiles() = default;
  ~Tiles() {
    if (rows_) asm volatile("tilerelease");
  }
  Tiles(const Tiles&) = delete;
  Tiles& operator=(const Tiles&) = delete;

  // For `rows` rows of inputs: up to 16 in one tile, up to 32 in two, whose sums take turns. A tile
  // never reaches beyond the last row.
  void shape(int rows) {
    if (rows == rows_) return;
    rows_ = rows;
    struct {
      uint8_t palette = 1, start = 0, reserved[14] = {};
      uint16_t bytes[16] = {};
      uint8_t rows[16] = {};
    } config;
    const int in_turn[2] = {rows < kTile ? rows : kTile, rows <= kTile ? rows : rows - kTile};
    for (int tile = 0; tile < 8; ++tile) {
      config.bytes[tile] = kTileBytes;
      config.rows[tile] = uint8_t(tile < kWeights ? in_turn[rows > kTile ? tile % 2 : 0] : kTile);
    }
    asm volatile("ldtilecfg %0" : : "m"(config));
  }

 private:
  int rows_ = 0;
};

// Whether the processor has tiles for both types, and the system keeps them when threads change.
inline bool processor_has_tiles() {
  unsigned a, b, c, d;
  constexpr unsigned kOsXsave = 1u << 27;                          // leaf 1, ecx
  constexpr unsigned kTypes = 1u << 22 | 1u << 24 | 1u << 25;      // leaf 7, edx: bf16, tile, int8
  constexpr unsigned kState = 1u << 17 | 1u << 18;                 // of XCR0: shapes and data
  if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & kOsXsave)) return false;
  if (!__get_cpuid_count(7, 0, &a, &b, &c, &d) || (d & kTypes) != kTypes) return false;
  asm volatile("xgetbv" : "=a"(a), "=d"(d) : "c"(0));
  return (a & kState) == kState;
}

// Ask Linux for the room that tiles take in every thread of this process. It may refuse; before
// version 5.16 it does not know the question.
inline bool system_grants_tiles() {
  constexpr long kRequestPermission = 0x1023, kTileData = 18;
  return syscall(SYS_arch_prctl, kRequestPermission, kTileData) == 0;
}

}  // namespace
}  // namespace ogpt
