// Routing tokens and who may connect when.
#include <sys/stat.h>

#include "rdp/controller/routing_key.hpp"
#include "rdp/controller/test_harness.hpp"
#include "rdp/controller/token.hpp"

using namespace lucid;
using namespace lucid::controller;

namespace {
std::string code_of(const Expected<RoutingToken>& token) { return token ? "good" : token.error().code(); }
}  // namespace

TEST(Token, IsReadBackAndFitsAConnectionRequest) {
  ManualClock clock;
  SeededRandom random(3);
  auto key = crypto::SigningKey::make(random);
  RoutingToken token{Id::make(clock, random), Id::make(clock, random), 1'800'000'000};
  std::string text = seal_token(token, key);
  EXPECT_TRUE(text.starts_with("Cookie: msts=lucid1."));
  EXPECT_EQ(text.size(), 154u);
  EXPECT_EQ(open_token(text, key.verify_key()).value(), token);
  EXPECT_EQ(open_token(text.substr(8), key.verify_key()).value(), token);
  EXPECT_EQ(open_token(text.substr(13), key.verify_key()).value(), token);
}

TEST(Token, EveryChangedCharacterAndEveryOtherLengthIsRefused) {
  ManualClock clock;
  SeededRandom random(3);
  auto key = crypto::SigningKey::make(random);
  std::string text = seal_token({Id::make(clock, random), Id::make(clock, random), 1'800'000'000}, key);
  for (std::size_t i = 0; i < text.size(); ++i) {
    std::string changed = text;
    changed[i] = changed[i] == 'A' ? 'B' : 'A';
    EXPECT_FALSE(open_token(changed, key.verify_key())) << i;
    EXPECT_EQ(code_of(open_token(text.substr(0, i), key.verify_key())), "token_malformed");
  }
  EXPECT_EQ(code_of(open_token(text + "A", key.verify_key())), "token_malformed");
  EXPECT_EQ(code_of(open_token(text + "\r\n", key.verify_key())), "token_malformed");
  EXPECT_EQ(code_of(open_token(std::string(100'000, 'A'), key.verify_key())), "token_malformed");
  EXPECT_EQ(code_of(open_token(text, crypto::SigningKey::make(random).verify_key())), "token_forged");
}

TEST(RoutingKey, IsMadeOnceAndRefusedWhenOthersMayReadItOrItIsNone) {
  TempDir dir;
  SystemRandom random;
  std::string path = dir.path() + "/routing.key";
  auto code = [&] {
    try {
      routing_key(path, system_files(), random);
      return std::string("good");
    } catch (const Error& e) { return e.code(); }
  };
  auto first = routing_key(path, system_files(), random).text();
  EXPECT_EQ(routing_key(path, system_files(), random).text(), first);
  struct stat status{};
  ASSERT_EQ(::stat(path.c_str(), &status), 0);
  EXPECT_EQ(status.st_mode & 07777, 0600u);
  ::chmod(path.c_str(), 0640);
  EXPECT_EQ(code(), "key_mode");
  system_files().replace_file(path, as_bytes("lucid-sig-key:short\n"));
  EXPECT_EQ(code(), "key_malformed");
  system_files().replace_file(path, {});
  EXPECT_EQ(code(), "key_malformed");
}

// Whatever call fails while it is made: the next start has a key, and it is whole.
TEST(RoutingKey, AFailureWhileItIsMadeLeavesNoneOrAWholeOne) {
  SystemRandom random;
  for (std::uint64_t n = 0; n < 40; ++n) {
    TempDir dir;
    std::string path = dir.path() + "/routing.key";
    FaultyFileOps faulty([&](std::string_view, const std::string&, std::uint64_t number) { return number == n ? EIO : 0; });
    try {
      routing_key(path, faulty, random);
    } catch (const Error&) {}
    EXPECT_NO_THROW(routing_key(path, system_files(), random)) << n;
  }
}

TEST(Admission, ATokenIsUsedOnceAndComesBackOnlyAsAReconnect) {
  Harness h;
  h.start();
  Id id = h.ready(h.request());
  auto offer = h.controller->connection(id);
  EXPECT_EQ(offer.port, 3389);
  EXPECT_EQ(offer.password, "password-1");
  EXPECT_EQ(offer.expires_wall_ms, h.clock.wall_ms() + 60'000);
  auto first = h.asking(offer.token);
  auto admission = h.controller->admit(first);
  EXPECT_EQ(admission.session, id);
  EXPECT_EQ(admission.upstream_host, "127.0.0.1");
  EXPECT_EQ(admission.upstream_port, h.controller->status(id).server_port);
  EXPECT_FALSE(admission.replaces);
  EXPECT_EQ(h.refusal(h.asking(offer.token)), "token_used") << "the first is still on its way";
  EXPECT_EQ(h.refusal(first), "admitted") << "the same connection asks again: its answer was lost";
  Id connection = h.open(first);
  // A second client with the same token takes the session over.
  auto second = h.asking(offer.token, "198.51.100.9:4711");
  EXPECT_EQ(h.controller->admit(second).replaces, connection);
  Id newer = h.open(second);
  EXPECT_EQ(h.controller->status(id).client_address, "198.51.100.9:4711");
  EXPECT_EQ(h.controller->status(id).connections, 2u);
  EXPECT_EQ(h.state(id), State::connected);
  h.leave(id, newer);
  EXPECT_EQ(h.state(id), State::ready);
  h.clock.advance(30'000);
  Id back = h.open(h.asking(offer.token));
  EXPECT_EQ(h.state(id), State::connected) << "within the grace the same token reconnects";
  h.leave(id, back);
  auto failed = h.asking(offer.token);
  h.controller->admit(failed);
  h.leave(id, failed.connection);  // negotiation failed
  EXPECT_EQ(h.refusal(h.asking(offer.token)), "admitted");
}

TEST(Admission, TokensOfAnotherSessionOldOnesAndForgedOnesAreRefused) {
  Harness h;
  h.config.disconnect_grace_ms = 1'000'000;
  h.start();
  Id id = h.ready(h.request());
  Id other = h.ready(h.request());
  std::string old = h.controller->connection(id).token;
  auto offer = h.controller->connection(id);
  EXPECT_EQ(offer.password, "password-2");
  EXPECT_EQ(h.refusal(h.asking(old)), "token_expired") << "only the newest counts";
  auto parsed = open_token(offer.token, h.key.verify_key()).value();
  EXPECT_EQ(h.refusal(h.asking(seal_token({other, parsed.token, parsed.expires_unix_s}, h.key))), "token_expired");
  EXPECT_EQ(h.refusal(h.asking(seal_token({other, Id{}, parsed.expires_unix_s}, h.key))), "token_expired") << "none was ever offered";
  SeededRandom random(99);
  EXPECT_EQ(h.refusal(h.asking(seal_token(parsed, crypto::SigningKey::make(random)))), "token_forged");
  EXPECT_EQ(h.refusal(h.asking("lucid1.nonsense")), "token_malformed");
  EXPECT_EQ(h.refusal(h.asking(seal_token({Id::make(h.clock, h.random), parsed.token, parsed.expires_unix_s}, h.key))), "session_ended");
  h.clock.advance(60'001);
  EXPECT_EQ(h.refusal(h.asking(offer.token)), "token_expired");
  std::string late = h.controller->connection(id).token;
  h.controller->act(id, "stop");
  ASSERT_TRUE(h.reaches(id, State::ended));
  EXPECT_EQ(h.refusal(h.asking(late)), "session_ended");
  EXPECT_NE(h.metrics.expose().find("lucid_controller_admissions_total{outcome=\"token_forged\"} 1"), std::string::npos);
}

TEST(Admission, IsKeptBeforeItIsAnswered) {
  Harness h;
  h.start();
  Id id = h.ready(h.request());
  std::string token = h.controller->connection(id).token;
  ASSERT_EQ(h.refusal(h.asking(token)), "admitted");
  h.start();
  EXPECT_EQ(h.refusal(h.asking(token)), "token_used");
}

TEST(Admission, OfManyAtOnceWithOneTokenExactlyOneIsAdmitted) {
  Harness h;
  h.start();
  Id id = h.ready(h.request());
  for (int round = 0; round < 5; ++round) {
    std::string token = h.controller->connection(id).token;
    std::vector<contracts::AdmissionRequest> asked;
    for (int i = 0; i < 8; ++i) asked.push_back(h.asking(token));
    std::atomic<int> admitted = 0, used = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 8; ++i)
      threads.emplace_back([&, i] {
        std::string code = h.refusal(asked[static_cast<std::size_t>(i)]);
        if (code == "admitted") ++admitted;
        if (code == "token_used") ++used;
      });
    for (auto& t : threads) t.join();
    EXPECT_EQ(admitted, 1);
    EXPECT_EQ(used, 7);
  }
}

TEST(Admission, ByAccountOnlyForALiveSessionAndNeverPushingOutAStranger) {
  Harness h;
  h.start();
  Id id = h.ready(h.request("bob"));
  auto by_account = [&](const std::string& account, const std::string& address) {
    return contracts::AdmissionRequest{Id::make(h.clock, h.random), "", account, address};
  };
  EXPECT_EQ(h.refusal(by_account("eve", "192.0.2.7:1")), "account_unknown");
  Id first = h.open(by_account("bob", "192.0.2.7:1"));
  EXPECT_EQ(h.refusal(by_account("bob", "203.0.113.1:2")), "session_not_ready");
  EXPECT_EQ(h.controller->admit(by_account("bob", "192.0.2.7:3")).replaces, first) << "the same machine comes back";
  h.controller->act(id, "pause");
  EXPECT_EQ(h.refusal(by_account("bob", "192.0.2.7:4")), "session_not_ready");
  h.controller->act(id, "stop");
  EXPECT_EQ(h.refusal(by_account("bob", "192.0.2.7:4")), "account_unknown");
}

TEST(Admission, NeverAsksAnotherService) {
  Harness h;
  h.start();
  Id id = h.ready(h.request());
  auto asked = h.asking(h.controller->connection(id).token);
  std::atomic<bool> inside = false, called = false;
  std::thread::id me = std::this_thread::get_id();
  h.world.fail_calls([&](const std::string&) {
    if (inside && std::this_thread::get_id() == me) called = true;
  });
  inside = true;
  h.controller->admit(asked);
  h.controller->report({.connection = asked.connection, .session = id, .event = "opened", .cause = "", .client_address = "192.0.2.7:1"});
  h.controller->report({.connection = asked.connection, .session = id, .event = "closed", .cause = "client", .client_address = ""});
  inside = false;
  h.world.fail_calls([](const std::string&) {});
  EXPECT_FALSE(called);
}

TEST(Admission, ReportsCountOnceAndInAnyOrder) {
  Harness h;
  h.start();
  Id id = h.ready(h.request());
  Id connection = h.connect(id);
  h.leave(id, connection, 100, 200);
  h.leave(id, connection, 100, 200);
  h.controller->report({.connection = connection, .session = id, .event = "opened", .cause = "", .client_address = ""});
  EXPECT_EQ(h.state(id), State::ready) << "what closed does not open";
  EXPECT_EQ(h.controller->status(id).bytes_up, 100u);
  EXPECT_EQ(h.controller->status(id).connections, 1u);
  EXPECT_THROW(h.controller->report({.connection = connection, .session = Id{}, .event = "opened", .cause = "", .client_address = ""}),
               Error);
}

TEST(Admission, AConnectionThatVanishedUnseenCountsAsClosedAndOneUnknownIsAdopted) {
  Harness h;
  h.start();
  Id id = h.ready(h.request());
  Id connection = h.connect(id);
  h.controller.reset();
  h.world.with([&] { h.world.connections.erase(connection); });
  h.start();
  ASSERT_TRUE(h.reaches_in_time(id, State::ready));
  // Opened while the controller was away: the report was lost.
  auto asked = h.asking(h.controller->connection(id).token);
  h.controller->admit(asked);
  h.controller.reset();
  h.world.with([&] {
    contracts::Connection c;
    c.id = asked.connection;
    c.session = id;
    c.bytes_up = 77;
    h.world.connections[c.id] = c;
  });
  h.start();
  ASSERT_TRUE(h.reaches(id, State::connected));
  EXPECT_TRUE(h.until([&] { return h.controller->status(id).bytes_up == 77; }));
  EXPECT_EQ(h.controller->status(id).client_address, "192.0.2.7:50312");
  // Admitted, then never heard of again: the token may come back.
  h.world.with([&] { h.world.connections.clear(); });
  ASSERT_TRUE(h.reaches_in_time(id, State::ready));
  auto lost = h.asking(h.controller->connection(id).token);
  h.controller->admit(lost);
  EXPECT_EQ(h.refusal(h.asking(lost.token)), "token_used");
  h.clock.advance(15'000);
  EXPECT_TRUE(h.until([&] { return h.refusal(h.asking(lost.token)) == "admitted"; }));
}
