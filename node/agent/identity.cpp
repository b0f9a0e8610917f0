#include "node/agent/identity.hpp"

#include <charconv>

#include <fmt/format.h>
#include <sys/stat.h>

#include "lib/contracts/fields.hpp"

namespace lucid::node_agent {
namespace {

constexpr std::size_t kMaxSmallFile = 16 << 10;

std::string made_directory(std::string directory, FileOps& files) {
  files.make_directories(directory);
  return directory;
}

std::string text_at(const std::string& path, FileOps& files) {
  Bytes bytes = files.read_file(path, kMaxSmallFile);
  std::string text(as_text(bytes));
  while (!text.empty() && text.back() == '\n') text.pop_back();
  return text;
}

Error not_ours(const std::string& path) { return Error(ErrorKind::corrupt, "bad_identity", path + " is not what this node wrote"); }

}  // namespace

crypto::SigningKey Identity::open_key(const std::string& path, FileOps& files, RandomSource& random) {
  if (!files.exists(path)) files.replace_file(path, as_bytes(crypto::SigningKey::make(random).text() + "\n"));
  struct stat status{};
  if (::stat(path.c_str(), &status) == 0 && (status.st_mode & 077) != 0)
    throw Error(ErrorKind::unavailable, "key_mode", path + " can be read by others; make it 0600, or a new node");
  auto key = crypto::SigningKey::parse(text_at(path, files));
  if (!key) throw Error(ErrorKind::corrupt, "key_malformed", path + " holds no key");
  return std::move(*key);
}

Identity::Identity(std::string directory, FileOps& files, RandomSource& random)
    : directory_(made_directory(std::move(directory), files)), files_(files), key_(open_key(directory_ + "/node.key", files, random)) {
  if (std::string path = directory_ + "/node.json"; files_.exists(path)) {
    auto value = parse_json(text_at(path, files_), kMaxSmallFile);
    if (!value) throw not_ours(path);
    contracts::Fields in(*value);
    Place place;
    place.node = in.id("id");
    place.url = in.text("url");
    place.name = in.text("name");
    auto type = contracts::node_type(in.text("type"));
    place.storage_bytes = in.number<std::uint64_t>("storage_bytes");
    place.activated = in.boolean("activated");
    if (!in.ok() || !type) throw not_ours(path);
    place.type = *type;
    place_ = std::move(place);
  }
  if (std::string path = directory_ + "/sequence"; files_.exists(path)) {
    std::string text = text_at(path, files_);
    auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), reserved_);
    if (error != std::errc{} || end != text.data() + text.size()) throw not_ours(path);
  }
  sequence_ = reserved_;
}

void Identity::set_place(Place place) {
  json::object object{{"id", place.node.text()},
                      {"url", place.url},
                      {"name", place.name},
                      {"type", contracts::name(place.type)},
                      {"storage_bytes", place.storage_bytes},
                      {"activated", place.activated}};
  files_.replace_file(directory_ + "/node.json", as_bytes(json::serialize(object) + "\n"));
  place_ = std::move(place);
}

std::uint64_t Identity::next_sequence() {
  std::lock_guard lock(mutex_);
  if (sequence_ >= reserved_) reserve(sequence_);
  return ++sequence_;
}

void Identity::skip_to(std::uint64_t used) {
  std::lock_guard lock(mutex_);
  if (used <= sequence_) return;
  if (used >= reserved_) reserve(used);
  sequence_ = used;
}

void Identity::reserve(std::uint64_t above) {
  std::uint64_t until = above + kReserved;
  files_.replace_file(directory_ + "/sequence", as_bytes(fmt::format("{}\n", until)));
  reserved_ = until;
}

}  // namespace lucid::node_agent
