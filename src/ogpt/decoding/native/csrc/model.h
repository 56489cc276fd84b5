// The transformer of GPT-1 over packed weights and a cache of keys and values in slots.
#pragma once
#include <memory>
#include <vector>

#include "abi.h"
#include "arena.h"
#include "kernels.h"
#include "threads.h"

namespace ogpt {

struct Norm {
  float *gain, *bias;
};

struct Layer {
  Matrix attn, attn_proj, fc, proj;
  Norm ln_1, ln_2;
  uint8_t *keys, *values;  // of all slots
};

class Model {
 public:
  Model(const ogpt_shape& shape, const Kernels& kernels);

  float set(int weight, int layer, const ogpt_numbers& numbers, const float* sizes);
  void run(const ogpt_row* rows, int count, const int32_t* wanted, int n_wanted, float* logits,
           float* hidden);
  void copy(int source, int target, int length);
  size_t bytes() const { return weights_->size() + cache_->size(); }
  const Kernels& kernels() const { return kernels_; }

 private:
  struct Job;

  Matrix* matrix_of(int weight, int layer);  // nullptr: that weight is no matrix
  void plan(Matrix& matrix, int in, int out);
  size_t weight_bytes() const;
  void place(Matrix& matrix, bool bias);
  void work(Job& job, int thread);
  void multiply(const Matrix& weight, int rows, float* y, size_t stride, int thread);
  void remember(Job& job, Layer& layer, int thread);
  void attend(Job& job, const Layer& layer, int thread);
  size_t slot_bytes() const;  // of the keys, or the values, of one layer

  const ogpt_shape shape_;
  const Kernels& kernels_;
  const int head_dim_, positions_;  // positions: n_positions, in whole vectors
  std::unique_ptr<Arena> weights_, cache_;
  Matrix tokens_;
  float* position_table_;
  std::vector<Layer> layers_;
  std::vector<float> x_, y_, wide_, scores_, parts_;
  std::vector<uint8_t> narrow_;
  Threads threads_;
};

}  // namespace ogpt
