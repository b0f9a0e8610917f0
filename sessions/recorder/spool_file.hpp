// One spool file as Spool keeps track of it. Private to the spool; guarded by the Spool's mutex, except that `file`,
// `path` and `header` do not change once the first byte is written.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "lib/base/file_ops.hpp"
#include "lib/recording/spool_format.hpp"

namespace lucid::recorder {

struct SpoolFile {
  std::uint64_t number = 0;
  std::string path;
  Bytes header;
  std::optional<recording::SpoolSealer> sealer;  // none: an earlier process wrote this file
  File file;                                     // not open until the first batch
  std::uint64_t size = 0;                        // whole batches
  std::uint64_t synced = 0;
  bool torn = false;  // bytes beyond `size` may be there
  bool name_durable = true;
  std::size_t segments = 0;  // not released yet
};

}  // namespace lucid::recorder
