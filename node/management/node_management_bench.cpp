// How fast nodes get in and are heard: registration with its invitation, challenge and activation over real HTTP on a database that syncs, and
// heartbeats with their signatures. Not a microbenchmark: prints rates. Arguments: nodes (2000), clients (16).
#include <atomic>
#include <chrono>
#include <cstdlib>
#include <thread>

#include <fmt/format.h>

#include "lib/base/file_ops.hpp"
#include "lib/net/server.hpp"
#include "node/management/http.hpp"

using namespace lucid;
using namespace lucid::node_management;

namespace {

struct BenchNode {
  crypto::SigningKey key;
  Id id;
  std::uint64_t sequence = 0;
};

double seconds_of(const std::function<void()>& f) {
  auto began = std::chrono::steady_clock::now();
  f();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
}

void in_parallel(int clients, std::size_t count, const std::string& url, const std::function<void(net::Client&, std::size_t)>& each) {
  std::atomic<std::size_t> next{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < clients; ++i)
    threads.emplace_back([&] {
      net::Client client({.base_url = url, .bearer = {}});
      for (std::size_t k = next++; k < count; k = next++) each(client, k);
    });
  for (auto& t : threads) t.join();
}

}  // namespace

int main(int argc, char** argv) {
  const std::size_t count = argc > 1 ? std::strtoul(argv[1], nullptr, 10) : 2'000;
  const int clients = argc > 2 ? std::atoi(argv[2]) : 16;
  TempDir dir;
  SystemClock clock;
  SystemRandom random;
  runtime::Metrics metrics;
  auto documents = store::open_sqlite_documents(dir.path() + "/nodes.db");
  Management management({.documents = *documents,
                         .clock = clock,
                         .random = random,
                         .metrics = metrics,
                         .key = crypto::SigningKey::make(random),
                         .node = "bench",
                         .measure = [](const std::set<Id>&) { return std::map<Id, Committed>{}; }});
  management.open();
  management.start();
  net::Server server(
      {.worker_threads = 24}, routes(management), [](const net::Request&) { return std::nullopt; }, [](const net::RequestRecord&) {});
  server.start();
  std::string url = fmt::format("http://127.0.0.1:{}", server.port());

  std::vector<BenchNode> nodes;
  for (std::size_t i = 0; i < count; ++i) nodes.push_back({crypto::SigningKey::make(random), {}, 0});
  std::vector<std::string> invitations;
  for (std::size_t i = 0; i < count; i += 10'000) invitations.push_back(management.registry().invite(10'000, 3'600).secret);
  double took = seconds_of([&] {
    in_parallel(clients, count, url, [&](net::Client& client, std::size_t i) {
      BenchNode& n = nodes[i];
      contracts::NodeRegistration r{invitations[i / 10'000],     n.key.verify_key(),   fmt::format("node-{}", i),
                                    contracts::NodeType::worker, {4'000, 8'192, 8, 0}, {}};
      auto made = client.send_json(net::Method::post, "/api/v1/nodes", contracts::to_json(r));
      n.id = *Id::parse(made.at("id").as_string());
      Bytes message(as_bytes(contracts::kActivation).begin(), as_bytes(contracts::kActivation).end());
      auto challenge = *from_base64url(made.at("challenge").as_string());
      message.insert(message.end(), challenge.begin(), challenge.end());
      client.send_json(net::Method::post, "/api/v1/nodes/" + n.id.text() + "/activate",
                       json::object{{"signature", to_base64url(n.key.sign(message))}});
    });
  });
  fmt::print("{} registrations with activation in {:.2f} s: {:.0f} a second\n", count, took, static_cast<double>(count) / took);

  std::string body = json::serialize(contracts::to_json(contracts::NodeLoad{4'000, 8'192, {}, 0}));
  for (const char* what : {"first heartbeats (each raises a durable ceiling)", "heartbeats"}) {
    took = seconds_of([&] {
      in_parallel(clients, count, url, [&](net::Client& client, std::size_t i) {
        BenchNode& n = nodes[i];
        std::string path = "/api/v1/nodes/" + n.id.text() + "/heartbeat";
        net::Call call{
            .method = net::Method::post, .target = path, .headers = {}, .body = as_bytes(body), .content_type = "application/json"};
        ++n.sequence;
        call.headers.set(contracts::kNodeHeader,
                         contracts::node_header(
                             {n.id, n.sequence, n.key.sign(as_bytes(contracts::signed_text("POST", path, n.sequence, as_bytes(body))))}));
        client.expect(call);
      });
    });
    fmt::print("{} {} in {:.2f} s: {:.0f} a second\n", count, what, took, static_cast<double>(count) / took);
  }
  took = seconds_of([&] {
    for (int i = 0; i < 1'000; ++i) management.registry().place(std::nullopt, {Id::make(clock, random), 100, 100});
  });
  fmt::print("1000 placements one after another among {} nodes: {:.2f} ms each\n", count, took);
  management.stop();
  auto& epochs = management.epochs();
  poot::Epoch epoch = epochs.open_epoch();
  for (poot::Epoch e = epoch; e < epoch + 7; ++e) {
    for (std::uint32_t ordinal = 0; ordinal < count; ++ordinal) epochs.up(ordinal, poot::begins_wall_ms(e), poot::ends_wall_ms(e) - 1);
    took = seconds_of([&] { epochs.turn(poot::ends_wall_ms(e) + kCloseDelayMs); });
  }
  fmt::print("the close of an epoch with an uptime receipt of each of {} nodes and a full window: {:.2f} s\n", count, took);
  server.stop(std::chrono::seconds(1));
  return 0;
}
