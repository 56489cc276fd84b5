// What the model asks of an instruction set. Every output is summed in one order of the inputs,
// however many rows are computed together: the same request gives the same bits in any company.
#pragma once
#include <cstddef>
#include <cstdint>

#include "abi.h"

#if defined(__x86_64__) && !defined(__clang__)  // clang does not heed `#pragma GCC target`
#define OGPT_X86
#endif
#if defined(__aarch64__) && (defined(__ARM_FEATURE_DOTPROD) || !defined(__clang__))
#define OGPT_DOTPROD
#endif

namespace ogpt {

enum Precision { kFloat32, kBFloat16, kInt8, kInt4 };
enum Activation { kGelu, kRelu, kSilu, kErfGelu };

constexpr int kPanel = 64;  // outputs that lie side by side in memory
constexpr int kGroup = 64;  // inputs that share a scale
constexpr int kPage = 64;   // positions of a page of the cache
constexpr int kQueries = 4;  // rows of one slot whose attention is computed together

// A weight (in, out), cut into panels of 64 outputs; within a panel inputs follow each other.
//   float32   [in][64]
//   bfloat16  [in / 2][64][2]
//   int8      for each group of 64 inputs: [16][64][4] of weight + 128, then 64 scales
//   int4      for each group of 64 inputs: [8][64][4] of two weights + 8 (four inputs in the low
//             nibbles, the next four in the high ones), then 64 scales
struct Matrix {
  int in = 0, out = 0;
  Precision precision = kFloat32;
  uint8_t* data = nullptr;
  const float* bias = nullptr;  // padded to whole panels; nullptr: none

  int panels() const { return (out + kPanel - 1) / kPanel; }
  int padded_in() const { return (in + kGroup - 1) / kGroup * kGroup; }
  size_t panel_bytes() const {
    const size_t inputs = padded_in();
    switch (precision) {
      case kFloat32: return inputs * kPanel * 4;
      case kBFloat16: return inputs * kPanel * 2;
      case kInt8: return inputs * kPanel + inputs / kGroup * kPanel * 4;
      default: return inputs * kPanel / 2 + inputs / kGroup * kPanel * 4;
    }
  }
};

// 64 inputs of a row as steps of one size, with their sum; what `narrow` leaves for int8 and int4
// unless an instruction set has a form of its own.
struct Int8Group {
  int8_t values[kGroup];
  float scale;
  int32_t sum;
};

// The keys, or the values, of one head in one slot: pages of 64 positions. In a page keys lie
// [head_dim][64], so that scores of neighbouring positions are computed together, values
// [64][head_dim]; float or bfloat16 numbers.
struct Pages {
  const uint8_t* first;  // of the first head in page 0
  const int32_t* numbers;
  size_t bytes;  // from one page to the next
};

struct Attention {
  int heads, head_dim;
  bool half;
  Pages keys, values;
};

struct Kernels {
  const char* name;
  bool (*available)();
  // Bytes of a row of inputs as `narrow` leaves it.
  size_t (*row_bytes)(Precision precision, int padded_in);
  // A row of `in` floats as `multiply` wants it, zeros behind them.
  void (*narrow)(Precision precision, const float* x, int in, int padded_in, void* row);
  // y[r][64 * first ..] = x[r] . weight + bias for panels [first, last).
  void (*multiply)(const Matrix& weight, const void* x, int rows, int first, int last, float* y,
                   size_t stride);
  void (*activate)(Activation activation, float* x, int count);
  // out = norm(x + y) * gain + bias over n numbers.
  void (*add_norm)(const float* x, const float* y, const float* gain, const float* bias,
                   float epsilon, int n, float* out);
  // Mix values by softmax(query . key / sqrt(head_dim)) for up to kQueries queries that follow each
  // other: the first one sees positions [0, count), each next one a position more. `scores` holds
  // `room` numbers for each query and head, whole pages.
  void (*attend)(const Attention& shape, const float* query, size_t query_stride, int queries,
                 int count, float* scores, size_t room, float* out, size_t out_stride);
  // Of one row of n logits.
  void (*summarize)(const float* logits, int n, ogpt_summary* out);
};

extern const Kernels kPortable, kAvx2, kAvx512, kAvx512Bf16, kAmx, kNeon;

}  // namespace ogpt
