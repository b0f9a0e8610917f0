#include <cstdlib>
#include <fstream>
#include <future>
#include <thread>

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "lib/base/file_ops.hpp"
#include "rdp/server-manager/accounts.hpp"
#include "rdp/server-manager/cgroups.hpp"
#include "rdp/server-manager/display_files.hpp"
#include "rdp/server-manager/event_ring.hpp"
#include "rdp/server-manager/port_pool.hpp"
#include "rdp/server-manager/reactor.hpp"
#include "rdp/server-manager/record.hpp"
#include "rdp/server-manager/xrdp_files.hpp"

using namespace lucid;
using namespace lucid::server_manager;

namespace {

void write(const std::string& path, const std::string& text) {
  system_files().make_directories(path.substr(0, path.rfind('/')));
  std::ofstream(path) << text;
}

std::string read(const std::string& path) { return std::string(as_text(system_files().read_file(path))); }

void expect_golden(const std::string& name, const std::string& text) {
  std::string path = "tests/golden/xrdp/v1/" + name;
  if (std::getenv("LUCID_WRITE_GOLDEN") != nullptr) write(path, text);
  ASSERT_TRUE(system_files().exists(path)) << path;
  EXPECT_EQ(text, read(path));
}

// A /proc with one process, as the kernel writes it.
void write_process(const std::string& proc, int pid, const std::string& name, char state, int parent, std::uint64_t start) {
  write(proc + "/" + std::to_string(pid) + "/stat", std::to_string(pid) + " (" + name + ") " + state + " " + std::to_string(parent) +
                                                        " 1 1 0 -1 4194304 0 0 0 0 10 20 0 0 20 0 1 0 " + std::to_string(start) +
                                                        " 1000 50 1 1 1\n");
}

Id some_id(std::uint8_t last) {
  std::array<std::uint8_t, 16> bytes{1, 2, 3};
  bytes[15] = last;
  return Id(bytes);
}

}  // namespace

TEST(XrdpFiles, AreTheGoldenOnes) {
  expect_golden("xrdp.ini", xrdp_ini({.port = 13389,
                                      .color_depth = 16,
                                      .account = "luabcdefg",
                                      .certificate = "/d/cert.pem",
                                      .key = "/d/key.pem",
                                      .log = "/d/xrdp.log"}));
  expect_golden("sesman.ini",
                sesman_ini({.hook = "/run/lucid-rdp/lucid-session-start", .log = "/d/sesman.log", .xorg = "/usr/lib/xorg/Xorg"}));
}

// Every key must be one that the installed xrdp documents, in the section it belongs to.
TEST(XrdpFiles, HaveOnlyKeysThatDebiansOwnFilesKnow) {
  if (!system_files().exists("/etc/xrdp/xrdp.ini")) {
    if (std::getenv("CI") != nullptr) FAIL() << "xrdp is not installed";
    GTEST_SKIP() << "not run: xrdp is not installed";
  }
  auto check = [](const std::string& ours, const std::string& debian) {
    std::istringstream lines(ours);
    for (std::string line; std::getline(lines, line);) {
      std::size_t equals = line.find('=');
      std::string key = equals == std::string::npos ? line : line.substr(0, equals + 1);
      bool known = debian.find("\n" + key) != std::string::npos || debian.find("\n#" + key) != std::string::npos;
      EXPECT_TRUE(known || key.empty()) << line;
    }
  };
  std::string xrdp = "\n" + read("/etc/xrdp/xrdp.ini"), sesman = "\n" + read("/etc/xrdp/sesman.ini");
  check(xrdp_ini({.port = 1, .color_depth = 24, .account = "a", .certificate = "c", .key = "k", .log = "l"}), xrdp);
  check(sesman_ini({.hook = "h", .log = "l", .xorg = "x"}), sesman);
}

