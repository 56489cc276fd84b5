#include "cache.h"

#include <algorithm>
#include <climits>
#include <cstring>
#include <new>

namespace ogpt {
namespace {

int pages_of(int positions) { return (positions + kPage - 1) / kPage; }

int counted(size_t pages) {
  if (pages > INT_MAX) throw std::bad_alloc();
  return int(pages);
}

}  // namespace

// A slot never holds more pages than its positions need, so there is always one to take.
Cache::Cache(int slots, int layers, int positions, int n_embd, bool half)
    : layers_(layers),
      n_embd_(n_embd),
      half_(half),
      page_bytes_(size_t(2) * kPage * n_embd * (half ? 2 : 4)),
      n_pages_(counted(size_t(slots) * pages_of(positions))),
      arena_(page_bytes_ * n_pages_ * layers),
      memory_(arena_.take<uint8_t>(page_bytes_ * n_pages_ * layers)),
      slots_(slots),
      holders_(n_pages_),
      free_(n_pages_) {
  for (int page = 0; page < n_pages_; ++page) free_[page] = n_pages_ - 1 - page;
  for (auto& pages : slots_) pages.reserve(pages_of(positions));
}

int Cache::take() {
  const int page = free_.back();
  free_.pop_back();
  holders_[page] = 1;
  return page;
}

void Cache::give_back(int page) {
  if (--holders_[page] == 0) free_.push_back(page);
}

void Cache::open(int slot, int position) {
  truncate(slot, position);
  std::vector<int32_t>& pages = slots_[slot];
  if (position % kPage == 0) {
    pages.push_back(take());
  } else if (holders_[pages.back()] > 1) {
    const int shared = pages.back(), own = take();
    for (int layer = 0; layer < layers_; ++layer) {
      uint8_t* base = memory_ + size_t(layer) * n_pages_ * page_bytes_;
      std::memcpy(base + own * page_bytes_, base + shared * page_bytes_, page_bytes_);
    }
    give_back(shared);
    pages.back() = own;
  }
}

void Cache::truncate(int slot, int length) {
  std::vector<int32_t>& pages = slots_[slot];
  while (pages.size() > size_t(pages_of(length))) {
    give_back(pages.back());
    pages.pop_back();
  }
}

void Cache::copy(int source, int target, int length) {
  truncate(target, 0);
  const auto& pages = slots_[source];
  slots_[target].assign(pages.begin(), pages.begin() + pages_of(length));
  for (int page : slots_[target]) ++holders_[page];
}

Pages Cache::keys(int layer, int slot, int first_channel) const {
  const size_t before = size_t(first_channel) * kPage * (half_ ? 2 : 4);
  return {memory_ + size_t(layer) * n_pages_ * page_bytes_ + before, slots_[slot].data(),
          page_bytes_};
}

Pages Cache::values(int layer, int slot, int first_channel) const {
  Pages pages = keys(layer, slot, first_channel);
  pages.first += page_bytes_ / 2;
  return pages;
}

int Cache::shared_pages() const {
  return int(std::count_if(holders_.begin(), holders_.end(), [](int n) { return n > 1; }));
}

}  // namespace ogpt
