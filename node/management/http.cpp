#include "node/management/http.hpp"

#include <charconv>

#include <fmt/format.h>

#include "lib/evidence/checkpoint.hpp"

namespace lucid::node_management {
namespace {

using net::Method;
using net::Request;
using net::Response;

constexpr std::int64_t kLargest = std::int64_t{1} << 53;
constexpr std::int64_t kLongestPoll = 25'000;
constexpr int kPolls = 8;  // that wait at the same time; more are answered at once, so that they never take all workers
constexpr net::RouteOptions kByNode{.max_body = 1 << 20, .auth = net::Auth::open};

Id id_in(const Request& request, const char* name, const char* code) {
  auto id = Id::parse(request.param(name));
  if (!id) throw Error(ErrorKind::not_found, code, fmt::format("\"{}\" is no id", to_utf8(request.param(name), 40)));
  return *id;
}
Id node_in(const Request& request) { return id_in(request, "id", "node_not_found"); }
Id pool_in(const Request& request) { return id_in(request, "id", "pool_not_found"); }

std::optional<Id> id_query(const Request& request, const std::string& name) {
  auto text = request.query_text(name);
  if (!text || text->empty()) return std::nullopt;
  auto id = Id::parse(*text);
  if (!id) throw Error(ErrorKind::invalid, name + " is no id").with_fields({{"/" + name, "must be a UUID"}});
  return id;
}

// The id in the path is the one that signed. Signed requests carry no query, so the path is the whole target.
Id signer(Management& m, const Request& request) {
  Id id = node_in(request);
  if (!request.query.empty()) throw Error(ErrorKind::unauthorized, "signature_invalid", "a signed request has no query");
  Id by = m.registry().authenticate(request.headers.get(contracts::kNodeHeader).value_or(""), net::name(request.method), request.path,
                                    request.body);
  if (by != id) throw Error(ErrorKind::unauthorized, "signature_invalid", "the request is signed by another node");
  return id;
}

json::value pool_json(const Registry::PoolView& v) {
  json::array members;
  for (const Id& id : v.pool.members) members.push_back(json::value(id.text()));
  return json::object{{"id", v.pool.id.text()},
                      {"name", v.pool.name},
                      {"state", v.active >= static_cast<std::size_t>(v.pool.min_members) ? "active" : "degraded"},
                      {"policy", name(v.pool.policy)},
                      {"min_members", v.pool.min_members},
                      {"max_members", v.pool.max_members},
                      {"active_members", v.active},
                      {"members", std::move(members)},
                      {"created_wall_ms", v.pool.created_wall_ms}};
}

json::value work_json(const poot::Receipt& r) {
  struct Show {
    json::value operator()(const poot::Hosting& h) const {
      json::array slots;
      for (const auto& s : h.slots) slots.push_back(json::object{{"slot_in_epoch", s.slot}, {"sessions", s.sessions}, {"bytes", s.bytes}});
      return json::object{{"slots", std::move(slots)}};
    }
    json::value operator()(const poot::Uptime& u) const { return json::object{{"slots_up", u.count()}, {"map", to_hex(u.map)}}; }
    json::value operator()(const poot::Storage& s) const {
      return json::object{{"bytes", s.bytes}, {"chunks", s.chunks}, {"asked", s.asked}, {"passed", s.passed}};
    }
    json::value operator()(const poot::Validation& v) const {
      json::array sessions;
      for (const Id& id : v.sessions) sessions.push_back(json::value(id.text()));
      return json::object{{"sessions", std::move(sessions)}};
    }
  };
  return std::visit(Show{}, r.work);
}

json::value closed_json(const ClosedEpoch& c, const std::string& verifier) {
  return json::object{{"epoch", c.epoch},           {"size", c.leaves.size()}, {"root", to_hex(c.root)}, {"previous", to_hex(c.previous)},
                      {"checkpoint", c.checkpoint}, {"verifier_key", verifier}};
}

ClosedEpoch epoch_asked_for(Management& m, const Request& request) {
  std::int64_t epoch = request.query_integer_or("epoch", -1, -1, static_cast<std::int64_t>(poot::kMaxEpoch));
  auto c = epoch < 0 ? m.epochs().newest() : m.epochs().closed(static_cast<poot::Epoch>(epoch));
  if (!c)
    throw Error(ErrorKind::not_found, "epoch_not_found",
                epoch < 0 ? "no epoch is closed yet" : fmt::format("epoch {} is not closed, or was not measured here", epoch));
  return *c;
}

json::value scores_json(Management& m, const ClosedEpoch& c) {
  json::array scores;
  for (const poot::Tally& t : m.epochs().tally(c.epoch))
    scores.push_back(json::object{{"node_id", t.node.text()},
                                  {"rank", t.rank},
                                  {"admitted", t.score.admitted()},
                                  {"hosting", t.score.own.hosting},
                                  {"storage", t.score.own.storage},
                                  {"validation", t.score.own.validation},
                                  {"credits", t.score.credits},
                                  {"slots_up", t.score.slots_up},
                                  {"live", t.score.live()}});
  return json::object{{"epoch", c.epoch},
                      {"first_epoch", poot::window_begin(c.epoch)},
                      {"slots_in_window", poot::kSlotsPerWindow},
                      {"previous", to_hex(c.previous)},
                      {"scores", std::move(scores)}};
}

Response receipts_answer(Management& m, const Request& request) {
  auto node = id_query(request, "node"), after = id_query(request, "cursor");
  auto limit = request.query_integer_or("limit", 50, 1, 100);
  ClosedEpoch c = epoch_asked_for(m, request);
  auto page = m.epochs().list(c.epoch, node, after, static_cast<std::size_t>(limit));
  evidence::Tree tree;
  if (node)
    for (const Hash32& leaf : c.leaves) tree.append(leaf);
  json::array receipts;
  for (const auto& r : page.receipts) {
    json::object o{{"index", r.index},
                   {"node_id", r.receipt.node.text()},
                   {"kind", poot::name(r.receipt.kind())},
                   {"work", work_json(r.receipt)},
                   {"receipt", to_hex(r.bytes)}};
    if (node) {
      json::array proof;
      for (const Hash32& h : tree.inclusion(r.index, tree.size())) proof.push_back(json::value(to_hex(h)));
      o["proof"] = std::move(proof);
    }
    receipts.push_back(std::move(o));
  }
  return Response::json(200, json::object{{"epoch", c.epoch},
                                          {"size", c.leaves.size()},
                                          {"root", to_hex(c.root)},
                                          {"receipts", std::move(receipts)},
                                          {"cursor", page.next ? page.next->text() : ""}});
}

void node_routes(net::Router& router, Management& m) {
  router.add(Method::post, "/api/v1/invitations", [&m](Request& request) {
    json::value body = request.body.empty() ? json::value(json::object{}) : request.json_body();
    FieldReader in(body);
    std::int64_t uses = in.integer_or("uses", 1, 1, 10'000), seconds = in.integer_or("valid_seconds", 3'600, 1, 86'400);
    in.finish();
    auto invitation = m.registry().invite(uses, seconds);
    Response answer = Response::json(201, json::object{{"invitation", invitation.secret}, {"expires_wall_ms", invitation.expires_wall_ms}});
    answer.headers.set("Cache-Control", "no-store");
    return answer;
  });
  router.add(Method::get, "/api/v1/nodes", [&m](Request& request) {
    Registry::Filter filter;
    if (auto state = request.query_text("state")) {
      filter.state = contracts::node_state(*state);
      if (!filter.state) throw Error(ErrorKind::invalid, "state is not one a node can have").with_fields({{"/state", "is not a state"}});
    }
    filter.pool = id_query(request, "pool");
    auto limit = request.query_integer_or("limit", 50, 1, 100);
    auto page = m.registry().list(id_query(request, "cursor"), static_cast<std::size_t>(limit), filter);
    json::array nodes;
    for (const auto& node : page.nodes) nodes.push_back(contracts::to_json(node));
    return Response::json(200, json::object{{"nodes", std::move(nodes)}, {"cursor", page.next}});
  });
  router.add(Method::get, "/api/v1/nodes/{id}",
             [&m](Request& request) { return Response::json(200, contracts::to_json(m.registry().status(node_in(request)))); });
  static constexpr std::pair<const char*, Trigger> kActions[]{{"drain", Trigger::drain},
                                                              {"resume", Trigger::resume},
                                                              {"maintenance", Trigger::maintenance},
                                                              {"ban", Trigger::ban},
                                                              {"retire", Trigger::retire}};
  for (auto [action, trigger] : kActions)
    router.add(Method::post, std::string("/api/v1/nodes/{id}/") + action, [&m, trigger = trigger](Request& request) {
      json::value body = request.body.empty() ? json::value(json::object{}) : request.json_body();
      FieldReader in(body);
      std::string cause = in.text_or("cause", "asked for", {.min = 1, .max = 200});
      in.finish();
      return Response::json(200, contracts::to_json(m.registry().act(node_in(request), trigger, cause)));
    });

  router.add(Method::post, "/api/v1/nodes",
             [&m](Request& request) {
               auto made = m.registry().register_node(contracts::read_node_registration(request.json_body()));
               return Response::json(201, json::object{{"id", made.id.text()},
                                                       {"challenge", to_base64url(made.challenge)},
                                                       {"expires_wall_ms", made.expires_wall_ms}});
             },
             {.max_body = 64 << 10, .auth = net::Auth::open});
  router.add(Method::post, "/api/v1/nodes/{id}/activate",
             [&m](Request& request) {
               json::value body = request.json_body();
               FieldReader in(body);
               std::string text = in.text("signature", {.min = 86, .max = 86});
               auto signature = from_base64url(text);
               if (text.size() == 86 && !signature) in.refuse("signature", "must be base64url");
               in.finish();
               return Response::json(200, contracts::to_json(m.registry().activate(node_in(request), *signature)));
             },
             {.max_body = 4 << 10, .auth = net::Auth::open});
  router.add(
      Method::post, "/api/v1/nodes/{id}/heartbeat",
      [&m](Request& request) {
        Id id = signer(m, request);
        auto reply = m.registry().beat(id, contracts::read_node_load(request.json_body()));
        if (WorkDesk* desk = m.desk(); desk != nullptr && reply.state == State::active) reply.work = desk->work_for(id);
        return Response::json(200, contracts::to_json(reply));
      },
      kByNode);
  router.add(
      Method::post, "/api/v1/nodes/{id}/answers",
      [&m](Request& request) {
        Id id = signer(m, request);
        auto answer = contracts::read_work_answer(request.json_body());
        if (m.desk() == nullptr) throw Error(ErrorKind::not_found, "work_not_found", "there is no such work");
        auto answered = m.desk()->answer(id, answer);
        return Response::json(200, json::object{{"passed", answered.passed}, {"reason", answered.reason}});
      },
      kByNode);
  router.add(
      Method::get, "/api/v1/nodes/{id}/chunks/{session}/{sequence}",
      [&m](Request& request) {
        Id id = signer(m, request);
        Id session = id_in(request, "session", "chunk_not_asked");
        const std::string& text = request.param("sequence");
        std::uint64_t sequence = 0;
        auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), sequence);
        if (error != std::errc{} || end != text.data() + text.size() || m.desk() == nullptr)
          throw Error(ErrorKind::not_found, "chunk_not_asked", "this node is not asked for that chunk");
        return Response::bytes(m.desk()->chunk(id, session, sequence));
      },
      kByNode);
}

void pool_routes(net::Router& router, Management& m) {
  router.add(Method::post, "/api/v1/pools", [&m](Request& request) {
    json::value body = request.json_body();
    FieldReader in(body);
    std::string pool_name = in.text("name", {.min = 3, .max = 100});
    if (pool_name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-") != std::string::npos)
      in.refuse("name", "must be of A-Z a-z 0-9 _ -");
    auto policy = static_cast<Policy>(in.word_or("policy", 0, {"spread", "pack"}));
    int max = static_cast<int>(in.integer_or("max_members", 100, 1, kMaxPoolMembers));
    int min = static_cast<int>(in.integer_or("min_members", std::min(3, max), 1, kMaxPoolMembers));
    if (min > max) in.refuse("min_members", "must not be more than max_members");
    in.finish();
    return Response::json(201, pool_json(m.registry().make_pool(pool_name, policy, min, max)));
  });
  router.add(Method::get, "/api/v1/pools", [&m](Request&) {
    json::array pools;
    for (const auto& v : m.registry().pools()) pools.push_back(pool_json(v));
    return Response::json(200, json::object{{"pools", std::move(pools)}});
  });
  router.add(Method::get, "/api/v1/pools/{id}",
             [&m](Request& request) { return Response::json(200, pool_json(m.registry().pool(pool_in(request)))); });
  router.add(Method::del, "/api/v1/pools/{id}", [&m](Request& request) {
    m.registry().remove_pool(pool_in(request));
    return Response::empty();
  });
  router.add(Method::put, "/api/v1/pools/{id}/members/{node}", [&m](Request& request) {
    m.registry().add_member(pool_in(request), id_in(request, "node", "node_not_found"));
    return Response::empty();
  });
  router.add(Method::del, "/api/v1/pools/{id}/members/{node}", [&m](Request& request) {
    m.registry().remove_member(pool_in(request), id_in(request, "node", "node_not_found"));
    return Response::empty();
  });
  router.add(Method::post, "/api/v1/pools/{id}/place", [&m](Request& request) {
    return Response::json(200,
                          contracts::to_json(m.registry().place(pool_in(request), contracts::read_place_request(request.json_body()))));
  });
  router.add(Method::post, "/api/v1/placements", [&m](Request& request) {
    return Response::json(200, contracts::to_json(m.registry().place(std::nullopt, contracts::read_place_request(request.json_body()))));
  });
  router.add(Method::del, "/api/v1/placements/{session}", [&m](Request& request) {
    m.registry().release(id_in(request, "session", "session_not_found"));
    return Response::empty();
  });
  auto polls = std::make_shared<std::atomic<int>>(0);
  router.add(Method::get, "/api/v1/events", [&m, polls](Request& request) {
    auto after = request.query_integer_or("after", 0, 0, kLargest), wait = request.query_integer_or("wait_ms", 0, 0, kLongestPoll);
    struct Waiting {
      std::atomic<int>& count;
      bool allowed = count.fetch_add(1) < kPolls;
      ~Waiting() { --count; }
    } waiting{*polls};
    return Response::json(200, contracts::to_json(m.registry().events(static_cast<std::uint64_t>(after), waiting.allowed ? wait : 0)));
  });
}

void poot_routes(net::Router& router, Management& m) {
  router.add(Method::get, "/api/v1/poot/scores",
             [&m](Request& request) { return Response::json(200, scores_json(m, epoch_asked_for(m, request))); });
  router.add(Method::get, "/api/v1/poot/leaders", [&m](Request& request) {
    std::int64_t wall = m.time().wall_ms();
    auto now = static_cast<std::int64_t>(poot::slot_at(wall).value_or(0));
    auto slot = request.query_integer_or("slot", std::max<std::int64_t>(now - 1, 0), 0, kLargest);
    auto l = m.epochs().leader(static_cast<poot::Slot>(slot), wall);
    return Response::json(200, json::object{{"slot", l.leader.slot},
                                            {"epoch", poot::epoch_of(l.leader.slot)},
                                            {"node_id", l.leader.node ? json::value(l.leader.node->text()) : json::value(nullptr)},
                                            {"rank", l.leader.rank},
                                            {"reason", poot::name(l.leader.reason)},
                                            {"detail", l.leader.text()},
                                            {"final", l.final}});
  });
  router.add(Method::get, "/api/v1/poot/receipts", [&m](Request& request) { return receipts_answer(m, request); });
  router.add(Method::get, "/api/v1/poot/checkpoint", [&m](Request& request) {
    ClosedEpoch c = epoch_asked_for(m, request);
    return Response::json(200, closed_json(c, m.epochs().verifier_key(c.epoch)));
  });
}

}  // namespace

net::Router routes(Management& management) {
  net::Router router;
  node_routes(router, management);
  pool_routes(router, management);
  poot_routes(router, management);
  return router;
}

}  // namespace lucid::node_management
