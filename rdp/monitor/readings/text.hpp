// Reading of /proc, /sys and cgroup files: small texts of words and numbers that the kernel makes when they are read. One TextReader a collector
// keeps the buffer, so a look allocates nothing. Not thread-safe.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <charconv>

namespace lucid::monitor {

class TextReader {
 public:
  // The file's text, at most `limit` bytes of it, valid until the next read; nullopt sets error(). `directory`: an open one, for relative paths.
  std::optional<std::string_view> read(int directory, const char* path, std::size_t limit = 256 << 10);
  std::optional<std::string_view> read(const std::string& path, std::size_t limit = 256 << 10);
  int error() const { return error_; }  // errno of the last read

 private:
  std::vector<char> buffer_ = std::vector<char>(4096);
  int error_ = 0;
};

// The names in a directory but "." and ".."; `only_directories` by the type the file system gives. Empty where it cannot be read.
enum class Listing { all, directories };
std::vector<std::string> names_in(const std::string& directory, Listing listing, std::size_t limit = 4096);

// Takes the next line, without its end; false at the end of the text.
inline bool next_line(std::string_view& text, std::string_view& line) {
  if (text.empty()) return false;
  std::size_t end = text.find('\n');
  line = text.substr(0, end);
  text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
  return true;
}

// Takes the next word (between spaces and tabs) of a line; empty at its end.
inline std::string_view next_word(std::string_view& line) {
  std::size_t begin = line.find_first_not_of(" \t");
  if (begin == std::string_view::npos) return line = {};
  std::size_t end = std::min(line.find_first_of(" \t", begin), line.size());
  std::string_view word = line.substr(begin, end - begin);
  line.remove_prefix(end);
  return word;
}

template <class T>
std::optional<T> to_number(std::string_view word, int base = 10) {
  T n{};
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), n, base);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return n;
}

inline std::optional<double> to_real(std::string_view word) {
  double n = 0;
  auto [end, error] = std::from_chars(word.data(), word.data() + word.size(), n);
  if (error != std::errc() || end != word.data() + word.size()) return std::nullopt;
  return n;
}

template <class T>
std::optional<T> next_number(std::string_view& line) {
  return to_number<T>(next_word(line));
}

// A text of one number, as most files of /sys and cgroups are.
template <class T>
std::optional<T> only_number(std::string_view text) {
  std::string_view line;
  return next_line(text, line) ? next_number<T>(line) : std::nullopt;
}

// The number after `key` at a line's beginning ("nr_periods 17", "MemTotal:  1024 kB").
std::optional<std::uint64_t> number_of(std::string_view text, std::string_view key);

}  // namespace lucid::monitor
