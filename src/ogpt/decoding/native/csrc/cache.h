// The KV cache of all slots, in pages of kPage positions. A copy of a slot shares its pages; a slot
// that writes to a shared page gets a page of its own first (copy on write).
#pragma once
#include <vector>

#include "arena.h"
#include "kernels.h"

namespace ogpt {

class Cache {
 public:
  Cache(int slots, int layers, int positions, int n_embd, bool half);  // throws std::bad_alloc

  // The constructor allocates everything, so none of these can fail.
  // Let `slot` write at `position`, which follows what it holds.
  void open(int slot, int position);
  // Keep the pages that hold the first `length` positions.
  void truncate(int slot, int length);
  // Make the first `length` positions of `target` those of `source`.
  void copy(int source, int target, int length);

  Pages keys(int layer, int slot, int first_channel) const;
  Pages values(int layer, int slot, int first_channel) const;
  bool half() const { return half_; }
  size_t bytes() const { return arena_.size(); }
  int shared_pages() const;  // that more than one slot holds

 private:
  int take();
  void give_back(int page);

  const int layers_, n_embd_;
  const bool half_;
  const size_t page_bytes_;  // keys and values of a page in one layer
  const int n_pages_;
  Arena arena_;
  uint8_t* memory_;
  std::vector<std::vector<int32_t>> slots_;
  std::vector<int> holders_, free_;
};

}  // namespace ogpt
