// Test helper: a TLS end in front of a plain server, run by tests/support/tls_front.py with a certificate made by the test. For tests only.
#pragma once

#include <string>
#include <vector>

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

#include "lib/base/file_ops.hpp"
#include "lib/crypto/test_authority.hpp"
#include "lib/net/socket_io.hpp"

namespace lucid::net {

class TlsFront {
 public:
  TlsFront(const std::vector<crypto::TlsCertificate>& certificates, std::uint16_t to, const std::string& mode = "normal") {
    std::vector<std::string> words = {"python3", "tests/support/tls_front.py", mode, std::to_string(to)};
    for (const crypto::TlsCertificate& c : certificates) {
      words.push_back(directory_.path() + "/" + std::to_string(words.size()) + ".pem");
      system_files().replace_file(words.back(), as_bytes(c.certificate_pem + c.private_key_pem));
    }
    std::vector<char*> arguments;
    for (std::string& word : words) arguments.push_back(word.data());
    arguments.push_back(nullptr);
    int in[2], out[2];
    if (::pipe2(in, O_CLOEXEC) != 0 || ::pipe2(out, O_CLOEXEC) != 0) throw system_error("make a pipe", "tls_front.py", errno);
    File in_read(in[0]), out_write(out[1]);
    stdin_ = File(in[1]);
    stdout_ = File(out[0]);
    posix_spawn_file_actions_t actions;
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_adddup2(&actions, in_read.fd(), 0);
    posix_spawn_file_actions_adddup2(&actions, out_write.fd(), 1);
    int failed = ::posix_spawnp(&child_, "python3", &actions, nullptr, arguments.data(), environ);
    posix_spawn_file_actions_destroy(&actions);
    if (failed != 0) throw system_error("start", "tests/support/tls_front.py", failed);
    out_write.close();
    for (std::size_t i = 0; i < certificates.size(); ++i) {
      std::string said = line();
      if (!said.starts_with("port ")) throw std::runtime_error("tls_front.py did not start: " + said);
      ports_.push_back(static_cast<std::uint16_t>(std::stoi(said.substr(5))));
    }
  }
  ~TlsFront() {
    stdin_.close();
    ::waitpid(child_, nullptr, 0);
  }
  // Of the certificate with this number.
  std::string url(const std::string& host = "localhost", std::size_t which = 0) const {
    return "https://" + host + ":" + std::to_string(ports_.at(which));
  }
  // What it says of the next connection, "TLSv1.3 http/1.1 localhost"; "" when it says nothing for so long.
  std::string line(std::chrono::milliseconds patience = std::chrono::seconds(20)) {
    auto deadline = std::chrono::steady_clock::now() + patience;
    while (true) {
      if (std::size_t end = said_.find('\n'); end != std::string::npos) {
        std::string first = said_.substr(0, end);
        said_.erase(0, end + 1);
        return first;
      }
      if (wait_for(stdout_.fd(), POLLIN, deadline) == 0) return "";
      char bytes[1024];
      ssize_t n = ::read(stdout_.fd(), bytes, sizeof bytes);
      if (n <= 0) return "";
      said_.append(bytes, static_cast<std::size_t>(n));
    }
  }

 private:
  TempDir directory_;
  File stdin_, stdout_;
  pid_t child_ = -1;
  std::vector<std::uint16_t> ports_;
  std::string said_;
};

// Writes what a client shall trust where it can read it.
inline std::string ca_file(const TempDir& directory, const std::string& pem) {
  std::string path = directory.path() + "/ca.pem";
  system_files().replace_file(path, as_bytes(pem));
  return path;
}

}  // namespace lucid::net
