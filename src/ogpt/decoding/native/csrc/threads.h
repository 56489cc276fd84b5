// Persistent threads: they meet at barriers inside a job, sleep between jobs, and survive a fork.
#pragma once
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

namespace ogpt {

// Where all threads of a job wait for each other. Spins at first, and yields the core in a long wait
// (more threads than cores).
class Barrier {
 public:
  void wait(int threads) {
    const unsigned round = round_.load(std::memory_order_relaxed);
    if (arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == threads) {
      arrived_.store(0, std::memory_order_relaxed);
      round_.store(round + 1, std::memory_order_release);
      return;
    }
    for (int spins = 0; round_.load(std::memory_order_acquire) == round; ++spins) relax(spins);
  }
  static void relax(int spins);

 private:
  std::atomic<int> arrived_{0};
  std::atomic<unsigned> round_{0};
};

class Threads {
 public:
  using Job = void (*)(void* context, int thread);

  explicit Threads(int count) : count_(count) {}
  ~Threads() { stop(); }
  Threads(const Threads&) = delete;
  Threads& operator=(const Threads&) = delete;

  int count() const { return count_; }
  // Run the job on all threads, the caller's among them, and return when all are done.
  void run(Job job, void* context);
  void meet() { barrier_.wait(count_); }

 private:
  void start();
  void forget();
  void stop();
  void work(int thread, unsigned seen);

  const int count_;
  std::vector<std::thread> workers_;
  int owner_ = 0;  // the process that the workers live in
  Barrier barrier_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::atomic<unsigned> jobs_{0};
  std::atomic<int> running_{0};
  std::atomic<bool> ending_{false};
  Job job_ = nullptr;
  void* context_ = nullptr;
};

}  // namespace ogpt
