#include "rdp/gateway/link.hpp"

#include <sys/socket.h>

// The second life of a connection: relaying, its commands, its end, and its way to a successor.
namespace lucid::gateway {

void Link::start_relay() {
  enter(Phase::relay);
  loop_.clear_deadline(*this);
  // Counted from here on: the handshake was ours.
  up_.bytes = head_.size();
  down_.bytes = packet_.size();
  loop_.moved_up += head_.size();
  loop_.moved_down += packet_.size();
  head_ = {};
  packet_ = {};
  request_ = {};
  last_up_wall_ms_ = loop_.wall_ms();
  around_.counters.relayed.add();
  around_.counters.open.add(1);
  around_.counters.handshake.observe(static_cast<double>(around_.clock.steady_ms() - began_ms_) / 1000);
  around_.log.info("relaying", {{"connection", id_.text()}, {"session", session_->text()}, {"client", address_}});
  report("opened", "");
  pump_both();
}

void Link::pump_both() {
  if (frozen_ || still_) return;
  std::uint64_t up_before = up_.bytes, down_before = down_.bytes;
  bool more = false;
  try {
    more = pump(up_, client_, upstream_, loop_.pipes(), loop_.moved_up) == Pumped::goes_on;
    more = (pump(down_, upstream_, client_, loop_.pipes(), loop_.moved_down) == Pumped::goes_on) || more;
  } catch (const Error& e) {
    around_.log.error("a connection is dropped", {{"connection", id_.text()}, {"error", e.what()}});
    return end("gateway_stopped");
  }
  if (up_.bytes != up_before) last_up_wall_ms_ = loop_.wall_ms();
  if (first_end_ == nullptr) {
    if (up_.source_ended)
      first_end_ = "client";
    else if (down_.source_ended || up_.finished)
      first_end_ = "server";
    else if (down_.finished)
      first_end_ = "client";
  }
  if (up_.finished && down_.finished) return end(first_end_);
  bool moved = up_.bytes != up_before || down_.bytes != down_before;
  if ((up_.finished || down_.finished) && (moved || !deadline_ms)) wait(around_.config.half_closed_ms);
  if (more) loop_.again(*this);
}

void Link::go_on() {
  if (relays()) pump_both();
}

void Link::resume() {
  frozen_ = false;
  go_on();
}

void Link::kill(const std::string& cause) {
  if (ended() || still_) return;
  around_.log.info("killed", {{"connection", id_.text()}, {"cause", to_utf8(cause, 200)}});
  linger reset{.l_onoff = 1, .l_linger = 0};
  for (Side* side : {&client_, &upstream_})
    if (side->socket) ::setsockopt(side->socket.fd(), SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
  end("killed");
}

void Link::report(const char* event, const std::string& cause) const {
  around_.reporter.report({.connection = id_,
                           .session = *session_,
                           .event = event,
                           .cause = cause,
                           .client_address = address_,
                           .bytes_up = up_.bytes,
                           .bytes_down = down_.bytes,
                           .duration_ms = loop_.wall_ms() - opened_wall_ms_});
}

void Link::end(const std::string& cause) {
  if (ended()) return;
  if (relays()) {
    around_.counters.open.add(-1);
    around_.log.info("relay ended", {{"connection", id_.text()},
                                     {"session", session_->text()},
                                     {"cause", cause},
                                     {"bytes_up", std::to_string(up_.bytes)},
                                     {"bytes_down", std::to_string(down_.bytes)}});
  } else if (phase_ != Phase::refused) {
    around_.counters.gone.add();
  }
  if (session_) report("closed", cause);
  leave();
}

void Link::leave() {
  enter(Phase::ended);
  for (Side* side : {&client_, &upstream_}) {
    if (side->socket) loop_.forget(side->socket.fd());
    *side = {};
  }
  loop_.bury(*this);
}

contracts::Connection Link::describe() const {
  return {.id = id_,
          .session = *session_,
          .client_address = address_,
          .bytes_up = up_.bytes,
          .bytes_down = down_.bytes,
          .opened_wall_ms = opened_wall_ms_,
          .last_up_wall_ms = last_up_wall_ms_,
          .frozen = frozen_};
}

Link::Link(Loop& loop, HandedLink handed)
    : loop_(loop), around_(loop.around()), id_(handed.id), address_(std::move(handed.client_address)), key_(std::move(handed.key)) {
  around_.guard.adopt(key_);
  client_.socket = std::move(*handed.client);
  opened_wall_ms_ = handed.opened_wall_ms;
  last_up_wall_ms_ = handed.last_up_wall_ms;
  frozen_ = handed.frozen;
  packet_ = std::move(handed.head);
  if (!handed.upstream) return;
  phase_ = Phase::relay;
  session_ = handed.session;
  upstream_.socket = std::move(*handed.upstream);
  auto take = [](Flow& flow, HandedFlow& from) {
    flow.bytes = from.bytes;
    flow.waiting = from.waiting;
    flow.source_ended = from.source_ended;
    flow.finished = from.finished;
    if (from.waiting > 0) flow.pipe = {std::move(*from.pipe_read), std::move(*from.pipe_write)};
  };
  take(up_, handed.up);
  take(down_, handed.down);
}

std::optional<HandedLink> Link::stand_still() {
  if (phase_ != Phase::request && !relays()) {
    if (phase_ != Phase::refused) refuse(Refusal::unavailable, "the gateway restarts");
    end("refused");
    return std::nullopt;
  }
  still_ = true;
  loop_.clear_deadline(*this);
  for (Side* side : {&client_, &upstream_})
    if (side->socket) loop_.forget(side->socket.fd());
  auto give = [](const Flow& flow) {
    HandedFlow out{
        .bytes = flow.bytes, .waiting = flow.finished ? 0 : flow.waiting, .source_ended = flow.source_ended, .finished = flow.finished};
    if (out.waiting > 0) {
      out.pipe_read = duplicate(flow.pipe.read_end);
      out.pipe_write = duplicate(flow.pipe.write_end);
    }
    return out;
  };
  return HandedLink{.id = id_,
                    .session = session_.value_or(Id()),
                    .client_address = address_,
                    .key = key_,
                    .opened_wall_ms = opened_wall_ms_,
                    .last_up_wall_ms = last_up_wall_ms_,
                    .frozen = frozen_,
                    .up = give(up_),
                    .down = give(down_),
                    .head = packet_,
                    .client = duplicate(client_.socket),
                    .upstream = relays() ? duplicate(upstream_.socket) : nullptr};
}

void Link::move_again() {
  still_ = false;
  if (!relays())
    wait(around_.config.handshake_timeout_ms);
  else if (up_.finished || down_.finished)
    wait(around_.config.half_closed_ms);
  // Registering tells at once what is possible.
  bool watched = loop_.watch(*this, Which::client, client_.socket.fd());
  if (relays()) watched = loop_.watch(*this, Which::upstream, upstream_.socket.fd()) && watched;
  if (!watched) end("gateway_stopped");
}

void Link::give_up() {
  if (relays()) around_.counters.open.add(-1);
  leave();
}

}  // namespace lucid::gateway
