#include "app/cli/server.hpp"

#include <charconv>

#include <fmt/format.h>

#include "lib/base/id.hpp"
#include "lib/contracts/storage.hpp"
#include "lib/recording/chunk.hpp"

namespace lucid::cli {
namespace {

constexpr std::size_t kMaxToken = 4096;
constexpr std::size_t kRowPage = 5000;
constexpr std::chrono::hours kStreamTime{12};  // a long recording's bundle over a slow line
constexpr std::chrono::minutes kCallTime{30};  // verify reads a whole recording before it answers

std::string trimmed(std::string text) {
  while (!text.empty() && (text.back() == '\n' || text.back() == '\r' || text.back() == ' ')) text.pop_back();
  return text;
}

std::string read_small(FileOps& files, const std::string& path, const std::string& meaning) {
  try {
    Bytes bytes = files.read_file(path, 64 << 10);
    return std::string(as_text(bytes));
  } catch (const Error& e) {
    throw Error(ErrorKind::unavailable, "no_server",
                fmt::format("{} ({}): is `lucid serve` running on this data directory? Give --data DIR, or LUCID_URL and LUCID_TOKEN",
                            meaning, e.what()));
  }
}

const json::value* member(const json::value& object, std::string_view key) {
  const json::object* o = object.if_object();
  return o != nullptr ? o->if_contains(key) : nullptr;
}

Error bad_answer(const std::string& what) {
  return Error(ErrorKind::internal, "bad_answer", "the server's answer makes no sense: " + what);
}

}  // namespace

void ServerOption::add_to(CLI::App& command) {
  command.add_option("--data", data, "the server's data directory, to find its address and token")->type_name("DIR");
}

Endpoint find_server(const Io& io, const ServerOption& option, bool with_token) {
  const char* url = io.environment("LUCID_URL");
  if (option.data.empty() && url != nullptr && *url != '\0') {
    const char* token = io.environment("LUCID_TOKEN");
    if (with_token && (token == nullptr || *token == '\0')) throw Error(ErrorKind::invalid, "LUCID_URL is set but LUCID_TOKEN is not");
    return {url, token != nullptr ? token : ""};
  }
  std::string directory = option.data.empty() ? kDefaultData : option.data;
  auto endpoint = parse_json(read_small(io.files, directory + "/endpoint.json", "no server address found"));
  std::string found = endpoint ? text_of(*endpoint, "url") : "";
  if (found.empty()) throw Error(ErrorKind::invalid, fmt::format("{}/endpoint.json names no server address", directory));
  Endpoint server{found, ""};
  if (with_token) server.token = trimmed(read_small(io.files, directory + "/keys/admin.token", "no access token found"));
  if (server.token.size() > kMaxToken) throw Error(ErrorKind::invalid, directory + "/keys/admin.token is not a token");
  return server;
}

std::string checked_session(const std::string& text) {
  auto id = Id::parse(text);
  if (!id) throw Error(ErrorKind::malformed, fmt::format("\"{}\" is not a session id", to_utf8(text, 60)));
  return id->text();
}

Server::Server(const Endpoint& endpoint) {
  net::ClientConfig config;
  config.base_url = endpoint.url;
  if (!endpoint.token.empty()) config.bearer = [token = endpoint.token] { return token; };
  config.timeout = kCallTime;
  http_ = std::make_unique<net::Client>(std::move(config));
}

json::value Server::get(const std::string& path) { return http_->get_json(path); }

json::value Server::send(net::Method method, const std::string& path, const json::value& body) {
  return http_->send_json(method, path, body);
}

void Server::stream(const std::string& path, const std::string& accept, const std::function<void(ByteView)>& sink) {
  net::Call call;
  call.target = path;
  call.headers.set("Accept", accept);
  call.timeout = kStreamTime;
  call.sink = sink;
  http_->expect(call);
}

Index Server::index() {
  json::value answer = get(fmt::format("/api/v1/sessions/{}/index", session_));
  Index index;
  index.last_ms = number_of(answer, "last_ms");
  const json::value* list = member(answer, "keyframes");
  if (list == nullptr || !list->is_array()) throw bad_answer("no keyframes in the index");
  for (const json::value& k : list->get_array())
    index.keyframes.push_back({static_cast<std::uint64_t>(number_of(k, "sequence")), number_of(k, "first_ms"), number_of(k, "last_ms"),
                               static_cast<std::uint16_t>(number_of(k, "flags"))});
  return index;
}

std::vector<ChunkInfo> Server::list(std::uint64_t from) {
  json::value answer = get(fmt::format("/api/v1/sessions/{}/chunks?from={}&limit={}", session_, from, kRowPage));
  const json::value* list = member(answer, "chunks");
  if (list == nullptr || !list->is_array()) throw bad_answer("no chunks in the list");
  std::vector<ChunkInfo> chunks;
  for (const json::value& c : list->get_array())
    chunks.push_back({static_cast<std::uint64_t>(number_of(c, "sequence")), number_of(c, "first_ms"), number_of(c, "last_ms"),
                      static_cast<std::uint16_t>(number_of(c, "flags"))});
  return chunks;
}

Bytes Server::records(std::uint64_t sequence) {
  net::Call call;
  call.target = fmt::format("/api/v1/sessions/{}/chunks/{}/content", session_, sequence);
  call.headers.set("Accept-Encoding", "zstd");
  net::Response response = http_->expect(call);
  if (response.headers.get("Content-Encoding").value_or("") != "zstd") return std::move(response.body);
  std::string_view text = response.headers.get("X-Lucid-Plain-Size").value_or("");
  std::size_t size = 0;
  auto [end, ec] = std::from_chars(text.data(), text.data() + text.size(), size);
  if (ec != std::errc{} || end != text.data() + text.size()) throw bad_answer("chunk content without its size");
  auto plain = recording::expand(response.body, recording::ChunkCodec::zstd, size);
  if (!plain) throw plain.error();
  return std::move(*plain);
}

std::string text_of(const json::value& object, std::string_view key) {
  const json::value* v = member(object, key);
  return v != nullptr && v->is_string() ? std::string(v->get_string().data(), v->get_string().size()) : std::string();
}

std::int64_t number_of(const json::value& object, std::string_view key) {
  const json::value* v = member(object, key);
  if (v == nullptr) return 0;
  if (v->is_int64()) return v->get_int64();
  return v->is_uint64() && v->get_uint64() <= INT64_MAX ? static_cast<std::int64_t>(v->get_uint64()) : 0;
}

}  // namespace lucid::cli
