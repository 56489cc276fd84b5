// AVX-512 with VNNI for bytes; bfloat16 is widened.
#include "kernels.h"
#ifdef OGPT_X86
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512vnni,fma")
#include "avx512.inc"
#include "kernels_body.inc"

namespace ogpt {
namespace {
bool available() {
  return __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq") &&
         __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512vnni");
}
}
const Kernels kAvx512{"avx512", available, row_bytes, narrow,  multiply,
                      activate, add_norm,  attend,    summarize};
}  // namespace ogpt
#endif
