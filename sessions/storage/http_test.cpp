// The routes on a real server, asked by the contract's own client and by hostile hands.
#include "sessions/storage/http.hpp"

#include <gtest/gtest.h>

#include "lib/net/server.hpp"
#include "sessions/storage/storage_test_support.hpp"

namespace lucid::storage {
namespace {

using net::Method;
using test::chunk_of;
using test::manifest_of;

class StorageHttp : public ::testing::Test, public test::Harness {
 protected:
  void SetUp() override {
    start();
    net::ServerConfig config;
    config.worker_threads = 4;
    config.io_threads = 1;
    server_ = std::make_unique<net::Server>(
        config, routes(*storage), [](const net::Request&) { return std::optional<std::string>("service:test"); },
        [](const net::RequestRecord&) {});
    server_->start();
    http_ =
        std::make_shared<net::Client>(net::ClientConfig{.base_url = "http://127.0.0.1:" + std::to_string(server_->port()), .bearer = {}});
    client_ = std::make_unique<contracts::StorageClient>(http_);
  }
  void TearDown() override { server_->stop(std::chrono::milliseconds(1'000)); }

  std::string base() const { return "/api/v1/sessions/" + session.text(); }
  net::Response send(Method method, const std::string& target, ByteView body = {}, const std::string& type = {},
                     const std::vector<std::pair<std::string, std::string>>& headers = {}) {
    net::Call call;
    call.method = method;
    call.target = target;
    call.body = body;
    call.content_type = type;
    for (auto& [name, value] : headers) call.headers.set(name, value);
    return http_->send(call);
  }
  net::Response get(const std::string& target, const std::vector<std::pair<std::string, std::string>>& headers = {}) {
    return send(Method::get, target, {}, {}, headers);
  }

  std::unique_ptr<net::Server> server_;
  std::shared_ptr<net::Client> http_;
  std::unique_ptr<contracts::StorageClient> client_;
};

TEST_F(StorageHttp, TheContractsClientDoesItsWholeRound) {
  EXPECT_FALSE(client_->manifest(session));
  client_->put_manifest(session, manifest_of(session));
  EXPECT_EQ(client_->manifest(session), manifest_of(session));
  for (std::uint64_t i = 0; i < 5; ++i) EXPECT_TRUE(client_->put_chunk(session, i, chunk_of(session, i)).created);
  EXPECT_FALSE(client_->put_chunk(session, 2, chunk_of(session, 2)).created);
  EXPECT_EQ(client_->chunk(session, 3), chunk_of(session, 3));
  EXPECT_EQ(client_->chunks(session, 2, 2).size(), 2u);
  EXPECT_EQ(client_->chunks(session, 2, 2)[0].sequence, 2u);
  EXPECT_EQ(client_->all_chunks(session).size(), 5u);
  EXPECT_EQ(client_->summary(session).next_sequence, 5u);
  client_->close(session);
  EXPECT_EQ(client_->summary(session).chunks, 5u);
  json::value list = http_->get_json("/api/v1/sessions?limit=10");
  EXPECT_EQ(list.at("sessions").as_array().size(), 1u);
  EXPECT_EQ(list.at("sessions").at(0).at("state").as_string(), "closed");
  client_->remove(session);
  EXPECT_EQ(client_->summary(session).chunks, 0u);
  EXPECT_FALSE(client_->manifest(session));
}

TEST_F(StorageHttp, LargeChunksUpToTheLimitAreTakenAndLargerOnesRefused) {
  Bytes big = chunk_of(session, 0, recording::kMaxChunkBytes - 200);
  EXPECT_EQ(send(Method::put, base() + "/chunks/0", big, "application/octet-stream").status, 201);
  EXPECT_EQ(client_->chunk(session, 0), big);
  Bytes larger(recording::kMaxChunkBytes + 1);
  EXPECT_EQ(send(Method::put, base() + "/chunks/1", larger, "application/octet-stream").status, 413);
}

TEST_F(StorageHttp, RangesAreServedInPart) {
  Bytes chunk = chunk_of(session, 0);
  client_->put_chunk(session, 0, chunk);
  auto total = std::to_string(chunk.size());
  auto part = [&](const std::string& range) { return get(base() + "/chunks/0", {{"Range", range}}); };
  auto first = part("bytes=0-9");
  EXPECT_EQ(first.status, 206);
  EXPECT_EQ(first.body, Bytes(chunk.begin(), chunk.begin() + 10));
  EXPECT_EQ(first.headers.get("Content-Range"), "bytes 0-9/" + total);
  EXPECT_EQ(part("bytes=600-").body, Bytes(chunk.begin() + 600, chunk.end()));
  EXPECT_EQ(part("bytes=-20").body, Bytes(chunk.end() - 20, chunk.end()));
  EXPECT_EQ(part("bytes=600-99999999999999999999999").body, Bytes(chunk.begin() + 600, chunk.end()));
  auto outside = part("bytes=" + total + "-");
  EXPECT_EQ(outside.status, 416);
  EXPECT_EQ(outside.headers.get("Content-Range"), "bytes */" + total);
  EXPECT_EQ(part("bytes=-0").status, 416);
  for (const char* whole : {"bytes=5-2", "bytes=0-1,4-5", "lines=1-2", "bytes=", "bytes=-", "bytes=a-b", "bytes=+1-2"}) {
    auto answer = part(whole);
    EXPECT_EQ(answer.status, 200) << whole;
    EXPECT_EQ(answer.body, chunk) << whole;
  }
}

TEST_F(StorageHttp, TheEtagIsTheHash) {
  Bytes chunk = chunk_of(session, 0);
  client_->put_chunk(session, 0, chunk);
  std::string etag = '"' + to_hex(crypto::blake3(chunk)) + '"';
  EXPECT_EQ(get(base() + "/chunks/0").headers.get("ETag"), etag);
  EXPECT_EQ(get(base() + "/chunks/0", {{"If-None-Match", etag}}).status, 304);
  EXPECT_EQ(get(base() + "/chunks/0", {{"Range", "bytes=0-1"}, {"If-Range", "\"other\""}}).status, 200);
  EXPECT_EQ(get(base() + "/chunks/0", {{"Range", "bytes=0-1"}, {"If-Range", etag}}).status, 206);
}

TEST_F(StorageHttp, DamageIsAnErrorAlsoForAPartThatIsIntact) {
  client_->put_chunk(session, 0, chunk_of(session, 0));
  flip(pack_path(0), 400);
  for (auto range : {"bytes=0-9", "bytes=0-"}) {
    auto answer = get(base() + "/chunks/0", {{"Range", range}});
    EXPECT_EQ(answer.status, 500);
    EXPECT_NE(as_text(answer.body).find("chunk_corrupt"), std::string_view::npos);
  }
}

TEST_F(StorageHttp, BodiesOfAnotherTypeAreRefused) {
  Bytes chunk = chunk_of(session, 0);
  for (const char* type : {"", "application/json", "text/plain", "application/octet-streams"})
    EXPECT_EQ(send(Method::put, base() + "/chunks/0", chunk, type).status, 415) << type;
  EXPECT_EQ(send(Method::put, base() + "/chunks/0", chunk, "Application/Octet-Stream ; x=y").status, 201);
  std::string manifest = manifest_of(session);
  EXPECT_EQ(send(Method::put, base() + "/manifest", as_bytes(manifest), "application/octet-stream").status, 415);
}

TEST_F(StorageHttp, TruncatedOversizedAndMisplacedChunksAreRefused) {
  Bytes chunk = chunk_of(session, 0), longer = chunk;
  longer.push_back(1);
  auto put = [&](const std::string& sequence, ByteView body) {
    return send(Method::put, base() + "/chunks/" + sequence, body, "application/octet-stream").status;
  };
  for (std::size_t size : {std::size_t{1}, std::size_t{79}, std::size_t{80}, chunk.size() - 1})
    EXPECT_EQ(put("0", ByteView(chunk).first(size)), 400) << size;
  EXPECT_EQ(put("0", longer), 400);
  EXPECT_EQ(put("1", chunk), 422);
  EXPECT_EQ(put("0", Bytes(1000)), 400);
  EXPECT_EQ(client_->summary(session).chunks, 0u);
}

TEST_F(StorageHttp, HostileIdsAndNumbersNeverReachADisk) {
  client_->put_chunk(session, 0, chunk_of(session, 0));
  std::string huge(10'000'000, 'a');
  for (const std::string& id : {std::string("..%2f..%2fetc"), std::string("%2e%2e%2f"), std::string("a%00b"), std::string("%00"),
                                std::string("x"), session.text() + "x", session.text().substr(1), std::string(5'000, '1')}) {
    for (const char* rest : {"/chunks/0", "/chunks", "/summary", "/manifest"}) {
      int status = get("/api/v1/sessions/" + id + rest).status;
      EXPECT_TRUE(status == 400 || status == 404) << id.substr(0, 40) << rest << " " << status;
    }
    int status = send(Method::del, "/api/v1/sessions/" + id).status;
    EXPECT_TRUE(status == 400 || status == 404) << id.substr(0, 40);
  }
  for (const std::string& sequence : {std::string("-1"), std::string("+1"), std::string("1x"), std::string("0x1"), std::string("%20"),
                                      std::string("1e3"), std::string("99999999999999999999999"), std::string(5'000, '9')})
    EXPECT_EQ(get(base() + "/chunks/" + sequence).status, 400) << sequence.substr(0, 40);
  EXPECT_EQ(get(base() + "/chunks/18446744073709551615").status, 404);
  try {
    int status = get("/api/v1/sessions/" + huge + "/summary").status;
    EXPECT_TRUE(status >= 400 && status < 500) << status;
  } catch (const Error&) {
    // Refused while it was still being sent.
  }
  for (const char* query : {"?from=-1", "?from=x", "?limit=0", "?limit=10001", "?limit=1.5"})
    EXPECT_EQ(get(base() + "/chunks" + query).status, 422) << query;
  EXPECT_EQ(get("/api/v1/sessions?cursor=../x").status, 422);
  EXPECT_EQ(get("/api/v1/sessions?limit=101").status, 422);
  EXPECT_EQ(client_->chunk(session, 0), chunk_of(session, 0)) << "still at work";
}

TEST_F(StorageHttp, AFullDiskIs507) {
  free = 0;
  auto answer = send(Method::put, base() + "/chunks/0", chunk_of(session, 0), "application/octet-stream");
  EXPECT_EQ(answer.status, 507);
  EXPECT_NE(as_text(answer.body).find("storage_full"), std::string_view::npos);
}

}  // namespace
}  // namespace lucid::storage
