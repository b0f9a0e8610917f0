#include <future>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "lib/net/client.hpp"
#include "lib/net/raw_peer.hpp"
#include "lib/net/trace.hpp"

using namespace lucid;
using namespace lucid::net;
using namespace std::chrono_literals;
using testing::HasSubstr;

namespace {

Error failure(Client& client, const Call& call) {
  try {
    client.expect(call);
  } catch (const Error& e) { return e; }
  return Error(ErrorKind::internal, "none", "the call did not fail");
}

Call get(const char* target) {
  Call call;
  call.target = target;
  return call;
}

}  // namespace

TEST(Client, NamesTheUrlThatCannotBeReached) {
  std::uint16_t port = 0;
  {
    Server server({}, Router(), {}, {});
    server.start();
    port = server.port();
  }
  Client client({.base_url = "http://127.0.0.1:" + std::to_string(port), .bearer = {}});
  Error e = failure(client, get("/x?secret=1"));
  EXPECT_EQ(e.kind(), ErrorKind::unavailable);
  EXPECT_EQ(e.code(), "unreachable");
  EXPECT_THAT(e.what(), HasSubstr("GET http://127.0.0.1:" + std::to_string(port) + "/x"));
  EXPECT_THAT(e.what(), testing::Not(HasSubstr("secret")));
}

