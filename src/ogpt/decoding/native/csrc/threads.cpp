#include "threads.h"

#include <unistd.h>

namespace ogpt {
namespace {
constexpr int kSpins = 20000;  // some tens of microseconds: the time between two tokens
constexpr int kPatience = 2000;
}  // namespace

void Barrier::relax(int spins) {
  if (spins > kPatience) {
    std::this_thread::yield();
    return;
  }
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

void Threads::run(Job job, void* context) {
  if (count_ == 1) {
    job(context, 0);
    return;
  }
  if (owner_ != getpid()) start();  // the first job, or the first one after a fork
  {
    std::lock_guard<std::mutex> lock(mutex_);
    job_ = job;
    context_ = context;
    running_.store(count_ - 1, std::memory_order_relaxed);
    jobs_.fetch_add(1, std::memory_order_release);
  }
  wake_.notify_all();
  job(context, 0);
  for (int spins = 0; running_.load(std::memory_order_acquire); ++spins) Barrier::relax(spins);
}

void Threads::start() {
  for (std::thread& worker : workers_) worker.detach();  // lived in the process we were forked from
  workers_.clear();
  owner_ = getpid();
  for (int thread = 1; thread < count_; ++thread)
    workers_.emplace_back(&Threads::work, this, thread, jobs_.load());
}

void Threads::stop() {
  if (owner_ != getpid()) {
    for (std::thread& worker : workers_) worker.detach();
    return;
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ending_.store(true, std::memory_order_release);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
}

void Threads::work(int thread, unsigned seen) {
  for (;;) {
    for (int spins = 0; jobs_.load(std::memory_order_acquire) == seen; ++spins) {
      if (ending_.load(std::memory_order_acquire)) return;
      if (spins < kSpins) {
        Barrier::relax(spins % kPatience);
        continue;
      }
      std::unique_lock<std::mutex> lock(mutex_);
      wake_.wait(lock, [&] { return jobs_.load() != seen || ending_.load(); });
    }
    ++seen;
    job_(context_, thread);
    running_.fetch_sub(1, std::memory_order_release);
  }
}

}  // namespace ogpt