TEST(PortPool, SkipsTakenPortsAndRestsReturnedOnesForAMinute) {
  ManualClock clock;
  PortPool pool(100, 103, clock, [](std::uint16_t port) { return port != 101; });
  pool.reserve(103);
  EXPECT_EQ(pool.take(), 100);
  EXPECT_EQ(pool.take(), 102);
  EXPECT_THROW(pool.take(), Error);
  pool.give_back(100);
  clock.advance(59'999);
  try {
    pool.take();
    FAIL();
  } catch (const Error& e) { EXPECT_EQ(e.code(), "ports_exhausted"); }
  EXPECT_EQ(pool.use().taken, 2u);
  EXPECT_EQ(pool.use().resting, 1u);
  EXPECT_EQ(pool.use().all, 4u);
  // A manager that starts anew knows what rests.
  PortPool next(100, 103, clock, [](std::uint16_t port) { return port == 100; });
  next.restore(pool.returned());
  EXPECT_THROW(next.take(), Error);
  clock.advance(1);
  EXPECT_EQ(next.take(), 100);
  EXPECT_EQ(pool.use().resting, 0u);
  EXPECT_EQ(pool.take(), 100);
  EXPECT_EQ(pool.use().taken, 3u);
}

TEST(PortPool, TriesARealBind) {
  File socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  ASSERT_EQ(::bind(socket.fd(), reinterpret_cast<sockaddr*>(&address), size), 0);
  ASSERT_EQ(::listen(socket.fd(), 1), 0);
  ASSERT_EQ(::getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  EXPECT_FALSE(can_listen(ntohs(address.sin_port)));
  socket.close();
  EXPECT_TRUE(can_listen(ntohs(address.sin_port)));
}

TEST(ServerRequest, NamesEveryWrongField) {
  json::value body = json::object{{"id", "x"},         {"account", "a b"}, {"desktop", "../sh"}, {"width", 319},      {"height", 4321},
                                  {"color_depth", 17}, {"cpu", 8.1},       {"memory_mb", 511},   {"keep_home", "no"}, {"colour", 1}};
  try {
    contracts::read_server_request(body);
    FAIL();
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::invalid);
    std::set<std::string> pointers;
    for (const FieldError& f : e.fields()) pointers.insert(f.pointer);
    EXPECT_EQ(pointers, (std::set<std::string>{"/id", "/account", "/desktop", "/width", "/height", "/color_depth", "/cpu", "/memory_mb",
                                               "/keep_home", "/colour"}));
  }
  for (const char* account : {"root;id", "-x", "a:b", "a/b", "$(id)", "a\nb", "."}) {
    json::value one = json::object{{"id", some_id(1).text()}, {"account", account}};
    EXPECT_THROW(contracts::read_server_request(one), Error) << account;
  }
}

TEST(ServerRequest, AndStatusSurviveTheirOwnJson) {
  contracts::ServerRequest request{.id = some_id(1),
                                   .account = "anna",
                                   .desktop = "xfce",
                                   .width = 800,
                                   .height = 600,
                                   .color_depth = 32,
                                   .cpu = 0.5,
                                   .memory_mb = 512,
                                   .keep_home = true};
  EXPECT_EQ(json::serialize(to_json(contracts::read_server_request(to_json(request)))), json::serialize(to_json(request)));
  Record record{
      .slot = some_id(2),
      .id = some_id(3),
      .state = ServerState::running,
      .cause = "c",
      .account = "luabcdefg",
      .home = "/home/luabcdefg",
      .desktop = "openbox",
      .uid = 1001,
      .gid = 1002,
      .credentials_given = true,
      .restarts = 3,
      .port = 13400,
      .xrdp = {77, 88},
      .leader = {1, 2},
      .session = Session{.display = 12, .xauthority = "/x", .leader = {1, 2}, .x_server = {3, 4}, .hook = {5, 6}, .sesman = {7, 8}},
      .decision = Decision::go,
      .created_wall_ms = 5,
      .since_wall_ms = 6};
  Record again = decode_record(encode(record));
  EXPECT_EQ(encode(again), encode(record));
  EXPECT_EQ(again.session, record.session);
  auto status = status_of(record);
  EXPECT_EQ(status.display->display, ":12");
  EXPECT_TRUE(status.released);
  EXPECT_EQ(status.pids, (std::vector<std::uint32_t>{77, 1}));
  EXPECT_EQ(json::serialize(to_json(contracts::read_server_status(to_json(status)))), json::serialize(to_json(status)));
  record.session.reset();
  record.leader = {};
  record.xrdp = {};
  EXPECT_TRUE(status_of(record).pids.empty());
  EXPECT_THROW(decode_record("{}"), Error);
  EXPECT_THROW(decode_record("nonsense"), Error);
}

TEST(StateMachine, HasTheMovesOfTheDesignAndNoOther) {
  using enum ServerState;
  std::set<std::pair<ServerState, ServerState>> legal{
      {creating, configuring}, {configuring, starting}, {starting, running},    {running, starting}, {running, stopping},
      {starting, stopping},    {stopping, stopped},     {stopped, starting},    {failed, starting},  {failed, stopping},
      {configuring, stopping}, {creating, failed},      {configuring, failed},  {starting, failed},  {running, failed},
      {stopping, failed},      {creating, deleted},     {configuring, deleted}, {stopped, deleted},  {failed, deleted}};
  constexpr std::array kAll{creating, configuring, starting, running, stopping, stopped, failed, deleted};
  for (auto from : kAll)
    for (auto to : kAll) EXPECT_EQ(may_move(from, to), legal.contains({from, to})) << contracts::name(from) << " → " << contracts::name(to);
}

TEST(EventRing, NumbersGoOnAfterARestart) {
  TempDir dir;
  auto documents = store::open_sqlite_documents(dir.path() + "/m.db");
  std::uint64_t last = 0;
  {
    EventRing ring(*documents);
    ring.add(some_id(1), ServerState::running, "");
    ring.add(some_id(1), ServerState::running, "display_lost");
    auto page = ring.after(0, std::chrono::milliseconds(0));
    ASSERT_EQ(page.events.size(), 2u);
    last = page.next;
    EXPECT_EQ(page.events[1].cause, "display_lost");
    EXPECT_TRUE(ring.after(last, std::chrono::milliseconds(0)).events.empty());
  }
  EventRing ring(*documents);
  auto waiting = std::async(std::launch::async, [&] { return ring.after(last, std::chrono::seconds(10)); });
  ring.add(some_id(2), ServerState::stopped, "");
  auto page = waiting.get();
  ASSERT_EQ(page.events.size(), 1u);
  EXPECT_GT(page.events[0].seq, last);
  EXPECT_EQ(page.next, page.events[0].seq);
}

TEST(Orphans, AccountsAreOursOnlyWithOurGecosNameAndNumber) {
  std::string id = some_id(7).text();
  auto found = accounts_of_ours(
      "root:x:0:0:root:/root:/bin/bash\n"
      "luabcdefg:x:1001:1002:Lucid " +
      id +
      ":/home/luabcdefg:/bin/bash\n"
      "anna:x:1002:1002:Lucid " +
      id +
      ":/home/anna:/bin/bash\n"
      "lusystem1:x:101:101:Lucid " +
      id +
      ":/home/lusystem1:/bin/bash\n"
      "luhijklmn:x:1003:1003:Lucid dreams:/home/luhijklmn:/bin/bash\n"
      "lubroken:x:1004\n");
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].name, "luabcdefg");
  EXPECT_EQ(found[0].uid, 1001u);
  EXPECT_EQ(found[0].home, "/home/luabcdefg");
}

