#include "lib/evidence/checkpoint.hpp"

#include <algorithm>
#include <charconv>
#include <limits>

#include <fmt/format.h>

#include "lib/crypto/hash.hpp"

namespace lucid::evidence {
namespace {

constexpr std::size_t kMaxNote = 64 << 10;
constexpr std::size_t kMaxSignatures = 100;
constexpr std::uint8_t kEd25519 = 0x01;
constexpr std::string_view kSignaturePrefix = "\u2014 ";  // em dash, space
constexpr std::uint64_t kMaxSize = std::numeric_limits<std::int64_t>::max();

struct SignatureLine {
  std::string_view name;
  Bytes bytes;  // key id (4), signature
};

struct Note {
  std::string_view text;  // what is signed, with its last newline
  std::vector<SignatureLine> signatures;
};

std::unexpected<Error> malformed(const std::string& why) {
  return std::unexpected(Error(ErrorKind::malformed, "bad_checkpoint", "read checkpoint: " + why));
}

// The characters Unicode counts as white space beyond ASCII, in UTF-8; key names hold none.
bool has_unicode_space(std::string_view text) {
  static constexpr std::string_view kSpaces[] = {"\u0085", "\u00a0", "\u1680", "\u2000", "\u2001", "\u2002", "\u2003",
                                                 "\u2004", "\u2005", "\u2006", "\u2007", "\u2008", "\u2009", "\u200a",
                                                 "\u2028", "\u2029", "\u202f", "\u205f", "\u3000"};
  return std::any_of(std::begin(kSpaces), std::end(kSpaces),
                     [&](std::string_view space) { return text.find(space) != std::string_view::npos; });
}

bool is_line(std::string_view text) {
  return !text.empty() && is_utf8(text) &&
         std::none_of(text.begin(), text.end(), [](char c) { return static_cast<unsigned char>(c) < 0x20; });
}

bool is_key_name(std::string_view name) {
  return is_line(name) && name.find_first_of(" +") == std::string_view::npos && !has_unicode_space(name);
}

// First four bytes of SHA-256(name, newline, type, public key).
std::array<std::uint8_t, 4> key_id(std::string_view name, const crypto::VerifyKey& key) {
  Bytes bytes(name.begin(), name.end());
  bytes.push_back('\n');
  bytes.push_back(kEd25519);
  bytes.insert(bytes.end(), key.bytes.begin(), key.bytes.end());
  Hash32 hash = crypto::sha256(bytes);
  return {hash[0], hash[1], hash[2], hash[3]};
}

// Takes one line off `text`; nullopt when no newline is left.
std::optional<std::string_view> take_line(std::string_view& text) {
  std::size_t end = text.find('\n');
  if (end == std::string_view::npos) return std::nullopt;
  std::string_view line = text.substr(0, end);
  text.remove_prefix(end + 1);
  return line;
}

Expected<Note> parse_note(std::string_view note) {
  if (note.size() > kMaxNote) return malformed(fmt::format("longer than {} bytes", kMaxNote));
  if (!is_utf8(note)) return malformed("not UTF-8");
  for (char c : note)
    if (static_cast<unsigned char>(c) < 0x20 && c != '\n') return malformed("it holds control characters");
  std::size_t split = note.rfind("\n\n");
  if (split == std::string_view::npos) return malformed("no empty line before the signatures");

  Note parsed{.text = note.substr(0, split + 1), .signatures = {}};
  std::string_view rest = note.substr(split + 2);
  while (!rest.empty()) {
    std::optional<std::string_view> line = take_line(rest);
    if (!line || !line->starts_with(kSignaturePrefix)) return malformed("a line after the empty line is not a signature");
    if (parsed.signatures.size() == kMaxSignatures) return malformed(fmt::format("more than {} signatures", kMaxSignatures));
    line->remove_prefix(kSignaturePrefix.size());
    std::size_t space = line->find(' ');
    if (space == std::string_view::npos) return malformed("a signature line without a signature");
    std::optional<Bytes> bytes = from_base64(line->substr(space + 1));
    if (!is_key_name(line->substr(0, space)) || !bytes || bytes->size() < 5) return malformed("a signature line is malformed");
    parsed.signatures.push_back({line->substr(0, space), std::move(*bytes)});
  }
  if (parsed.signatures.empty()) return malformed("no signature");
  return parsed;
}

Expected<Checkpoint> parse_body(std::string_view text) {
  std::optional<std::string_view> origin = take_line(text);
  std::optional<std::string_view> size = take_line(text);
  std::optional<std::string_view> root = take_line(text);
  if (!origin || !size || !root) return malformed("fewer than three lines");
  if (!is_line(*origin)) return malformed("the origin is empty");

  Checkpoint checkpoint;
  checkpoint.origin = *origin;
  auto [end, error] = std::from_chars(size->data(), size->data() + size->size(), checkpoint.size);
  bool canonical = !size->empty() && (size->front() != '0' || size->size() == 1);
  if (error != std::errc() || end != size->data() + size->size() || !canonical || checkpoint.size > kMaxSize)
    return malformed("the size is not a plain decimal number");
  std::optional<Bytes> hash = from_base64(*root);
  if (!hash || hash->size() != checkpoint.root.size()) return malformed("the root is not base64 of 32 bytes");
  std::copy(hash->begin(), hash->end(), checkpoint.root.begin());
  while (!text.empty()) {
    std::optional<std::string_view> line = take_line(text);
    if (!line || line->empty()) return malformed("an empty line in the body");
    checkpoint.extensions.emplace_back(*line);
  }
  return checkpoint;
}

std::string body_of(const Checkpoint& checkpoint) {
  std::string body = fmt::format("{}\n{}\n{}\n", checkpoint.origin, checkpoint.size, to_base64(checkpoint.root));
  for (const std::string& line : checkpoint.extensions) body += line + '\n';
  return body;
}

}  // namespace

std::string session_origin(std::string_view node, std::string_view session_id) {
  return fmt::format("lucid/{}/session/{}", node, session_id);
}

std::string sign_checkpoint(const Checkpoint& checkpoint, const crypto::SigningKey& key) {
  auto refuse = [](const std::string& why) { return Error(ErrorKind::invalid, "bad_checkpoint", "sign checkpoint: " + why); };
  if (!is_key_name(checkpoint.origin)) throw refuse("the origin may hold no space, plus sign or control character");
  if (checkpoint.size > kMaxSize) throw refuse("the size does not fit 63 bits");
  if (!std::all_of(checkpoint.extensions.begin(), checkpoint.extensions.end(), is_line))
    throw refuse("an extension line is empty or holds control characters");

  std::string body = body_of(checkpoint);
  auto id = key_id(checkpoint.origin, key.verify_key());
  crypto::Signature signature = key.sign(as_bytes(body));
  Bytes tagged(id.begin(), id.end());
  tagged.insert(tagged.end(), signature.begin(), signature.end());
  std::string note = fmt::format("{}\n{}{} {}\n", body, kSignaturePrefix, checkpoint.origin, to_base64(tagged));
  if (note.size() > kMaxNote) throw refuse(fmt::format("longer than {} bytes", kMaxNote));
  return note;
}

Expected<Checkpoint> parse_checkpoint(std::string_view note) {
  Expected<Note> parsed = parse_note(note);
  if (!parsed) return std::unexpected(parsed.error());
  return parse_body(parsed->text);
}

Expected<Checkpoint> open_checkpoint(std::string_view note, const crypto::VerifyKey& key) {
  Expected<Note> parsed = parse_note(note);
  if (!parsed) return std::unexpected(parsed.error());
  Expected<Checkpoint> checkpoint = parse_body(parsed->text);
  if (!checkpoint) return checkpoint;

  auto refuse = [&](std::string_view why) {
    return std::unexpected(Error(ErrorKind::corrupt, "bad_signature",
                                 fmt::format("open checkpoint {} of size {}: {}", checkpoint->origin, checkpoint->size, why)));
  };
  auto id = key_id(checkpoint->origin, key);
  bool is_signed = false;
  for (const SignatureLine& line : parsed->signatures) {
    ByteView bytes = line.bytes;
    if (line.name != checkpoint->origin || !std::equal(id.begin(), id.end(), bytes.begin())) continue;
    // One bad signature under the key's name condemns the note, whatever stands beside it.
    if (!key.verify(as_bytes(parsed->text), bytes.subspan(4))) return refuse("the signature does not fit the text");
    is_signed = true;
  }
  if (!is_signed) return refuse("not signed by the expected key");
  return checkpoint;
}

std::string note_verifier_key(std::string_view name, const crypto::VerifyKey& key) {
  Bytes bytes{kEd25519};
  bytes.insert(bytes.end(), key.bytes.begin(), key.bytes.end());
  return fmt::format("{}+{}+{}", name, to_hex(key_id(name, key)), to_base64(bytes));
}

}  // namespace lucid::evidence
