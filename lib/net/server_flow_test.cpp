// Many requests, streams, and the end: bodies pulled and pushed, slow readers, many clients, graceful stop.
#include <future>
#include <thread>

#include "lib/net/client.hpp"
#include "lib/net/server_fixture.hpp"

using namespace lucid;
using namespace lucid::net;
using namespace std::chrono_literals;
using testing::HasSubstr;
using testing::Not;

TEST_F(ServerTest, StreamsRequestBodiesToTheHandler) {
  Router router;
  router.add(Method::put, "/up",
             [](Request& r) {
               std::uint8_t piece[10'000];
               std::uint64_t total = 0, sum = 0;
               while (std::size_t n = r.stream->read(piece)) {
                 total += n;
                 for (std::size_t i = 0; i < n; ++i) sum += piece[i];
               }
               return Response::text(std::to_string(total) + "/" + std::to_string(sum));
             },
             {.max_body = 20 << 20, .body = BodyMode::stream, .auth = Auth::open});
  router.add(Method::put, "/lazy", [](Request&) { return Response::empty(); },
             {.max_body = 20 << 20, .body = BodyMode::stream, .auth = Auth::open});
  start(std::move(router));
  Bytes body(10 << 20, 3);
  Client client({.base_url = "http://127.0.0.1:" + std::to_string(server_->port()), .bearer = {}});
  for (int i = 0; i < 2; ++i) {
    Call call;
    call.method = Method::put;
    call.target = "/up";
    call.body = body;
    EXPECT_EQ(as_text(client.expect(call).body), std::to_string(body.size()) + "/" + std::to_string(body.size() * 3));
  }
  std::string chunked = "PUT /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n";
  for (int i = 0; i < 100; ++i) chunked += "3e8\r\n" + std::string(1000, 1) + "\r\n";
  EXPECT_EQ(body_of(ask(chunked + "0\r\n\r\n")), "100000/100000");
  EXPECT_EQ(status_of(ask("PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc")), 400);
  EXPECT_EQ(status_of(ask("PUT /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")), 400);
  EXPECT_EQ(status_of(ask("PUT /up HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nfffffff\r\n")), 413);
  RawPeer slow(server_->port());
  slow.send("PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nabc");
  EXPECT_EQ(status_of(slow.read_until("}")), 408);
  RawPeer asks(server_->port());
  asks.send("PUT /up HTTP/1.1\r\nHost: x\r\nConnection: close\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n");
  EXPECT_EQ(asks.read_until("\r\n\r\n"), "HTTP/1.1 100 Continue\r\n\r\n");
  asks.send("\x05");
  EXPECT_EQ(body_of(asks.read_all()), "1/5");
  // A handler that does not read the body: the rest of it must not be taken for the next request.
  RawPeer lazy(server_->port());
  lazy.send("PUT /lazy HTTP/1.1\r\nHost: x\r\nContent-Length: 40\r\n\r\nGET /up HTTP/1.1\r\nHost: x\r\n\r\n");
  EXPECT_THAT(lazy.read_until("\r\n\r\n"), HasSubstr("Connection: close"));
}

TEST_F(ServerTest, StreamsAnswersChunkedAndWithLength) {
  Router router;
  auto count_down = [](std::size_t total) {
    return [left = total](std::span<std::uint8_t> out) mutable {
      std::size_t n = std::min(left, out.size());
      std::fill_n(out.begin(), n, std::uint8_t{'z'});
      left -= n;
      return n;
    };
  };
  router.add(
      Method::get, "/chunked",
      [=](Request&) {
        Response r;
        r.stream = count_down(3'000'000);
        return r;
      },
      kOpen);
  router.add(
      Method::get, "/sized",
      [=](Request&) {
        Response r;
        r.stream = count_down(3'000'000);
        r.stream_size = 3'000'000;
        return r;
      },
      kOpen);
  router.add(
      Method::get, "/short",
      [=](Request&) {
        Response r;
        r.stream = count_down(10);
        r.stream_size = 20;
        return r;
      },
      kOpen);
  router.add(
      Method::get, "/failing",
      [=](Request&) {
        Response r;
        r.stream = [](std::span<std::uint8_t>) -> std::size_t { throw std::runtime_error("disk"); };
        return r;
      },
      kOpen);
  start(std::move(router));
  Client client({.base_url = "http://127.0.0.1:" + std::to_string(server_->port()), .bearer = {}});
  for (const char* target : {"/chunked", "/sized", "/chunked"}) {
    std::uint64_t got = 0;
    Call call;
    call.target = target;
    call.sink = [&](ByteView piece) { got += piece.size(); };
    EXPECT_EQ(client.expect(call).body.size(), 0u);
    EXPECT_EQ(got, 3'000'000u) << target;
    call.sink = nullptr;
    EXPECT_EQ(client.expect(call).body.size(), 3'000'000u);
  }
  for (const char* target : {"/short", "/failing"}) {
    Call call;
    call.target = target;
    try {
      client.expect(call);
      FAIL() << "a cut body was taken for a whole one";
    } catch (const Error& e) { EXPECT_EQ(e.code(), "connection_lost"); }
  }
  std::string old = ask("GET /chunked HTTP/1.0\r\n\r\n");
  EXPECT_THAT(old.substr(0, 400), Not(HasSubstr("chunked")));
  EXPECT_EQ(body_of(old).size(), 3'000'000u);
}

TEST_F(ServerTest, ReaderThatStopsReadingIsCutAndFreesTheWorker) {
  Router router;
  std::atomic<int> pieces = 0;
  router.add(
      Method::get, "/endless",
      [&](Request&) {
        Response r;
        r.stream = [&](std::span<std::uint8_t> out) {
          ++pieces;
          return out.size();
        };
        return r;
      },
      kOpen);
  start(std::move(router));
  std::vector<std::unique_ptr<RawPeer>> peers;
  for (int i = 0; i < 8; ++i) {
    peers.push_back(std::make_unique<RawPeer>(server_->port()));
    peers.back()->send("GET /endless HTTP/1.1\r\nHost: x\r\n\r\n");
  }
  std::unique_lock lock(mutex_);
  auto give_up = std::chrono::steady_clock::now() + 10s;
  while (seen_.size() < 8 && std::chrono::steady_clock::now() < give_up) {
    lock.unlock();
    std::this_thread::yield();
    lock.lock();
  }
  EXPECT_EQ(seen_.size(), 8u);
}

TEST_F(ServerTest, ManyClientsOverKeptConnections) {
  start(usual(), {.worker_threads = 4});
  Client client({.base_url = "http://127.0.0.1:" + std::to_string(server_->port()), .bearer = {}});
  std::atomic<int> wrong = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 8; ++t)
    threads.emplace_back([&, t] {
      for (int i = 0; i < 100; ++i) {
        std::string want = std::to_string(t * 1000 + i);
        Call call;
        call.method = i % 2 == 0 ? Method::get : Method::put;
        call.target = "/items/" + want;
        call.body = i % 2 == 0 ? ByteView() : as_bytes(want);
        if (as_text(client.expect(call).body) != want) ++wrong;
      }
    });
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(wrong, 0);
  EXPECT_EQ(handled_, 800);
}

