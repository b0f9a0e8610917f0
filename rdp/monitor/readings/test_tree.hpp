// Test helper: a directory of files made by hand, as /proc, /sys or a cgroup tree. Gone at its end. For tests of this folder only.
#pragma once

#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <stdlib.h>

namespace lucid::monitor {

class Tree {
 public:
  Tree() {
    std::string pattern = testing::TempDir() + "monitor.XXXXXX";
    if (::mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("cannot make a directory for the test");
    root_ = pattern;
  }
  ~Tree() { std::filesystem::remove_all(root_); }
  void write(const std::string& path, const std::string& text) const {
    std::filesystem::path file = root_ / path;
    std::filesystem::create_directories(file.parent_path());
    std::ofstream(file, std::ios::binary | std::ios::trunc) << text;
  }
  void remove(const std::string& path) const { std::filesystem::remove_all(root_ / path); }
  std::string at(const std::string& path) const { return (root_ / path).string(); }
  std::string path() const { return root_.string(); }

 private:
  std::filesystem::path root_;
};

inline std::string text_of(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

}  // namespace lucid::monitor