TEST(Client, RetriesOnceWhenAKeptConnectionWentStale) {
  ScriptedServer server({[](int fd) {
                           answer_once(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na");
                           // Takes the second request and closes without a word.
                           answer_once(fd, "");
                         },
                         [](int fd) { answer_once(fd, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nb"); }});
  Client client({.base_url = server.url(), .bearer = {}});
  EXPECT_EQ(as_text(client.expect(get("/1")).body), "a");
  EXPECT_EQ(as_text(client.expect(get("/2")).body), "b");
}

TEST(Client, DoesNotRetryOnANewConnection) {
  ScriptedServer server({[](int fd) { answer_once(fd, ""); }});
  Client client({.base_url = server.url(), .bearer = {}});
  EXPECT_EQ(failure(client, get("/1")).code(), "connection_lost");
}

TEST(Client, CutBodiesAreErrors) {
  ScriptedServer server({[](int fd) { answer_once(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"); },
                         [](int fd) { answer_once(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"); },
                         [](int fd) { answer_once(fd, "HTTP/1.1 200"); }, [](int fd) { answer_once(fd, "SSH-2.0-OpenSSH\r\n\r\n"); },
                         [](int fd) { answer_once(fd, "HTTP/1.1 200 OK\r\n\r\nto the end"); }});
  Client client({.base_url = server.url(), .bearer = {}});
  EXPECT_EQ(failure(client, get("/1")).code(), "connection_lost");
  EXPECT_EQ(failure(client, get("/2")).code(), "connection_lost");
  EXPECT_EQ(failure(client, get("/3")).code(), "connection_lost");
  EXPECT_EQ(failure(client, get("/4")).code(), "bad_answer");
  EXPECT_EQ(as_text(client.expect(get("/5")).body), "to the end");
}

TEST(Client, HonoursTheDeadlineOfTheWholeCall) {
  std::promise<void> done;
  ScriptedServer server({[&](int fd) {
    answer_once(fd, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc");
    done.get_future().wait();
  }});
  Client client({.base_url = server.url(), .bearer = {}});
  Call call = get("/1");
  call.timeout = 100ms;
  EXPECT_EQ(failure(client, call).code(), "timeout");
  done.set_value();
}

TEST(Client, BoundsWhatItBuffers) {
  ScriptedServer server({[](int fd) { answer_once(fd, "HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\n"); },
                         [](int fd) {
                           answer_once(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + std::string(1000, 'a') +
                                               "\r\n3e8\r\n" + std::string(1000, 'a'));
                         }});
  Client client({.base_url = server.url(), .bearer = {}, .max_response = 1500});
  EXPECT_EQ(failure(client, get("/1")).code(), "answer_too_large");
  EXPECT_EQ(failure(client, get("/2")).code(), "answer_too_large");
}

TEST(Client, CutsTheBodyOfAnAnswerWhereItIsTold) {
  ScriptedServer server(
      {[](int fd) { answer_once(fd, "HTTP/1.1 410 Gone\r\nContent-Length: 2000000000\r\n\r\n" + std::string(1000, 'a')); },
       [](int fd) { answer_once(fd, "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabcd"); }});
  Client client({.base_url = server.url(), .bearer = {}, .max_response = 1500});
  Call call = get("/1");
  call.cut_body = 4;
  Response gone = client.send(call);
  EXPECT_EQ(gone.status, 410);
  EXPECT_EQ(as_text(gone.body), "aaaa");
  EXPECT_EQ(as_text(client.send(call).body), "abcd");
}

TEST(Client, TakesAnEarlyRefusalWhileStillSending) {
  Router router;
  router.add(Method::put, "/up", [](Request&) { return Response::empty(); }, {.max_body = 100, .auth = Auth::open});
  Server server({}, std::move(router), {}, {});
  server.start();
  Client client({.base_url = "http://127.0.0.1:" + std::to_string(server.port()), .bearer = {}});
  Bytes large(12 << 20);
  Call call = get("/up");
  call.method = Method::put;
  call.body = large;
  EXPECT_EQ(failure(client, call).kind(), ErrorKind::too_large);
}

TEST(Client, SendsBearerTraceAndBodyHeaders) {
  std::string request;
  ScriptedServer server({[&](int fd) { answer_once(fd, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n", &request); }});
  Client client({.base_url = server.url() + "/base/", .bearer = [] { return std::string("token"); }});
  TraceScope scope({"req-1", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"});
  Call call = get("/x");
  call.method = Method::post;
  EXPECT_EQ(client.expect(call).status, 204);
  for (const char* line : {"POST /base/x HTTP/1.1\r\n", "Authorization: Bearer token\r\n", "X-Request-ID: req-1\r\n", "traceparent: 00-0af",
                           "Content-Length: 0\r\n"})
    EXPECT_THAT(request, HasSubstr(line));
}

TEST(Client, RefusesToSendWhatWouldSplitTheRequest) {
  Client client({.base_url = "http://127.0.0.1:1", .bearer = {}});
  EXPECT_EQ(failure(client, get("/a b")).kind(), ErrorKind::internal);
  EXPECT_EQ(failure(client, get("/a\r\nX: y")).kind(), ErrorKind::internal);
  Call call = get("/a");
  call.headers.set("X", "a\nb");
  EXPECT_EQ(failure(client, call).kind(), ErrorKind::internal);
  EXPECT_THROW(Client({.base_url = "ftp://x", .bearer = {}}), Error);
  EXPECT_THROW(Client({.base_url = "nonsense", .bearer = {}}), Error);
}

TEST(Client, TurnsProblemsBackIntoErrors) {
  Router router;
  router.add(Method::get, "/x",
             [](Request&) -> Response { throw Error(ErrorKind::unavailable, "storage_away", "storage is away").with_retry_after(9s); },
             {.auth = Auth::open});
  router.add(Method::post, "/json", [](Request& r) { return Response::json(201, r.json_body()); }, {.auth = Auth::open});
  Server server({}, std::move(router), {}, {});
  server.start();
  Client client({.base_url = "http://127.0.0.1:" + std::to_string(server.port()), .bearer = {}});
  Error e = failure(client, get("/x"));
  EXPECT_EQ(e.code(), "storage_away");
  EXPECT_EQ(e.retry_after(), 9s);
  EXPECT_EQ(client.send_json(Method::post, "/json", {{"a", 1}}).as_object().at("a").as_int64(), 1);
  EXPECT_THROW(client.get_json("/none"), Error);
}
