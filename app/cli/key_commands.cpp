// lucid keys show: the deployment's public keys, to be handed to auditors and kept for `lucid verify`.
#include <fmt/format.h>

#include "app/cli/cli.hpp"
#include "app/cli/server.hpp"
#include "lib/crypto/hash.hpp"
#include "lib/crypto/key_store.hpp"

namespace lucid::cli {
namespace {

struct KeyOptions {
  std::string data = kDefaultData;
  bool json = false;
};

int show(Io& io, const KeyOptions& o) {
  std::string directory = o.data + "/keys";
  // A KeyStore makes the keys of a directory that has none; looking must not.
  if (!io.files.exists(directory)) throw Error(ErrorKind::not_found, fmt::format("there are no keys in {}", directory));
  SystemRandom random;
  crypto::KeyStore keys(directory, io.files, random);
  crypto::VerifyKey checkpoint = keys.checkpoint_public();
  Hash32 hash = crypto::blake3(checkpoint.bytes);
  struct Row {
    const char* name;
    const char* meaning;
    std::string text, fingerprint;
  };
  const Row rows[] = {
      {"checkpoint", "signs checkpoints; give it to `lucid verify --key`", checkpoint.text(), to_hex(ByteView(hash).first(8))},
      {"playback", "recordings are sealed to it so that this server can play them", keys.playback_public().text(),
       keys.playback_public().fingerprint()},
      {"spool", "the recorder's spool is sealed to it", keys.spool_public().text(), keys.spool_public().fingerprint()}};
  if (o.json) {
    json::object all;
    for (const Row& row : rows) all[row.name] = json::object{{"public", row.text}, {"fingerprint", row.fingerprint}};
    io.out << json::serialize(all) << '\n';
    return kOk;
  }
  for (const Row& row : rows) io.out << fmt::format("{:<10}  {}  {}\n            {}\n", row.name, row.fingerprint, row.text, row.meaning);
  return kOk;
}

}  // namespace

void add_key_commands(Program& program) {
  auto o = std::make_shared<KeyOptions>();
  CLI::App& keys = program.command("keys", "The deployment's keys.", "  lucid keys show --data /var/lib/lucid");
  keys.require_subcommand(1);
  CLI::App* command = keys.add_subcommand("show", "Print the public keys and their fingerprints.");
  command->footer(
      fmt::format("Examples:\n  lucid keys show\n  lucid keys show --data DIR --json | jq -r .checkpoint.public\n\n{}", kExitCodes));
  command->add_option("--data", o->data, "data directory")->type_name("DIR")->capture_default_str();
  command->add_flag("--json", o->json, "as JSON");
  program.action(*command, [&program, o] { return show(program.io(), *o); });
}

}  // namespace lucid::cli
