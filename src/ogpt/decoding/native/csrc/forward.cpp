// A forward pass: rows of tokens, all layers, then logits. All threads run it together, and wait for
// each other where one needs results of the others.
#include <algorithm>
#include <cstring>

#include "model.h"
#include "packing.h"

namespace ogpt {
namespace {

// Up to this number of rows every thread norms and narrows all rows itself: cheaper than a barrier.
constexpr int kRowsForAll = 2;

int whole(int n, int unit) { return (n + unit - 1) / unit * unit; }

// Rows that follow each other in one slot.
struct Run {
  int first, count;
};

std::vector<Run> runs_of(const ogpt_row* rows, int count) {
  std::vector<Run> runs;
  for (int r = 0; r < count; ++r) {
    const bool follows = r && rows[r].slot == rows[r - 1].slot && runs.back().count < kQueries &&
                         rows[r].position == rows[r - 1].position + 1;
    if (follows)
      ++runs.back().count;
    else
      runs.push_back({r, 1});
  }
  return runs;
}

}  // namespace

class Model::Forward {
 public:
  Forward(Model& model, const ogpt_row* rows, int count, const int32_t* wanted, int n_wanted,
          float* logits, float* hidden)
      : model_(model),
        shape_(model.shape_),
        kernels_(model.kernels_),
        rows_(rows),
        count_(count),
        wanted_(wanted),
        n_wanted_(logits ? n_wanted : 0),
        logits_(logits),
        hidden_(hidden),
        C(shape_.n_embd),
        threads_(model.threads_.count()),
        for_all_(count <= kRowsForAll),
        attn_stride_(whole(3 * C, kPanel)),
        wide_stride_(whole(4 * C, kPanel)),
        stride_(whole(C, kPanel)),
        runs_(runs_of(rows, count)) {
    const size_t most = std::max(count, n_wanted), copies = for_all_ ? threads_ : 1;
    model.x_.resize(size_t(count) * C * copies);
    model.y_.resize(most * stride_);
    model.wide_.resize(count * std::max(attn_stride_, wide_stride_));
    narrow_bytes_ = (most * row_bytes(4 * C) / 64 + 2) * 64;
    model.narrow_.resize(narrow_bytes_ * copies);
    model.last_panel_.resize(size_t(n_wanted) * kPanel);
    for (Cursor& each : model.cursors_) each.taken.store(0, std::memory_order_relaxed);
    for (int r = 0; r < count; ++r) model.cache_.open(rows[r].slot, rows[r].position);
  }

  void operator()(int thread);

 private:
  size_t row_bytes(int in) const {
    return kernels_.row_bytes(model_.tokens_.precision, whole(in, kGroup));
  }
  Part mine(int count, int thread) const { return Part(count, thread, threads_); }
  Part mine_of_rows(int thread) const { return for_all_ ? Part(count_, 0, 1) : mine(count_, thread); }
  float* x(int thread) const {
    return model_.x_.data() + (for_all_ ? size_t(thread) * count_ * C : 0);
  }
  uint8_t* narrow(int thread) const {
    return model_.narrow_.data() + (for_all_ ? thread * narrow_bytes_ : 0);
  }
  // Panels of a matrix, numbered in the order of their use: each thread takes its part one by one,
  // and then what others have left of theirs, as some are slower at times.
  template <typename Act>
  void share_panels(const Matrix& weight, int number, int thread, Act act) {
    for (int t = 0; t < threads_; ++t) {
      const int owner = (thread + t) % threads_;
      const Part part = mine(weight.panels(), owner);
      std::atomic<int>& taken = model_.cursors_[size_t(number) * threads_ + owner].taken;
      for (int panel; (panel = part.first + taken.fetch_add(1, std::memory_order_relaxed)) < part.last;)
        act(panel);
    }
  }
  void meet() { model_.threads_.meet(); }
  // Threads wait for each other between rows that are narrowed and a product that reads them,
  // unless each has its own.
  void meet_at_rows() {
    if (!for_all_) meet();
  }

  void narrow_row(int row, const float* x, int in, int thread);
  void embed(int thread);
  void multiply(const Matrix& weight, int number, float* y, size_t stride, int thread);
  void add_and_norm(const Norm& norm, int thread);
  void remember(int layer, int first_row, int last_row, int thread);
  void attend(int layer, int thread);
  void attend_run(int layer, int number, int head, int heads, int thread);
  int slot_of(int run) const { return rows_[runs_[run].first].slot; }
  void head(int thread);

