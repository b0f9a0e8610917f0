// A server's address and token, and the calls the commands make. Tokens come from a file or the environment, never from
// an argument, which any user of the machine could read. One thread; throws lucid::Error as the server said it.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "app/cli/cli.hpp"
#include "app/cli/replay.hpp"
#include "lib/base/json.hpp"
#include "lib/net/client.hpp"

namespace lucid::cli {

inline constexpr const char* kDefaultData = "lucid-data";

// --data DIR of a command.
struct ServerOption {
  std::string data;
  void add_to(CLI::App& command);
};

struct Endpoint {
  std::string url, token;
};
// --data DIR, else LUCID_URL (with LUCID_TOKEN), else ./lucid-data. `with_token` false leaves the token out.
Endpoint find_server(const Io& io, const ServerOption& option, bool with_token = true);

// Checks the form of a session id before it goes into a path.
std::string checked_session(const std::string& text);

class Server final : public ChunkSource {
 public:
  explicit Server(const Endpoint& endpoint);
  json::value get(const std::string& path);
  json::value send(net::Method method, const std::string& path, const json::value& body);
  // Streams the body of a 2xx answer.
  void stream(const std::string& path, const std::string& accept, const std::function<void(ByteView)>& sink);
  net::Client& http() { return *http_; }

  // The recording that the ChunkSource calls read from now on.
  void open(const std::string& session) { session_ = session; }
  Index index() override;
  std::vector<ChunkInfo> list(std::uint64_t from) override;
  Bytes records(std::uint64_t sequence) override;

 private:
  std::unique_ptr<net::Client> http_;
  std::string session_;
};

std::string text_of(const json::value& object, std::string_view key);     // empty when absent or no string
std::int64_t number_of(const json::value& object, std::string_view key);  // 0 when absent or no number

}  // namespace lucid::cli
