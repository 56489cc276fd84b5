// The transformer of GPT-1 over packed weights and a KV cache in slots.
#pragma once
#include <atomic>
#include <memory>
#include <vector>

#include "abi.h"
#include "arena.h"
#include "cache.h"
#include "kernels.h"
#include "threads.h"

namespace ogpt {

struct Norm {
  float *gain, *bias;
};

struct Layer {
  Matrix attn, attn_proj, fc, proj;
  Norm ln_1, ln_2;
};

// The part of `count` things that one of `threads` threads does.
struct Part {
  int first, last;
  Part(int count, int thread, int threads)
      : first(int(int64_t(count) * thread / threads)),
        last(int(int64_t(count) * (thread + 1) / threads)) {}
};

// How many panels of a thread's part were started; in a cache line of its own, as threads share it.
struct alignas(64) Cursor {
  std::atomic<int> taken{0};
};

class Model {
 public:
  Model(const ogpt_shape& shape, const Kernels& kernels);

  // model.cpp: the weights
  float set(int weight, int layer, const ogpt_numbers& numbers, const float* sizes);
  size_t bytes() const { return weights_->size() + cache_.bytes(); }
  const Kernels& kernels() const { return kernels_; }
  Cache& cache() { return cache_; }
  const Cache& cache() const { return cache_; }

  // forward.cpp: what is computed with them
  void run(const ogpt_row* rows, int count, const int32_t* wanted, int n_wanted, float* logits,
           float* hidden);
  void summarize(const float* logits, int count, ogpt_summary* summaries);

 private:
  class Forward;

  Matrix* matrix_of(int weight, int layer);  // nullptr: that weight is no matrix
  void plan(Matrix& matrix, int in, int out);
  size_t weight_bytes() const;
  void place(Matrix& matrix, bool bias);

  const ogpt_shape shape_;
  const Kernels& kernels_;
  const int head_dim_;
  std::unique_ptr<Arena> weights_;
  Matrix tokens_;
  float* position_table_;
  std::vector<Layer> layers_;
  Cache cache_;
  size_t room_;  // scores of a query: whole pages
  std::vector<float> x_, y_, wide_, scores_, last_panel_;
  std::vector<uint8_t> narrow_;
  std::vector<Cursor> cursors_;  // of each product and thread
  Threads threads_;
};

}  // namespace ogpt