TEST(Orphans, DisplaysAreThoseOfOurOrUnknownUsersWhoseXServerIsGone) {
  TempDir root;
  uid_t me = ::getuid();
  DisplayFiles files("/run/xrdp/sockdir", root.path());
  ProcessTable processes(root.path() + "/proc");
  write_process(root.path() + "/proc", 500, "Xorg", 'S', 1, 9);
  write_process(root.path() + "/proc", 600, "Xorg", 'Z', 1, 9);
  write(root.path() + "/tmp/.X10-lock", "       500\n");
  write(root.path() + "/tmp/.X11-lock", "       600\n");
  write(root.path() + "/tmp/.X12-lock", "       700\n");
  write(root.path() + "/tmp/.X11-unix/X13", "");
  write(root.path() + "/run/xrdp/sockdir/xrdp_display_14", "");
  write(root.path() + "/tmp/.Xnonsense-lock", "1");
  EXPECT_EQ(files.orphans({me}, {me}, processes), (std::vector<int>{11, 12, 13, 14}));
  EXPECT_EQ(files.orphans({}, {}, processes), (std::vector<int>{11, 12, 13, 14}));  // a user that exists no more
  EXPECT_EQ(files.orphans({}, {me}, processes), std::vector<int>{});                // somebody else's
  EXPECT_EQ(files.left_by(me, processes), (std::vector<int>{11, 12, 13, 14}));
  EXPECT_EQ(files.left_by(me + 1, processes), std::vector<int>{});
  EXPECT_EQ(files.x_server(10), 500);
  write(root.path() + "/run/xrdp/sockdir/xrdpapi_10", "");
  write(root.path() + "/run/xrdp/sockdir/xrdpapi_110", "");
  files.remove(10);
  EXPECT_FALSE(system_files().exists(root.path() + "/tmp/.X10-lock"));
  EXPECT_FALSE(system_files().exists(root.path() + "/run/xrdp/sockdir/xrdpapi_10"));
  EXPECT_TRUE(system_files().exists(root.path() + "/run/xrdp/sockdir/xrdpapi_110"));
}

