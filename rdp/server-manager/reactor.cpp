#include "rdp/server-manager/reactor.hpp"

#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rdp/server-manager/processes.hpp"

namespace lucid::server_manager {

Reactor::Reactor() : epoll_(::epoll_create1(EPOLL_CLOEXEC)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
  if (!epoll_ || !wake_) throw system_error("create", "epoll", errno);
  epoll_event event{.events = EPOLLIN, .data = {.u64 = 0}};
  ::epoll_ctl(epoll_.fd(), EPOLL_CTL_ADD, wake_.fd(), &event);
  // Signals are for the main thread.
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  thread_ = std::thread([this] { run(); });
  pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

Reactor::~Reactor() {
  {
    std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  std::uint64_t one = 1;
  [[maybe_unused]] ssize_t n = ::write(wake_.fd(), &one, sizeof one);
  thread_.join();
}

void Reactor::watch(const ProcessId& process, std::function<void()> ended) {
  File fd(static_cast<int>(::syscall(SYS_pidfd_open, process.pid, 0)));
  // Looked at after the descriptor was got: it is that very process's, or of a later one and the old one is gone.
  if (!fd || !ProcessTable().alive(process)) {
    ::waitpid(process.pid, nullptr, WNOHANG);  // a child of ours that ended at once
    after(std::chrono::milliseconds(0), std::move(ended));
    return;
  }
  std::lock_guard lock(mutex_);
  std::uint64_t key = next_++;
  epoll_event event{.events = EPOLLIN, .data = {.u64 = key}};
  int number = fd.fd();
  watched_.emplace(key, Watched{std::move(fd), process, std::move(ended)});
  ::epoll_ctl(epoll_.fd(), EPOLL_CTL_ADD, number, &event);
}

void Reactor::after(std::chrono::milliseconds delay, std::function<void()> due) {
  {
    std::lock_guard lock(mutex_);
    timers_.emplace(std::chrono::steady_clock::now() + delay, std::move(due));
  }
  std::uint64_t one = 1;
  [[maybe_unused]] ssize_t n = ::write(wake_.fd(), &one, sizeof one);
}

void Reactor::run() {
  std::array<epoll_event, 32> events;
  for (;;) {
    std::vector<std::function<void()>> due;
    int wait_ms = -1;
    {
      std::lock_guard lock(mutex_);
      if (stopping_) return;
      auto now = std::chrono::steady_clock::now();
      while (!timers_.empty() && timers_.begin()->first <= now) {
        due.push_back(std::move(timers_.begin()->second));
        timers_.erase(timers_.begin());
      }
      if (!timers_.empty())
        wait_ms = static_cast<int>(
            std::clamp<std::int64_t>(std::chrono::ceil<std::chrono::milliseconds>(timers_.begin()->first - now).count(), 0, 60'000));
    }
    for (auto& callback : due) callback();
    if (!due.empty()) continue;
    int n = ::epoll_wait(epoll_.fd(), events.data(), events.size(), wait_ms);
    for (int i = 0; i < n; ++i) {
      std::uint64_t key = events[static_cast<std::size_t>(i)].data.u64;
      if (key == 0) {
        std::uint64_t count;
        [[maybe_unused]] ssize_t got = ::read(wake_.fd(), &count, sizeof count);
        continue;
      }
      Watched ended;
      {
        std::lock_guard lock(mutex_);
        auto it = watched_.find(key);
        if (it == watched_.end()) continue;
        ended = std::move(it->second);
        watched_.erase(it);
      }
      ::waitpid(ended.process.pid, nullptr, WNOHANG);  // ECHILD for adopted ones
      ended.ended();
    }
  }
}

}  // namespace lucid::server_manager
