// Who may connect: routing tokens, their one use, reconnects; and what the gateway tells of connections. Nothing here calls another
// service but connection(), which the gateway never waits for.
#include <algorithm>

#include <fmt/format.h>

#include "rdp/controller/session.hpp"
#include "rdp/controller/token.hpp"

namespace lucid::controller {
namespace {

constexpr const char* kLoopback = "127.0.0.1";

Error refused(const char* code, const std::string& why) { return Error(ErrorKind::forbidden, code, why); }
Error not_ready(State state) {
  return refused("session_not_ready", fmt::format("the session is {}: nobody can connect now", contracts::name(state)));
}

// "192.0.2.7:50312" and "[2001:db8::1]:50312" without the port.
std::string_view host_of(std::string_view address) { return address.substr(0, address.rfind(':')); }

}  // namespace

contracts::ConnectionOffer Controller::connection(const Id& session) {
  auto s = live(session);
  std::lock_guard control(s->control);
  auto check = [&] {
    if (!takes_clients(s->record.state))
      throw Error(ErrorKind::conflict, "session_not_ready",
                  fmt::format("session {} is {}: there is nothing to connect to", session.text(), contracts::name(s->record.state)));
  };
  contracts::ConnectionOffer offer;
  bool named = false;
  {
    std::lock_guard lock(s->mutex);
    check();
    named = is_named(s->record);
    offer.account = s->record.account;
  }
  if (!named) {
    auto credentials = servers_.credentials(session);
    offer.account = credentials.account;
    offer.password = credentials.password;
  }
  RoutingToken token{.session = session, .token = Id::make(clock_, random_)};
  {
    std::lock_guard lock(s->mutex);
    check();
    token.expires_unix_s = static_cast<std::uint32_t>((clock_.wall_ms() + config_.token_ms) / 1000);
    update(*s, [&](Record& r) {
      r.token = token.token;
      r.token_expires_unix_s = token.expires_unix_s;
      r.token_used = false;
    });
  }
  offer.host = config_.public_host;
  offer.port = config_.public_port;
  offer.token = seal_token(token, key_);
  offer.expires_wall_ms = std::int64_t{token.expires_unix_s} * 1000;
  return offer;
}

Controller::SessionPtr Controller::by_token(const contracts::AdmissionRequest& request, std::optional<Id>& token) {
  auto opened_token = open_token(request.token, key_.verify_key());
  if (!opened_token) throw opened_token.error();
  token = opened_token->token;
  auto s = find(opened_token->session);
  if (!s) throw refused("session_ended", "the session of this routing token has ended");
  return s;
}

Controller::SessionPtr Controller::by_account(const contracts::AdmissionRequest& request) {
  SessionPtr found;
  for (const SessionPtr& s : all()) {
    std::lock_guard lock(s->mutex);
    if (s->record.account != request.account || s->record.state == State::ending || is_over(s->record.state)) continue;
    if (found) throw refused("account_unknown", "more than one session has this account");
    found = s;
  }
  if (!found) throw refused("account_unknown", "no live session has this account");
  return found;
}

contracts::Admission Controller::admit_checked(const contracts::AdmissionRequest& request) {
  std::optional<Id> token;
  auto s = request.token.empty() ? by_account(request) : by_token(request, token);
  std::lock_guard lock(s->mutex);
  const Record& r = s->record;
  if (r.state == State::ending || is_over(r.state)) throw refused("session_ended", "the session has ended");
  contracts::Admission answer{.session = s->id, .upstream_host = kLoopback, .upstream_port = r.server_port, .replaces = r.live};
  auto check_ready = [&] {
    if (!takes_clients(r.state) || r.server_port == 0) throw not_ready(r.state);
    if (r.frozen) throw refused("session_not_ready", "nobody records the session right now: it stands still");
  };
  // Asked again because the first answer was lost on the way: the same answer, not a second use.
  if (r.opening && r.opening->connection == request.connection) {
    check_ready();
    return answer;
  }
  if (token) {
    if (*token != r.token) throw refused("token_expired", "a newer routing token was given out for this session");
    if (!r.token_used && clock_.wall_ms() > std::int64_t{r.token_expires_unix_s} * 1000)
      throw refused("token_expired", "the routing token was not used in time");
    // Only a client that has been through, or has failed on the way, may come back with it.
    if (r.token_used) {
      bool in_grace = r.ever_closed && clock_.wall_ms() - r.disconnected_wall_ms <= config_.disconnect_grace_ms;
      bool again = !r.opening && (r.live || in_grace);
      if (!again) throw refused("token_used", "the routing token was used before");
    }
  } else if (r.live && host_of(r.client_address) != host_of(request.client_address)) {
    // An account's name is no secret: it must not push out somebody who is through.
    throw refused("session_not_ready", "somebody else is connected to this session; a routing token takes it over");
  }
  check_ready();
  update(*s, [&](Record& next) {
    if (token) next.token_used = true;
    next.opening = Record::Opening{request.connection, request.client_address};
  });
  s->admitted_steady_ms = clock_.steady_ms();
  s->connection_changed = ++sequence_;
  return answer;
}

contracts::Admission Controller::admit(const contracts::AdmissionRequest& request) {
  auto started = std::chrono::steady_clock::now();
  auto answered = [&](const std::string& outcome) {
    metrics_.admission(outcome);
    metrics_.admission_seconds.observe(std::chrono::duration<double>(std::chrono::steady_clock::now() - started).count());
  };
  try {
    contracts::Admission admission = admit_checked(request);
    answered("admitted");
    return admission;
  } catch (const Error& e) {
    answered(e.kind() == ErrorKind::forbidden ? e.code() : "error");
    throw;
  }
}

void Controller::opened(Session& s, const Id& connection, const std::string& client_address) {
  const Record& r = s.record;
  if (r.live == connection || std::find(r.closed.begin(), r.closed.end(), connection) != r.closed.end()) return;
  bool awaited = r.opening && r.opening->connection == connection;
  // A new one replaces the one before, whose own end may be told later; its bytes so far are kept until then.
  update(s, [&](Record& next) {
    if (!client_address.empty())
      next.client_address = client_address;
    else if (awaited)
      next.client_address = next.opening->client_address;
    if (awaited) next.opening.reset();
    next.live = connection;
    ++next.connections;
    next.connected_wall_ms = clock_.wall_ms();
    if (next.state == State::ready) move(next, Trigger::opened);
  });
  s.live_up = s.live_down = 0;
  s.connection_changed = ++sequence_;
  if (awaited) metrics_.open_seconds.observe(static_cast<double>(clock_.steady_ms() - s.admitted_steady_ms) / 1000.0);
  wake(s.id);  // a named account's display may come now
  if (r.state != State::connected || r.frozen) gateway_due();
}

void Controller::closed(Session& s, const Id& connection, std::uint64_t up, std::uint64_t down) {
  if (std::find(s.record.closed.begin(), s.record.closed.end(), connection) != s.record.closed.end()) return;
  bool was_live = s.record.live == connection;
  update(s, [&](Record& r) {
    r.closed.push_back(connection);
    if (r.closed.size() > kMaxClosed) r.closed.erase(r.closed.begin());
    r.closed_up += up;
    r.closed_down += down;
    r.ever_closed = true;
    if (r.opening && r.opening->connection == connection) r.opening.reset();
    if (was_live) r.live.reset();
    if (!r.live) r.disconnected_wall_ms = clock_.wall_ms();
    if (was_live && r.state == State::connected) move(r, Trigger::closed);
  });
  if (was_live) s.live_up = s.live_down = 0;
  s.connection_changed = ++sequence_;
}

void Controller::report(const contracts::ConnectionReport& report) {
  auto s = find(report.session);
  if (!s) {
    if (stored(report.session)) return;  // over: its figures are closed
    throw Error(ErrorKind::not_found, "session_not_found", "there is no session " + report.session.text());
  }
  std::lock_guard lock(s->mutex);
  if (is_over(s->record.state)) return;
  if (report.event == "opened")
    opened(*s, report.connection, report.client_address);
  else
    closed(*s, report.connection, report.bytes_up, report.bytes_down);
}

}  // namespace lucid::controller