TEST_F(ServerTest, TellsHowBusyItIs) {
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
  std::atomic<int> began = 0;
  Router router;
  router.add(
      Method::get, "/held",
      [&](Request&) {
        ++began;
        began.notify_all();
        released.wait();
        return Response::empty();
      },
      kOpen);
  ServerConfig config = short_deadlines();
  config.worker_threads = 2;
  start(std::move(router), config);
  EXPECT_EQ(server_->stats().workers, 2u);
  EXPECT_EQ(server_->stats().busy, 0u);
  std::vector<std::thread> clients;
  for (int i = 0; i < 3; ++i) clients.emplace_back([this] { EXPECT_THAT(get("/held"), HasSubstr("204")); });
  for (int now = began; now < 2; now = began) began.wait(now);
  // The third has been read and waits: told by the server itself, a moment later.
  auto deadline = std::chrono::steady_clock::now() + 5s;
  while (server_->stats().queued == 0 && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  Server::Stats stats = server_->stats();
  EXPECT_EQ(stats.connections, 3u);
  EXPECT_EQ(stats.busy, 2u);
  EXPECT_EQ(stats.queued, 1u);
  release.set_value();
  for (std::thread& client : clients) client.join();
  server_->stop(100ms);
  stats = server_->stats();
  EXPECT_EQ(stats.connections + stats.workers + stats.busy + stats.queued, 0u);
}

TEST_F(ServerTest, StopFinishesWhatIsInFlightAndEndsIdleConnectionsAtOnce) {
  std::promise<void> entered, release;
  Router router = usual();
  router.add(
      Method::get, "/slow",
      [&](Request&) {
        entered.set_value();
        release.get_future().wait();
        return Response::text("done");
      },
      kOpen);
  ServerConfig config = short_deadlines();
  config.idle_timeout = 60s;
  config.header_timeout = 60s;
  start(std::move(router), config);
  RawPeer idle(server_->port());
  idle.send("GET /hello HTTP/1.1\r\nHost: x\r\n\r\n");
  idle.read_until("hello");
  RawPeer busy(server_->port());
  busy.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n");
  entered.get_future().wait();
  std::thread stopper([&] { server_->stop(10s); });
  EXPECT_EQ(idle.read_all(), "");
  EXPECT_TRUE(idle.ended());
  release.set_value();
  std::string answer = busy.read_all();
  EXPECT_EQ(body_of(answer), "done");
  EXPECT_THAT(answer, HasSubstr("Connection: close"));
  stopper.join();
  EXPECT_THROW(RawPeer again(server_->port()), Error);
}

TEST_F(ServerTest, StopCutsRequestsThatOutlastTheGrace) {
  ServerConfig config = short_deadlines();
  config.header_timeout = config.body_timeout = 60s;
  start(usual(), config);
  RawPeer peer(server_->port());
  peer.send("PUT /items/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab");
  RawPeer head(server_->port());
  head.send("GET /hello HT");
  server_->stop(50ms);
  peer.read_all();
  head.read_all();
  EXPECT_TRUE(peer.ended());
  EXPECT_TRUE(head.ended());
  EXPECT_EQ(handled_, 0);
}

TEST_F(ServerTest, StopWakesAWorkerThatPullsABody) {
  Router router;
  std::promise<void> entered;
  router.add(Method::put, "/up",
             [&](Request& r) {
               std::uint8_t piece[100];
               r.stream->read(piece);
               entered.set_value();
               while (r.stream->read(piece) > 0) {}
               return Response::empty();
             },
             {.body = BodyMode::stream, .auth = Auth::open});
  ServerConfig config = short_deadlines();
  config.body_timeout = 60s;
  start(std::move(router), config);
  RawPeer peer(server_->port());
  peer.send("PUT /up HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab");
  entered.get_future().wait();
  auto began = std::chrono::steady_clock::now();
  server_->stop(20ms);
  EXPECT_LT(std::chrono::steady_clock::now() - began, 5s);
}
