// Webhooks against real receivers on real sockets.
#include <future>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "lib/base/file_ops.hpp"
#include "lib/net/tls_fixture.hpp"
#include "lib/webhooks/address.hpp"
#include "lib/webhooks/test_receiver.hpp"
#include "lib/webhooks/webhooks.hpp"

namespace lucid::webhooks::test {
namespace {

using net::Response;
using testing::HasSubstr;
using testing::Not;

constexpr const char* kKind = "alert.firing";

class WebhooksTest : public testing::Test {
 protected:
  Webhooks& start() { return start(documents_); }
  Webhooks& start(store::Documents& documents) {
    hooks_.reset();
    hooks_ = std::make_unique<Webhooks>(Webhooks::Parts{documents, clock_, random_, metrics_, runtime::Log("test")});
    return *hooks_;
  }
  static void send(Webhooks& hooks, int from, int to) {
    for (int n = from; n <= to; ++n) hooks.enqueue(kKind, {{"n", n}});
  }
  std::uint64_t queued() { return documents_.count("webhook_queue", "", ""); }
  bool emptied() {
    return watched_.wait_until([&] { return queued() == 0; });
  }
  double metric(const std::string& line) {
    std::string all = metrics_.expose();
    std::size_t at = all.find("\n" + line + " ");
    return at == std::string::npos ? -1 : std::stod(all.substr(at + line.size() + 2));
  }
  static Error refused(const std::function<void()>& call) {
    try {
      call();
    } catch (const Error& e) { return e; }
    return Error(ErrorKind::internal, "none", "it was not refused");
  }

