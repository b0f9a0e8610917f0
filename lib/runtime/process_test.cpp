// The life of a process, each time in a child of its own: signals, locks and refusals are the process's.
#include <csignal>
#include <future>

#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/runtime/service.hpp"

using namespace lucid;
using namespace lucid::runtime;
using testing::HasSubstr;
using testing::Not;

namespace {

// Every step is a line on `notes`, so the order can be checked from outside.
struct Noting : RunningService {
  Noting(std::string n, int fd, std::unique_ptr<net::Server> s, bool h) : name(std::move(n)), notes(fd), server(std::move(s)), hangs(h) {
    note("start");
  }
  ~Noting() override {
    if (server) server->stop(std::chrono::milliseconds(100));
    note("end");
  }
  void drain(std::chrono::milliseconds grace) override {
    note(grace > std::chrono::milliseconds(4000) ? "drain" : "late drain");
    while (hangs) ::pause();
  }
  void note(const char* what) const {
    std::string line = std::string(what) + " " + name + "\n";
    EXPECT_EQ(::write(notes, line.data(), line.size()), static_cast<ssize_t>(line.size()));
  }
  std::string name;
  int notes;
  std::unique_ptr<net::Server> server;
  bool hangs;
};

struct Plan {
  std::string data_dir;
  bool api_fails = false;
  bool hangs = false;
  std::vector<std::string> targets;
  std::map<std::string, std::string> flags;
};

class Child {
 public:
  explicit Child(const Plan& plan) {
    int notes[2], errors[2];
    EXPECT_EQ(::pipe(notes), 0);
    EXPECT_EQ(::pipe(errors), 0);
    pid_ = ::fork();
    if (pid_ == 0) {
      ::dup2(errors[1], STDERR_FILENO);
      for (int fd : {notes[0], errors[0], errors[1]}) ::close(fd);
      ::_exit(body(plan, notes[1]));
    }
    ::close(notes[1]);
    ::close(errors[1]);
    notes_ = File(notes[0]);
    errors_ = File(errors[0]);
  }
  ~Child() {
    if (pid_ > 0) {
      ::kill(pid_, SIGKILL);
      ::waitpid(pid_, nullptr, 0);
    }
  }
  // Reads until a line was noted; empty at the end.
  std::string until(const std::string& line) {
    while (all_.find(line + "\n") == std::string::npos) {
      char bytes[512];
      ssize_t n = ::read(notes_.fd(), bytes, sizeof bytes);
      if (n <= 0) break;
      all_.append(bytes, static_cast<std::size_t>(n));
    }
    return all_;
  }
  void signal(int number) { ::kill(pid_, number); }
  // Exit code, or 128 + signal.
  int wait() {
    int status = 0;
    ::waitpid(pid_, &status, 0);
    pid_ = -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  }
  std::string errors() {
    std::string out;
    char bytes[4096];
    for (ssize_t n = 0; (n = ::read(errors_.fd(), bytes, sizeof bytes)) > 0;) out.append(bytes, static_cast<std::size_t>(n));
    return out;
  }

 private:
  static int body(const Plan& plan, int notes) {
    ProcessOptions options;
    Module storage, api;
    storage.name = "session-storage";
    storage.start = [notes, hangs = plan.hangs](const Context& context) -> std::unique_ptr<RunningService> {
      HttpFront front{.service = "session-storage",
                      .router = {},
                      .health = {{"disk", [] { return std::nullopt; }}},
                      .authenticate = {},
                      .worker_threads = 2};
      front.router.add(net::Method::get, "/whoami", [](net::Request& r) { return net::Response::text(r.principal); });
      return std::make_unique<Noting>("storage", notes, serve_http(context, std::move(front)), hangs);
    };
    api.name = "session-api";
    api.starts_after = {"session-storage"};
    api.start = [notes, fails = plan.api_fails](const Context& context) -> std::unique_ptr<RunningService> {
      if (fails) throw Error(ErrorKind::unavailable, "the display is missing");
      auto storage_client = context.client_for("session-storage", "session-api");
      HttpFront front{.service = "session-api",
                      .router = {},
                      .health = {{"storage", [] { return std::optional<std::string>("is away"); }}},
                      .authenticate = {},
                      .worker_threads = 2};
      front.router.add(net::Method::get, "/through",
                       [storage_client](net::Request&) {
                         net::Call call;
                         call.target = "/whoami";
                         return net::Response::bytes(storage_client->expect(call).body);
                       },
                       {.auth = net::Auth::open});
      return std::make_unique<Noting>("api", notes, serve_http(context, std::move(front)), false);
    };
    options.modules = {api, storage};
    options.targets = plan.targets;
    options.flags = plan.flags;
    options.flags["data_dir"] = plan.data_dir;
    options.flags.emplace("log_level", "error");
    for (const Module& module : options.modules)
      if (plan.targets.empty() || plan.targets[0] == module.name) options.flags.emplace(module.name + ".port", "0");
    options.ready = [notes] { EXPECT_EQ(::write(notes, "ready\n", 6), 6); };
    return run_process(std::move(options));
  }