  Model& model_;
  const ogpt_shape& shape_;
  const Kernels& kernels_;
  const ogpt_row* const rows_;
  const int count_;
  const int32_t* const wanted_;
  const int n_wanted_;
  float *const logits_, *const hidden_;
  const int C, threads_;
  const bool for_all_;
  const size_t attn_stride_, wide_stride_, stride_;
  const std::vector<Run> runs_;
  size_t narrow_bytes_;
};

void Model::run(const ogpt_row* rows, int count, const int32_t* wanted, int n_wanted,
                float* logits, float* hidden) {
  Forward forward(*this, rows, count, wanted, n_wanted, logits, hidden);
  threads_.run([](void* context, int thread) { (*static_cast<Forward*>(context))(thread); },
               &forward);
}

void Model::summarize(const float* logits, int count, ogpt_summary* summaries) {
  auto part = [&](int first, int last) {
    for (int r = first; r < last; ++r)
      kernels_.summarize(logits + size_t(r) * shape_.vocab_size, shape_.vocab_size, summaries + r);
  };
  if (count < threads_.count()) return part(0, count);
  struct Task {
    decltype(part)& act;
    int count, threads;
  } task{part, count, threads_.count()};
  threads_.run([](void* context, int thread) {
    const Task& task = *static_cast<Task*>(context);
    const Part rows(task.count, thread, task.threads);
    task.act(rows.first, rows.last);
  }, &task);
}

void Model::Forward::operator()(int thread) {
  embed(thread);
  meet_at_rows();
  float* const wide = model_.wide_.data();
  float* const y = model_.y_.data();
  const Part rows = mine_of_rows(thread);
  for (int number = 0; number < shape_.n_layer; ++number) {
    const Layer& layer = model_.layers_[number];
    multiply(layer.attn, 4 * number, wide, attn_stride_, thread);
    meet();
    attend(number, thread);
    meet();
    for (int r = rows.first; r < rows.last; ++r) narrow_row(r, y + r * stride_, C, thread);
    meet();  // y is written again
    multiply(layer.attn_proj, 4 * number + 1, y, stride_, thread);
    meet();
    add_and_norm(layer.ln_1, thread);
    meet_at_rows();
    share_panels(layer.fc, 4 * number + 2, thread, [&](int panel) {
      kernels_.multiply(layer.fc, narrow(thread), count_, panel, panel + 1, wide, wide_stride_);
      for (int r = 0; r < count_; ++r)
        kernels_.activate(Activation(shape_.activation),
                          wide + r * wide_stride_ + size_t(panel) * kPanel, kPanel);
    });
    meet();
    for (int r = rows.first; r < rows.last; ++r)
      narrow_row(r, wide + r * wide_stride_, 4 * C, thread);
    meet();
    multiply(layer.proj, 4 * number + 3, y, stride_, thread);
    meet();
    add_and_norm(layer.ln_2, thread);
    meet_at_rows();
  }
  if (hidden_) {
    const Part part = mine(count_, thread);
    std::memcpy(hidden_ + size_t(part.first) * C, x(thread) + size_t(part.first) * C,
                size_t(part.last - part.first) * C * 4);
  }
  if (n_wanted_) head(thread);
}

void Model::Forward::narrow_row(int row, const float* values, int in, int thread) {
  kernels_.narrow(model_.tokens_.precision, values, in, whole(in, kGroup),
                  narrow(thread) + row * row_bytes(in));
}

void Model::Forward::embed(int thread) {
  const Part rows = mine_of_rows(thread);
  for (int r = rows.first; r < rows.last; ++r) {
    float* to = x(thread) + size_t(r) * C;
    unpack(model_.tokens_, rows_[r].token, to);
    const float* position = model_.position_table_ + size_t(rows_[r].position) * C;
    for (int i = 0; i < C; ++i) to[i] += position[i];
    narrow_row(r, to, C, thread);
  }
}

// y = x . weight + bias for the narrowed rows.
void Model::Forward::multiply(const Matrix& weight, int number, float* y, size_t stride,
                              int thread) {
  share_panels(weight, number, thread, [&](int panel) {
    kernels_.multiply(weight, narrow(thread), count_, panel, panel + 1, y, stride);
  });
}

// x = norm(x + y), narrowed for what follows.
void Model::Forward::add_and_norm(const Norm& norm, int thread) {
  const Part rows = mine_of_rows(thread);
  for (int r = rows.first; r < rows.last; ++r) {
    float* to = x(thread) + size_t(r) * C;
    kernels_.add_norm(to, model_.y_.data() + r * stride_, norm.gain, norm.bias,
                      shape_.layer_norm_epsilon, C, to);
    narrow_row(r, to, C, thread);
  }
}

// Keys and values of new rows go to their pages: to each thread its heads.
void Model::Forward::remember(int layer, int first_row, int last_row, int thread) {
  const int head_dim = model_.head_dim_;
  const Part heads = mine(shape_.n_head, thread);
  for (int r = first_row; r < last_row; ++r) {
    const float* key = model_.wide_.data() + r * attn_stride_ + C;
    const float* value = key + C;
    const int page = rows_[r].position / kPage, place = rows_[r].position % kPage;
    for (int h = heads.first; h < heads.last; ++h) {
      const int first = h * head_dim;
      const Pages keys = model_.cache_.keys(layer, rows_[r].slot, first);
      const Pages values = model_.cache_.values(layer, rows_[r].slot, first);
      const size_t at = keys.numbers[page] * keys.bytes;
      uint8_t* to_key = const_cast<uint8_t*>(keys.first) + at;
      uint8_t* to_value = const_cast<uint8_t*>(values.first) + at;
      if (model_.cache_.half()) {
        for (int d = 0; d < head_dim; ++d) {
          reinterpret_cast<uint16_t*>(to_key)[d * kPage + place] = to_bfloat16(key[first + d]);
          reinterpret_cast<uint16_t*>(to_value)[place * head_dim + d] =
              to_bfloat16(value[first + d]);
        }
      } else {
        for (int d = 0; d < head_dim; ++d)
          reinterpret_cast<float*>(to_key)[d * kPage + place] = key[first + d];
        std::memcpy(reinterpret_cast<float*>(to_value) + place * head_dim, value + first,
                    size_t(head_dim) * 4);
      }
    }
  }
}

void Model::Forward::attend(int layer, int thread) {
  const int n_head = shape_.n_head, n_runs = int(runs_.size());
  if (n_head % threads_) {  // heads that do not divide among the threads are shared by runs of rows
    remember(layer, 0, count_, thread);
    meet();
    const Part part = mine(n_head * n_runs, thread);
    for (int unit = part.first; unit < part.last; ++unit)
      attend_run(layer, unit % n_runs, unit / n_runs, 1, thread);
    return;
  }
  const Part heads = mine(n_head, thread);  // as `remember` shared them
  for (int first = 0, last; first < n_runs; first = last) {
    last = first + 1;
    while (last < n_runs && slot_of(last) == slot_of(first)) ++last;
    remember(layer, runs_[first].first, runs_[last - 1].first + runs_[last - 1].count, thread);
    // one run reads memory in order, all heads of a page; several find a head in the cache
    const int together = last - first == 1 ? heads.last - heads.first : 1;
    for (int head = heads.first; head < heads.last; head += together)
      for (int run = first; run < last; ++run) attend_run(layer, run, head, together, thread);
  }
}

void Model::Forward::attend_run(int layer, int number, int head, int heads, int thread) {
  const Run& run = runs_[number];
  const int slot = slot_of(number), first = head * model_.head_dim_;
  const Attention shape{heads, model_.head_dim_, model_.cache_.half(),
                        model_.cache_.keys(layer, slot, first),
                        model_.cache_.values(layer, slot, first)};
  float* scores = model_.scores_.data() + model_.room_ * kQueries * shape_.n_head * thread;
  kernels_.attend(shape, model_.wide_.data() + run.first * attn_stride_ + first, attn_stride_,
                  run.count, rows_[run.first].position + 1, scores, model_.room_,
                  model_.y_.data() + run.first * stride_ + first, stride_);
}

// Logits of the wanted rows. Where the last panel is wider than the vocabulary, they go by way of a
// whole one.
void Model::Forward::head(int thread) {
  const Matrix& tokens = model_.tokens_;
  const Part rows = for_all_ ? Part(n_wanted_, 0, 1) : mine(n_wanted_, thread);
  for (int r = rows.first; r < rows.last; ++r)
    narrow_row(r, x(thread) + size_t(wanted_[r]) * C, C, thread);
  meet_at_rows();
  const int vocab_size = shape_.vocab_size, last = vocab_size / kPanel;
  share_panels(tokens, 4 * shape_.n_layer, thread, [&](int panel) {
    if (panel < last)
      return kernels_.multiply(tokens, narrow(thread), n_wanted_, panel, panel + 1, logits_,
                               vocab_size);
    Matrix one = tokens;
    one.data += size_t(last) * tokens.panel_bytes();
    kernels_.multiply(one, narrow(thread), n_wanted_, 0, 1, model_.last_panel_.data(), kPanel);
    for (int r = 0; r < n_wanted_; ++r)
      std::memcpy(logits_ + size_t(r) * vocab_size + size_t(last) * kPanel,
                  model_.last_panel_.data() + size_t(r) * kPanel, size_t(vocab_size % kPanel) * 4);
  });
}

}  // namespace ogpt
