// Weights as whole steps: 64 inputs of an output share the size of a step.
#pragma once
#include "kernels.h"

namespace ogpt {

constexpr int kTile = kGroup * kPanel;  // weights of 64 inputs, each with 64 outputs

inline size_t group_bytes(Precision precision) {
  return kTile / (precision == kInt4 ? 2 : 1) + kPanel * sizeof(float);
}

// Round a tile [64 inputs][64 outputs] to int8 or int4, in the layout of a group (kernels.h).
void round_group(const float* tile, Precision precision, uint8_t* group);

// Four int8, or eight int4, inputs of an output: as a group holds them, and as a file does, where
// int8 are signed and an int4 shares its byte with its neighbour.
uint32_t group_word(Precision precision, uint32_t file_word);
uint32_t file_word(Precision precision, uint32_t group_word);

}  // namespace ogpt