  ManualClock clock_{1'795'324'000'123};
  SystemRandom random_;
  runtime::Metrics metrics_;
  store::MemoryDocuments documents_;
  FailingDocuments watched_{documents_, [](int) { return false; }};
  std::unique_ptr<Webhooks> hooks_;
};

// The published example of the reference libraries.
TEST_F(WebhooksTest, SignsAsTheReferenceLibrariesDo) {
  EXPECT_EQ(signature("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, R"({"test": 2432232314})"),
            "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
  for (const char* none : {"", "whsec_", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_MfKQ", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaS"})
    EXPECT_EQ(refused([&] { signature(none, "a", 1, ""); }).kind(), ErrorKind::invalid) << none;
}

TEST_F(WebhooksTest, AnEventArrivesSignedOnceAndIsTakenOutOfTheQueue) {
  Receiver receiver;
  Webhooks& hooks = start(watched_);
  Made made = hooks.add(receiver.url(), {});
  EXPECT_EQ(made.secret.size(), 6u + 44u);
  hooks.enqueue(kKind, {{"n", 7}});
  auto came = receiver.wait_for(1);
  ASSERT_EQ(came.size(), 1u);
  EXPECT_EQ(came[0].signature, signature(made.secret, came[0].id, 1'795'324'000, came[0].body));
  EXPECT_EQ(came[0].timestamp, "1795324000");
  EXPECT_EQ(came[0].content_type, "application/json");
  json::value body = *parse_json(came[0].body);
  EXPECT_EQ(body.as_object().size(), 4u);
  EXPECT_EQ(body.at("id").as_string(), came[0].id);
  EXPECT_TRUE(Id::parse(came[0].id));
  EXPECT_EQ(body.at("type").as_string(), kKind);
  EXPECT_EQ(body.at("timestamp").as_string(), to_rfc3339(clock_.wall_ms()));
  EXPECT_EQ(body.at("data"), json::value({{"n", 7}}));
  EXPECT_TRUE(emptied());
  hooks_.reset();
  EXPECT_EQ(metric("lucid_webhook_deliveries_total{outcome=\"delivered\"}"), 1);
  EXPECT_EQ(metric("lucid_webhook_waiting"), 0);
  EXPECT_EQ(start().list().at(0).last_success_wall_ms, clock_.wall_ms());
}

TEST_F(WebhooksTest, AHookGetsTheKindsItAskedForAndEveryHookItsOwnSignature) {
  Receiver all, some;
  Webhooks& hooks = start();
  Made a = hooks.add(all.url(), {}), s = hooks.add(some.url(), {"alert.resolved"});
  hooks.enqueue("alert.firing", {{"n", 1}});
  hooks.enqueue("alert.resolved", {{"n", 2}});
  auto of_all = all.wait_for(2), of_some = some.wait_for(1);
  ASSERT_EQ(of_all.size(), 2u);
  ASSERT_EQ(of_some.size(), 1u);
  EXPECT_EQ(of_some[0].number(), 2);
  EXPECT_EQ(of_some[0].id, of_all[1].id) << "one event, one id";
  EXPECT_NE(of_some[0].signature, of_all[1].signature);
  EXPECT_NE(a.secret, s.secret);
}

TEST_F(WebhooksTest, UrlsAndKindsThatAreNoneAreRefusedByName) {
  Webhooks& hooks = start();
  for (const char* url :
       {"", "nonsense", "ftp://a/", "http://", "http:///x", "https://user@a/", "https://user:secret@a/", "http://a/#part", "http://a:0/",
        "http://a:65536/", "http://a:x/", "http://a b/", "http://a/\r\nX: y", "//a/b", "javascript:alert(1)", "file:///etc/passwd"}) {
    Error e = refused([&] { hooks.add(url, {}); });
    EXPECT_EQ(e.kind(), ErrorKind::invalid) << url;
    ASSERT_EQ(e.fields().size(), 1u) << url;
    EXPECT_EQ(e.fields()[0].pointer, "/url");
    EXPECT_THAT(e.what(), Not(HasSubstr("secret")));
  }
  EXPECT_EQ(refused([&] { hooks.add("http://a/" + std::string(2'000, 'x'), {}); }).kind(), ErrorKind::invalid);
  Error e = refused([&] { hooks.add("http://a/", {"alert.firing", "a b", ""}); });
  ASSERT_EQ(e.fields().size(), 2u);
  EXPECT_EQ(e.fields()[1].pointer, "/kinds/2");
  EXPECT_TRUE(hooks.list().empty());
  auto address = parse_address("https://[::1]:8443/a%20b?c=d&e");
  ASSERT_TRUE(address);
  EXPECT_EQ(address->base, "https://[::1]:8443");
  EXPECT_EQ(address->target, "/a%20b?c=d&e");
  EXPECT_EQ(parse_address("http://10.0.0.7?x")->target, "/?x");
}

TEST_F(WebhooksTest, FiftyHooksAreEnough) {
  Webhooks& hooks = start();
  for (int i = 0; i < 50; ++i) hooks.add("http://127.0.0.1/" + std::to_string(i), {});
  EXPECT_EQ(refused([&] { hooks.add("http://127.0.0.1/", {}); }).code(), "limit_reached");
  EXPECT_EQ(start().list().size(), 50u);
}

TEST_F(WebhooksTest, AFailureIsRetriedWithTheSameIdBeforeWhatCameLater) {
  Receiver receiver([](const Delivery&, std::size_t number) { return number <= 2 ? Response::empty(503) : Response::empty(200); });
  Webhooks& hooks = start(watched_);
  Made made = hooks.add(receiver.url("path-that-lets-in"), {});
  send(hooks, 1, 3);
  ASSERT_EQ(receiver.wait_for(1).size(), 1u);
  ASSERT_TRUE(watched_.wait_until([&] { return !hooks.list()[0].last_problem.empty(); }));
  EXPECT_EQ(hooks.list()[0].last_problem, "answered 503");
  EXPECT_EQ(hooks.list()[0].waiting, 3u);
  for (std::size_t count = 2; count <= 3; ++count) {
    EXPECT_EQ(receiver.came().size(), count - 1) << "not before its pause is over";
    clock_.advance(36'000);
    hooks.wake();
    ASSERT_GE(receiver.wait_for(count).size(), count);
    if (count == 2) {
      ASSERT_TRUE(watched_.wait_until([&] { return hooks.list()[0].last_failure_wall_ms == clock_.wall_ms(); }));
    }
  }
  ASSERT_TRUE(emptied());
  auto came = receiver.wait_for(5);
  ASSERT_EQ(came.size(), 5u);
  EXPECT_EQ(came[0].id, came[1].id);
  EXPECT_EQ(came[1].id, came[2].id);
  EXPECT_EQ(came[0].body, came[2].body);
  EXPECT_NE(came[0].timestamp, came[2].timestamp) << "the time of the attempt";
  EXPECT_EQ(came[2].signature, signature(made.secret, came[2].id, std::stoll(came[2].timestamp), came[2].body));
  EXPECT_EQ(came[3].number(), 2);
  EXPECT_EQ(came[4].number(), 3);
  ASSERT_TRUE(watched_.wait_until([&] { return hooks.list()[0].last_problem.empty(); }));
}

TEST_F(WebhooksTest, HooksThatHangHoldNobodyUp) {
  std::promise<void> release;
  std::shared_future<void> released = release.get_future().share();
  Receiver hanging(
      [released](const Delivery&, std::size_t) {
        released.wait();
        return Response::empty();
      },
      4);
  Receiver good;
  Webhooks& hooks = start();
  for (const char* name : {"a", "b", "c"}) hooks.add(hanging.url(name), {});
  hooks.add(good.url(), {});
  send(hooks, 1, 5);
  EXPECT_EQ(hanging.wait_for(3).size(), 3u);
  EXPECT_EQ(good.wait_for(5).size(), 5u) << "while three others hang";
  EXPECT_EQ(hanging.came().size(), 3u);
  release.set_value();
  EXPECT_EQ(hanging.wait_for(15).size(), 15u);
}

TEST_F(WebhooksTest, RedirectsAndHugeAnswersAreNotFollowed) {
  std::string elsewhere;
  Receiver other;
  elsewhere = other.url();
  Receiver receiver([&](const Delivery& d, std::size_t) {
    Response response = d.number() == 1 ? Response::text(std::string(8 << 20, 'x')) : Response::empty(307);
    response.headers.set("Location", elsewhere);
    return response;
  });
  Webhooks& hooks = start(watched_);
  hooks.add(receiver.url(), {});
  send(hooks, 1, 2);
  EXPECT_EQ(receiver.wait_for(2).size(), 2u) << "the first was a success, whatever the size of its answer";
  ASSERT_TRUE(watched_.wait_until([&] { return !hooks.list()[0].last_problem.empty(); }));
  EXPECT_EQ(hooks.list()[0].last_problem, "answered 307; redirects are not followed");
  EXPECT_TRUE(other.came().empty());
}

TEST_F(WebhooksTest, AReceiverThatIsGoneIsLeftAloneUntilATestSucceeds) {
  std::atomic<int> status = 410;
  Receiver receiver([&](const Delivery&, std::size_t) {
    Response gone = Response::text(std::string(10'000, 'x'));
    gone.status = status;
    return gone;
  });
  Webhooks& hooks = start(watched_);
  Id id = hooks.add(receiver.url(), {}).hook.id;
  send(hooks, 1, 1);
  ASSERT_TRUE(watched_.wait_until([&] { return hooks.list()[0].state == HookState::disabled && queued() == 0; }));
  send(hooks, 2, 2);
  EXPECT_EQ(queued(), 0u);
  EXPECT_EQ(hooks.test(id), "answered 410");
  Webhooks& again = start(watched_);
  EXPECT_EQ(again.list()[0].state, HookState::disabled) << "also after a restart";
  EXPECT_EQ(metric("lucid_webhook_deliveries_total{outcome=\"lost\"}"), 1);
  status = 200;
  EXPECT_EQ(again.test(id), std::nullopt);
  EXPECT_EQ(again.list()[0].state, HookState::active);
  send(again, 3, 3);
  auto came = receiver.wait_for(4);
  ASSERT_EQ(came.size(), 4u);
  EXPECT_EQ(came[1].type(), "test");
  EXPECT_EQ(came[3].number(), 3);
}

TEST_F(WebhooksTest, ATestSaysWhatIsWrongWithoutThePathAndChangesNoQueue) {
  std::uint16_t port;
  {
    Receiver gone;
    port = gone.port();
  }
  Webhooks& hooks = start();
  Id id = hooks.add("http://127.0.0.1:" + std::to_string(port) + "/let-me-in?key=hunter2", {}).hook.id;
  std::string problem = hooks.test(id).value_or("");
  EXPECT_THAT(problem, HasSubstr("Connection refused"));
  EXPECT_THAT(problem, Not(HasSubstr("let-me-in")));
  EXPECT_THAT(problem, Not(HasSubstr("hunter2")));
  EXPECT_EQ(queued(), 0u);
  EXPECT_EQ(refused([&] { hooks.test(Id()); }).kind(), ErrorKind::not_found);
}

TEST_F(WebhooksTest, ARemovedHookGetsNothingMoreAndLeavesNothingBehind) {
  Receiver receiver([](const Delivery&, std::size_t) { return Response::empty(500); });
  Webhooks& hooks = start(watched_);
  Id id = hooks.add(receiver.url(), {}).hook.id;
  send(hooks, 1, 3);
  ASSERT_TRUE(watched_.wait_until([&] { return !hooks.list()[0].last_problem.empty(); }));
  hooks.remove(id);
  EXPECT_TRUE(hooks.list().empty());
  EXPECT_EQ(queued() + documents_.count("webhooks", "", ""), 0u);
  EXPECT_EQ(refused([&] { hooks.remove(id); }).kind(), ErrorKind::not_found);
  clock_.advance(100'000);
  hooks.wake();
  send(hooks, 4, 4);
  EXPECT_EQ(receiver.came().size(), 1u);
}

TEST_F(WebhooksTest, SecretsStandInNoListNoLogAndNoMetric) {
  testing::internal::CaptureStderr();
  Receiver receiver([](const Delivery&, std::size_t number) { return Response::empty(number == 1 ? 500 : 410); });
  Webhooks& hooks = start(watched_);
  Made made = hooks.add(receiver.url(), {});
  send(hooks, 1, 1);
  ASSERT_TRUE(watched_.wait_until([&] { return !hooks.list()[0].last_problem.empty(); }));
  clock_.advance(7'000);
  hooks.wake();
  ASSERT_TRUE(watched_.wait_until([&] { return hooks.list()[0].state == HookState::disabled; }));
  std::string seen = json::serialize(to_json(hooks.list()[0])) + metrics_.expose();
  hooks_.reset();
  seen += testing::internal::GetCapturedStderr();
  EXPECT_THAT(seen, HasSubstr("410"));
  EXPECT_THAT(seen, Not(HasSubstr(made.secret.substr(6, 12))));
  EXPECT_THAT(seen, Not(HasSubstr("whsec_")));
}

TEST_F(WebhooksTest, HooksSecretsAndWhatWaitsSurviveInTheDatabase) {
  TempDir directory;
  std::string path = directory.path() + "/hooks.db";
  std::atomic<int> status = 500;
  Receiver receiver([&](const Delivery&, std::size_t) { return Response::empty(status); });
  std::string secret, id;
  {
    auto database = store::open_sqlite_documents(path);
    FailingDocuments watched(*database, [](int) { return false; });
    Webhooks& hooks = start(watched);
    secret = hooks.add(receiver.url(), {"alert.firing"}).secret;
    send(hooks, 1, 3);
    ASSERT_TRUE(watched.wait_until([&] { return !hooks.list()[0].last_problem.empty(); }));
    id = receiver.came().at(0).id;
    hooks_.reset();
  }
  struct stat info{};
  ASSERT_EQ(::stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u);
  status = 200;
  auto database = store::open_sqlite_documents(path);
  Webhooks& hooks = start(*database);
  auto came = receiver.wait_for(4);
  ASSERT_EQ(came.size(), 4u);
  EXPECT_EQ(came[1].id, id);
  for (int n = 1; n <= 3; ++n) EXPECT_EQ(came[static_cast<std::size_t>(n)].number(), n);
  EXPECT_EQ(came[3].signature, signature(secret, came[3].id, std::stoll(came[3].timestamp), came[3].body));
  EXPECT_EQ(hooks.list()[0].kinds, std::vector<std::string>{"alert.firing"});
  hooks_.reset();
}

TEST_F(WebhooksTest, ManyThreadsQueueAndEveryHookGetsEachEventOnceInTheOrderOfItsThread) {
  Receiver receivers[3];
  Webhooks& hooks = start(watched_);
  for (Receiver& r : receivers) hooks.add(r.url(), {});
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) threads.emplace_back([&, t] { send(hooks, t * 1'000, t * 1'000 + 24); });
  for (std::thread& t : threads) t.join();
  ASSERT_TRUE(emptied());
  for (Receiver& r : receivers) {
    auto came = r.wait_for(100);
    ASSERT_EQ(came.size(), 100u);
    std::map<std::int64_t, std::int64_t> last;
    for (const Delivery& d : came) {
      auto [it, first] = last.try_emplace(d.number() / 1'000, d.number());
      if (!first) { EXPECT_EQ(d.number(), it->second + 1); }
      it->second = d.number();
    }
  }
}

TEST_F(WebhooksTest, DeliversOverTlsToAReceiverTheSystemTrusts) {
  crypto::TestAuthority authority("the test's authority");
  TempDir directory;
  Receiver receiver;
  net::TlsFront tls({authority.issue("DNS:localhost"), authority.issue("DNS:other.example")}, receiver.port());
  ASSERT_EQ(::setenv("SSL_CERT_FILE", net::ca_file(directory, authority.certificate_pem()).c_str(), 1), 0);
  Webhooks& hooks = start(watched_);
  hooks.add(tls.url() + "/hook/a", {});
  Id other = hooks.add(tls.url("localhost", 1) + "/hook/b", {"none"}).hook.id;
  send(hooks, 1, 2);
  EXPECT_EQ(receiver.wait_for(2).size(), 2u);
  EXPECT_TRUE(emptied());
  EXPECT_EQ(tls.line(), "TLSv1.3 http/1.1 localhost");
  EXPECT_THAT(hooks.test(other).value_or(""), HasSubstr("hostname mismatch"));
  hooks_.reset();
  ::unsetenv("SSL_CERT_FILE");
}

}  // namespace
}  // namespace lucid::webhooks::test
