#include "rdp/gateway/link.hpp"

#include <cerrno>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

namespace lucid::gateway {
namespace {

constexpr const char* kCookie = "Cookie: msts=";

void set(const File& socket, int level, int option, int value) { ::setsockopt(socket.fd(), level, option, &value, sizeof value); }

// Interactive, and a peer that vanished is noticed within two minutes.
void tune(const File& socket) {
  set(socket, IPPROTO_TCP, TCP_NODELAY, 1);
  set(socket, SOL_SOCKET, SO_KEEPALIVE, 1);
  set(socket, IPPROTO_TCP, TCP_KEEPIDLE, 60);
  set(socket, IPPROTO_TCP, TCP_KEEPINTVL, 15);
  set(socket, IPPROTO_TCP, TCP_KEEPCNT, 4);
}

bool send_all(Side& side, ByteView bytes) {
  // A few hundred bytes into an empty send buffer: less than all of it means that the peer is gone.
  return ::send(side.socket.fd(), bytes.data(), bytes.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(bytes.size());
}

}  // namespace

Link::Link(Loop& loop, NewClient client)
    : loop_(loop), around_(loop.around()), id_(client.id), address_(std::move(client.address)), key_(std::move(client.key)) {
  client_.socket = std::move(client.socket);
  opened_wall_ms_ = around_.clock.wall_ms();
}

Link::~Link() { around_.guard.leave(key_); }

void Link::begin() {
  began_ms_ = around_.clock.steady_ms();
  tune(client_.socket);
  if (relays()) around_.counters.open.add(1);
  move_again();
}

void Link::enter(Phase phase) {
  auto busy = [](Phase p) { return p == Phase::admission || p == Phase::connecting || p == Phase::confirm || p == Phase::refused; };
  if (busy(phase) != busy(phase_)) around_.busy.add(busy(phase) ? 1 : -1);
  phase_ = phase;
}

void Link::on_events(Which which, std::uint32_t events) {
  Side& side = which == Which::client ? client_ : upstream_;
  if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0) side.readable = true;
  if ((events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) != 0) side.writable = true;
  bool left = (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0;
  switch (phase_) {
    case Phase::request: return read_request();
    case Phase::admission:
      if (left) end("client");
      return;
    case Phase::connecting:
      if (which == Which::client) return left ? end("client") : void();
      return send_request();
    case Phase::confirm:
      if (which == Which::client) return left ? end("client") : void();
      return read_confirm();
    case Phase::relay:
      // Nothing may pass a frozen relay, so one whose peer has left cannot end in order.
      if (frozen_) return left ? end(which == Which::client ? "client" : "server") : void();
      // A broken socket takes nothing any more; what it sent before is still delivered.
      if ((events & EPOLLERR) != 0) (which == Which::client ? down_ : up_).finished = true;
      return pump_both();
    case Phase::refused: {
      std::uint8_t ignored[512];
      ssize_t n;
      while ((n = ::recv(client_.socket.fd(), ignored, sizeof ignored, MSG_DONTWAIT)) > 0) {}
      if (n == 0 || (errno != EAGAIN && errno != EINTR)) end("refused");
      return;
    }
    case Phase::ended: return;
  }
}

// Reads one TPKT packet into packet_ and not a byte more.
Link::Got Link::read_packet(Side& side) {
  for (;;) {
    auto size = packet_size(packet_);
    if (!size) return Got::broken;
    std::size_t want = *size == 0 ? kTpktHeader : *size;
    if (packet_.size() == want) return Got::all;
    std::uint8_t buffer[kMaxHandshake];
    ssize_t n = ::recv(side.socket.fd(), buffer, want - packet_.size(), MSG_DONTWAIT);
    if (n > 0) {
      packet_.insert(packet_.end(), buffer, buffer + n);
    } else if (n < 0 && errno == EINTR) {
      continue;
    } else {
      side.readable = false;
      return n < 0 && errno == EAGAIN ? Got::more : Got::nothing;
    }
  }
}

void Link::read_request() {
  switch (read_packet(client_)) {
    case Got::more: return;
    case Got::nothing:
      // A probe that says nothing is nobody's failure.
      if (packet_.empty()) return end("client");
      return refuse(Refusal::malformed, "cut short");
    case Got::broken: return refuse(Refusal::malformed, name(packet_size(packet_).error()));
    case Got::all: break;
  }
  auto request = parse_connection_request(packet_);
  if (!request) return refuse(Refusal::malformed, name(request.error()));
  request_ = std::move(*request);
  head_ = std::exchange(packet_, {});
  if ((request_.protocols & kSecureProtocols) == 0) return refuse(Refusal::no_tls);
  if (request_.token.empty() && request_.account.empty()) return refuse(Refusal::no_name);
  ask_controller();
}

void Link::ask_controller() {
  enter(Phase::admission);
  asked_ms_ = around_.clock.steady_ms();
  wait(around_.config.admission_timeout_ms);
  contracts::AdmissionRequest request{.connection = id_, .account = request_.account, .client_address = address_};
  if (!request_.token.empty()) request.token = kCookie + request_.token;
  auto decided = [&loop = loop_, &around = around_, id = id_, address = address_](Decision decision) {
    // The file must stand before anything can end the connection.
    if (auto* yes = std::get_if<Admitted>(&decision)) around.reporter.admitted(id, yes->admission.session, address);
    loop.post([&loop, &around, id, address, decision = std::move(decision)]() mutable {
      if (Link* link = loop.find(id)) return link->on_decision(std::move(decision));
      if (auto* yes = std::get_if<Admitted>(&decision))
        around.reporter.report(
            {.connection = id, .session = yes->admission.session, .event = "closed", .cause = "client", .client_address = address});
    });
  };
  if (!around_.submit(std::move(request), std::move(decided))) refuse(Refusal::unavailable, "too many admissions wait");
}

void Link::on_decision(Decision decision) {
  around_.counters.admission.observe(static_cast<double>(around_.clock.steady_ms() - asked_ms_) / 1000);
  if (auto* no = std::get_if<NotAdmitted>(&decision)) {
    if (phase_ == Phase::admission) refuse(no->refusal, no->code + ": " + no->detail);
    return;
  }
  const Admitted& yes = std::get<Admitted>(decision);
  session_ = yes.admission.session;
  if (phase_ != Phase::admission) {  // it came too late: the client has been refused
    report("closed", "timeout");
    session_.reset();
    return;
  }
  if (yes.admission.replaces) around_.replace(*yes.admission.replaces, "replaced by " + id_.text());
  connect_upstream(yes);
}

void Link::connect_upstream(const Admitted& to) {
  enter(Phase::connecting);
  wait(around_.config.upstream_timeout_ms);
  upstream_.socket = File(::socket(to.upstream.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!upstream_.socket) return refuse(Refusal::upstream, system_error("make", "a socket", errno).what());
  tune(upstream_.socket);
  if (::connect(upstream_.socket.fd(), reinterpret_cast<const sockaddr*>(&to.upstream), to.upstream_size) != 0 && errno != EINPROGRESS)
    return refuse(Refusal::upstream, system_error("connect to", "the xrdp", errno).what());
  if (!loop_.watch(*this, Which::upstream, upstream_.socket.fd())) refuse(Refusal::unavailable, "the event loop takes no more sockets");
}

void Link::send_request() {
  int reason = 0;
  socklen_t size = sizeof reason;
  ::getsockopt(upstream_.socket.fd(), SOL_SOCKET, SO_ERROR, &reason, &size);
  if (reason != 0) return refuse(Refusal::upstream, system_error("connect to", "the xrdp", reason).what());
  if (!upstream_.writable) return;
  if (!send_all(upstream_, head_)) return refuse(Refusal::upstream, "the xrdp did not take the request");
  enter(Phase::confirm);
  packet_.clear();
  read_confirm();
}

void Link::read_confirm() {
  switch (read_packet(upstream_)) {
    case Got::more: return;
    case Got::nothing: return refuse(Refusal::upstream, "the xrdp closed the connection");
    case Got::broken: return refuse(Refusal::upstream, "the xrdp answered with something else than RDP");
    case Got::all: break;
  }
  auto confirm = parse_connection_confirm(packet_);
  if (!confirm) return refuse(Refusal::upstream, "the xrdp answered with something else than RDP");
  if (confirm->failure) {
    // The xrdp's own reason is the one the client understands best.
    send_all(client_, packet_);
    request_.negotiates = false;
    return refuse(Refusal::upstream_no_tls, "the xrdp refused with RDP_NEG_FAILURE " + std::to_string(*confirm->failure));
  }
  std::uint32_t chosen = confirm->selected.value_or(0);
  bool secure = chosen == kProtocolSsl || chosen == kProtocolHybrid || chosen == kProtocolHybridEx;
  if (!secure || (chosen & request_.protocols) == 0)
    return refuse(Refusal::upstream_no_tls, "the xrdp chose protocol " + std::to_string(chosen));
  if (!send_all(client_, packet_)) return end("client");
  start_relay();
}

void Link::refuse(Refusal refusal, const std::string& detail) {
  around_.counters.refused_connections.add();
  around_.counters.refused(refusal).add();
  around_.log.info("refused",
                   {{"client", address_}, {"reason", name(refusal)}, {"detail", to_utf8(detail, 300)}, {"connection", id_.text()}});
  std::int64_t now = around_.clock.wall_ms();
  if (is_clients_failure(refusal) && around_.guard.failed(key_, now)) {
    around_.counters.bans.add();
    around_.log.warn("banned", {{"address", key_}, {"seconds", std::to_string(around_.config.guard.ban_ms / 1000)}});
  }
  if (session_) {
    report("closed", refusal == Refusal::unavailable ? "timeout" : "negotiation");
    session_.reset();
  }
  if (upstream_.socket) {
    loop_.forget(upstream_.socket.fd());
    upstream_ = {};
  }
  enter(Phase::refused);
  // A client that did not ask for a negotiation has no use for its failure (MS-RDPBCGR 2.2.1.2.2).
  auto code = failure_code(refusal);
  bool told = code && request_.negotiates && send_all(client_, negotiation_failure(*code, request_.source_reference));
  if (!told && !code) return end("refused");
  ::shutdown(client_.socket.fd(), SHUT_WR);
  wait(around_.config.linger_ms);
}

void Link::on_deadline() {
  switch (phase_) {
    case Phase::request:
      // One that never said a word may be a probe.
      return packet_.empty() ? end("timeout") : refuse(Refusal::handshake_timeout, std::to_string(packet_.size()) + " bytes came");
    case Phase::admission: return refuse(Refusal::unavailable, "the controller did not answer in time");
    case Phase::connecting:
    case Phase::confirm: return refuse(Refusal::upstream, "the xrdp did not answer in time");
    case Phase::relay: return end(first_end_ != nullptr ? first_end_ : "timeout");
    case Phase::refused: return end("refused");
    case Phase::ended: return;
  }
}

}  // namespace lucid::gateway
