// lucid top: host, firing alerts, sessions and services, live in a terminal or once as text.
#include <condition_variable>
#include <iostream>
#include <mutex>
#include <thread>

#include <sys/eventfd.h>
#include <unistd.h>

#include <fmt/format.h>

#include "app/cli/cli.hpp"
#include "app/cli/server.hpp"
#include "app/cli/top_terminal.hpp"
#include "app/cli/top_view.hpp"

namespace lucid::cli {
namespace {

constexpr std::chrono::milliseconds kLookTime{3'000};

struct TopOptions {
  ServerOption server;
  int interval = 2;
  bool once = false, json = false;
};

TopData look(net::Client& client, const std::function<bool()>& stopping) {
  TopData data;
  for (auto [answer, path] : {std::pair(&data.host, "host"), std::pair(&data.alerts, "alerts"), std::pair(&data.sessions, "sessions"),
                              std::pair(&data.services, "services")})
    if (!stopping()) *answer = client.get_json(fmt::format("/api/v1/monitor/{}", path));
  return data;
}

// Asks the server again and again in a thread of its own, so that a server that hangs does not make the keys hang.
class Looking {
 public:
  Looking(net::Client& client, TopData first, std::chrono::seconds interval)
      : client_(client), data_(std::move(first)), wake_(::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {
    if (!wake_) throw system_error("create", "an event", errno);
    thread_ = std::thread([this, interval] { run(interval); });
  }
  ~Looking() {
    {
      std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }
  Looking(const Looking&) = delete;
  int wake_fd() const { return wake_.fd(); }
  TopData data() {
    std::uint64_t count = 0;
    while (::read(wake_.fd(), &count, sizeof count) > 0) {}
    std::lock_guard lock(mutex_);
    return data_;
  }

 private:
  void run(std::chrono::seconds interval) {
    std::unique_lock lock(mutex_);
    while (!changed_.wait_for(lock, interval, [&] { return stopping_; })) {
      lock.unlock();
      std::optional<TopData> fresh;
      std::string problem;
      try {
        fresh = look(client_, [this] {
          std::lock_guard stop_lock(mutex_);
          return stopping_;
        });
      } catch (const std::exception& e) { problem = e.what(); }
      lock.lock();
      if (fresh) data_ = std::move(*fresh);
      // What was seen last stays on the screen, with the reason why it is old.
      data_.problem = problem.empty() ? "" : "server away, trying again: " + problem;
      std::uint64_t one = 1;
      if (::write(wake_.fd(), &one, sizeof one) < 0 && errno != EAGAIN) return;
    }
  }

  net::Client& client_;
  std::mutex mutex_;
  std::condition_variable changed_;
  TopData data_;
  bool stopping_ = false;
  File wake_;
  std::thread thread_;
};

std::string variable(const Io& io, const char* name) {
  const char* value = io.environment(name);
  return value != nullptr ? value : "";
}

bool speaks_utf8(const Io& io) {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    std::string value = variable(io, name);
    if (value.empty()) continue;
    for (char& c : value) c = static_cast<char>(std::toupper(static_cast<unsigned char>(c)));
    return value.find("UTF-8") != std::string::npos || value.find("UTF8") != std::string::npos;
  }
  return false;
}

int watch(net::Client& client, TopData first, int interval, TopStyle style) {
  // The thread ends after the terminal is put back: leaving never waits for a server.
  std::optional<Looking> looking;
  Terminal terminal;
  looking.emplace(client, std::move(first), std::chrono::seconds(interval));
  style.live = true;
  for (;;) {
    auto [columns, rows] = Terminal::size();
    style.columns = columns;
    style.rows = rows;
    if (!terminal.show(top_lines(looking->data(), style))) return kOk;
    Terminal::Event event = terminal.wait(std::chrono::minutes(1), looking->wake_fd());
    if (event.kind == Terminal::Event::Kind::end) return kOk;
    if (event.kind != Terminal::Event::Kind::key) continue;
    switch (event.key) {
      case 'q':
      case 'Q': return kOk;
      case 'c': style.sort = TopSort::cpu; break;
      case 'm': style.sort = TopSort::memory; break;
      case 'f': style.sort = TopSort::frames; break;
      default: break;
    }
  }
}

int top(Io& io, const TopOptions& o) {
  Endpoint endpoint = find_server(io, o.server);
  net::ClientConfig config;
  config.base_url = endpoint.url;
  config.bearer = [token = endpoint.token] { return token; };
  config.timeout = kLookTime;
  net::Client client(std::move(config));
  TopData data = look(client, [] { return false; });
  if (o.json) {
    auto member = [](const json::value& answer, const char* key) {
      const json::object* object = answer.if_object();
      const json::value* found = object != nullptr ? object->if_contains(key) : nullptr;
      return found != nullptr ? *found : json::value(json::array());
    };
    io.out << json::serialize(json::object{{"host", data.host},
                                           {"alerts", member(data.alerts, "alerts")},
                                           {"sessions", member(data.sessions, "sessions")},
                                           {"services", member(data.services, "services")}})
           << '\n';
    return kOk;
  }
  std::string terminal = variable(io, "TERM");
  bool live = !o.once && &io.out == &std::cout && ::isatty(STDOUT_FILENO) == 1 && !terminal.empty() && terminal != "dumb";
  if (!live) {
    io.out << top_report(data, speaks_utf8(io));
    return kOk;
  }
  return watch(client, std::move(data), o.interval, {.colour = variable(io, "NO_COLOR").empty(), .unicode = speaks_utf8(io)});
}

}  // namespace

void add_top_command(Program& program) {
  auto o = std::make_shared<TopOptions>();
  CLI::App& command =
      program.command("top", "Watch the host, sessions, services and firing alerts; keys: c m f sort by CPU, memory, frames, q ends.",
                      "  lucid top\n"
                      "  lucid top --interval 10 --data /var/lib/lucid\n"
                      "  lucid top --once > report.txt                          one report as text, as when the output is no terminal\n"
                      "  lucid top --json | jq '.host.memory.used_ratio'");
  o->server.add_to(command);
  command.add_option("--interval", o->interval, "seconds between looks")->check(CLI::Range(1, 3'600))->capture_default_str();
  command.add_flag("--once", o->once, "one report as text, also in a terminal");
  command.add_flag("--json", o->json, "one report as JSON");
  program.action(command, [&program, o] { return top(program.io(), *o); });
}

}  // namespace lucid::cli
