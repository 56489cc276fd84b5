#include "numbers.h"

#include <errno.h>
#include <unistd.h>

#include <cstring>
#include <vector>

namespace ogpt {
namespace {

template <typename Stored, typename Bits>
int32_t widen_each(const uint8_t* from, size_t count, float* to, Bits bits_of) {
  int32_t largest = 0;
  for (size_t i = 0; i < count; ++i) {
    Stored stored;
    std::memcpy(&stored, from + i * sizeof stored, sizeof stored);
    const uint32_t bits = bits_of(stored);
    std::memcpy(to + i, &bits, 4);
    const int32_t magnitude = int32_t(bits & 0x7fffffff);
    largest = magnitude > largest ? magnitude : largest;
  }
  return largest;
}

// The exponent moves by a product, which makes numbers below the smallest normal one right, too.
inline uint32_t from_float16(uint16_t half) {
  uint32_t bits = uint32_t(half & 0x7fff) << 13;
  float wide;
  std::memcpy(&wide, &bits, 4);
  wide *= 0x1p112f;
  std::memcpy(&bits, &wide, 4);
  if ((half & 0x7c00) == 0x7c00) bits |= 0x7f800000;  // NaN and infinities
  return bits | uint32_t(half & 0x8000) << 16;
}

}  // namespace

size_t bytes_of(int dtype, size_t count) {
  switch (dtype) {
    case OGPT_FLOAT32: return count * 4;
    case OGPT_STEPS: return count;
    default: return count * 2;
  }
}

const uint8_t* numbers_at(const ogpt_numbers& from, size_t first, size_t count, uint8_t* scratch) {
  const size_t begin = bytes_of(from.dtype, first), wanted = bytes_of(from.dtype, count);
  if (from.data) return static_cast<const uint8_t*>(from.data) + begin;
  for (size_t done = 0; done < wanted;) {
    const ssize_t found = pread(from.file, scratch + done, wanted - done,
                                off_t(from.offset + int64_t(begin + done)));
    if (found > 0) done += size_t(found);
    else if (found == 0 || errno != EINTR) return nullptr;
  }
  return scratch;
}

int32_t widen(int dtype, const uint8_t* from, size_t count, float* to) {
  switch (dtype) {
    case OGPT_FLOAT32:
      return widen_each<uint32_t>(from, count, to, [](uint32_t bits) { return bits; });
    case OGPT_BFLOAT16:
      return widen_each<uint16_t>(from, count, to,
                                  [](uint16_t bits) { return uint32_t(bits) << 16; });
    default:
      return widen_each<uint16_t>(from, count, to, from_float16);
  }
}

float read_floats(const ogpt_numbers& from, size_t count, float* to) {
  std::vector<uint8_t> scratch(from.data ? 0 : bytes_of(from.dtype, count));
  const uint8_t* found = numbers_at(from, 0, count, scratch.data());
  if (!found) throw Unreadable();
  return as_float(widen(from.dtype, found, count, to));
}

float as_float(int32_t bits) {
  float number;
  std::memcpy(&number, &bits, 4);
  return number;
}

}  // namespace ogpt
