#include "model.h"

#include <algorithm>
#include <cstring>

#include "packing.h"

namespace ogpt {
namespace {

constexpr int kVector = 16;
constexpr int kLogitRows = 96;  // rows whose logits are computed together

int whole(int n, int unit) { return (n + unit - 1) / unit * unit; }

// The part of `count` things that one of `threads` threads does.
struct Part {
  int first, last;
  Part(int count, int thread, int threads)
      : first(int(int64_t(count) * thread / threads)),
        last(int(int64_t(count) * (thread + 1) / threads)) {}
};

}  // namespace

struct Model::Job {
  Model* model;
  const ogpt_row* rows;
  int count;
  const int32_t* wanted;
  int n_wanted;
  float *logits, *hidden;
};

Model::Model(const ogpt_shape& shape, const Kernels& kernels)
    : shape_(shape),
      kernels_(kernels),
      head_dim_(shape.n_embd / shape.n_head),
      positions_(whole(shape.n_positions, kVector)),
      layers_(shape.n_layer),
      threads_(shape.threads) {
  const int C = shape.n_embd;
  plan(tokens_, C, shape.vocab_size);
  for (Layer& layer : layers_) {
    plan(layer.attn, C, 3 * C);
    plan(layer.attn_proj, C, C);
    plan(layer.fc, C, 4 * C);
    plan(layer.proj, 4 * C, C);
  }
  weights_ = std::make_unique<Arena>(weight_bytes());
  place(tokens_, false);
  position_table_ = weights_->take<float>(size_t(shape.n_positions) * C);
  for (Layer& layer : layers_) {
    for (Matrix* matrix : {&layer.attn, &layer.attn_proj, &layer.fc, &layer.proj})
      place(*matrix, true);
    for (Norm* norm : {&layer.ln_1, &layer.ln_2}) {
      norm->gain = weights_->take<float>(C);
      norm->bias = weights_->take<float>(C);
    }
  }
  cache_ = std::make_unique<Arena>(slot_bytes() * 2 * shape.slots * layers_.size());
  for (Layer& layer : layers_) {
    layer.keys = cache_->take<uint8_t>(slot_bytes() * shape.slots);
    layer.values = cache_->take<uint8_t>(slot_bytes() * shape.slots);
  }
  scores_.resize(size_t(positions_) * shape.threads);
  parts_.resize(size_t(kLogitRows) * kPanel * shape.threads);
}

size_t Model::slot_bytes() const {
  return size_t(positions_) * shape_.n_embd * (shape_.half_cache ? 2 : 4);
}

void Model::plan(Matrix& matrix, int in, int out) {
  matrix.in = in;
  matrix.out = out;
  matrix.precision = Precision(shape_.precision);
}

size_t Model::weight_bytes() const {
  auto of = [](const Matrix& m) {
    return m.panels() * m.panel_bytes() + Arena::rounded(size_t(m.panels()) * kPanel * 4);
  };
  const size_t C = shape_.n_embd;
  size_t bytes = of(tokens_) + Arena::rounded(shape_.n_positions * C * 4);
  for (const Layer& layer : layers_)
    bytes += of(layer.attn) + of(layer.attn_proj) + of(layer.fc) + of(layer.proj) +
             4 * Arena::rounded(C * 4);
  return bytes;
}

void Model::place(Matrix& matrix, bool bias) {
  matrix.data = weights_->take<uint8_t>(matrix.panels() * matrix.panel_bytes());
  if (bias) matrix.bias = weights_->take<float>(size_t(matrix.panels()) * kPanel);
}

Matrix* Model::matrix_of(int weight, int number) {
  switch (weight) {
    case OGPT_TOKENS: return &tokens_;
    case OGPT_ATTN_W: return &layers_[number].attn;
    case OGPT_ATTN_PROJ_W: return &layers_[number].attn_proj;
    case OGPT_FC_W: return &layers_[number].fc;
    case OGPT_PROJ_W: return &layers_[number].proj;
    default: return nullptr;
  }
}

// The largest magnitude in it; throws Unreadable.
float Model::set(int weight, int number, const ogpt_numbers& numbers, const float* sizes) {
  const size_t C = shape_.n_embd;
  if (const Matrix* matrix = matrix_of(weight, number)) {
    Packing packing(numbers, sizes || weight == OGPT_TOKENS, sizes, *matrix, threads_.count());
    threads_.run([](void* context, int thread) { static_cast<Packing*>(context)->work(thread); },
                 &packing);
    return packing.largest();
  }
  auto floats = [&](const float* to, size_t n) {
    return read_floats(numbers, n, const_cast<float*>(to));
  };
  if (weight == OGPT_POSITIONS) return floats(position_table_, C * shape_.n_positions);
  const Layer& layer = layers_[number];
  switch (weight) {
    case OGPT_ATTN_B: return floats(layer.attn.bias, 3 * C);
    case OGPT_ATTN_PROJ_B: return floats(layer.attn_proj.bias, C);
    case OGPT_LN_1_W: return floats(layer.ln_1.gain, C);
    case OGPT_LN_1_B: return floats(layer.ln_1.bias, C);
    case OGPT_FC_B: return floats(layer.fc.bias, 4 * C);
    case OGPT_PROJ_B: return floats(layer.proj.bias, C);
    case OGPT_LN_2_W: return floats(layer.ln_2.gain, C);
    default: return floats(layer.ln_2.bias, C);
  }
}

void Model::run(const ogpt_row* rows, int count, const int32_t* wanted, int n_wanted,
                float* logits, float* hidden) {
  const int C = shape_.n_embd;
  const size_t most = std::max(count, n_wanted);
  x_.resize(most * C);
  y_.resize(most * whole(C, kPanel));
  wide_.resize(most * std::max(whole(3 * C, kPanel), whole(4 * C, kPanel)));
  narrow_.resize(most * row_bytes(tokens_.precision, whole(4 * C, kGroup)) + 64);
  Job job{this, rows, count, wanted, n_wanted, logits, hidden};
  threads_.run([](void* context, int thread) {
    Job& job = *static_cast<Job*>(context);
    job.model->work(job, thread);
  }, &job);
}

// y = x . weight + bias for rows that lie in `narrow_`, panels shared among the threads.
void Model::multiply(const Matrix& weight, int rows, float* y, size_t stride,
                     int thread) {
  const Part part(weight.panels(), thread, threads_.count());
  kernels_.multiply(weight, narrow_.data(), rows, part.first, part.last, y, stride);
  threads_.meet();
}

void Model::work(Job& job, int thread) {
  const int C = shape_.n_embd;
  const Precision precision = tokens_.precision;
  const Part mine(job.count, thread, threads_.count());
  auto narrow = [&](int row, const float* x, int n) {
    const int padded = whole(n, kGroup);
    kernels_.narrow(precision, x, n, padded, narrow_.data() + row * row_bytes(precision, padded));
  };
  for (int r = mine.first; r < mine.last; ++r) {
    float* x = x_.data() + size_t(r) * C;
    unpack(tokens_, job.rows[r].token, x);
    const float* position = position_table_ + size_t(job.rows[r].position) * C;
    for (int i = 0; i < C; ++i) x[i] += position[i];
    narrow(r, x, C);
  }
  threads_.meet();
  const size_t qkv = whole(3 * C, kPanel), inner = whole(4 * C, kPanel), outer = whole(C, kPanel);
  for (Layer& layer : layers_) {
    multiply(layer.attn, job.count, wide_.data(), qkv, thread);
    remember(job, layer, thread);
    threads_.meet();
    attend(job, layer, thread);
    threads_.meet();
    for (int r = mine.first; r < mine.last; ++r) narrow(r, y_.data() + size_t(r) * C, C);
    threads_.meet();
    multiply(layer.attn_proj, job.count, y_.data(), outer, thread);
    for (int r = mine.first; r < mine.last; ++r) {
      float* x = x_.data() + size_t(r) * C;
      kernels_.add_norm(x, y_.data() + r * outer, layer.ln_1.gain, layer.ln_1.bias,
                        shape_.layer_norm_epsilon, C, x);
      narrow(r, x, C);
    }
    threads_.meet();
    const Part panels(layer.fc.panels(), thread, threads_.count());
    kernels_.multiply(layer.fc, narrow_.data(), job.count, panels.first, panels.last,
                      wide_.data(), inner);
    for (int r = 0; r < job.count; ++r)
      kernels_.activate(Activation(shape_.activation),
                        wide_.data() + r * inner + size_t(panels.first) * kPanel,
                        (panels.last - panels.first) * kPanel);
    threads_.meet();
    for (int r = mine.first; r < mine.last; ++r) narrow(r, wide_.data() + r * inner, 4 * C);
    threads_.meet();
    multiply(layer.proj, job.count, y_.data(), outer, thread);
    for (int r = mine.first; r < mine.last; ++r) {
      float* x = x_.data() + size_t(r) * C;
      kernels_.add_norm(x, y_.data() + r * outer, layer.ln_2.gain, layer.ln_2.bias,
                        shape_.layer_norm_epsilon, C, x);
      narrow(r, x, C);
    }
    threads_.meet();
  }
  if (job.hidden)
    for (int r = mine.first; r < mine.last; ++r)
      std::memcpy(job.hidden + size_t(r) * C, x_.data() + size_t(r) * C, size_t(C) * 4);
  if (!job.logits) return;
  const Part asked(job.n_wanted, thread, threads_.count());
  for (int r = asked.first; r < asked.last; ++r)
    narrow(r, x_.data() + size_t(job.wanted[r]) * C, C);
  threads_.meet();
  // the last panel is wider than the vocabulary, so logits go by way of whole panels
  const Part panels(tokens_.panels(), thread, threads_.count());
  float* part = parts_.data() + size_t(thread) * kLogitRows * kPanel;
  const size_t bytes = row_bytes(precision, whole(C, kGroup));
  for (int first = 0; first < job.n_wanted; first += kLogitRows) {
    const int n_rows = std::min(kLogitRows, job.n_wanted - first);
    Matrix one = tokens_;
    for (int panel = panels.first; panel < panels.last; ++panel) {
      one.data = tokens_.data + size_t(panel) * tokens_.panel_bytes();
      const int n = std::min(kPanel, shape_.vocab_size - panel * kPanel);
      kernels_.multiply(one, narrow_.data() + first * bytes, n_rows, 0, 1, part, kPanel);
      for (int r = 0; r < n_rows; ++r)
        std::memcpy(job.logits + size_t(first + r) * shape_.vocab_size + size_t(panel) * kPanel,
                    part + size_t(r) * kPanel, size_t(n) * 4);
    }
  }
}

// Keys and values of the new rows go to their slots.
void Model::remember(Job& job, Layer& layer, int thread) {
  const int C = shape_.n_embd;
  const size_t stride = whole(3 * C, kPanel);
  const Part part(job.count, thread, threads_.count());
  for (int r = part.first; r < part.last; ++r) {
    const float* key = wide_.data() + r * stride + C;
    const float* value = key + C;
    const size_t slot = size_t(job.rows[r].slot) * slot_bytes();
    const int position = job.rows[r].position;
    for (int h = 0; h < shape_.n_head; ++h)
      for (int d = 0; d < head_dim_; ++d) {
        const int c = h * head_dim_ + d;
        const size_t k = size_t(c) * positions_ + position;
        const size_t v = (size_t(h) * positions_ + position) * head_dim_ + d;
        if (shape_.half_cache) {
          reinterpret_cast<uint16_t*>(layer.keys + slot)[k] = to_bfloat16(key[c]);
          reinterpret_cast<uint16_t*>(layer.values + slot)[v] = to_bfloat16(value[c]);
        } else {
          reinterpret_cast<float*>(layer.keys + slot)[k] = key[c];
          reinterpret_cast<float*>(layer.values + slot)[v] = value[c];
        }
      }
  }
}

void Model::attend(Job& job, const Layer& layer, int thread) {
  const int C = shape_.n_embd;
  const size_t stride = whole(3 * C, kPanel);
  const Attention shape{head_dim_, positions_, bool(shape_.half_cache)};
  const size_t head = size_t(positions_) * head_dim_ * (shape_.half_cache ? 2 : 4);
  const Part part(job.count * shape_.n_head, thread, threads_.count());
  for (int unit = part.first; unit < part.last; ++unit) {
    const int r = unit / shape_.n_head, h = unit % shape_.n_head;
    const size_t at = size_t(job.rows[r].slot) * slot_bytes() + h * head;
    kernels_.attend(shape, wide_.data() + r * stride + h * head_dim_, layer.keys + at,
                    layer.values + at, job.rows[r].position + 1,
                    scores_.data() + size_t(thread) * positions_,
                    y_.data() + size_t(r) * C + h * head_dim_);
  }
}

void Model::copy(int source, int target, int length) {
  const int item = shape_.half_cache ? 2 : 4;
  for (Layer& layer : layers_) {
    const uint8_t* keys = layer.keys + size_t(source) * slot_bytes();
    const uint8_t* values = layer.values + size_t(source) * slot_bytes();
    uint8_t* new_keys = layer.keys + size_t(target) * slot_bytes();
    uint8_t* new_values = layer.values + size_t(target) * slot_bytes();
    for (int c = 0; c < shape_.n_embd; ++c)
      std::memcpy(new_keys + size_t(c) * positions_ * item, keys + size_t(c) * positions_ * item,
                  size_t(length) * item);
    for (int h = 0; h < shape_.n_head; ++h) {
      const size_t at = size_t(h) * positions_ * head_dim_ * item;
      std::memcpy(new_values + at, values + at, size_t(length) * head_dim_ * item);
    }
  }
}

}  // namespace ogpt
