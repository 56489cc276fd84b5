// Numbers of several dtypes as they lie in memory or in a file, to float32.
#pragma once
#include <exception>

#include "abi.h"

namespace ogpt {

// The file ends before its numbers, or the system does not give them.
struct Unreadable : std::exception {};

size_t bytes_of(int dtype, size_t count);

// The numbers [first, first + count): where they lie in memory, or read from their file into
// `scratch`, which has room for them. nullptr: the file cannot give them.
const uint8_t* numbers_at(const ogpt_numbers& from, size_t first, size_t count, uint8_t* scratch);

// `count` numbers as float32. Returns the bits of the largest magnitude among them: it is above
// that of every finite number where one is NaN or infinite.
int32_t widen(int dtype, const uint8_t* from, size_t count, float* to);

// All `count` numbers as float32; the largest magnitude as above, as a number. Throws Unreadable.
float read_floats(const ogpt_numbers& from, size_t count, float* to);

float as_float(int32_t bits);

}  // namespace ogpt
