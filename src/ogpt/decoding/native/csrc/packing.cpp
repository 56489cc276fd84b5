#include "packing.h"

#include <cmath>
#include <cstring>

namespace ogpt {
namespace {

uint16_t to_bfloat16(float x) {
  uint32_t bits;
  std::memcpy(&bits, &x, 4);
  return uint16_t((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

float from_bfloat16(uint16_t x) {
  const uint32_t bits = uint32_t(x) << 16;
  float wide;
  std::memcpy(&wide, &bits, 4);
  return wide;
}

size_t group_bytes(Precision precision) {
  return kGroup * kPanel / (precision == kInt4 ? 2 : 1) + kPanel * sizeof(float);
}

// Where the byte of input i (in its group) and output o (in its panel) lies, and its shift.
size_t byte_at(Precision precision, int i, int o, int* shift) {
  const int quad = i / 4;
  *shift = precision == kInt4 ? quad % 2 * 4 : 0;
  return (size_t(precision == kInt4 ? quad / 2 : quad) * kPanel + o) * 4 + i % 4;
}

// The scale under which rounding 64 weights to `steps` on each side costs the least square error;
// the largest weight decides for int8, for int4 smaller scales that clip it are tried, too.
float best_scale(const float* w, int n, int steps, bool search) {
  float top = 0;
  for (int i = 0; i < n; ++i) top = std::fmax(top, std::fabs(w[i]));
  if (!search || top == 0) return top / float(steps);
  float best = top / float(steps), least = INFINITY;
  for (int shrink = 0; shrink < 12; ++shrink) {
    const float scale = top / float(steps) * (1.0f - 0.03f * float(shrink));
    float error = 0;
    for (int i = 0; i < n; ++i) {
      const float q = std::fmin(std::fmax(std::round(w[i] / scale), -float(steps) - 1), float(steps));
      error += (q * scale - w[i]) * (q * scale - w[i]);
    }
    if (error < least) least = error, best = scale;
  }
  return best;
}

void pack_group(const float* w, int n, int o, Precision precision, uint8_t* group) {
  const int steps = precision == kInt4 ? 7 : 127;
  const int offset = steps + 1;
  const float scale = best_scale(w, n, steps, precision == kInt4);
  float* scales = reinterpret_cast<float*>(group + group_bytes(precision)) - kPanel;
  scales[o] = scale;
  for (int i = 0; i < kGroup; ++i) {
    const float x = i < n && scale > 0 ? std::round(w[i] / scale) : 0.0f;
    const int q = int(std::fmin(std::fmax(x, -float(offset)), float(steps))) + offset;
    int shift;
    uint8_t* byte = group + byte_at(precision, i, o, &shift);
    *byte = uint8_t((*byte & ~(precision == kInt4 ? 15 << shift : 255)) | q << shift);
  }
}

}  // namespace

void pack(const float* source, size_t in_step, size_t out_step, const Matrix& weight) {
  const int padded = weight.padded_in();
  for (int out = 0; out < weight.panels() * kPanel; ++out) {
    uint8_t* panel = weight.data + size_t(out / kPanel) * weight.panel_bytes();
    const int o = out % kPanel;
    for (int first = 0; first < padded; first += kGroup) {
      float w[kGroup] = {};
      int n = weight.in - first < kGroup ? weight.in - first : kGroup;
      if (out >= weight.out) n = 0;
      for (int i = 0; i < n; ++i) w[i] = source[size_t(first + i) * in_step + size_t(out) * out_step];
      if (weight.precision == kFloat32) {
        for (int i = 0; i < kGroup; ++i)
          reinterpret_cast<float*>(panel)[size_t(first + i) * kPanel + o] = w[i];
      } else if (weight.precision == kBFloat16) {
        for (int i = 0; i < kGroup; ++i)
          reinterpret_cast<uint16_t*>(panel)[(size_t(first + i) / 2 * kPanel + o) * 2 + i % 2] =
              to_bfloat16(w[i]);
      } else {
        pack_group(w, n, o, weight.precision,
                   panel + size_t(first / kGroup) * group_bytes(weight.precision));
      }
    }
  }
}

void unpack(const Matrix& weight, int output, float* out) {
  const uint8_t* panel = weight.data + size_t(output / kPanel) * weight.panel_bytes();
  const int o = output % kPanel;
  for (int i = 0; i < weight.in; ++i) {
    if (weight.precision == kFloat32) {
      out[i] = reinterpret_cast<const float*>(panel)[size_t(i) * kPanel + o];
    } else if (weight.precision == kBFloat16) {
      out[i] = from_bfloat16(
          reinterpret_cast<const uint16_t*>(panel)[(size_t(i) / 2 * kPanel + o) * 2 + i % 2]);
    } else {
      const size_t bytes = group_bytes(weight.precision);
      const uint8_t* group = panel + size_t(i / kGroup) * bytes;
      const float scale = (reinterpret_cast<const float*>(group + bytes) - kPanel)[o];
      int shift;
      const int byte = group[byte_at(weight.precision, i % kGroup, o, &shift)] >> shift;
      out[i] = scale * float(weight.precision == kInt4 ? (byte & 15) - 8 : byte - 128);
    }
  }
}

}  // namespace ogpt
