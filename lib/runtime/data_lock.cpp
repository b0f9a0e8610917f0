#include "lib/runtime/data_lock.hpp"

#include <cerrno>
#include <string>

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <fmt/format.h>

namespace lucid::runtime {

DataLock::DataLock(const std::string& data_dir, const std::string& service) {
  std::string path = data_dir + "/lock." + service;
  file_ = File(::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600));
  if (!file_) throw system_error("open", path, errno);
  if (::flock(file_.fd(), LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK) throw system_error("lock", path, errno);
    char pid[24] = {};
    ssize_t n = ::pread(file_.fd(), pid, sizeof pid - 1, 0);
    std::string by = n > 0 ? fmt::format(" (process {})", std::string(pid, static_cast<std::size_t>(n))) : std::string();
    throw Error(ErrorKind::conflict, "already_running", fmt::format("{} already runs on the data directory {}{}", service, data_dir, by));
  }
  // For people and the message above only; the lock itself is the kernel's.
  std::string pid = std::to_string(::getpid());
  if (::ftruncate(file_.fd(), 0) != 0 || ::pwrite(file_.fd(), pid.data(), pid.size(), 0) < 0) throw system_error("write", path, errno);
}

}  // namespace lucid::runtime
