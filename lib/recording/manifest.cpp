#include "lib/recording/manifest.hpp"

#include <algorithm>
#include <limits>

#include <fmt/format.h>
#include <boost/json/serialize.hpp>

#include "lib/crypto/hash.hpp"
#include "lib/evidence/checkpoint.hpp"
#include "lib/evidence/tree.hpp"
#include "lib/recording/session_note.hpp"

namespace lucid::recording {
namespace {

constexpr std::string_view kFormat = "lucid-manifest";
constexpr std::int64_t kManifestVersion = 1;
constexpr std::size_t kMaxEpochs = 10'000;
constexpr std::size_t kMaxRecipients = 256;
constexpr std::size_t kMaxNoteCharacters = 64 << 10;
constexpr std::size_t kSealedKeySize = 32 + crypto::kSealOverhead;
constexpr std::int64_t kMaxWallMs = 1ll << 53;  // what a JSON number holds exactly

// The node's name becomes part of the signing key's name, where C2SP signed notes allow neither spaces nor '+'.
bool is_node_name(std::string_view name) {
  return !name.empty() && name.size() <= 255 &&
         std::all_of(name.begin(), name.end(), [](char c) { return c > ' ' && c < 0x7f && c != '+' && c != '/'; });
}

// Members this version does not know are none of its business.
void ignore_unknown(FieldReader& in, const json::value& value) {
  if (const json::object* object = value.if_object())
    for (const auto& member : *object) in.raw(std::string_view(member.key().data(), member.key().size()));
}

SealedKey read_key(const json::value& value, const std::string& pointer) {
  FieldReader in(value, pointer);
  SealedKey key;
  key.recipient = in.text("recipient", {.min = 16, .max = 16});
  auto sealed = from_base64url(in.text("sealed_k0", {.min = 1, .max = 200}));
  if (!sealed || sealed->size() != kSealedKeySize)
    in.refuse("sealed_k0", "must be base64url of a sealed 32-byte key");
  else
    key.sealed_k0 = std::move(*sealed);
  ignore_unknown(in, value);
  in.finish();
  return key;
}

KeyEpoch read_epoch(const json::value& value, const std::string& pointer) {
  FieldReader in(value, pointer);
  KeyEpoch epoch;
  epoch.epoch = static_cast<std::uint32_t>(in.integer("epoch", 0, std::numeric_limits<std::uint32_t>::max()));
  epoch.first_sequence = static_cast<std::uint64_t>(in.integer("first_sequence", 0, std::numeric_limits<std::int64_t>::max()));
  const json::value* keys = in.raw("keys");
  const json::array* list = keys != nullptr ? keys->if_array() : nullptr;
  if (list == nullptr || list->size() > kMaxRecipients)
    in.refuse("keys", fmt::format("must be an array of at most {}", kMaxRecipients));
  else
    for (std::size_t i = 0; i < list->size(); ++i) epoch.keys.push_back(read_key((*list)[i], fmt::format("{}/keys/{}", pointer, i)));
  ignore_unknown(in, value);
  in.finish();
  return epoch;
}

std::vector<KeyEpoch> read_epochs(FieldReader& in) {
  std::vector<KeyEpoch> epochs;
  const json::value* value = in.raw("epochs");
  const json::array* list = value != nullptr ? value->if_array() : nullptr;
  if (list == nullptr || list->size() > kMaxEpochs) {
    in.refuse("epochs", fmt::format("must be an array of at most {}", kMaxEpochs));
    return epochs;
  }
  for (std::size_t i = 0; i < list->size(); ++i) {
    KeyEpoch epoch = read_epoch((*list)[i], fmt::format("/epochs/{}", i));
    if (!epochs.empty() && (epoch.epoch <= epochs.back().epoch || epoch.first_sequence < epochs.back().first_sequence))
      in.refuse(fmt::format("epochs/{}", i), "must come after the epoch before it");
    epochs.push_back(std::move(epoch));
  }
  return epochs;
}

// Throws Error{invalid} with the refused members.
Manifest read(const json::value& value) {
  FieldReader in(value);
  in.word_or("format", 0, {kFormat});
  if (!in.has("format")) in.refuse("format", "is required");
  in.integer("version", kManifestVersion, kManifestVersion);
  Manifest manifest;
  auto session = Id::parse(in.text("session", {.min = 36, .max = 36}));
  if (!session)
    in.refuse("session", "must be a session id");
  else
    manifest.session = *session;
  manifest.node = in.text("node", {.min = 1, .max = 255});
  if (!is_node_name(manifest.node)) in.refuse("node", "must be printable ASCII without space, '+' and '/'");
  manifest.started_wall_ms = in.integer("started_wall_ms", 0, kMaxWallMs);
  manifest.codec = in.text("codec", {.min = 1, .max = 32});
  manifest.name = in.text_or("name", {}, {.min = 0, .max = 1024});
  if (const json::value* options = in.raw("options")) {
    if (const json::object* object = options->if_object())
      manifest.options = *object;
    else
      in.refuse("options", "must be a JSON object");
  }
  manifest.epochs = read_epochs(in);
  manifest.checkpoint_key = in.text("checkpoint_key", {.min = 1, .max = 200});
  if (!crypto::VerifyKey::parse(manifest.checkpoint_key)) in.refuse("checkpoint_key", "must be a public signing key");
  manifest.final_checkpoint = in.text_or("final_checkpoint", {}, {.min = 0, .max = kMaxNoteCharacters});
  ignore_unknown(in, value);
  in.finish();
  return manifest;
}

std::string note_origin(const Manifest& manifest) { return origin_of(manifest) + "/manifest"; }
std::string digest_line(std::string_view text) { return "sha256 " + to_hex(crypto::sha256(as_bytes(text))); }

}  // namespace

std::string to_json_text(const Manifest& manifest) {
  json::array epochs;
  for (const KeyEpoch& epoch : manifest.epochs) {
    json::array keys;
    for (const SealedKey& key : epoch.keys)
      keys.push_back(json::object{{"recipient", key.recipient}, {"sealed_k0", to_base64url(key.sealed_k0)}});
    epochs.push_back(json::object{{"epoch", epoch.epoch}, {"first_sequence", epoch.first_sequence}, {"keys", std::move(keys)}});
  }
  return json::serialize(json::object{{"format", kFormat},
                                      {"version", kManifestVersion},
                                      {"session", manifest.session.text()},
                                      {"node", manifest.node},
                                      {"started_wall_ms", manifest.started_wall_ms},
                                      {"codec", manifest.codec},
                                      {"name", manifest.name},
                                      {"options", manifest.options},
                                      {"epochs", std::move(epochs)},
                                      {"checkpoint_key", manifest.checkpoint_key},
                                      {"final_checkpoint", manifest.final_checkpoint}});
}

Expected<Manifest> parse_manifest(std::string_view text) {
  auto value = parse_json(text, kMaxManifestBytes);
  if (!value) return std::unexpected(value.error());
  try {
    return read(*value);
  } catch (const Error& e) {
    return std::unexpected(Error(ErrorKind::malformed, fmt::format("not a manifest: {}", e.what())).with_fields(e.fields()));
  }
}

std::string origin_of(const Manifest& manifest) { return evidence::session_origin(manifest.node, manifest.session.text()); }

const KeyEpoch* epoch_of(const Manifest& manifest, std::uint64_t sequence) {
  auto after = std::upper_bound(manifest.epochs.begin(), manifest.epochs.end(), sequence,
                                [](std::uint64_t s, const KeyEpoch& epoch) { return s < epoch.first_sequence; });
  return after == manifest.epochs.begin() ? nullptr : &*std::prev(after);
}

const KeyEpoch* find_epoch(const Manifest& manifest, std::uint32_t epoch) {
  auto at = std::lower_bound(manifest.epochs.begin(), manifest.epochs.end(), epoch,
                             [](const KeyEpoch& e, std::uint32_t number) { return e.epoch < number; });
  return at != manifest.epochs.end() && at->epoch == epoch ? &*at : nullptr;
}

std::string sign_manifest(std::string_view text, const crypto::SigningKey& key) {
  auto manifest = parse_manifest(text);
  if (!manifest) throw manifest.error();
  return evidence::sign_checkpoint({note_origin(*manifest), 1, evidence::leaf_hash(as_bytes(text)), {digest_line(text)}}, key);
}

Expected<void> verify_manifest(std::string_view text, std::string_view note, const crypto::VerifyKey& key) {
  auto manifest = parse_manifest(text);
  if (!manifest) return std::unexpected(manifest.error());
  auto altered = [](const std::string& message) { return std::unexpected(Error(ErrorKind::corrupt, "manifest_altered", message)); };
  auto opened = open_session_note(note, note_origin(*manifest), key);
  if (!opened && opened.error().code() == "checkpoint_mismatch")
    return altered(std::string("the manifest is another one's: ") + opened.error().what());
  if (!opened) return std::unexpected(opened.error());
  if (opened->size != 1 || opened->root != evidence::leaf_hash(as_bytes(text)) ||
      opened->extensions != std::vector<std::string>{digest_line(text)})
    return altered("the manifest is not the one that was signed");
  return {};
}

}  // namespace lucid::recording
