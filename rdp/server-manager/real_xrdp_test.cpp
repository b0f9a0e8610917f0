// The manager with Debian's real xrdp, xrdp-sesman, Xorg and accounts. Needs root and sesman's port 3350; what it makes it removes, and it counts
// what is left with tests/support/rdp_leaks.py.
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "rdp/server-manager/manager.hpp"
#include "rdp/server-manager/rdp_probe.hpp"

using namespace lucid;
using namespace lucid::server_manager;
using namespace std::chrono_literals;

namespace {

std::string leaks(const std::string& data) {
  Ran ran = run({"/usr/bin/env", "python3", "tests/support/rdp_leaks.py", "--list", data}, "", 20s);
  return ran.ok() ? ran.output : "rdp_leaks.py failed: " + ran.output;
}

class RealXrdp : public testing::Test {
 protected:
  void SetUp() override {
    std::signal(SIGPIPE, SIG_IGN);
    std::string why;
    if (::geteuid() != 0) why = "not root";
    if (::access("/usr/sbin/xrdp", X_OK) != 0 || ::access("/usr/lib/xorg/modules/libxorgxrdp.so", R_OK) != 0)
      why = "xrdp and xorgxrdp are not installed";
    if (::access("/usr/bin/openbox-session", X_OK) != 0) why = "openbox is not installed";
    if (why.empty() && !manager_is_alone()) why = "another rdp-server-manager runs";
    if (why.empty() && !port_is_free()) why = "something else holds port 3350";
    if (!why.empty()) {
      if (std::getenv("CI") != nullptr) FAIL() << why;
      GTEST_SKIP() << "not run: " << why;
    }
    config.paths.data = dir.path() + "/rdp";
    config.paths.run = "/run/lucid-rdp-test-" + std::to_string(::getpid());
    config.paths.hook_fallback = "/var/lib/lucid-rdp-test-" + std::to_string(::getpid());
    config.paths.hook = LUCID_HOOK;
    config.warm_servers = 0;
    system_files().make_directories(config.paths.data);
    documents = store::open_sqlite_documents(config.paths.data + "/manager.db");
    before = leaks(dir.path());
  }
  void TearDown() override {
    if (!manager) return;
    for (const auto& status : manager->list("", 100).servers) {
      manager->act(status.id, "stop");
      manager->remove(status.id);
    }
    manager->close();
    manager.reset();
    system_files().remove_tree(config.paths.run);
    EXPECT_EQ(leaks(dir.path()), before);
  }
  bool manager_is_alone() {
    try {
      return static_cast<bool>(Host(config, random).lock_host());
    } catch (const Error&) { return false; }
  }
  static bool port_is_free() { return can_listen(3350); }
  void open() {
    metrics = std::make_unique<runtime::Metrics>();
    manager = std::make_unique<Manager>(config, *documents, clock, random, *metrics);
    manager->open();
    ASSERT_EQ(manager->problem(), std::nullopt);
  }
  contracts::ServerRequest request() { return {.id = Id::make(clock, random)}; }
  Id running() {
    auto r = request();
    manager->create(r);
    manager->act(r.id, "start");
    return r.id;
  }
  // The first event of that server and cause, whenever it comes.
  bool told(const Id& id, std::string_view cause, contracts::ServerState state = contracts::ServerState::running) {
    auto deadline = std::chrono::steady_clock::now() + 20s;
    for (std::uint64_t after = seen; std::chrono::steady_clock::now() < deadline;) {
      auto page = manager->events(after, 1000ms);
      for (const auto& e : page.events)
        if (e.server == id && e.cause == cause && e.state == state) return seen = e.seq, true;
      after = page.next;
    }
    return false;
  }
  std::vector<pid_t> named(const Id& id, std::string_view name) {
    std::vector<pid_t> found;
    json::value sessions = manager->sessions(id);
    for (const json::value& p : sessions.at("processes").as_array())
      if (std::string_view(p.at("name").as_string()) == name) found.push_back(static_cast<pid_t>(p.at("pid").to_number<int>()));
    return found;
  }
  double shown(const std::string& series) {
    std::string text = metrics->expose(), line = "\n" + series + " ";
    std::size_t at = text.find(line);
    return at == std::string::npos ? -1 : std::stod(text.substr(at + line.size()));
  }
  // Starting a desktop has no event of its own.
  bool appears(const Id& id, std::string_view name) {
    for (int i = 0; i < 200; ++i, ::usleep(50'000))
      if (!named(id, name).empty()) return true;
    return false;
  }
  // What a client's login does at sesman: "ok data=1 display=:10 GUID=…" or data=0.
  std::string log_in(const std::string& account, const std::string& password, const char* depth = "24") {
    for (const char* address : {"::1", "127.0.0.1"}) {
      Ran ran = run({config.paths.sesrun, "-c", config.paths.data + "/sesman/sesman.ini", "-s", address, "-t", "Xorg", "-b", depth, "-F",
                     "0", account},
                    password, 20s);
      if (ran.output.find("data=") != std::string::npos) return ran.output.substr(ran.output.find("data="));
      if (ran.output.find("connect error") == std::string::npos) return ran.output;
    }
    return "sesman does not answer";
  }

  TempDir dir;
  SystemClock clock;
  SystemRandom random;
  Config config;
  std::unique_ptr<store::Documents> documents;
  std::unique_ptr<runtime::Metrics> metrics;
  std::unique_ptr<Manager> manager;
  std::string before;
  std::uint64_t seen = 0;
};

}  // namespace

TEST_F(RealXrdp, AServerStartsWaitsForItsReleaseSurvivesItsXrdpAndLeavesNothing) {
  open();
  auto r = request();
  r.width = 1280;
  r.height = 720;
  auto made = manager->create(r);
  EXPECT_TRUE(made.created);
  EXPECT_FALSE(manager->create(r).created);
  EXPECT_EQ(made.status.account.size(), 9u);
  auto status = manager->act(r.id, "start");
  EXPECT_EQ(status.state, contracts::ServerState::running);
  EXPECT_EQ(shown("lucid_rdp_ports_in_use"), 1);
  EXPECT_EQ(shown("lucid_rdp_servers{state=\"running\"}"), 1);
  EXPECT_EQ(shown("lucid_rdp_xrdp_restarts_total"), 0);
  EXPECT_NEAR(shown("lucid_tls_certificate_expiry_timestamp_seconds{certificate=\"rdp\"}"),
              static_cast<double>(clock.wall_ms()) / 1000 + 3650 * 86'400.0, 86'400);
  auto display = manager->wait_for_display(r.id, 20s);
  EXPECT_EQ(display.xauthority, "/home/" + status.account + "/.Xauthority");
  auto peer = probe_rdp(status.port, 5s);
  ASSERT_TRUE(peer) << peer.error().what();
  EXPECT_EQ(peer->fingerprint, manager->fingerprint());

  // Nothing of the desktop before the recorder is there.
  EXPECT_FALSE(named(r.id, "lucid-session-s").empty());
  EXPECT_TRUE(named(r.id, "openbox").empty());
  manager->release(r.id, true);
  manager->release(r.id, true);
  EXPECT_THROW(manager->release(r.id, false), Error);
  EXPECT_TRUE(appears(r.id, "openbox"));
  EXPECT_TRUE(manager->status(r.id).released);

  auto first = manager->credentials(r.id), second = manager->credentials(r.id);
  EXPECT_EQ(first.account, status.account);
  std::string refused = log_in(first.account, first.password);  // void since the second one
  EXPECT_NE(refused.find("authentication error"), std::string::npos) << refused;
  EXPECT_TRUE(log_in(second.account, second.password).starts_with("data=1 display=" + display.display + " "));
  // Another depth would be a second display that nobody records: its hook is refused.
  EXPECT_TRUE(log_in(second.account, second.password, "16").starts_with("data=1"));
  EXPECT_EQ(manager->status(r.id).display->display, display.display);

  auto xrdp = named(r.id, "xrdp");
  ASSERT_EQ(xrdp.size(), 1u);
  ::kill(xrdp[0], SIGKILL);
  EXPECT_TRUE(told(r.id, "xrdp_ended", contracts::ServerState::starting));
  EXPECT_TRUE(told(r.id, ""));
  EXPECT_EQ(manager->status(r.id).restarts, 1);
  EXPECT_EQ(manager->status(r.id).display->display, display.display);
  EXPECT_TRUE(probe_rdp(status.port, 5s));

  manager->message(r.id, "-file is no option here");
  EXPECT_TRUE(appears(r.id, "xmessage"));

  try {
    manager->remove(r.id);
    FAIL();
  } catch (const Error& e) { EXPECT_EQ(e.code(), "server_live"); }
  EXPECT_EQ(manager->act(r.id, "stop").state, contracts::ServerState::stopped);
  EXPECT_EQ(manager->act(r.id, "stop").state, contracts::ServerState::stopped);
  EXPECT_FALSE(probe_rdp(status.port, 1s));
  manager->remove(r.id);
  EXPECT_THROW(manager->status(r.id), Error);
}

TEST_F(RealXrdp, TheNextManagerAdoptsWhatRunsAndRemovesWhatNobodyKnows) {
  open();
  Id id = running();
  auto display = manager->wait_for_display(id, 20s);
  auto given = manager->credentials(id);
  auto xrdp = named(id, "xrdp"), hook = named(id, "lucid-session-s");
  {
    // A second one beside it keeps its hands off.
    TempDir other;
    Config theirs = config;
    theirs.paths.data = other.path();
    auto nothing = store::open_sqlite_documents(other.path() + "/manager.db");
    Manager second(theirs, *nothing, clock, random, *metrics);
    second.open();
    ASSERT_NE(second.problem(), std::nullopt);
    EXPECT_THROW(second.create(request()), Error);
    EXPECT_EQ(manager->status(id).state, contracts::ServerState::running);
  }
  manager.reset();  // ends nothing, as kill -9 does
  Account orphan = Accounts(random).create(Id::make(clock, random).text());
  system_files().make_directories(config.paths.data + "/servers/" + Id::make(clock, random).text());
  open();
  EXPECT_EQ(manager->status(id).state, contracts::ServerState::running);
  EXPECT_EQ(manager->wait_for_display(id, 0s).display, display.display);
  EXPECT_EQ(named(id, "xrdp"), xrdp);
  EXPECT_EQ(named(id, "lucid-session-s"), hook);
  EXPECT_EQ(Accounts(random).find(orphan.name), std::nullopt);
  EXPECT_EQ(system_files().list(config.paths.data + "/servers"), std::vector<std::string>{id.text()});
  EXPECT_TRUE(log_in(given.account, given.password).starts_with("data=1 display=" + display.display + " "));
  // The hook asks the new manager for its decision, and an adopted xrdp is watched.
  manager->release(id, true);
  EXPECT_TRUE(appears(id, "openbox"));
  ::kill(xrdp[0], SIGKILL);
  EXPECT_TRUE(told(id, "xrdp_ended", contracts::ServerState::starting));
  EXPECT_TRUE(told(id, ""));
}

TEST_F(RealXrdp, ALostDisplayIsToldAndCanBeStartedAgain) {
  open();
  Id id = running();
  manager->wait_for_display(id, 20s);
  auto given = manager->credentials(id);
  ::kill(named(id, "Xorg").at(0), SIGKILL);
  EXPECT_TRUE(told(id, "display_lost"));
  EXPECT_EQ(manager->status(id).display, std::nullopt);
  EXPECT_TRUE(named(id, "xrdp-chansrv").empty());
  manager->act(id, "start");
  auto display = manager->wait_for_display(id, 20s);
  // The password that was given out is still the one.
  EXPECT_TRUE(log_in(given.account, given.password).starts_with("data=1 display=" + display.display + " "));

  // A refused hook ends its X session.
  manager->release(id, false);
  EXPECT_TRUE(told(id, "refused", contracts::ServerState::running));

  manager->act(id, "restart");
  manager->wait_for_display(id, 20s);
  auto sesman = documents->get("host", "sesman");
  pid_t pid = static_cast<pid_t>(parse_json(sesman->json)->at("pid").to_number<int>());
  ::kill(pid, SIGKILL);
  EXPECT_TRUE(told(id, "display_lost"));
  manager->act(id, "start");
  EXPECT_EQ(manager->wait_for_display(id, 20s).uid, Accounts(random).find(given.account)->uid);
}

TEST_F(RealXrdp, AnXorgThatFailsSaysSoInItsOwnWords) {
  std::string script = dir.path() + "/Xorg";
  ::chmod(dir.path().c_str(), 0755);
  std::ofstream(script) << "#!/bin/sh\nsleep 0.3\necho '(EE) no screens found, of all things' > .xorgxrdp.10.log\nsleep 0.3\nexit 1\n";
  ::chmod(script.c_str(), 0755);
  config.paths.xorg = script;
  open();
  Id id = running();
  try {
    manager->wait_for_display(id, 20s);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.code(), "display_unavailable");
    EXPECT_NE(std::string_view(e.what()).find("(EE) no screens found, of all things"), std::string_view::npos) << e.what();
  }
}

TEST_F(RealXrdp, AServerOfThePoolIsTakenAtOnceAndReplaced) {
  config.warm_servers = 1;
  config.max_servers = 1;
  open();
  auto wait_for_pool = [&] {
    for (int i = 0; i < 200 && manager->warm_ready() == 0; ++i) ::usleep(100'000);
    return manager->warm_ready();
  };
  ASSERT_EQ(wait_for_pool(), 1u);
  EXPECT_TRUE(manager->list("", 10).servers.empty());
  auto r = request();
  r.width = 1024, r.height = 768, r.memory_mb = 600;
  std::int64_t asked = clock.steady_ms();
  auto made = manager->create(r);
  manager->act(r.id, "start");
  auto display = manager->wait_for_display(r.id, 0s);
  EXPECT_LT(clock.steady_ms() - asked, 1'000);
  EXPECT_TRUE(made.status.warm);
  EXPECT_EQ(made.status.state, contracts::ServerState::running);
  auto given = manager->credentials(r.id);
  EXPECT_TRUE(log_in(given.account, given.password).starts_with("data=1 display=" + display.display + " "));
  EXPECT_EQ(wait_for_pool(), 1u);
  try {
    manager->create(request());
    FAIL();
  } catch (const Error& e) { EXPECT_EQ(e.code(), "limit_reached"); }
  manager->release(r.id, true);
  EXPECT_TRUE(appears(r.id, "openbox"));
}

TEST_F(RealXrdp, ANamedAccountKeepsItsPasswordItsHomeAndItself) {
  open();
  const std::string name = "lucidtest" + std::to_string(::getpid() % 1000);
  ASSERT_TRUE(run({"/usr/sbin/useradd", "-m", "-s", "/bin/sh", name}, "", 20s).ok());
  ASSERT_TRUE(run({"/usr/sbin/chpasswd"}, name + ":its-own-secret\n", 20s).ok());
  for (const char* refused : {"no-such-user", "root", "daemon", "nobody"}) try {
      auto r = request();
      r.account = refused;
      manager->create(r);
      ADD_FAILURE() << refused;
    } catch (const Error& e) {
      EXPECT_EQ(e.code(), "account_unknown");
      EXPECT_EQ(e.kind(), ErrorKind::invalid);
    }
  auto r = request();
  r.account = name;
  EXPECT_FALSE(manager->create(r).status.ephemeral);
  auto other = request();
  other.account = name;
  EXPECT_THROW(manager->create(other), Error);
  manager->act(r.id, "start");
  EXPECT_THROW(manager->wait_for_display(r.id, 0s), Error);
  EXPECT_THROW(manager->credentials(r.id), Error);
  // Work of that account that has nothing to do with the server.
  ProcessId elsewhere = start_detached(
      {.argv = {"/usr/bin/setpriv", "--reuid", name, "--clear-groups", "--", "/bin/sleep", "60"}, .log = dir.path() + "/log"});
  EXPECT_TRUE(log_in(name, "its-own-secret").starts_with("data=1"));
  auto display = manager->wait_for_display(r.id, 20s);
  manager->release(r.id, true);
  EXPECT_TRUE(appears(r.id, "openbox"));
  manager->act(r.id, "stop");
  EXPECT_FALSE(system_files().exists("/tmp/.X" + display.display.substr(1) + "-lock"));
  manager->remove(r.id);
  EXPECT_TRUE(ProcessTable().alive(elsewhere));
  ::kill(elsewhere.pid, SIGKILL);
  EXPECT_TRUE(system_files().exists("/home/" + name + "/.profile"));
  EXPECT_TRUE(run({"/usr/sbin/userdel", "-f", "-r", name}, "", 20s).exit_code == 0);
}