TEST(Display, NumbersAreReadStrictly) {
  EXPECT_EQ(display_number(":10"), 10);
  EXPECT_EQ(display_number(":10.0"), 10);
  for (const char* text : {"", ":", "10", ":10.", ":-1", ":1x", "host:1", ":99999999", ":10.0.0"})
    EXPECT_EQ(display_number(text), std::nullopt) << text;
}

TEST(Processes, AreReadFromProcAndZombiesAreGone) {
  TempDir root;
  write_process(root.path(), 10, "a) (b", 'S', 1, 111);
  write_process(root.path(), 11, "child", 'R', 10, 112);
  write_process(root.path(), 12, "grandchild", 'S', 11, 113);
  write_process(root.path(), 13, "dead", 'Z', 10, 114);
  write(root.path() + "/14/stat", "nonsense");
  write(root.path() + "/11/environ", std::string("DISPLAY=:10.0\0HOME=/h\0", 22));
  ProcessTable table(root.path());
  EXPECT_EQ(table.one(10)->name, "a) (b");
  EXPECT_EQ(table.one(11)->parent, 10);
  EXPECT_EQ(table.one(13), std::nullopt);
  EXPECT_TRUE(table.alive({10, 111}));
  EXPECT_FALSE(table.alive({10, 112}));  // the number was given to another process
  EXPECT_EQ(table.environment(11, "DISPLAY"), ":10.0");
  EXPECT_EQ(ProcessTable::family(table.all(), {10, 111}).size(), 3u);
  EXPECT_TRUE(ProcessTable::family(table.all(), {10, 999}).empty());
}

