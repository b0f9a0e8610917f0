// Routes that create, list, change, drive and delete sessions.
#include <charconv>

#include <fmt/format.h>

#include "sessions/api/http.hpp"

namespace lucid::api {
namespace {

constexpr std::size_t kMaxSessionBody = 256 << 10;

net::Response answer(int status, const Session& session) {
  net::Response response = net::Response::json(status, to_public(session));
  response.headers.set("ETag", fmt::format("\"{}\"", session.version));
  return response;
}

std::optional<IdempotencyKeys::Asked> asked(const net::Request& request) {
  auto key = request.headers.get("Idempotency-Key");
  if (!key) return std::nullopt;
  return IdempotencyKeys::asked(request.principal, *key, net::name(request.method), request.path, request.body);
}

// Runs a change unless the same request with the same Idempotency-Key was answered before; then shows the session.
net::Response once(Api& api, const net::Request& request, const Id& id, const std::function<Session()>& change) {
  auto key = asked(request);
  if (key && api.sessions.idempotency().find(*key)) return answer(200, api.sessions.get(id));
  Session session = change();
  if (key) api.sessions.idempotency().claim(*key, id.text());
  return answer(200, session);
}

std::optional<std::int64_t> if_match(const net::Request& request) {
  auto header = request.headers.get("If-Match");
  if (!header || *header == "*") return std::nullopt;
  std::string_view text = *header;
  std::int64_t version = 0;
  if (text.size() > 2 && text.front() == '"' && text.back() == '"') {
    text = text.substr(1, text.size() - 2);
    auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), version);
    if (ec == std::errc{} && end == text.data() + text.size()) return version;
  }
  throw Error(ErrorKind::malformed, "malformed_if_match", "If-Match must be an ETag this server gave out, such as \"3\" with its quotes");
}

void no_body(const net::Request& request) {
  if (request.body.empty()) return;
  json::value body = request.json_body();
  FieldReader in(body);
  in.finish();
}

net::Response create(Api& api, net::Request& request) {
  json::value body = request.json_body();
  Sessions::Made made = api.sessions.create(body, asked(request));
  if (made.created) api.metrics.sessions_created.add();
  net::Response response = answer(201, made.session);
  response.headers.set("Location", "/api/v1/sessions/" + made.session.id.text());
  return response;
}

net::Response list(Api& api, net::Request& request) {
  Sessions::Page page = api.sessions.list(read_list_query(request.query));
  json::array sessions;
  for (const Session& session : page.sessions) sessions.push_back(to_public(session));
  return net::Response::json(
      200, json::object{{"sessions", std::move(sessions)}, {"next_cursor", page.next ? json::value(*page.next) : json::value(nullptr)}});
}

net::Response act(Api& api, net::Request& request, Action action) {
  no_body(request);
  Id id = session_id(request);
  return once(api, request, id, [&] {
    Session session = api.sessions.act(id, action);
    if (action == Action::start) api.limits.watch(session);
    return session;
  });
}

}  // namespace

void add_session_routes(net::Router& router, Api& api) {
  using net::Method;
  const std::string sessions = "/api/v1/sessions", one = sessions + "/{id}";
  net::RouteOptions small;
  small.max_body = kMaxSessionBody;
  router.add(Method::post, sessions, [&api](net::Request& r) { return create(api, r); }, small);
  router.add(Method::get, sessions, [&api](net::Request& r) { return list(api, r); });
  router.add(Method::get, one, [&api](net::Request& r) { return answer(200, api.sessions.get(session_id(r))); });
  router.add(
      Method::patch, one,
      [&api](net::Request& r) {
        Id id = session_id(r);
        json::value body = r.json_body();
        return once(api, r, id, [&] { return api.sessions.patch(id, body, if_match(r)); });
      },
      small);
  router.add(Method::del, one, [&api](net::Request& r) {
    Id id = session_id(r);
    net::Response response = net::Response::json(200, to_public(id, api.sessions.remove(id)));
    api.metrics.sessions_deleted.add();
    return response;
  });
  for (Action action : {Action::start, Action::pause, Action::resume, Action::stop, Action::terminate})
    router.add(Method::post, one + "/" + name(action), [&api, action](net::Request& r) { return act(api, r, action); }, small);
}

}  // namespace lucid::api
