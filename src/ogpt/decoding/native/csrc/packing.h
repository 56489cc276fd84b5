// Weights into the layout that the kernels read (kernels.h).
#pragma once
#include "kernels.h"

namespace ogpt {

// Pack a float weight whose element (i, o) of (in, out) is source[i * in_step + o * out_step].
void pack(const float* source, size_t in_step, size_t out_step, const Matrix& weight);

// One output's weights as floats, (in,): a row of the embedding.
void unpack(const Matrix& weight, int output, float* out);

}  // namespace ogpt
