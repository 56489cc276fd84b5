// One stretch of zeroed memory for weights or cache, in 2 MiB pages where the system gives them.
#pragma once
#include <cstddef>
#include <cstdint>

namespace ogpt {

class Arena {
 public:
  explicit Arena(size_t bytes);  // throws std::bad_alloc
  ~Arena();
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  // The next `bytes`, aligned to a cache line. The constructor's `bytes` must be enough for all.
  template <typename T>
  T* take(size_t count) { return static_cast<T*>(take_bytes(count * sizeof(T))); }
  size_t size() const { return size_; }
  static size_t rounded(size_t bytes) { return (bytes + 63) / 64 * 64; }

 private:
  void* take_bytes(size_t bytes);

  size_t size_, taken_ = 0;
  uint8_t* memory_;
};

}  // namespace ogpt
