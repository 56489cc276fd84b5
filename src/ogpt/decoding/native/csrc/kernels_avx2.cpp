// AVX2 with fused multiply-add.
#include "kernels.h"
#ifdef OGPT_X86
#pragma GCC target("avx2,fma")
#include <stdint.h>
#define OGPT_ROWS 4
#define OGPT_VECTORS 1
#include "kernels_body.inc"

namespace ogpt {
namespace {
bool available() { return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"); }
}
const Kernels kAvx2{"avx2", available, narrow, multiply, activate, add_norm, attend};
}  // namespace ogpt
#endif
