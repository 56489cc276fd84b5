// Compares the products of kernels_amx.cpp with sums written down plainly, in the order of the tiles
// and to the last bit, and with sums in double precision; built by test_native_tiles.py with
// trapped_tiles.cpp. Ends with 1 where they differ. A build with OGPT_FAULT (one of `Fault`) plants
// this fault between the kernels and the comparison.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <memory>
#include <random>
#include <vector>

#include "kernels.h"
#include "packing.h"

using namespace ogpt;

namespace {

constexpr int kMostRows = 70;
const int kShapes[][2] = {{1100, 100}, {500, 64}, {130, 100}, {64, 64}, {1, 1}};  // in, out
const char* const kNames[] = {"float32", "bfloat16", "int8", "int4"};

#ifndef OGPT_FAULT
#define OGPT_FAULT kNone
#endif
enum Fault { kNone, kPanelsBeyond, kRowLeftOut, kRowsSwapped, kBlockForgotten, kNibblesWrong };
constexpr Fault kFault = OGPT_FAULT;

std::mt19937 draw(1);

std::vector<float> normal(size_t count, float deviation) {
  std::normal_distribution<float> distribution(0, deviation);
  std::vector<float> numbers(count);
  for (float& x : numbers) x = distribution(draw);
  return numbers;
}

float widen(uint16_t x) {
  const uint32_t bits = uint32_t(x) << 16;
  float wide;
  std::memcpy(&wide, &bits, 4);
  return wide;
}

// The kernels' product, with the fault that this build plants.
void multiply(const Matrix& weight, const uint8_t* x, size_t x_bytes, int rows, int first, int last,
              float* y, size_t stride) {
  constexpr size_t kBlockBytes = 768;  // of 384 bfloat16 inputs, which kernels_amx.cpp takes at once
  constexpr size_t kGroupBytes = kGroup * kPanel / 2;  // of nibbles, before the group's scales
  Matrix used = weight;
  std::vector<uint8_t> changed;
  if (kFault == kPanelsBeyond) last = weight.panels();
  if (kFault == kRowLeftOut && rows > 16 && rows % 16 == 1) --rows;
  if (kFault == kBlockForgotten && weight.precision == kBFloat16 && x_bytes > kBlockBytes) {
    changed.assign(x, x + rows * x_bytes);
    for (int r = 0; r < rows; ++r) std::memset(&changed[r * x_bytes], 0, kBlockBytes);
    x = changed.data();
  }
  if (kFault == kNibblesWrong && weight.precision == kInt4) {  // 7 is taken off them, not 8
    const size_t bytes = weight.panels() * weight.panel_bytes();
    changed.assign(weight.data, weight.data + bytes);
    for (size_t group = 0; group < bytes; group += kGroupBytes + kPanel * sizeof(float))
      for (size_t i = group; i < group + kGroupBytes; ++i) changed[i] += (changed[i] & 15) < 15;
    used.data = changed.data();
  }
  kAmx.multiply(used, x, rows, first, last, y, stride);
  if (kFault == kRowsSwapped && rows > 1)
    std::swap_ranges(y + first * kPanel, y + last * kPanel, y + stride + first * kPanel);
}

// A weight, rows as the kernels narrow them, and what both hold.
struct Case {
  Matrix weight;
  std::unique_ptr<uint8_t[]> data, x;  // exact: what is read beyond them is seen
  std::vector<float> bias, unpacked;   // (outputs, in) of `unpack`
  size_t bytes;

  Case(int in, int out, Precision precision, bool with_bias) {
    weight.in = in, weight.out = out, weight.precision = precision;
    data.reset(new uint8_t[weight.panels() * weight.panel_bytes()]);
    weight.data = data.get();
    const std::vector<float> numbers = normal(size_t(in) * out, 0.1f);
    Packing({numbers.data(), 0, -1, OGPT_FLOAT32}, false, nullptr, weight, 1).work(0);
    bias = normal(size_t(weight.panels()) * kPanel, 1);
    if (with_bias) weight.bias = bias.data();
    unpacked.resize(size_t(in) * out);
    for (int o = 0; o < out; ++o) unpack(weight, o, unpacked.data() + size_t(o) * in);
    bytes = ogpt::kAmx.row_bytes(precision, weight.padded_in());
    x.reset(new uint8_t[kMostRows * bytes]);
    for (int r = 0; r < kMostRows; ++r)
      kAmx.narrow(precision, normal(in, 1).data(), in, weight.padded_in(), x.get() + r * bytes);
  }

  float w(int i, int o) const { return i < weight.in ? unpacked[size_t(o) * weight.in + i] : 0; }

