#include "lib/crypto/key_store.hpp"

#include <utility>
#include <vector>

#include <fmt/format.h>
#include <sys/stat.h>

#include "lib/crypto/text_key.hpp"

namespace lucid::crypto {
namespace {

constexpr std::string_view kServicePrefix = "lucid-secret:";
constexpr std::string_view kTokenPrefix = "lucid_";
constexpr std::size_t kMaxFile = 4096;

enum class Content { secret, published };

// File content that is wiped when it goes out of scope.
struct WipedText {
  std::string text;
  ~WipedText() { wipe({reinterpret_cast<std::uint8_t*>(text.data()), text.size()}); }
};

std::string parent_of(const std::string& path) {
  std::size_t slash = path.rfind('/');
  if (slash == std::string::npos) return ".";
  return slash == 0 ? "/" : path.substr(0, slash);
}

Error malformed(const std::string& directory, std::string_view name) {
  return Error(ErrorKind::unavailable, "key_malformed",
               fmt::format("read key file {}/{}: its content is not a key of this kind; restore it from the backup of the "
                           "deployment's keys",
                           directory, name));
}

// The one line of key file `name`, without its newline.
std::string read_key(FileOps& files, const std::string& directory, std::string_view name, Content content) {
  std::string path = fmt::format("{}/{}", directory, name);
  auto refuse = [&](const char* code, std::string_view why) {
    return Error(ErrorKind::unavailable, code, fmt::format("read key file {}: {}", path, why));
  };
  try {
    File file = files.open(path, OpenMode::read);
    struct stat status{};
    if (::fstat(file.fd(), &status) != 0 || !S_ISREG(status.st_mode)) throw refuse("key_unreadable", "not a regular file");
    // Nobody else may read a secret; nobody else may swap a public key for one of their own.
    unsigned refused = content == Content::secret ? 0077 : 0022;
    if ((status.st_mode & refused) != 0)
      throw refuse("key_mode", fmt::format("its mode {:04o} lets others {} it; run: chmod 600 {}", status.st_mode & 07777,
                                           content == Content::secret ? "read" : "change", path));
    std::array<std::uint8_t, kMaxFile> buffer;
    std::size_t size = files.read_at(file, buffer, 0, path);
    std::string text(as_text(ByteView(buffer).first(size)));
    wipe(buffer);
    if (text.ends_with('\n')) text.pop_back();
    if (text.find('\n') != std::string::npos) throw malformed(directory, name);
    return text;
  } catch (const Error& error) {
    if (error.code().starts_with("key_")) throw;
    if (error.kind() == ErrorKind::not_found)
      throw refuse("key_missing", "it does not exist; restore it from the backup of the deployment's keys");
    throw refuse("key_unreadable", fmt::format("{}; it must belong to the user the service runs as", error.what()));
  }
}

template <class Key>
Key read_as(FileOps& files, const std::string& directory, std::string_view name, Content content) {
  WipedText line{read_key(files, directory, name, content)};
  auto key = Key::parse(line.text);
  if (!key) throw malformed(directory, name);
  return std::move(*key);
}

void write_durably(FileOps& files, const std::string& path, std::string text) {
  WipedText content{std::move(text)};
  content.text += '\n';
  File file = files.open(path, OpenMode::create_new);
  files.write(file, as_bytes(content.text), path);
  files.sync_data(file, path);
}

void write_all_keys(FileOps& files, const std::string& directory, RandomSource& random) {
  SigningKey checkpoint = SigningKey::make(random);
  BoxKey spool = BoxKey::make(random);
  BoxKey playback = BoxKey::make(random);
  write_durably(files, directory + "/checkpoint.key", checkpoint.text());
  write_durably(files, directory + "/checkpoint.pub", checkpoint.verify_key().text());
  write_durably(files, directory + "/spool.key", spool.text());
  write_durably(files, directory + "/spool.pub", spool.public_key().text());
  write_durably(files, directory + "/playback.key", playback.text());
  write_durably(files, directory + "/playback.pub", playback.public_key().text());
  write_durably(files, directory + "/service.key", key_text(kServicePrefix, Secret32::random(random).bytes()));
  write_durably(files, directory + "/admin.token", key_text(kTokenPrefix, Secret32::random(random).bytes()));
  files.sync_directory(directory);
}

// Creates the set. Of several processes that start together the first rename wins (a directory cannot be renamed onto
// one with files in it) and the others drop what they made.
void create(FileOps& files, const std::string& directory, RandomSource& random) {
  std::string parent = parent_of(directory);
  files.make_directories(parent);
  std::string temporary = directory + ".new-" + to_hex(random.array<8>());
  try {
    files.make_directories(temporary);
    write_all_keys(files, temporary, random);
    files.rename(temporary, directory);
  } catch (const Error&) {
    try {
      files.remove_tree(temporary);
    } catch (const Error&) {
      // The first failure is the one to tell.
    }
    if (!files.exists(directory)) throw;
  }
  files.sync_directory(parent);
}

}  // namespace

KeyStore::KeyStore(std::string directory, FileOps& files, RandomSource& random) : directory_(std::move(directory)), files_(files) {
  while (directory_.size() > 1 && directory_.ends_with('/')) directory_.pop_back();
  if (!files_.exists(directory_)) create(files_, directory_, random);
}

SigningKey KeyStore::checkpoint_key() const { return read_as<SigningKey>(files_, directory_, "checkpoint.key", Content::secret); }
VerifyKey KeyStore::checkpoint_public() const { return read_as<VerifyKey>(files_, directory_, "checkpoint.pub", Content::published); }
BoxKey KeyStore::spool_key() const { return read_as<BoxKey>(files_, directory_, "spool.key", Content::secret); }
BoxPublicKey KeyStore::spool_public() const { return read_as<BoxPublicKey>(files_, directory_, "spool.pub", Content::published); }
BoxKey KeyStore::playback_key() const { return read_as<BoxKey>(files_, directory_, "playback.key", Content::secret); }
BoxPublicKey KeyStore::playback_public() const { return read_as<BoxPublicKey>(files_, directory_, "playback.pub", Content::published); }

Secret32 KeyStore::service_key() const {
  WipedText line{read_key(files_, directory_, "service.key", Content::secret)};
  auto key = parse_secret_text(kServicePrefix, line.text);
  if (!key) throw malformed(directory_, "service.key");
  return std::move(*key);
}

std::string KeyStore::admin_token() const {
  WipedText line{read_key(files_, directory_, "admin.token", Content::secret)};
  if (!parse_secret_text(kTokenPrefix, line.text)) throw malformed(directory_, "admin.token");
  return line.text;
}

}  // namespace lucid::crypto
