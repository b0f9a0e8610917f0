#include "rdp/gateway/gateway.hpp"

#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include <fmt/format.h>

#include "rdp/gateway/link.hpp"

namespace lucid::gateway {
namespace {

constexpr int kBacklog = 1'024, kAcceptsATurn = 64;
constexpr std::size_t kDescriptorsEach = 6;  // two sockets, two pipes of two ends
constexpr std::size_t kDescriptorsBeside = 256;

Error not_found() { return Error(ErrorKind::not_found, "connection_not_found", "there is no live connection of that id"); }

}  // namespace

Gateway::Gateway(Config config, Controller controller, std::string directory, Machine machine)
    : log_("xrdp-integration"),
      config_(std::move(config)),
      directory_(std::move(directory)),
      clock_(machine.clock),
      random_(machine.random),
      guard_(config_.guard),
      reporter_(directory_ + "/connections", std::move(controller.report), clock_, machine.files, log_),
      counters_(machine.metrics),
      around_{.config = config_,
              .clock = clock_,
              .log = log_,
              .guard = guard_,
              .reporter = reporter_,
              .counters = counters_,
              .busy = busy_,
              .submit = [this](auto request, auto done) { return admissions_->submit(std::move(request), std::move(done)); },
              .replace =
                  [this](const Id& id, const std::string& cause) {
                    for (auto& loop : loops_)
                      loop->post([l = loop.get(), id, cause] {
                        if (Link* link = l->find(id)) link->kill(cause);
                      });
                  }},
      admissions_(std::make_unique<Admissions>(std::move(controller.admit))) {
  raise_descriptor_limit();
  int threads = config_.threads > 0 ? config_.threads : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  for (int i = 0; i < threads; ++i) loops_.push_back(std::make_unique<Loop>(around_));
  exposure_.emplace(machine.metrics, [this] { update_gauges(); });
}

void Gateway::update_gauges() {
  counters_.banned.set(static_cast<double>(bans().size()));
  counters_.waiting_reports.set(static_cast<double>(reporter_.waiting()));
  counters_.waiting_admissions.set(static_cast<double>(admissions_->waiting()));
}

Gateway::~Gateway() {
  exposure_.reset();
  if (hand_over_thread_.joinable()) {
    std::uint64_t one = 1;
    [[maybe_unused]] ssize_t n = ::write(stop_door_.fd(), &one, sizeof one);
    hand_over_thread_.join();
  }
  stop_listening();
  admissions_.reset();
  for (auto& loop : loops_) {
    loop->post([l = loop.get()] { l->each([](Link& link) { link.end("gateway_stopped"); }); });
    loop->stop();
  }
  reporter_.flush(std::chrono::milliseconds(500));
}

// Every connection the settings allow must find its descriptors, or it would fail in the middle of its life.
void Gateway::raise_descriptor_limit() {
  rlimit limit{};
  ::getrlimit(RLIMIT_NOFILE, &limit);
  rlim_t wanted = config_.max_connections * kDescriptorsEach + kDescriptorsBeside;
  if (limit.rlim_cur < wanted) {
    rlimit raised{wanted, std::max(limit.rlim_max, wanted)};
    if (::setrlimit(RLIMIT_NOFILE, &raised) != 0) {
      raised = {std::min(wanted, limit.rlim_max), limit.rlim_max};
      ::setrlimit(RLIMIT_NOFILE, &raised);
    }
    ::getrlimit(RLIMIT_NOFILE, &limit);
  }
  if (limit.rlim_cur >= wanted) return;
  std::size_t possible =
      limit.rlim_cur > kDescriptorsBeside + kDescriptorsEach ? (limit.rlim_cur - kDescriptorsBeside) / kDescriptorsEach : 1;
  log_.warn("fewer connections than set: the limit of open files is too low",
            {{"max_connections", std::to_string(possible)}, {"set", std::to_string(config_.max_connections)}});
  config_.max_connections = possible;
}

std::optional<File> Gateway::start() {
  spare_ = File(::open("/dev/null", O_RDONLY | O_CLOEXEC));
  std::optional<File> predecessor = connect_to_predecessor(directory_ + "/handoff.sock");
  Handed handed;
  if (predecessor) {
    send_message(*predecessor, {{"type", "hand_over"}, {"version", kHandOverVersion}});
    handed = receive_handed(*predecessor);
    if (handed.listener) listener_ = std::move(*handed.listener);
  }
  // Before "taken": a port that cannot be had leaves the connections where they are.
  open_port();
  if (predecessor) {
    send_message(*predecessor, {{"type", "taken"}});
    log_.info("taken over",
              {{"process", std::to_string(peer_process(*predecessor))}, {"connections", std::to_string(handed.links.size())}});
  }
  std::set<Id> live;
  for (const HandedLink& link : handed.links) live.insert(link.id);
  reporter_.restore(std::move(handed.reports));
  reporter_.recover(live);
  adopt(std::move(handed));
  for (auto& loop : loops_) loop->start();
  reporter_.start();
  return predecessor;
}

void Gateway::adopt(Handed handed) {
  for (const Ban& ban : handed.bans) guard_.restore(ban);
  std::size_t next = 0;
  // Done by the loops as their first work.
  for (HandedLink& link : handed.links) {
    Loop* loop = loops_[next++ % loops_.size()].get();
    auto item = std::make_shared<HandedLink>(std::move(link));
    loop->post([loop, item] { loop->adopt(std::make_unique<Link>(*loop, std::move(*item))).begin(); });
  }
}

void Gateway::open_port() {
  auto bound_port = [this] {
    sockaddr_storage own{};
    socklen_t size = sizeof own;
    ::getsockname(listener_.fd(), reinterpret_cast<sockaddr*>(&own), &size);
    return own.ss_family == AF_INET6 ? ntohs(reinterpret_cast<sockaddr_in6*>(&own)->sin6_port)
                                     : ntohs(reinterpret_cast<sockaddr_in*>(&own)->sin_port);
  };
  // A listening socket that was handed over serves as long as the port is still the one that is set.
  if (listener_ && config_.port != 0 && bound_port() != config_.port) listener_ = {};
  if (!listener_) {
    addrinfo hints{}, *found = nullptr;
    hints.ai_socktype = SOCK_STREAM;
    hints.ai_flags = AI_PASSIVE;
    std::string where = fmt::format("{} port {}", config_.host, config_.port);
    if (int reason = ::getaddrinfo(config_.host.c_str(), std::to_string(config_.port).c_str(), &hints, &found); reason != 0)
      throw Error(ErrorKind::invalid, fmt::format("cannot listen for RDP on {}: {}", where, ::gai_strerror(reason)));
    std::unique_ptr<addrinfo, decltype(&::freeaddrinfo)> owner(found, ::freeaddrinfo);
    listener_ = File(::socket(found->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
    int on = 1, off = 0;
    ::setsockopt(listener_.fd(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (found->ai_family == AF_INET6) ::setsockopt(listener_.fd(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off);
    if (::bind(listener_.fd(), found->ai_addr, found->ai_addrlen) != 0 || ::listen(listener_.fd(), kBacklog) != 0) {
      int reason = errno;
      if (reason == EADDRINUSE)
        throw Error(ErrorKind::unavailable, "address_in_use",
                    fmt::format("cannot listen for RDP on {}: something else has the port; end it or set another with "
                                "--xrdp-integration.rdp_port",
                                where));
      throw system_error("listen for RDP on", where, reason);
    }
  }
  port_ = bound_port();
  loops_[0]->watch_listener(listener_.fd(), [this] { accept_clients(); });
  log_.info("listening for RDP", {{"host", config_.host}, {"port", std::to_string(port_)}});
}

void Gateway::accept_clients() {
  for (int i = 0; i < kAcceptsATurn; ++i) {
    sockaddr_storage address{};
    socklen_t size = sizeof address;
    File socket(::accept4(listener_.fd(), reinterpret_cast<sockaddr*>(&address), &size, SOCK_NONBLOCK | SOCK_CLOEXEC));
    if (socket) {
      welcome(std::move(socket), address);
      continue;
    }
    if (errno != EMFILE && errno != ENFILE) return;  // nobody waits, or the one who did has left
    // Without a descriptor the client would wait in the queue and wake us for ever: it gets the spare one and is sent away.
    spare_.close();
    File turned_away(::accept4(listener_.fd(), nullptr, nullptr, SOCK_CLOEXEC));
    turned_away.close();
    spare_ = File(::open("/dev/null", O_RDONLY | O_CLOEXEC));
    counters_.refused(Refusal::full).add();
  }
}

void Gateway::welcome(File socket, const sockaddr_storage& address) {
  std::size_t carried = 0;
  for (auto& loop : loops_) carried += loop->size();
  if (carried >= config_.max_connections) return turn_away(std::move(socket), Refusal::full);
  std::string key = address_key(address);
  switch (guard_.enter(key, clock_.wall_ms())) {
    case Guard::Verdict::welcome: break;
    case Guard::Verdict::banned: return turn_away(std::move(socket), Refusal::banned);
    case Guard::Verdict::too_fast: return turn_away(std::move(socket), Refusal::too_fast);
    case Guard::Verdict::too_many: return turn_away(std::move(socket), Refusal::too_many);
  }
  Loop* loop = &lightest();
  auto client = std::make_shared<NewClient>(NewClient{Id::make(clock_, random_), std::move(socket), address_text(address), key});
  auto begin = [loop, client] { loop->adopt(std::make_unique<Link>(*loop, std::move(*client))).begin(); };
  if (loop == loops_[0].get())
    begin();
  else
    loop->post(begin);
}

void Gateway::turn_away(File socket, Refusal refusal) {
  counters_.refused_connections.add();
  counters_.refused(refusal).add();
  linger reset{.l_onoff = 1, .l_linger = 0};  // nothing is kept for them
  ::setsockopt(socket.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
}

Loop& Gateway::lightest() {
  auto by_size = [](const auto& a, const auto& b) { return a->size() < b->size(); };
  return **std::min_element(loops_.begin(), loops_.end(), by_size);
}

std::vector<contracts::Connection> Gateway::connections() {
  std::vector<contracts::Connection> out;
  for (auto& loop : loops_)
    loop->ask([&] {
      loop->each([&](Link& link) {
        if (link.relays()) out.push_back(link.describe());
      });
    });
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.id > b.id; });
  return out;
}

void Gateway::command(const Id& connection, const std::function<void(Link&)>& act) {
  if (handing_over_)
    throw Error(ErrorKind::unavailable, "handing_over", "the gateway is handing its connections to a new process; ask again")
        .with_retry_after(std::chrono::seconds(1));
  for (auto& loop : loops_) {
    bool found = loop->ask([&] {
      Link* link = loop->find(connection);
      if (link == nullptr || !link->relays()) return false;
      act(*link);
      return true;
    });
    if (found) return;
  }
  throw not_found();
}

void Gateway::freeze(const Id& connection) {
  command(connection, [](Link& link) { link.freeze(); });
}
void Gateway::resume(const Id& connection) {
  command(connection, [](Link& link) { link.resume(); });
}
void Gateway::kill(const Id& connection, const std::string& cause) {
  command(connection, [&](Link& link) { link.kill(cause); });
}

void Gateway::drain() {
  if (draining_.exchange(true)) return;
  log_.info("draining: no new connections");
  stop_listening();
}

bool Gateway::lift_ban(const std::string& address) { return guard_.lift(address); }

void Gateway::stop_listening() {
  loops_[0]->post([this] {
    if (!listener_) return;
    loops_[0]->forget_listener(listener_.fd());
    listener_ = {};
  });
}

}  // namespace lucid::gateway
