#include "arena.h"

#include <sys/mman.h>

#include <new>

namespace ogpt {
namespace {
constexpr size_t kPage = size_t(2) << 20;
}

Arena::Arena(size_t bytes) : size_((bytes + kPage - 1) / kPage * kPage) {
  // a page more than needed, so that it can begin on the border of a large page
  void* found =
      mmap(nullptr, size_ + kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (found == MAP_FAILED) throw std::bad_alloc();
  uint8_t* start = static_cast<uint8_t*>(found);
  const size_t before = (kPage - reinterpret_cast<uintptr_t>(start) % kPage) % kPage;
  if (before) munmap(start, before);
  if (kPage - before) munmap(start + before + size_, kPage - before);
  memory_ = start + before;
#ifdef MADV_HUGEPAGE
  madvise(memory_, size_, MADV_HUGEPAGE);
#endif
}

Arena::~Arena() { munmap(memory_, size_); }

void* Arena::take_bytes(size_t bytes) {
  if (taken_ + rounded(bytes) > size_) throw std::bad_alloc();
  void* found = memory_ + taken_;
  taken_ += rounded(bytes);
  return found;
}

}  // namespace ogpt
