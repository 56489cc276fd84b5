#include "threads.h"

#include <unistd.h>

#include <new>

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
  forget();
  owner_ = getpid();
  try {
    for (int thread = 1; thread < count_; ++thread)
      workers_.emplace_back(&Threads::work, this, thread, jobs_.load());
  } catch (...) {  // all threads or none: a job waits for every one of them
    stop();
    throw;
  }
}

// In the child of a fork no worker lives, and what they held or waited for stays so for ever.
void Threads::forget() {
  if (!workers_.empty()) new std::vector<std::thread>(std::move(workers_));
  workers_.clear();
  new (&mutex_) std::mutex;
  new (&wake_) std::condition_variable;
}

void Threads::stop() {
  if (owner_ != getpid()) return forget();
  {
    std::lock_guard<std::mutex> lock(mutex_);
    ending_.store(true, std::memory_order_release);
  }
  wake_.notify_all();
  for (std::thread& worker : workers_) worker.join();
  workers_.clear();
  ending_ = false;
  owner_ = 0;
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
