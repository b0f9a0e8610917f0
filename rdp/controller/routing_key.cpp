#include "rdp/controller/routing_key.hpp"

#include <array>

#include <fmt/format.h>
#include <sys/stat.h>

#include "lib/base/bytes.hpp"
#include "lib/crypto/secret.hpp"

namespace lucid::controller {
namespace {

Error refused(const std::string& path, const char* code, std::string_view why) {
  return Error(ErrorKind::unavailable, code, fmt::format("read the routing key {}: {}", path, why));
}

void wipe(std::string& text) { crypto::wipe({reinterpret_cast<std::uint8_t*>(text.data()), text.size()}); }

crypto::SigningKey read_key(const std::string& path, FileOps& files) {
  File file = files.open(path, OpenMode::read);
  struct stat status{};
  if (::fstat(file.fd(), &status) != 0 || !S_ISREG(status.st_mode)) throw refused(path, "key_unreadable", "not a regular file");
  if ((status.st_mode & 0077) != 0)
    throw refused(path, "key_mode", fmt::format("its mode {:04o} lets others at it; run: chmod 600 {}", status.st_mode & 07777, path));
  std::array<std::uint8_t, 256> buffer{};
  std::string text(as_text(ByteView(buffer).first(files.read_at(file, buffer, 0, path))));
  crypto::wipe(buffer);
  if (text.ends_with('\n')) text.pop_back();
  auto key = crypto::SigningKey::parse(text);
  wipe(text);
  if (!key)
    throw refused(path, "key_malformed",
                  "it is no signing key; restore it, or remove it so that a new one is made (offered tokens become void)");
  return std::move(*key);
}

}  // namespace

crypto::SigningKey routing_key(const std::string& path, FileOps& files, RandomSource& random) {
  if (!files.exists(path)) {
    std::string text = crypto::SigningKey::make(random).text() + "\n";
    files.replace_file(path, as_bytes(text));
    wipe(text);
  }
  return read_key(path, files);
}

}  // namespace lucid::controller
