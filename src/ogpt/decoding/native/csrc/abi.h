// The native decoder's C interface, for ctypes. Every function that can fail returns an
// `ogpt_failure`, or 0. A model is used by one caller at a time.
#pragma once
#include <cstddef>
#include <cstdint>

extern "C" {

struct ogpt_model;

// Raised whenever the meaning of a call changes.
int ogpt_abi_version(void);

// Shapes in the names of config.json; `precision`: 0 float32, 1 bfloat16, 2 int8, 3 int4.
struct ogpt_shape {
  int32_t vocab_size, n_positions, n_embd, n_layer, n_head;
  int32_t precision, activation, slots, threads, half_cache;
  float layer_norm_epsilon;
};

// One row of a forward pass: a token, the slot that it is appended to, and its place there.
struct ogpt_row {
  int32_t token, slot, position;
};

// Which weight `ogpt_set` gives; matrices are (in, out), the embedding is (vocab_size, n_embd).
enum ogpt_weight {
  OGPT_TOKENS, OGPT_POSITIONS, OGPT_ATTN_W, OGPT_ATTN_B, OGPT_ATTN_PROJ_W, OGPT_ATTN_PROJ_B,
  OGPT_LN_1_W, OGPT_LN_1_B, OGPT_FC_W, OGPT_FC_B, OGPT_PROJ_W, OGPT_PROJ_B, OGPT_LN_2_W,
  OGPT_LN_2_B
};

// Make a model without weights; NULL with a message in `error` where memory cannot be had.
ogpt_model* ogpt_create(const ogpt_shape* shape, const char* kernels, char* error, size_t size);
void ogpt_destroy(ogpt_model* model);

// Numbers, row after row: at `data`, or where that is NULL in an open file, from byte `offset` on.
struct ogpt_numbers {
  const void* data;
  int64_t offset;
  int32_t file, dtype;
};
enum ogpt_dtype { OGPT_FLOAT32, OGPT_BFLOAT16, OGPT_FLOAT16, OGPT_STEPS };
enum ogpt_failure { OGPT_EXHAUSTED = 1, OGPT_UNREADABLE };  // memory or a thread; the file

// Take a weight, packed for the model's precision; its numbers may be freed afterwards. `largest`: the
// largest magnitude in it, NaN or infinite where any is. A matrix that `ogpt_quantize` rounded to
// that precision comes as OGPT_STEPS with their `sizes`, which is NULL otherwise.
int ogpt_set(ogpt_model* model, int weight, int layer, const ogpt_numbers* numbers,
             const float* sizes, float* largest);

// Round a float32 matrix (in, out), or the embedding (vocab_size, n_embd) as `out` rows of `in`, to
// int8 (2) or int4 (3): steps (out, groups of 64 inputs), zeros behind the last input, int4 two to
// a byte, the first one low, each + 8; and their sizes (out, groups).
void ogpt_quantize(int precision, int weight, int in, int out, const float* data, uint8_t* steps,
                   float* sizes);

// Append `count` rows, all layers; rows of one slot in order. Then the logits of the rows
// that `wanted` names, (n_wanted, vocab_size), and the last hidden states of all rows,
// (count, n_embd), where the pointers are not NULL.
int ogpt_run(ogpt_model* model, const ogpt_row* rows, int count, const int32_t* wanted,
             int n_wanted, float* logits, float* hidden);

// Of rows of logits (count, vocab_size): the first place of the largest, the largest, which is NaN
// where any is, and the logarithm of the sum of the exponentials.
struct ogpt_summary {
  int32_t best;
  float largest;
  double log_sum;
};
int ogpt_summarize(ogpt_model* model, const float* logits, int count, ogpt_summary* summaries);

// Copy the first `length` tokens of a slot to another one. The two share the memory until one of
// them writes there.
void ogpt_copy(ogpt_model* model, int source, int target, int length);

// Release the memory of a slot beyond its first `length` tokens.
void ogpt_truncate(ogpt_model* model, int slot, int length);

int ogpt_shared_pages(const ogpt_model* model);     // pages of the KV cache with several slots

const char* ogpt_kernels(const ogpt_model* model);  // which instructions are used
size_t ogpt_bytes(const ogpt_model* model);         // of the packed weights and of the cache
}
