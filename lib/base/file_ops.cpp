#include "lib/base/file_ops.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fmt/format.h>

namespace lucid {
namespace {

std::string parent_of(const std::string& path) {
  std::size_t slash = path.find_last_of('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

}  // namespace

File& File::operator=(File&& other) noexcept {
  if (this != &other) {
    close();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void File::close() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

File FileOps::open(const std::string& path, OpenMode mode) {
  int flags = O_CLOEXEC;
  switch (mode) {
    case OpenMode::read: flags |= O_RDONLY; break;
    case OpenMode::append: flags |= O_RDWR | O_CREAT | O_APPEND; break;
    case OpenMode::create_new: flags |= O_RDWR | O_CREAT | O_EXCL; break;
  }
  int fd = ::open(path.c_str(), flags, 0600);
  if (fd < 0) throw system_error("open", path, errno);
  return File(fd);
}

void FileOps::write(const File& file, ByteView bytes, const std::string& path) {
  while (!bytes.empty()) {
    ssize_t n = ::write(file.fd(), bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw system_error("write", path, errno);
    bytes = bytes.subspan(static_cast<std::size_t>(n));
  }
}

void FileOps::sync_data(const File& file, const std::string& path) {
  if (::fdatasync(file.fd()) != 0) throw system_error("sync", path, errno);
}

void FileOps::sync_directory(const std::string& path) {
  File dir(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (!dir) throw system_error("open directory", path, errno);
  if (::fsync(dir.fd()) != 0) throw system_error("sync directory", path, errno);
}

void FileOps::rename(const std::string& from, const std::string& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) throw system_error("rename " + from + " to", to, errno);
}

void FileOps::remove(const std::string& path) {
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) throw system_error("remove", path, errno);
}

void FileOps::truncate(const File& file, std::uint64_t size, const std::string& path) {
  if (::ftruncate(file.fd(), static_cast<off_t>(size)) != 0) throw system_error("truncate", path, errno);
}

std::size_t FileOps::read_at(const File& file, std::span<std::uint8_t> out, std::uint64_t offset, const std::string& path) {
  std::size_t done = 0;
  while (done < out.size()) {
    ssize_t n = ::pread(file.fd(), out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) throw system_error("read", path, errno);
    if (n == 0) break;
    done += static_cast<std::size_t>(n);
  }
  return done;
}

std::uint64_t FileOps::size(const File& file, const std::string& path) {
  struct stat st{};
  if (::fstat(file.fd(), &st) != 0) throw system_error("stat", path, errno);
  return static_cast<std::uint64_t>(st.st_size);
}

void FileOps::make_directories(const std::string& path) {
  if (path.empty() || exists(path)) return;
  std::string parent = parent_of(path);
  make_directories(parent);
  if (::mkdir(path.c_str(), 0700) != 0 && errno != EEXIST) throw system_error("create directory", path, errno);
  sync_directory(parent);
}

void FileOps::replace_file(const std::string& path, ByteView bytes) {
  static std::atomic<unsigned> counter{0};
  std::string temporary = fmt::format("{}.tmp-{}-{}", path, ::getpid(), counter++);
  try {
    File file = open(temporary, OpenMode::create_new);
    write(file, bytes, temporary);
    sync_data(file, temporary);
    rename(temporary, path);
  } catch (...) {
    ::unlink(temporary.c_str());
    throw;
  }
  sync_directory(parent_of(path));
}

Bytes FileOps::read_file(const std::string& path, std::size_t max_bytes) {
  File file = open(path, OpenMode::read);
  std::uint64_t n = size(file, path);
  if (n > max_bytes) throw Error(ErrorKind::too_large, fmt::format("{} is larger than {} bytes", path, max_bytes));
  Bytes bytes(n);
  bytes.resize(read_at(file, bytes, 0, path));
  return bytes;
}

std::vector<std::string> FileOps::list(const std::string& path) {
  std::vector<std::string> names;
  DIR* dir = ::opendir(path.c_str());
  if (dir == nullptr) {
    if (errno == ENOENT) return names;
    throw system_error("list", path, errno);
  }
  while (dirent* entry = ::readdir(dir)) {
    std::string_view name = entry->d_name;
    if (name != "." && name != "..") names.emplace_back(name);
  }
  ::closedir(dir);
  std::sort(names.begin(), names.end());
  return names;
}

bool FileOps::exists(const std::string& path) { return ::access(path.c_str(), F_OK) == 0; }

void FileOps::remove_tree(const std::string& path) {
  std::error_code ec;
  std::filesystem::remove_all(path, ec);
  if (ec) throw system_error("remove", path, ec.value());
}

FileOps& system_files() {
  static FileOps ops;
  return ops;
}

void FaultyFileOps::check(const char* call, const std::string& path) {
  if (int error = fail_(call, path, calls_++)) throw system_error(call, path, error);
}

File FaultyFileOps::open(const std::string& path, OpenMode mode) {
  check("open", path);
  return FileOps::open(path, mode);
}
void FaultyFileOps::write(const File& file, ByteView bytes, const std::string& path) {
  try {
    check("write", path);
  } catch (...) {
    FileOps::write(file, bytes.first(bytes.size() / 2), path);
    throw;
  }
  FileOps::write(file, bytes, path);
}
void FaultyFileOps::sync_data(const File& file, const std::string& path) {
  check("sync_data", path);
  FileOps::sync_data(file, path);
}
void FaultyFileOps::sync_directory(const std::string& path) {
  check("sync_directory", path);
  FileOps::sync_directory(path);
}
void FaultyFileOps::rename(const std::string& from, const std::string& to) {
  check("rename", from);
  FileOps::rename(from, to);
}
void FaultyFileOps::remove(const std::string& path) {
  check("remove", path);
  FileOps::remove(path);
}
void FaultyFileOps::truncate(const File& file, std::uint64_t size, const std::string& path) {
  check("truncate", path);
  FileOps::truncate(file, size, path);
}
std::size_t FaultyFileOps::read_at(const File& file, std::span<std::uint8_t> out, std::uint64_t offset, const std::string& path) {
  check("read_at", path);
  return FileOps::read_at(file, out, offset, path);
}

TempDir::TempDir() {
  const char* base = std::getenv("TMPDIR");
  std::string pattern = std::string(base != nullptr ? base : "/tmp") + "/lucid-XXXXXX";
  if (::mkdtemp(pattern.data()) == nullptr) throw system_error("create directory", pattern, errno);
  path_ = pattern;
}

TempDir::~TempDir() {
  std::error_code ec;
  std::filesystem::remove_all(path_, ec);
}

}  // namespace lucid
