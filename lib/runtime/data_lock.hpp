// Keeps a second process of the same service off a data directory: flock(2) on DATA/lock.<service>, released by the kernel when the process
// ends, however it ends. Main thread.
#pragma once

#include <string>

#include "lib/base/file_ops.hpp"

namespace lucid::runtime {

class DataLock {
 public:
  // Throws Error{conflict, "already_running"} naming the process that has it.
  DataLock(const std::string& data_dir, const std::string& service);

 private:
  File file_;
};

}  // namespace lucid::runtime
