// Weights into the layout that the kernels read (kernels.h).
#pragma once
#include <atomic>
#include <cstring>
#include <vector>

#include "kernels.h"
#include "numbers.h"

namespace ogpt {

// To nearest, ties to even. The kernels have their own, compiled for their instruction sets.
inline uint16_t to_bfloat16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// A weight on its way into a model. Threads take 64 rows at a time, so that no more of it is ever
// in memory than they work on. Its rows are inputs, or outputs (the embedding, and whatever was
// rounded before, with the sizes of its steps (out, groups)).
class Packing {
 public:
  Packing(const ogpt_numbers& from, bool rows_are_outputs, const float* sizes, const Matrix& to,
          int threads);

  void work(int thread);  // to be called by each thread
  float largest() const;  // as in numbers.h; throws Unreadable

 private:
  void pack_floats(int block, int rows, const uint8_t* numbers);
  void pack_steps(int panel, int rows, const uint8_t* numbers);

  const ogpt_numbers from_;
  const bool rows_are_outputs_;
  const float* const sizes_;
  const Matrix to_;
  const int rows_, columns_;
  std::vector<uint8_t> scratch_;  // of each thread
  const int threads_;
  std::atomic<int> next_{0};
  std::atomic<int32_t> largest_{0};
  std::atomic<bool> unreadable_{false};
};

// Round a float32 weight as it is rounded into a model, but as a file holds it: steps (out, padded
// in) and their sizes (out, groups).
void round_to_file(const float* data, bool rows_are_outputs, int in, int out, Precision precision,
                   uint8_t* steps, float* sizes);

// One output's weights as floats, (in,): a row of the embedding.
void unpack(const Matrix& weight, int output, float* out);

}  // namespace ogpt
