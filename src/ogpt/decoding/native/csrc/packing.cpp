#include "packing.h"

#include <algorithm>

#include "rounding.h"

namespace ogpt {
namespace {

int blocks(int n) { return (n + kPanel - 1) / kPanel; }

float from_bfloat16(uint16_t x) { return as_float(int32_t(uint32_t(x) << 16)); }

// Bytes of the inputs that share a scale, in any precision.
size_t chunk_bytes(const Matrix& weight) { return weight.panel_bytes() / blocks(weight.in); }

uint8_t* chunk_of(const Matrix& weight, int panel, int group) {
  return weight.data + size_t(panel) * weight.panel_bytes() + size_t(group) * chunk_bytes(weight);
}

// Up to 64 rows of up to 64 numbers, `stride` numbers apart, as a tile [input][output]: zeros where
// there are none. Returns the largest as `widen` does.
int32_t read_tile(int dtype, const uint8_t* numbers, size_t stride, int rows, int columns,
                  bool rows_are_outputs, float* tile) {
  alignas(64) float turned[kTile];
  float* const read = rows_are_outputs ? turned : tile;
  if (rows < kPanel || columns < kPanel) std::memset(read, 0, kTile * sizeof(float));
  int32_t largest = 0;
  for (int r = 0; r < rows; ++r)
    largest = std::max(largest, widen(dtype, numbers + bytes_of(dtype, r * stride), size_t(columns),
                                      read + r * kPanel));
  if (rows_are_outputs)
    for (int first = 0; first < kGroup; first += 16)  // a cache line of each row at a time
      for (int o = 0; o < kPanel; ++o)
        for (int i = first; i < first + 16; ++i) tile[i * kPanel + o] = turned[o * kPanel + i];
  return largest;
}

void pack_tile(const float* tile, Precision precision, uint8_t* chunk) {
  if (precision == kFloat32) {
    std::memcpy(chunk, tile, kTile * sizeof(float));
  } else if (precision == kBFloat16) {
    uint32_t* pairs = reinterpret_cast<uint32_t*>(chunk);  // of inputs, the first one low
    for (int i = 0; i < kGroup; i += 2, tile += 2 * kPanel)
      for (int o = 0; o < kPanel; ++o)
        *pairs++ = to_bfloat16(tile[o]) | uint32_t(to_bfloat16(tile[kPanel + o])) << 16;
  } else {
    round_group(tile, precision, chunk);
  }
}

int words_of(Precision precision) { return kGroup / (precision == kInt4 ? 8 : 4); }

float* sizes_in(uint8_t* group, Precision precision) {
  return reinterpret_cast<float*>(group + group_bytes(precision)) - kPanel;
}

}  // namespace

Packing::Packing(const ogpt_numbers& from, bool rows_are_outputs, const float* sizes,
                 const Matrix& to, int threads)
    : from_(from),
      rows_are_outputs_(rows_are_outputs),
      sizes_(sizes),
      to_(to),
      rows_(rows_are_outputs ? to.out : to.in),
      columns_(sizes ? to.padded_in() / (to.precision == kInt4 ? 2 : 1)  // in bytes
                     : rows_are_outputs ? to.in : to.out),
      scratch_(from.data ? 0 : bytes_of(from.dtype, size_t(kPanel) * columns_) * threads),
      threads_(threads) {}

void Packing::work(int thread) {
  uint8_t* const scratch = scratch_.data() + scratch_.size() / threads_ * thread;
  for (int block; (block = next_.fetch_add(1)) < blocks(rows_);) {
    const int first = block * kPanel, rows = std::min(kPanel, rows_ - first);
    const uint8_t* numbers =
        numbers_at(from_, size_t(first) * columns_, size_t(rows) * columns_, scratch);
    if (!numbers) {
      unreadable_ = true;
      return;
    }
    if (sizes_)
      pack_steps(block, rows, numbers);
    else
      pack_floats(block, rows, numbers);
  }
}

void Packing::pack_floats(int block, int rows, const uint8_t* numbers) {
  alignas(64) float tile[kTile];
  int32_t largest = 0;
  for (int first = 0; first < columns_; first += kPanel) {
    largest = std::max(largest, read_tile(from_.dtype, numbers + bytes_of(from_.dtype, first),
                                          columns_, rows, std::min(kPanel, columns_ - first),
                                          rows_are_outputs_, tile));
    const int other = first / kPanel;
    pack_tile(tile, to_.precision,
              rows_are_outputs_ ? chunk_of(to_, block, other) : chunk_of(to_, other, block));
  }
  for (int32_t seen = largest_; seen < largest && !largest_.compare_exchange_weak(seen, largest);) {
  }
}

void Packing::pack_steps(int panel, int rows, const uint8_t* numbers) {
  const int words = words_of(to_.precision), groups = blocks(to_.in);
  for (int g = 0; g < groups; ++g) {
    uint8_t* const group = chunk_of(to_, panel, g);
    for (int o = 0; o < kPanel; ++o) {
      const uint8_t* row = numbers + size_t(o) * columns_ + size_t(g) * words * 4;
      for (int w = 0; w < words; ++w) {
        uint32_t word = to_.precision == kInt4 ? 0x88888888 : 0;  // zeros behind the last output
        if (o < rows) std::memcpy(&word, row + w * 4, 4);
        reinterpret_cast<uint32_t*>(group)[w * kPanel + o] = group_word(to_.precision, word);
      }
      sizes_in(group, to_.precision)[o] =
          o < rows ? sizes_[(size_t(panel) * kPanel + o) * groups + g] : 0;
    }
  }
}

float Packing::largest() const {
  if (unreadable_) throw Unreadable();
  return as_float(largest_);
}

void round_to_file(const float* data, bool rows_are_outputs, int in, int out, Precision precision,
                   uint8_t* steps, float* sizes) {
  alignas(64) float tile[kTile];
  alignas(64) uint8_t group[kTile + kPanel * sizeof(float)];
  const int words = words_of(precision), groups = blocks(in);
  for (int o = 0; o < out; o += kPanel)
    for (int g = 0; g < groups; ++g) {
      const int i = g * kGroup, inputs = std::min(kGroup, in - i), outputs = std::min(kPanel, out - o);
      const float* first = data + (rows_are_outputs ? size_t(o) * in + i : size_t(i) * out + o);
      read_tile(OGPT_FLOAT32, reinterpret_cast<const uint8_t*>(first), rows_are_outputs ? in : out,
                rows_are_outputs ? outputs : inputs, rows_are_outputs ? inputs : outputs,
                rows_are_outputs, tile);
      round_group(tile, precision, group);
      for (int output = 0; output < outputs; ++output) {
        const size_t at = size_t(o + output) * groups + g;
        for (int w = 0; w < words; ++w) {
          const uint32_t word = file_word(
              precision, reinterpret_cast<const uint32_t*>(group)[w * kPanel + output]);
          std::memcpy(steps + (at * words + w) * 4, &word, 4);
        }
        sizes[at] = sizes_in(group, precision)[output];
      }
    }
}

void unpack(const Matrix& weight, int output, float* out) {
  const int o = output % kPanel;
  const bool nibbles = weight.precision == kInt4;
  for (int g = 0; g < blocks(weight.in); ++g, out += kGroup) {
    uint8_t* const chunk = chunk_of(weight, output / kPanel, g);
    const int inputs = std::min(kGroup, weight.in - g * kGroup);
    for (int i = 0; i < inputs; ++i) {
      if (weight.precision == kFloat32) {
        out[i] = reinterpret_cast<const float*>(chunk)[i * kPanel + o];
      } else if (weight.precision == kBFloat16) {
        out[i] = from_bfloat16(
            reinterpret_cast<const uint16_t*>(chunk)[(i / 2 * kPanel + o) * 2 + i % 2]);
      } else {
        const uint32_t word =
            reinterpret_cast<const uint32_t*>(chunk)[i / (nibbles ? 8 : 4) * kPanel + o];
        const uint32_t step = word >> (i % 4 * 8 + (nibbles ? i / 4 % 2 * 4 : 0));
        out[i] = sizes_in(chunk, weight.precision)[o] *
                 float(nibbles ? int(step & 15) - 8 : int(step & 255) - 128);
      }
    }
  }
}

}  // namespace ogpt
