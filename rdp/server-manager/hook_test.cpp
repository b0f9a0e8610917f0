// The start hook against a HookServer, over a real Unix socket, with the real executable.
#include <condition_variable>
#include <fstream>
#include <mutex>

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "rdp/server-manager/hook_server.hpp"

using namespace lucid;
using namespace lucid::server_manager;

namespace {

// Hellos that came, and what to answer at once (else the hook waits).
struct Door {
  TempDir dir;
  std::string path = dir.path() + "/hook.sock";
  std::mutex mutex;
  std::condition_variable changed;
  std::vector<std::pair<HookServer::Peer, hook::Hello>> hellos;
  std::optional<hook::Answer> at_once;
  std::unique_ptr<HookServer> server;
  Door() { open(); }
  void open() {
    server = std::make_unique<HookServer>(path, [this](const HookServer::Peer& peer, const hook::Hello& hello) {
      std::lock_guard lock(mutex);
      hellos.emplace_back(peer, hello);
      changed.notify_all();
      return at_once;
    });
  }
  bool wait_for(std::size_t count) {
    std::unique_lock lock(mutex);
    return changed.wait_for(lock, std::chrono::seconds(10), [&] { return hellos.size() >= count; });
  }
  // The built hook, where it finds our socket, as sesman would start it.
  pid_t start_hook() {
    std::string program = dir.path() + "/lucid-session-start";
    system_files().replace_file(program, system_files().read_file(LUCID_HOOK));
    ::chmod(program.c_str(), 0755);
    std::ofstream(dir.path() + "/hook.socket") << path << "\n";
    std::string home = "HOME=" + dir.path();
    pid_t pid = ::fork();
    if (pid == 0) {
      const char* argv[] = {program.c_str(), nullptr};
      const char* environment[] = {"DISPLAY=:10.0", home.c_str(), nullptr};
      ::execve(program.c_str(), const_cast<char**>(argv), const_cast<char**>(environment));
      ::_exit(99);
    }
    return pid;
  }
  int raw() const {
    int fd = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    path.copy(address.sun_path, sizeof address.sun_path - 1);
    EXPECT_EQ(::connect(fd, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    return fd;
  }
};

int exit_code(pid_t pid) {
  int status = 0;
  ::waitpid(pid, &status, 0);
  return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

}  // namespace

TEST(Hook, WaitsForTheDecisionAndThenBecomesTheDesktop) {
  Door door;
  pid_t pid = door.start_hook();
  ASSERT_TRUE(door.wait_for(1));
  EXPECT_EQ(door.hellos[0].first.pid, pid);
  EXPECT_EQ(door.hellos[0].first.uid, ::getuid());
  EXPECT_EQ(door.hellos[0].second.display, ":10.0");
  EXPECT_EQ(door.hellos[0].second.xauthority, door.dir.path() + "/.Xauthority");
  door.server->answer(pid, {true, {"/bin/sh", "-c", "echo desktop $DISPLAY; exit 42"}});
  EXPECT_EQ(exit_code(pid), 42);
  EXPECT_EQ(as_text(system_files().read_file(door.dir.path() + "/.xsession-errors")), "desktop :10.0\n");
}

TEST(Hook, EndsWhenItIsRefused) {
  Door door;
  {
    std::lock_guard lock(door.mutex);
    door.at_once = hook::Answer{false, {"no server of this account runs"}};
  }
  EXPECT_EQ(exit_code(door.start_hook()), 3);
}

TEST(Hook, AsksTheNextManagerWhenTheOneItAskedIsGone) {
  Door door;
  pid_t pid = door.start_hook();
  ASSERT_TRUE(door.wait_for(1));
  door.server.reset();
  door.open();
  ASSERT_TRUE(door.wait_for(2));
  door.server->answer(pid, {true, {"/bin/true"}});
  EXPECT_EQ(exit_code(pid), 0);
}

TEST(HookServer, ClosesOnNonsenseAndOnTooManyOfOneUser) {
  Door door;
  for (std::string_view text :
       {std::string_view("GET / HTTP/1.1\r\n\r\n\n\n"), std::string_view("lucid-hook 1\nDISPLAY=:1\nXAUTHORITY=relative\n\n"),
        std::string_view("lucid-hook 1\nDISPLAY=:1\0\nXAUTHORITY=/x\n\n", 40), std::string_view("\n\n")}) {
    int fd = door.raw();
    ASSERT_EQ(::send(fd, text.data(), text.size(), MSG_NOSIGNAL), static_cast<ssize_t>(text.size()));
    char byte;
    EXPECT_EQ(::recv(fd, &byte, 1, 0), 0);
    ::close(fd);
  }
  int huge = door.raw();
  std::string much(hook::kMaxMessage + 1, 'x');
  ::send(huge, much.data(), much.size(), MSG_NOSIGNAL);
  char byte;
  EXPECT_LE(::recv(huge, &byte, 1, 0), 0);
  ::close(huge);
  std::vector<int> held;
  for (int i = 0; i < 9; ++i) held.push_back(door.raw());
  EXPECT_EQ(::recv(held.back(), &byte, 1, 0), 0);
  for (int fd : held) ::close(fd);
  EXPECT_TRUE(door.hellos.empty());
}

TEST(HookProtocol, SaysWhatItMeansAndNothingElse) {
  hook::Hello hello{":10", "/home/u/.Xauthority"};
  auto back = hook::decode_hello(hook::encode(hello));
  ASSERT_TRUE(back);
  EXPECT_EQ(back->display, hello.display);
  EXPECT_EQ(back->xauthority, hello.xauthority);
  auto go = hook::decode_answer(hook::encode(hook::Answer{true, {"/usr/bin/openbox-session", "--x"}}));
  ASSERT_TRUE(go && go->go);
  EXPECT_EQ(go->lines.size(), 2u);
  for (const char* text : {"", "go\n\n", "go\nrelative\n\n", "perhaps\n\n", "go\n/x\n", "go\n\n/x\n\n"})
    EXPECT_FALSE(hook::decode_answer(text)) << text;
}