  // 16 pairs at a time: even and odd products apart, then both, then to the sum.
  float sum_bfloat16(int r, int o, double* exact, double* size) const {
    const uint16_t* row = reinterpret_cast<const uint16_t*>(x.get() + r * bytes);
    float sum = weight.bias ? bias[o] : 0;
    *exact = *size = sum;
    for (int first = 0; first < weight.padded_in(); first += 32) {
      float parts[2] = {};
      for (int i = first; i < first + 32; ++i) {
        const float a = widen(row[i]);
        parts[i % 2] = std::fma(a, w(i, o), parts[i % 2]);
        *exact += double(a) * double(w(i, o));
        *size += std::abs(double(a) * double(w(i, o)));
      }
      sum += parts[0] + parts[1];
    }
    return sum;
  }

  // A group's exact sum, scaled, to the sum.
  float sum_bytes(int r, int o, double* exact, double* size) const {
    const Int8Group* row = reinterpret_cast<const Int8Group*>(x.get() + r * bytes);
    const size_t values = kGroup * kPanel / (weight.precision == kInt4 ? 2 : 1);
    const uint8_t* panel = weight.data + size_t(o / kPanel) * weight.panel_bytes();
    float sum = 0;
    *exact = *size = weight.bias ? bias[o] : 0;
    for (int g = 0; g < weight.padded_in() / kGroup; ++g, ++row) {
      panel += values;
      const float scale = reinterpret_cast<const float*>(panel)[o % kPanel];
      panel += kPanel * 4;
      int dot = 0;
      for (int i = 0; i < kGroup; ++i) {
        const float step = scale ? w(g * kGroup + i, o) / scale : 0;
        dot += row->values[i] * int(std::lround(step));
        *exact += double(row->values[i]) * double(row->scale) * double(w(g * kGroup + i, o));
      }
      sum = std::fma(float(dot), scale * row->scale, sum);
      *size += std::abs(double(dot) * double(scale * row->scale));
    }
    return weight.bias ? sum + bias[o] : sum;
  }

  // Rows [first, first + rows), panels [from, to), into y as `whole` has them; the rest untouched.
  bool same(const std::vector<float>& whole, int first, int rows, int from, int to) const {
    const size_t wide = size_t(weight.panels()) * kPanel, stride = wide + 16;
    std::unique_ptr<float[]> y(new float[(rows - 1) * stride + wide]);
    std::fill_n(y.get(), (rows - 1) * stride + wide, 7.0f);
    multiply(weight, x.get() + first * bytes, bytes, rows, from, to, y.get(), stride);
    for (int r = 0; r < rows; ++r)
      for (size_t o = 0; o < (r + 1 < rows ? stride : wide); ++o) {
        const bool mine = o >= size_t(from) * kPanel && o < size_t(to) * kPanel;
        const float expected = mine ? whole[(first + r) * wide + o] : 7.0f;
        if (std::memcmp(&expected, &y[r * stride + o], 4)) return false;
      }
    return true;
  }
};

bool check(int in, int out, Precision precision, bool with_bias) {
  const Case one(in, out, precision, with_bias);
  const int panels = one.weight.panels(), wide = panels * kPanel;
  std::vector<float> whole(size_t(kMostRows) * wide);
  for (int r = 0; r < kMostRows; ++r)  // each alone
    multiply(one.weight, one.x.get() + r * one.bytes, one.bytes, 1, 0, panels,
             whole.data() + r * wide, wide);
  for (int r = 0; precision != kFloat32 && r < kMostRows; ++r)
    for (int o = 0; o < out; ++o) {
      double exact, size;
      const float expected = precision == kBFloat16 ? one.sum_bfloat16(r, o, &exact, &size)
                                                    : one.sum_bytes(r, o, &exact, &size);
      const float found = whole[size_t(r) * wide + o];
      if (std::memcmp(&expected, &found, 4)) return false;
      if (!(std::abs(found - exact) <= 2e-6 * (std::abs(size) + 1))) return false;
    }
  for (int rows = 1; rows <= kMostRows; ++rows) {
    const int first = int(draw() % (kMostRows - rows + 1)), from = int(draw() % panels);
    if (!one.same(whole, first, rows, from, from + 1 + int(draw() % (panels - from)))) return false;
  }
  return true;
}

}  // namespace

int main() {
  if (!kAmx.available()) return 2;
  for (const auto& shape : kShapes)
    for (int precision = 0; precision < 4; ++precision)
      if (!check(shape[0], shape[1], Precision(precision), (shape[0] + precision) % 2)) {
        std::printf("other sums: %d inputs, %d outputs, %s\n", shape[0], shape[1],
                    kNames[precision]);
        return 1;
      }
}
