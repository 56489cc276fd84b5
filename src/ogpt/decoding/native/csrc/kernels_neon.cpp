// NEON with dot products of signed bytes (from ARMv8.2 on, optional).
#include "kernels.h"
#ifdef OGPT_DOTPROD
#ifndef __ARM_FEATURE_DOTPROD
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif
#include <arm_neon.h>
#include <stdint.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif
#define OGPT_LANES 4
#define OGPT_ROWS 4
#define OGPT_SUMS 16
#define OGPT_BYTE_ROWS 4
#define OGPT_BYTE_SUMS 16
#define OGPT_DOT_BYTES
#define OGPT_DOT_OFFSET 128
#define OGPT_FUSED
#include "pieces.inc"

namespace ogpt {
namespace {
inline V fused(V a, V b, V c) { return vfmaq_f32(c, a, b); }
// Of weight - 128.
inline I dot_bytes(I acc, B weight, uint32_t four) {
  const int8x16_t x = vreinterpretq_s8_u32(vdupq_n_u32(four));
  return (I)vdotq_s32((int32x4_t)acc, (int8x16_t)(weight ^ 128), x);
}
}  // namespace
}  // namespace ogpt
#include "kernels_body.inc"

namespace ogpt {
namespace {
bool available() {
#if defined(__linux__)
  return getauxval(AT_HWCAP) & HWCAP_ASIMDDP;
#else
  return true;  // what this file was compiled for has them
#endif
}
}
const Kernels kNeon{"neon", available, row_bytes, narrow,  multiply,
                    activate, add_norm,  attend,    summarize};
}  // namespace ogpt
#endif