TEST(Cgroups, SetLimitsInBothVersionsAndSayWhereNoneCanBe) {
  TempDir root;
  for (const char* directory : {"/v1/cpu", "/v1/memory", "/v2"}) system_files().make_directories(root.path() + directory);
  {
    Cgroups one("cgroup /v1/cpu cgroup rw,cpu,cpuacct 0 0\ncgroup /v1/memory cgroup rw,memory 0 0\ncgroup /v1/pids cgroup rw,pids 0 0\n",
                root.path());
    EXPECT_EQ(one.problem(), std::nullopt);
    std::string group = root.path() + "/v1/memory/lucid-rdp/g";
    for (const char* file :
         {"/v1/cpu/lucid-rdp/g/cpu.cfs_quota_us", "/v1/cpu/lucid-rdp/g/cpu.cfs_period_us", "/v1/memory/lucid-rdp/g/memory.limit_in_bytes"})
      write(root.path() + file, "");
    EXPECT_TRUE(one.apply("g", {.cpu = 0.5, .memory_mb = 512}));
    EXPECT_EQ(read(root.path() + "/v1/cpu/lucid-rdp/g/cpu.cfs_quota_us"), "50000");
    EXPECT_EQ(read(group + "/memory.limit_in_bytes"), "536870912");
    write(group + "/cgroup.procs", "12\n34\n");
    EXPECT_EQ(one.members("g"), (std::vector<pid_t>{12, 34}));
    EXPECT_EQ(one.names(), std::vector<std::string>{"g"});
  }
  write(root.path() + "/v2/cgroup.controllers", "cpuset cpu io memory pids\n");
  write(root.path() + "/v2/cgroup.subtree_control", "");
  for (const char* file : {"/v2/lucid-rdp/g/cpu.max", "/v2/lucid-rdp/g/memory.max"}) write(root.path() + file, "");
  Cgroups two("cgroup2 /v2 cgroup2 rw 0 0\n", root.path());
  EXPECT_EQ(two.problem(), std::nullopt);
  EXPECT_TRUE(two.apply("g", {.cpu = 8, .memory_mb = 16'384}));
  EXPECT_EQ(read(root.path() + "/v2/lucid-rdp/g/cpu.max"), "800000 100000");
  Cgroups none("tmpfs /tmp tmpfs rw 0 0\n", root.path());
  EXPECT_TRUE(none.problem().has_value());
  EXPECT_FALSE(none.apply("g", {}));
  EXPECT_TRUE(none.members("g").empty());
}

TEST(Child, RunGivesInputAndTakesOutputStatusAndTime) {
  Ran echo = run({"/bin/cat"}, "secret", std::chrono::seconds(5));
  EXPECT_TRUE(echo.ok());
  EXPECT_EQ(echo.output, "secret");
  EXPECT_EQ(run({"/bin/sh", "-c", "exit 3"}, "", std::chrono::seconds(5)).exit_code, 3);
  EXPECT_TRUE(run({"/bin/sleep", "60"}, "", std::chrono::milliseconds(50)).timed_out);
  EXPECT_THROW(run({"/no/such/program"}, "", std::chrono::seconds(1)), Error);
  // A daemon that keeps the pipe does not keep us.
  EXPECT_TRUE(run({"/bin/sh", "-c", "sleep 5 & exit 0"}, "", std::chrono::seconds(4)).ok());
}

TEST(Reactor, TellsOfEndsOnceAndOfDelays) {
  TempDir dir;
  Reactor reactor;
  std::promise<void> ended, gone, later;
  ProcessId child = start_detached({.argv = {"/bin/sleep", "60"}, .log = dir.path() + "/log"});
  EXPECT_TRUE(ProcessTable().alive(child));
  reactor.watch(child, [&] { ended.set_value(); });
  ::kill(child.pid, SIGKILL);
  EXPECT_EQ(ended.get_future().wait_for(std::chrono::seconds(5)), std::future_status::ready);
  reactor.watch(child, [&] { gone.set_value(); });
  EXPECT_EQ(gone.get_future().wait_for(std::chrono::seconds(5)), std::future_status::ready);
  reactor.after(std::chrono::milliseconds(10), [&] { later.set_value(); });
  EXPECT_EQ(later.get_future().wait_for(std::chrono::seconds(5)), std::future_status::ready);
}
