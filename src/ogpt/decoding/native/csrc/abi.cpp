#include "abi.h"

#include <cstdio>
#include <cstring>
#include <exception>
#include <new>

#include "model.h"
#include "packing.h"

struct ogpt_model {
  ogpt::Model model;
};

namespace {

const ogpt::Kernels* const kAll[] = {
#if defined(OGPT_X86) && defined(__linux__)
    &ogpt::kAmx,
#endif
#if defined(OGPT_X86)
    &ogpt::kAvx512Bf16, &ogpt::kAvx512, &ogpt::kAvx2,
#endif
#if defined(OGPT_DOTPROD)
    &ogpt::kNeon,
#endif
    &ogpt::kPortable};

const ogpt::Kernels* choose(const char* name) {
  for (const ogpt::Kernels* kernels : kAll)
    if ((!*name || !std::strcmp(name, kernels->name)) && kernels->available()) return kernels;
  return nullptr;
}

}  // namespace

extern "C" {

int ogpt_abi_version(void) { return 2; }

ogpt_model* ogpt_create(const ogpt_shape* shape, const char* kernels, char* error, size_t size) {
  const ogpt::Kernels* chosen = choose(kernels);
  if (!chosen) {
    std::snprintf(error, size, "this processor has no %s", kernels);
    return nullptr;
  }
  try {
    return new ogpt_model{ogpt::Model(*shape, *chosen)};
  } catch (const std::bad_alloc&) {
    std::snprintf(error, size, "there is not enough memory for weights and cache");
  } catch (const std::exception& raised) {
    std::snprintf(error, size, "%s", raised.what());
  }
  return nullptr;
}

void ogpt_destroy(ogpt_model* model) { delete model; }

int ogpt_set(ogpt_model* model, int weight, int layer, const ogpt_numbers* numbers,
             const float* sizes, float* largest) {
  try {
    *largest = model->model.set(weight, layer, *numbers, sizes);
  } catch (const ogpt::Unreadable&) {
    return OGPT_UNREADABLE;
  } catch (const std::exception&) {
    return OGPT_EXHAUSTED;
  }
  return 0;
}

void ogpt_quantize(int precision, int weight, int in, int out, const float* data, uint8_t* steps,
                   float* sizes) {
  ogpt::round_to_file(data, weight == OGPT_TOKENS, in, out, ogpt::Precision(precision), steps,
                      sizes);
}

int ogpt_run(ogpt_model* model, const ogpt_row* rows, int count, const int32_t* wanted,
             int n_wanted, float* logits, float* hidden) {
  try {
    model->model.run(rows, count, wanted, n_wanted, logits, hidden);
  } catch (const std::exception&) {  // memory for the rows, or a thread, cannot be had
    return OGPT_EXHAUSTED;
  }
  return 0;
}

int ogpt_summarize(ogpt_model* model, const float* logits, int count, ogpt_summary* summaries) {
  try {
    model->model.summarize(logits, count, summaries);
  } catch (const std::exception&) {
    return OGPT_EXHAUSTED;
  }
  return 0;
}

void ogpt_copy(ogpt_model* model, int source, int target, int length) {
  model->model.cache().copy(source, target, length);
}

void ogpt_truncate(ogpt_model* model, int slot, int length) {
  model->model.cache().truncate(slot, length);
}

int ogpt_shared_pages(const ogpt_model* model) { return model->model.cache().shared_pages(); }

const char* ogpt_kernels(const ogpt_model* model) { return model->model.kernels().name; }
size_t ogpt_bytes(const ogpt_model* model) { return model->model.bytes(); }
}
