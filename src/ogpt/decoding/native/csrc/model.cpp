#include "model.h"

#include <algorithm>
#include <cstring>

#include "packing.h"

namespace ogpt {
Model::Model(const ogpt_shape& shape, const Kernels& kernels)
    : shape_(shape),
      kernels_(kernels),
      head_dim_(shape.n_embd / shape.n_head),
      layers_(shape.n_layer),
      cache_(shape.slots, shape.n_layer, shape.n_positions, shape.n_embd, shape.half_cache),
      cursors_(size_t(4 * shape.n_layer + 1) * shape.threads),
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
  room_ = size_t(shape.n_positions + kPage - 1) / kPage * kPage;
  scores_.resize(room_ * kQueries * shape.n_head * shape.threads);
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

}  // namespace ogpt
