// Weights into the layout that the kernels read (kernels.h).
#pragma once
#include <cstring>

#include "kernels.h"

namespace ogpt {

// To nearest, ties to even. The kernels have their own, compiled for their instruction sets.
inline uint16_t to_bfloat16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Pack the panels [first_panel, last_panel) of a float weight whose element (i, o) of (in, out) is
// source[i * in_step + o * out_step].
void pack(const float* source, size_t in_step, size_t out_step, const Matrix& weight,
          int first_panel, int last_panel);

// Round 64 weights to whole steps, -128..127 for int8 and -8..7 for int4; the size of a step.
float quantize_group(const float* w, Precision precision, int8_t* q);

// A whole weight as steps q (out, groups, 64) and their sizes (out, groups); zeros beyond `in`.
void quantize(const float* source, size_t in_step, size_t out_step, int in, int out,
              Precision precision, int8_t* q, float* scales);

// Pack what `quantize` gave.
void pack_quantized(const int8_t* q, const float* scales, const Matrix& weight, int first_panel,
                    int last_panel);

// One output's weights as floats, (in,): a row of the embedding.
void unpack(const Matrix& weight, int output, float* out);

}  // namespace ogpt
