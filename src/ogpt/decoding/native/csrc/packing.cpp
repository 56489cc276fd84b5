#include "packing.h"

#include <cmath>
#include <cstring>

namespace ogpt {
namespace {

float from_bfloat16(uint16_t x) {
  const uint32_t bits = uint32_t(x) << 16;
  float wide;
  std::memcpy(&wide, &bits, 4);
  return wide;
}

int steps_of(Precision precision) { return precision == kInt4 ? 7 : 127; }

size_t group_bytes(Precision precision) {
  return kGroup * kPanel / (precision == kInt4 ? 2 : 1) + kPanel * sizeof(float);
}

// Where the byte of input i (in its group) and output o (in its panel) lies, and its shift.
size_t byte_at(Precision precision, int i, int o, int* shift) {
  const int quad = i / 4;
  *shift = precision == kInt4 ? quad % 2 * 4 : 0;
  return (size_t(precision == kInt4 ? quad / 2 : quad) * kPanel + o) * 4 + i % 4;
}

// To the nearest whole number, for |x| < 2^22.
inline float rounded(float x) { return (x + 12582912.0f) - 12582912.0f; }

// A weight in whole steps, none beyond the last on either side.
inline float in_steps(float w, float inverse, int steps) {
  const float q = rounded(w * inverse);
  return q < float(-steps - 1) ? float(-steps - 1) : q > float(steps) ? float(steps) : q;
}

// What 64 weights lose under a scale, as a sum of squares.
float loss(const float* w, float scale, int steps) {
  const float inverse = 1.0f / scale;
  float total = 0;
  for (int i = 0; i < kGroup; ++i) {
    const float q = in_steps(w[i], inverse, steps);
    total += (q * scale - w[i]) * (q * scale - w[i]);
  }
  return total;
}

// Where `source` keeps the weight of input i and output o, and 64 of them, zeros behind the last.
struct Source {
  const float* data;
  size_t in_step, out_step;
  int in;

  void read(int first, size_t output, float* w) const {
    for (int i = 0; i < kGroup; ++i)
      w[i] = first + i < in ? data[size_t(first + i) * in_step + output * out_step] : 0.0f;
  }
};

void place_group(const int8_t* q, float scale, int o, Precision precision, uint8_t* group) {
  const int offset = steps_of(precision) + 1;
  (reinterpret_cast<float*>(group + group_bytes(precision)) - kPanel)[o] = scale;
  for (int i = 0; i < kGroup; ++i) {
    int shift;
    uint8_t* byte = group + byte_at(precision, i, o, &shift);
    const int kept = precision == kInt4 ? *byte & ~(15 << shift) : 0;
    *byte = uint8_t(kept | (q[i] + offset) << shift);
  }
}

}  // namespace

float quantize_group(const float* w, Precision precision, int8_t* q) {
  const int steps = steps_of(precision);
  float top = 0;
  for (int i = 0; i < kGroup; ++i) top = std::fabs(w[i]) > top ? std::fabs(w[i]) : top;
  float scale = top / float(steps);
  if (scale < 1e-30f) {
    std::memset(q, 0, kGroup);
    return 0;
  }
  if (precision == kInt4) {  // with so few steps a smaller scale, which clips the largest, is better
    const float full = scale;
    float least = loss(w, full, steps);
    for (int shrink = 1; shrink < 12; ++shrink) {
      const float tried = full * (1.0f - 0.03f * float(shrink));
      const float lost = loss(w, tried, steps);
      if (lost < least) least = lost, scale = tried;
    }
  }
  const float inverse = 1.0f / scale;
  for (int i = 0; i < kGroup; ++i) q[i] = int8_t(in_steps(w[i], inverse, steps));
  return scale;
}

void quantize(const float* source, size_t in_step, size_t out_step, int in, int out,
              Precision precision, int8_t* q, float* scales) {
  const Source from{source, in_step, out_step, in};
  float w[kGroup];
  for (int o = 0; o < out; ++o)
    for (int first = 0; first < in; first += kGroup, q += kGroup) {
      from.read(first, o, w);
      *scales++ = quantize_group(w, precision, q);
    }
}

void pack_quantized(const int8_t* q, const float* scales, const Matrix& weight, int first_panel,
                    int last_panel) {
  const int groups = weight.padded_in() / kGroup;
  const int8_t none[kGroup] = {};
  for (int out = first_panel * kPanel; out < last_panel * kPanel; ++out) {
    uint8_t* group = weight.data + size_t(out / kPanel) * weight.panel_bytes();
    for (int g = 0; g < groups; ++g, group += group_bytes(weight.precision)) {
      const size_t at = size_t(out) * groups + g;
      if (out < weight.out)
        place_group(q + at * kGroup, scales[at], out % kPanel, weight.precision, group);
      else
        place_group(none, 0, out % kPanel, weight.precision, group);
    }
  }
}

void pack(const float* source, size_t in_step, size_t out_step, const Matrix& weight,
          int first_panel, int last_panel) {
  const Source from{source, in_step, out_step, weight.in};
  const int padded = weight.padded_in();
  for (int out = first_panel * kPanel; out < last_panel * kPanel; ++out) {
    uint8_t* panel = weight.data + size_t(out / kPanel) * weight.panel_bytes();
    const int o = out % kPanel;
    for (int first = 0; first < padded; first += kGroup) {
      float w[kGroup] = {};
      if (out < weight.out) from.read(first, out, w);
      if (weight.precision == kFloat32) {
        for (int i = 0; i < kGroup; ++i)
          reinterpret_cast<float*>(panel)[size_t(first + i) * kPanel + o] = w[i];
      } else if (weight.precision == kBFloat16) {
        for (int i = 0; i < kGroup; ++i)
          reinterpret_cast<uint16_t*>(panel)[(size_t(first + i) / 2 * kPanel + o) * 2 + i % 2] =
              to_bfloat16(w[i]);
      } else {
        int8_t q[kGroup];
        const float scale = quantize_group(w, weight.precision, q);
        place_group(q, scale, o, weight.precision,
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
      const size_t at = byte_at(weight.precision, i % kGroup, o, &shift);
      const int byte = group[at] >> shift;
      out[i] = scale * float(weight.precision == kInt4 ? (byte & 15) - 8 : byte - 128);
    }
  }
}

}  // namespace ogpt
