// NEON with dot products of signed bytes (from ARMv8.2 on, optional).
#include "kernels.h"
#ifdef OGPT_DOTPROD
#ifndef __ARM_FEATURE_DOTPROD
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif
#include <arm_neon.h>
#include <stdint.h>
#include <string.h>
#if defined(__linux__)
#include <sys/auxv.h>
#endif
#define OGPT_ROWS 4
#define OGPT_VECTORS 1
#define OGPT_VNNI
#define OGPT_DOT_OFFSET 128
namespace ogpt { namespace {
typedef int32_t I __attribute__((vector_size(64), aligned(4)));
typedef uint8_t B __attribute__((vector_size(64), aligned(1)));
// Of weight - 128.
inline I dot_bytes(I acc, B weight, uint32_t four) {
  const int8x16_t x = vreinterpretq_s8_u32(vdupq_n_u32(four));
  weight ^= 128;
  int32x4_t sums[4];
  int8x16_t parts[4];
  memcpy(sums, &acc, sizeof sums);
  memcpy(parts, &weight, sizeof parts);
  for (int i = 0; i < 4; ++i) sums[i] = vdotq_s32(sums[i], parts[i], x);
  memcpy(&acc, sums, sizeof sums);
  return acc;
}
} }
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
const Kernels kNeon{"neon", available, narrow, multiply, activate, add_norm, attend};
}  // namespace ogpt
#endif
