// Takes the native core through shapes, precisions, kernels and threads; built with sanitizers by
// test_native_sanitizers.py, for tiles by test_native_tiles.py, for ARM by test_native_arm.py. Tells
// which kernels the processor has. Ends with 1 where the same ids give other bits. The argument names
// the only kernels to take; none: all.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <vector>

#include "abi.h"

namespace {

const char* const kKernels[] = {"amx", "avx512_bf16", "avx512", "avx2", "neon", "portable"};
// vocab_size, n_positions, n_embd, n_layer, n_head
const int kShapes[][5] = {{7, 5, 5, 1, 5},     {1, 1, 1, 1, 1},       {65, 33, 64, 2, 1},
                          {131, 40, 48, 2, 3}, {193, 17, 192, 1, 2},  {64, 16, 7, 1, 1},
                          {20, 130, 66, 1, 22}};
constexpr int kSlots = 3;

struct Net {
  ogpt_model* model;
  ogpt_shape shape;

  Net(const int* sizes, int precision, int half_cache, int threads, const char* kernels) {
    shape = {sizes[0], sizes[1], sizes[2], sizes[3], sizes[4], precision, precision % 4,
             kSlots,   threads,  half_cache, 1e-5f};
    char error[100];
    model = ogpt_create(&shape, kernels, error, sizeof error);
    if (!model) return;
    const int C = shape.n_embd;
    const int ins[] = {C, shape.n_positions, C, 1, C, 1, 1, 1, C, 1, 4 * C, 1, 1, 1};
    const int outs[] = {shape.vocab_size, C, 3 * C, 3 * C, C, C, C, C, 4 * C, 4 * C, C, C, C, C};
    std::mt19937 draw(1);
    std::normal_distribution<float> normal(0.0f, 0.3f);
    for (int weight = OGPT_TOKENS; weight <= OGPT_LN_2_B; ++weight)
      for (int layer = 0; layer < (weight < OGPT_ATTN_W ? 1 : shape.n_layer); ++layer) {
        const int in = ins[weight], out = outs[weight];
        std::vector<float> data(size_t(in) * out);  // exact: what is read beyond it is seen
        for (float& x : data) x = normal(draw);
        if (precision < 2 || in == 1 || weight == OGPT_POSITIONS || (weight + layer) % 2) {
          std::vector<uint8_t> bytes(data.size() * 4);
          std::memcpy(bytes.data(), data.data(), bytes.size());
          set(weight, layer, bytes, OGPT_FLOAT32, nullptr);
        } else {
          const size_t groups = size_t(out) * ((in + 63) / 64);
          std::vector<uint8_t> steps(groups * 64 / (precision == 3 ? 2 : 1));
          std::vector<float> sizes_of(groups);
          ogpt_quantize(precision, weight, in, out, data.data(), steps.data(), sizes_of.data());
          set(weight, layer, steps, OGPT_STEPS, sizes_of.data());
        }
      }
  }
  ~Net() { ogpt_destroy(model); }
  Net(const Net&) = delete;
  Net& operator=(const Net&) = delete;

  // From memory, or from a file, which at first is too short.
  void set(int weight, int layer, const std::vector<uint8_t>& data, int dtype,
           const float* sizes_of) {
    float largest;
    ogpt_numbers numbers{data.data(), 0, -1, dtype};
    std::FILE* file = weight % 3 ? nullptr : std::tmpfile();
    if (file) {
      numbers = {nullptr, 5, fileno(file), dtype};
      std::fwrite("12345", 1, 5, file);
      std::fwrite(data.data(), 1, data.size() - 1, file);
      std::fflush(file);
      if (ogpt_set(model, weight, layer, &numbers, sizes_of, &largest) != OGPT_UNREADABLE)
        std::exit(4);
      std::fwrite(&data.back(), 1, 1, file);
      std::fflush(file);
    }
    if (ogpt_set(model, weight, layer, &numbers, sizes_of, &largest)) std::exit(3);
    if (file) std::fclose(file);
  }

  int token(int position) const { return position * 7919 % shape.vocab_size; }

  // Append positions [first, last) of one text to a slot; their logits.
  std::vector<float> extend(int slot, int first, int last) {
    std::vector<ogpt_row> rows;
    std::vector<int32_t> wanted;
    for (int p = first; p < last; ++p) {
      wanted.push_back(p - first);
      rows.push_back({token(p), slot, p});
    }
    std::vector<float> logits(wanted.size() * shape.vocab_size);
    std::vector<float> hidden(rows.size() * shape.n_embd);
    if (ogpt_run(model, rows.data(), int(rows.size()), wanted.data(), int(wanted.size()),
                 logits.data(), hidden.data()))
      std::exit(2);
    return logits;
  }
};

bool same(const std::vector<float>& whole, int first, const std::vector<float>& part, int row) {
  return !std::memcmp(whole.data() + size_t(first) * row, part.data(), part.size() * 4);
}

bool check(const int* sizes, int precision, int half_cache, int threads, const char* kernels) {
  Net net(sizes, precision, half_cache, threads, kernels);
  if (!net.model) return true;  // this processor lacks the kernels
  const int T = sizes[1], V = sizes[0], half = T / 2;
  Net alone(sizes, precision, half_cache, 1, kernels);
  const std::vector<float> whole = alone.extend(0, 0, T);
  bool right = same(whole, 0, net.extend(2, 0, T), V);
  for (int p = 0; p < half; ++p) right &= same(whole, p, net.extend(0, p, p + 1), V);
  ogpt_copy(net.model, 0, 1, half);
  right &= same(whole, half, net.extend(1, half, T), V);
  const ogpt_row rows[] = {{net.token(half), 1, half}, {0, 2, 0}, {net.token(half), 0, half}};
  const int32_t wanted[] = {2, 0};
  std::vector<float> logits(size_t(2) * V);
  right &= !ogpt_run(net.model, rows, 3, wanted, 2, logits.data(), nullptr);
  logits.resize(V);
  right &= same(whole, half, logits, V);
  std::vector<ogpt_row> together;  // several slots with several rows each
  for (int slot : {2, 0, 1})
    for (int p = 0; p < (slot ? T - half : T); ++p) together.push_back({net.token(p), slot, p});
  const int32_t last[] = {T - half - 1, 2 * T - half - 1};
  logits.resize(size_t(2) * V);
  right &= !ogpt_run(net.model, together.data(), int(together.size()), last, 2, logits.data(),
                     nullptr);
  right &= same(whole, T - 1, {logits.begin() + V, logits.end()}, V);
  logits.resize(V);
  return right && same(whole, T - half - 1, logits, V);
}

}  // namespace

int main(int count, char** arguments) {
  int failed = 0;
  for (const char* kernels : kKernels)
    if (Net(kShapes[0], 0, 0, 1, kernels).model) std::puts(kernels);
  for (const auto& sizes : kShapes)
    for (int precision = 0; precision < 4; ++precision)
      for (int threads = 1; threads <= 3; ++threads)
        for (const char* kernels : kKernels)
          if ((count < 2 || !std::strcmp(kernels, arguments[1])) &&
              !check(sizes, precision, threads % 2, threads, kernels)) {
            std::printf("other bits: n_embd %d, precision %d, threads %d, %s\n", sizes[2],
                        precision, threads, kernels);
            failed = 1;
          }
  return failed;
}