  pid_t pid_ = -1;
  File notes_, errors_;
  std::string all_;
};

std::string url_in(const std::string& data_dir) {
  Bytes bytes = system_files().read_file(data_dir + "/endpoint.json");
  return std::string(parse_json(as_text(bytes)).value().at("url").as_string());
}

// A port nobody listens on right now.
int free_port() {
  File socket(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  EXPECT_EQ(::bind(socket.fd(), reinterpret_cast<sockaddr*>(&address), size), 0);
  EXPECT_EQ(::getsockname(socket.fd(), reinterpret_cast<sockaddr*>(&address), &size), 0);
  return ntohs(address.sin_port);
}

mode_t mode_of(const std::string& path) {
  struct stat info{};
  EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
  return info.st_mode & 0777;
}

}  // namespace

TEST(Process, StartsInOrderServesAndStopsInReverse) {
  TempDir dir;
  std::string data = dir.path() + "/data";
  Child child({.data_dir = data});
  child.until("ready");
  EXPECT_EQ(mode_of(data), 0700u);
  EXPECT_EQ(mode_of(data + "/endpoint.json"), 0600u);
  EXPECT_TRUE(system_files().exists(data + "/keys/service.key"));

  net::Client client({.base_url = url_in(data), .bearer = {}});
  net::Call call;
  call.target = "/through";
  EXPECT_EQ(as_text(client.expect(call).body), "service:session-api") << "services know each other by their tokens";
  call.target = "/health";
  net::Response health = client.send(call);
  EXPECT_EQ(health.status, 503);
  auto body = parse_json(as_text(health.body)).value().as_object();
  EXPECT_EQ(body.at("service").as_string(), "session-api");
  EXPECT_EQ(body.at("checks").as_array()[0].at("detail").as_string(), "is away");
  EXPECT_EQ(body.at("failed"), json::value(json::array{"storage"})) << "what is wrong, at a glance";
  call.target = "/ready";
  EXPECT_EQ(as_text(client.send(call).body), as_text(health.body));
  EXPECT_EQ(client.get_json("/version").at("service").as_string(), "session-api");
  call.target = "/metrics";
  std::string metrics(as_text(client.expect(call).body));
  EXPECT_THAT(metrics, HasSubstr(R"(lucid_http_requests_total{method="GET",route="/through",service="session-api",status="200"} 1)"));
  EXPECT_THAT(metrics, Not(HasSubstr("service=\"session-storage\"")));
  EXPECT_THAT(metrics, HasSubstr("lucid_http_connections{service=\"session-api\"} 1\n"));
  EXPECT_THAT(metrics, HasSubstr("lucid_http_worker_threads{service=\"session-api\"} 2\n"));
  // The one that answers this, and perhaps the one that is just done with the request before.
  EXPECT_THAT(metrics, testing::ContainsRegex("lucid_http_workers_busy\\{service=\"session-api\"\\} [12]\n"));
  EXPECT_THAT(metrics, HasSubstr("lucid_http_queue_length{service=\"session-api\"} 0\n"));

  child.signal(SIGTERM);
  EXPECT_EQ(child.until("end storage"), "start storage\nstart api\nready\ndrain api\ndrain storage\nend api\nend storage\n");
  EXPECT_EQ(child.wait(), 0);
  EXPECT_FALSE(system_files().exists(data + "/endpoint.json"));
}

TEST(Process, LabelsOfRequestsStayFewWhateverIsAsked) {
  TempDir dir;
  Child child({.data_dir = dir.path()});
  child.until("ready");
  net::Client client({.base_url = url_in(dir.path()), .bearer = {}});
  for (const char* target : {"/a", "/b?c=1", "/through/d"}) {
    net::Call call;
    call.target = target;
    EXPECT_EQ(client.send(call).status, 404);
  }
  net::Call call;
  call.target = "/metrics";
  EXPECT_THAT(std::string(as_text(client.expect(call).body)),
              HasSubstr(R"(lucid_http_requests_total{method="GET",route="unmatched",service="session-api",status="404"} 3)"));
}

TEST(Process, SpansGoToTheCollectorThatIsSetAndToNoneOtherwise) {
  std::mutex mutex;
  std::string received;
  net::Router router;
  router.add(net::Method::post, "/base/v1/traces",
             [&](net::Request& request) {
               std::lock_guard lock(mutex);
               received += as_text(request.body);
               return net::Response::empty();
             },
             {.auth = net::Auth::open});
  TempDir dir;
  std::optional<Child> child;
  // The child is forked before this process has threads.
  int port = free_port();
  child.emplace(Plan{.data_dir = dir.path(),
                     .flags = {{"tracing.endpoint", "http://127.0.0.1:" + std::to_string(port) + "/base"}, {"tracing.headers", "k=v"}}});
  net::Server collector({.port = static_cast<std::uint16_t>(port)}, std::move(router), {}, {});
  collector.start();
  child->until("ready");
  {
    net::Client client({.base_url = url_in(dir.path()), .bearer = {}});
    for (const char* target : {"/through?secret=hunter2", "/health", "/metrics", "/version"}) {
      net::Call call;
      call.target = target;
      client.send(call);
    }
  }
  child->signal(SIGTERM);
  EXPECT_EQ(child->wait(), 0);
  std::lock_guard lock(mutex);
  EXPECT_THAT(received, HasSubstr("GET /through"));
  EXPECT_THAT(received, HasSubstr("GET /whoami"));
  EXPECT_THAT(received, HasSubstr("session-storage"));
  for (const char* never : {"hunter2", "/health", "/metrics", "/version"}) EXPECT_THAT(received, Not(HasSubstr(never)));
}

TEST(Process, SecondProcessOnTheSameDataIsRefused) {
  TempDir dir;
  Child first({.data_dir = dir.path()});
  first.until("ready");
  Child second({.data_dir = dir.path(), .targets = {"session-storage"}});
  EXPECT_EQ(second.wait(), 1);
  EXPECT_THAT(second.errors(), HasSubstr("lucid: session-storage already runs on the data directory " + dir.path() + " (process "));
  first.signal(SIGINT);
  EXPECT_EQ(first.wait(), 0);
  Child third({.data_dir = dir.path(), .targets = {"session-storage"}});
  third.until("ready");
  third.signal(SIGTERM);
  EXPECT_EQ(third.wait(), 0);
}

TEST(Process, FailureToStartEndsWhatRanAndSaysOneLine) {
  TempDir dir;
  Child child({.data_dir = dir.path(), .api_fails = true});
  EXPECT_EQ(child.wait(), 1);
  EXPECT_EQ(child.until("end storage"), "start storage\nend storage\n");
  EXPECT_EQ(child.errors(), "lucid: session-api cannot start: the display is missing\n");
}

TEST(Process, SecondSignalEndsAtOnce) {
  TempDir dir;
  Child child({.data_dir = dir.path(), .hangs = true});
  child.until("ready");
  child.signal(SIGTERM);
  child.until("drain storage");
  child.signal(SIGINT);
  EXPECT_EQ(child.wait(), 128 + SIGINT);
}

TEST(Process, UnknownFlagStopsTheStart) {
  TempDir dir;
  Child child({.data_dir = dir.path(), .flags = {{"no-such", "1"}}});
  EXPECT_EQ(child.wait(), 1);
  EXPECT_EQ(child.errors(), "lucid: --no-such is not a known setting (`lucid config` lists them)\n");
}

TEST(Process, DamagedKeyStopsTheStart) {
  TempDir dir;
  {
    Child child({.data_dir = dir.path()});
    child.until("ready");
    child.signal(SIGTERM);
    EXPECT_EQ(child.wait(), 0);
  }
  system_files().replace_file(dir.path() + "/keys/service.key", as_bytes("nonsense"));
  Child child({.data_dir = dir.path()});
  EXPECT_EQ(child.wait(), 1);
  EXPECT_THAT(child.errors(), HasSubstr("service.key"));
}
