#include "rdp/monitor/readings/text.hpp"

#include <cerrno>
#include <memory>

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "lib/base/file_ops.hpp"

namespace lucid::monitor {

std::optional<std::string_view> TextReader::read(int directory, const char* path, std::size_t limit) {
  // Non-blocking: what should be a file may be a pipe nobody writes to.
  File file(::openat(directory, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  error_ = file ? 0 : errno;
  if (!file) return std::nullopt;
  std::size_t size = 0;
  while (size < limit) {
    if (size == buffer_.size()) buffer_.resize(buffer_.size() * 2);
    ssize_t n = ::read(file.fd(), buffer_.data() + size, std::min(buffer_.size(), limit) - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      error_ = errno;
      return std::nullopt;
    }
    if (n == 0) break;
    size += static_cast<std::size_t>(n);
  }
  return std::string_view(buffer_.data(), size);
}

std::optional<std::string_view> TextReader::read(const std::string& path, std::size_t limit) { return read(AT_FDCWD, path.c_str(), limit); }

std::vector<std::string> names_in(const std::string& directory, Listing listing, std::size_t limit) {
  std::vector<std::string> names;
  std::unique_ptr<DIR, int (*)(DIR*)> open(::opendir(directory.c_str()), ::closedir);
  if (!open) return names;
  while (const dirent* entry = ::readdir(open.get())) {
    std::string_view name = entry->d_name;
    if (name == "." || name == "..") continue;
    if (listing == Listing::directories && entry->d_type != DT_DIR) continue;
    if (names.size() == limit) break;
    names.emplace_back(name);
  }
  return names;
}

std::optional<std::uint64_t> number_of(std::string_view text, std::string_view key) {
  for (std::string_view line; next_line(text, line);)
    if (line.starts_with(key) && line.size() > key.size() && (line[key.size()] == ' ' || line[key.size()] == '\t')) {
      line.remove_prefix(key.size());
      return next_number<std::uint64_t>(line);
    }
  return std::nullopt;
}

}  // namespace lucid::monitor
